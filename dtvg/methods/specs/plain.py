"""Configurations of the baselines: no transfer, one source, all sources, Stage I itself.

Must not import torch. METHOD.md "Names"; arXiv 2503.18063, section 4.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig
from dtvg.rule.types import RuleSettings


class NoTransfer(MethodConfig):
    """No transfer: the target's Stage I prompt is tuned on for the whole Stage II budget."""

    title = "No transfer"
    paper = "Lester et al. 2021, arXiv 2104.08691"
    summary = "Prompt tuning on the target alone, continued for the Stage II budget."
    uses_sources = False
    has_source_vectors = False
    trains_scales = False

    name: Literal["none"] = "none"


class TargetOnly(MethodConfig):
    """The target's own vector with its learned scale; no sources (paper, ablation)."""

    title = "Target only"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "The target's vector with its per-token scale, no sources."
    uses_sources = False
    has_source_vectors = False

    name: Literal["target_only"] = "target_only"


class Single(MethodConfig):
    """One source's vector is merged at every step; without `source`, one run per source."""

    title = "Single source"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "One given source merged at every step; one run per source."

    name: Literal["single"] = "single"
    source: str | None = Field(
        None, description="Name of the source task; empty: one run for each source."
    )

    def named_sources(self) -> tuple[str, ...]:
        """The one source, if given."""
        return () if self.source is None else (self.source,)

    def expand(self, sources: tuple[str, ...]) -> tuple[MethodConfig, ...]:
        """One run per source, or the given one where the target has it."""
        if self.source is None:
            return tuple(self.model_copy(update={"source": name}) for name in sources)
        return (self,) if self.source in sources else ()

    def takes(self, sources: tuple[str, ...]) -> tuple[str, ...]:
        """The one source."""
        return sources if self.source is None else (self.source,)

    def stackable(self) -> Single:
        """Which source it is differs run by run."""
        return self.model_copy(update={"source": None})


class Spot(MethodConfig):
    """Start from the source prompt with the highest cosine to the target's, then tune."""

    title = "SPoT"
    paper = "Vu et al. 2022, arXiv 2110.07904"
    summary = "Prompt tuning started from the most similar source prompt."
    has_source_vectors = False
    soft = True
    ranks_prompts = True
    trains_scales = False
    tunes_from_other_prompt = True

    name: Literal["spot"] = "spot"

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that give the logged ranking: cosines of pooled prompts."""
        return RuleSettings("nearest", measure="cosine", threshold=float("-inf"))


class SpotDynamic(MethodConfig):
    """SPoT that chooses again every k steps and restarts from the source that is nearest then."""

    title = "SPoT, choosing again"
    paper = "ours; SPoT is Vu et al. 2022, arXiv 2110.07904"
    summary = "SPoT whose source is chosen again every k steps; a change restarts the prompt."
    has_source_vectors = False
    ranks_prompts = True
    trains_scales = False
    tunes_from_other_prompt = True

    name: Literal["spot_dynamic"] = "spot_dynamic"
    regroup_every: int = Field(
        100, ge=1, description="k: the source is chosen anew at steps 1, 1 + k, 1 + 2k, …"
    )

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that give the logged choice: cosines of pooled prompts."""
        return RuleSettings(
            "nearest",
            measure="cosine",
            threshold=float("-inf"),
            regroup_every=self.regroup_every,
        )


class AllSources(MethodConfig):
    """Merge every source at every step: DTVG without grouping."""

    title = "All sources"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "Every source's vector merged at every step, no grouping."
    can_hold = True

    name: Literal["all_sources"] = "all_sources"


class AllForOne(MethodConfig):
    """One prompt tuned on the examples-proportional mixture of the sources, then transferred."""

    title = "All for one"
    paper = "arXiv 2503.18063; examples-proportional mixing as in arXiv 2110.07904"
    summary = "One prompt tuned on the mixture of all sources, then on the target."
    has_source_vectors = False
    trains_scales = False
    tunes_from_other_prompt = True

    starts_from_tasks = False

    name: Literal["all_for_one"] = "all_for_one"

    def preparation(self) -> MethodConfig:
        """Prompt tuning."""
        return PromptTuning()


class PromptTuning(MethodConfig):
    """Stage I: plain prompt tuning of one task, or of a mixture, from the initial prompt.

    Not a transfer method and not listed with them; it makes what they start from.
    """

    title = "Prompt tuning (Stage I)"
    paper = "Lester et al. 2021, arXiv 2104.08691"
    summary = "Stage I: the task's own prompt, tuned from the shared initial prompt."
    uses_sources = False
    has_source_vectors = False
    trains_scales = False

    name: Literal["prompt_tuning"] = "prompt_tuning"


class MptSources(MethodConfig):
    """Source training of `mpt`: a shared prompt and rank-one matrices that follow the teachers.

    Not a transfer method and not listed with them; it trains on the mixture of the sources.
    """

    title = "Multitask prompt tuning, source training"
    paper = "Wang et al. 2023, arXiv 2303.02861"
    summary = "A shared prompt times a rank-one matrix per source, distilled from their prompts."
    has_source_vectors = False
    trains_scales = False

    name: Literal["mpt_sources"] = "mpt_sources"
    distil_weight: float = Field(
        0.9, ge=0, description="λ: weight of the teachers' logits and hidden states in the loss."
    )
    iterations: int = Field(
        20, ge=1, le=1000, description="Rounds of the least squares that give the start."
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """A rank-one matrix per source."""
        return sources * (length + width)
