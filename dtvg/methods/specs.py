"""One frozen configuration class per transfer method: name, title, paper and fields.

The same object is a row of a YAML `methods:` list, a group of widgets in the launch form, a
part of a run's stored configuration and of its fingerprint. Must not import torch: the desk
reads it. METHOD.md "Names"; arXiv 2503.18063, sections 3 and 4.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dtvg.errors import unknown

Rule = Literal[
    "greedy", "similarity_only", "consistency_only", "exact", "all_sources", "fixed", "empty"
]


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
    trains_scales: ClassVar[bool] = True
    tunes_from_other_prompt: ClassVar[bool] = False
    """Whether this is plain prompt tuning from another start: then Stage I's rate is used."""

    name: str

    @property
    def label(self) -> str:
        """Short name that tells variants apart: the name and every setting not at default."""
        parts = [self.name]
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if key == "name" or value == field.default or value is None:
                continue
            text = f"{value:g}" if isinstance(value, float) else str(value).lower()
            parts.append(text if isinstance(value, str) else f"{key.replace('_', '')}{text}")
        return "-".join(parts)

    def grouping_settings(self) -> dict[str, Any]:
        """Arguments for `dtvg.grouping.decide` that reproduce this method's decisions."""
        return {"rule": "all_sources"}


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


class Spot(MethodConfig):
    """Start from the source prompt with the highest cosine to the target's, then tune."""

    title = "SPoT"
    paper = "Vu et al. 2022, arXiv 2110.07904"
    summary = "Prompt tuning started from the most similar source prompt."
    has_source_vectors = False
    trains_scales = False
    tunes_from_other_prompt = True

    name: Literal["spot"] = "spot"


class AllSources(MethodConfig):
    """Merge every source at every step: DTVG without grouping."""

    title = "All sources"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "Every source's vector merged at every step, no grouping."

    name: Literal["all_sources"] = "all_sources"


class AllForOne(MethodConfig):
    """One prompt tuned on the examples-proportional mixture of the sources, then transferred."""

    title = "All for one"
    paper = "arXiv 2503.18063; examples-proportional mixing as in arXiv 2110.07904"
    summary = "One prompt tuned on the mixture of all sources, then on the target."
    has_source_vectors = False
    trains_scales = False
    tunes_from_other_prompt = True

    name: Literal["all_for_one"] = "all_for_one"


class Dtvg(MethodConfig):
    """Dynamic task vector grouping: the group is decided anew at every step."""

    title = "DTVG"
    paper = "Dynamic Task Vector Grouping, arXiv 2503.18063"
    summary = "Sources ranked by target similarity, grouped by knowledge consistency, every step."

    name: Literal["dtvg"] = "dtvg"
    rule: Rule = Field(
        "greedy",
        description="How the group is decided: greedy is the paper's, the others its ablations "
        "(exact is the subset optimum the paper's heuristic approximates).",
    )
    measure: Literal["dot", "cosine"] = Field(
        "dot", description="Inner product of the pooled vectors (the paper's), or their cosine."
    )
    threshold: float = Field(
        0.0, description="Smallest target similarity of a candidate; the paper's is 0."
    )
    consistency_weight: float = Field(
        1.0, ge=0, description="λ of rule exact: weight of consistency against similarity."
    )
    exact_over: Literal["sources", "candidates"] = Field(
        "sources", description="Rule exact searches the subsets of all sources or of candidates."
    )
    exact_similarity: Literal["mean", "sum"] = Field(
        "mean", description="Rule exact takes the mean or the sum of the members' similarities."
    )
    scale_activation: Literal["identity", "sigmoid", "relu"] = Field(
        "identity", description="What the learned scales pass through; the paper's is identity."
    )

    def grouping_settings(self) -> dict[str, Any]:
        """Arguments for `dtvg.grouping.decide` that reproduce this method's decisions."""
        return {
            "rule": self.rule,
            "measure": self.measure,
            "threshold": self.threshold,
            "consistency_weight": self.consistency_weight,
            "exact_over": self.exact_over,
            "exact_similarity": self.exact_similarity,
        }


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


METHODS: dict[str, type[MethodConfig]] = {
    "none": NoTransfer,
    "target_only": TargetOnly,
    "single": Single,
    "spot": Spot,
    "all_sources": AllSources,
    "all_for_one": AllForOne,
    "dtvg": Dtvg,
}


def _from_name(value: Any) -> Any:
    """Let `dtvg` stand for `{name: dtvg}`, and name the nearest method for an unknown one."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict):
        name = value.get("name")
        if name != "prompt_tuning" and name not in METHODS:
            raise ValueError(
                unknown("method", str(name), METHODS, "`python -m dtvg methods list` shows them.")
            )
    return value


AnyMethod = Annotated[
    Annotated[
        NoTransfer | TargetOnly | Single | Spot | AllSources | AllForOne | Dtvg | PromptTuning,
        Field(discriminator="name"),
    ],
    BeforeValidator(_from_name),
]
