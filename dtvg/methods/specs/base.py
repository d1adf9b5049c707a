"""What every transfer method's configuration has in common.

Must not import torch: the desk reads it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from dtvg.rule.types import RuleSettings


class MethodConfig(BaseModel):
    """What every transfer method's configuration has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    uses_sources: ClassVar[bool] = True
    """Whether the run reads source prompts from the bank."""
    has_source_vectors: ClassVar[bool] = True
    """Whether there is something to group at every step, so a Gram matrix is logged."""
    soft: ClassVar[bool] = False
    """Whether sources have learned or given weights instead of being decided by a rule: then
    `member` means weight > 0, and no candidates are logged."""
    ranks_prompts: ClassVar[bool] = False
    """Whether source prompts (not vectors) are ranked by cosine while tuning: then the Gram
    matrix logged is that of mean-pooled prompts."""
    trains_scales: ClassVar[bool] = True
    instance_wise: ClassVar[bool] = False
    """Whether every example gets its own prompt; `mixed_prompt` in files is then their mean."""
    tunes_from_other_prompt: ClassVar[bool] = False
    """Whether this is plain prompt tuning from another start: then Stage I's rate is used."""

    starts_from_tasks: ClassVar[bool] = True
    """Whether the Stage I prompts of the target and of its sources are tuned for the run."""
    can_hold: ClassVar[bool] = False
    """Whether sources can be pinned to the group, or banned from it, in mid-run."""
    derived: ClassVar[bool] = False
    """Whether a run starts only after its trials (see `trials`) have finished."""

    name: str

    @property
    def trial(self) -> bool:
        """Whether the run only serves to judge a subset of sources: no row of a comparison."""
        return False

    @property
    def subset_of_sources(self) -> tuple[str, ...]:
        """The sources merged by a trial."""
        return ()

    @property
    def logs_sources(self) -> bool:
        """Whether a run writes a Gram matrix and a row per source at every step."""
        return self.has_source_vectors or self.ranks_prompts

    @property
    def label(self) -> str:
        """Short name that tells variants apart: the name and every setting not at default."""
        parts = [self.name]
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if key == "name" or value == field.default or value is None:
                continue
            text = _in_letters(value)
            parts.append(text if isinstance(value, str) else f"{key.replace('_', '')}{text}")
        return "-".join(parts)

    def named_sources(self) -> tuple[str, ...]:
        """Return sources this configuration names; they must be among the experiment's."""
        return ()

    def expand(self, sources: tuple[str, ...]) -> tuple[MethodConfig, ...]:
        """Return the configurations this one stands for on a target with these sources.

        Args:
            sources: the target's sources.

        Returns:
            One per run of a seed; nothing where the method does not apply.
        """
        return () if self.uses_sources and not sources else (self,)

    def takes(self, sources: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the target's sources that a run reads."""
        return sources if self.uses_sources else ()

    def chosen(self, sources: tuple[str, ...]) -> tuple[bool, ...] | None:
        """Return which sources the configuration itself chooses; None where it chooses none."""
        return None

    def stackable(self) -> Self:
        """Return what runs must agree in to share a stack: without what differs run by run."""
        return self

    def preparation(self) -> MethodConfig | None:
        """Return what is trained on the mixture of the sources before the run, or None."""
        return None

    def prompt_count(self, sources: int) -> int:
        """Return how many prompts `[r d]` are trained."""
        return 1

    def scale_count(self, sources: int) -> int:
        """Return how many learned scales `[r]` there are beside the target's."""
        return sources if self.trains_scales and self.has_source_vectors else 0

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """Return how many learned gates, assignment logits or attention weights there are."""
        return 0

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that reproduce this method's decisions."""
        return RuleSettings("all_sources")


def _in_letters(value: Any) -> str:
    """Write a setting's value in the letters a name may have."""
    if isinstance(value, tuple | list):
        return "_".join(_in_letters(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
