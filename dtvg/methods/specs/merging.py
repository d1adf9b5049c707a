"""Configurations of the methods that merge the sources' vectors by a formula.

Must not import torch. arXiv 2408.01119 (tpv_sum), 2405.07813 (consensus), 2411.18729 (awd),
2306.01708 (ties), 2311.03099 (dare), 2303.02861 (mpt).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dtvg.methods.specs.base import MethodConfig
from dtvg.methods.specs.plain import MptSources
from dtvg.rule.types import RuleSettings

OWN = "target"
"""Stands for the target's own vector among the coefficients."""


class MergingConfig(MethodConfig):
    """What the methods have in common whose merged vector is added to the target's."""

    coefficient: float = Field(
        1.0, gt=0, description="λ: factor of the merged vector while its learned scale is 1."
    )
    scale: Literal["merged", "source"] = Field(
        "merged",
        description="Learned per-token scale: one for the merged vector, or one per source.",
    )

    def scale_count(self, sources: int) -> int:
        """One scale for the merged vector, or one per source."""
        return min(1, sources) if self.scale == "merged" else sources


class Consensus(MergingConfig):
    """Source vectors without the entries that fewer than k of them use, added up."""

    title = "Consensus merging"
    paper = "Localizing Task Information (TALL masks), arXiv 2405.07813"
    summary = "Entries that fewer than k sources use are dropped from the sum of their vectors."

    name: Literal["consensus"] = "consensus"
    min_sources: int = Field(
        2, ge=1, description="k: entries that fewer sources use are dropped; 2 as in the paper."
    )
    mask_threshold: float | None = Field(
        None,
        ge=0,
        description="λ of the masks |T_s| ≥ λ·|ΣT − T_s|; empty: chosen for each source from 0.2, "
        "0.3, ..., 0.6.",
    )


class Awd(MergingConfig):
    """Source vectors minus a learned redundant vector, near-orthogonal, added up."""

    title = "Adaptive weight disentanglement"
    paper = "Adaptive Weight Disentanglement, arXiv 2411.18729"
    summary = "A learned redundant vector is subtracted from every source; the rest is added up."

    name: Literal["awd"] = "awd"
    norm_weight: float = Field(
        0.1, ge=0, description="Weight of the redundant vector's length against orthogonality."
    )
    iterations: int = Field(
        300, ge=0, le=10_000, description="Adam steps that learn the redundant vector."
    )
    learning_rate: float = Field(
        0.01, gt=0, description="Step size, as a share of the vectors' root mean square entry."
    )


class Ties(MergingConfig):
    """Trim, elect sign, and average the entries that agree."""

    title = "TIES merging"
    paper = "TIES-Merging, arXiv 2306.01708"
    summary = "Each source's largest entries, one sign per entry, mean of those that agree."

    name: Literal["ties"] = "ties"
    density: float = Field(
        0.2, gt=0, le=1, description="Share of each source's entries kept; the paper keeps 20 %."
    )


class Dare(MergingConfig):
    """Drop entries at random, enlarge the rest, merge."""

    title = "DARE merging"
    paper = "DARE, arXiv 2311.03099"
    summary = "Entries of every source dropped at random and the rest enlarged, then merged."

    name: Literal["dare"] = "dare"
    drop: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="p: share of entries dropped; the paper goes to 0.9 for small weight changes.",
    )
    merge: Literal["sum", "mean", "ties"] = Field(
        "sum", description="How what is left is merged: added up, averaged, or by TIES."
    )
    density: float = Field(0.2, gt=0, le=1, description="Density of TIES, where that merges.")


def parse_coefficients(text: str) -> dict[str, float]:
    """Return coefficients by source from text such as `mnli=1, qqp=-0.5`.

    Raises:
        ValueError: an entry that is no `name=number`, or a name twice.
    """
    found: dict[str, float] = {}
    for entry in filter(None, re.split(r"[,\s]+", text.strip())):
        name, equals, number = entry.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not equals or not name or value != value or abs(value) == float("inf"):
            raise ValueError(f"'{entry}' is no coefficient; write mnli=1, qqp=-0.5")
        if name in found:
            raise ValueError(f"'{name}' has two coefficients; give it one")
        found[name] = value
    return found


def _coefficients(value: Any) -> Any:
    """Turn a mapping into the text form, and put text into its one spelling."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, str):
        parsed = parse_coefficients(value)
        return ", ".join(f"{name}={number:.12g}" for name, number in parsed.items()) or None
    return value


class TpvSum(MethodConfig):
    """Start from the initial prompt plus a sum of source vectors, then tune on the target."""

    title = "Task prompt vectors"
    paper = "Task Prompt Vectors, arXiv 2408.01119"
    summary = "Prompt tuning started from the initial prompt plus a sum of source vectors."
    soft = True
    trains_scales = False
    tunes_from_other_prompt = True

    name: Literal["tpv_sum"] = "tpv_sum"
    combine: Literal["best_pair", "sum", "given"] = Field(
        "best_pair",
        description="Which vectors are added: the pair whose sum is most similar to the target's "
        "vector, all of them, or those with a given coefficient.",
    )
    coefficients: Annotated[str | None, BeforeValidator(_coefficients)] = Field(
        None,
        description="Given coefficients, e.g. mnli=1, qqp=-0.5; 'target' is the target's own "
        "vector. Sources not named have 0.",
    )

    @model_validator(mode="after")
    def _given_needs_coefficients(self) -> Self:
        if (self.combine == "given") != (self.coefficients is not None):
            raise ValueError(
                "'combine: given' and 'coefficients' go together: give both or neither"
            )
        return self

    @property
    def parsed(self) -> dict[str, float]:
        """Coefficients by name; empty unless given."""
        return parse_coefficients(self.coefficients or "")

    @property
    def label(self) -> str:
        """The name, how vectors are combined, and each coefficient, in a name's letters."""
        parts = [self.name, *([self.combine] if self.combine != "best_pair" else [])]
        return "-".join([*parts, *(f"{name}{value:g}" for name, value in self.parsed.items())])

    def named_sources(self) -> tuple[str, ...]:
        """Sources that must be among the experiment's."""
        return tuple(name for name in self.parsed if name != OWN)


class Mpt(MethodConfig):
    """One shared prompt times a rank-one matrix per task, distilled from the sources."""

    title = "Multitask prompt tuning"
    paper = "Wang et al. 2023, arXiv 2303.02861"
    summary = "A shared prompt distilled from the sources, times the target's rank-one matrix."
    has_source_vectors = False
    ranks_prompts = True
    trains_scales = False
    soft = True

    name: Literal["mpt"] = "mpt"
    start: Literal["fit", "mean"] = Field(
        "fit",
        description="The target's rank-one matrix starts as near as can be to its Stage I prompt, "
        "or at the mean of the sources'.",
    )
    distil: Literal["backbone", "prompts"] = Field(
        "backbone",
        description="The shared prompt is trained on the sources' data after their teachers, or "
        "fitted to the teachers' prompts without data.",
    )
    distil_weight: float = Field(
        0.9, ge=0, description="λ: weight of the teachers' logits and hidden states in that loss."
    )
    iterations: int = Field(
        20, ge=1, le=1000, description="Rounds of the least squares that fit prompts."
    )

    def preparation(self) -> MptSources | None:
        """Source training, where the backbone distils."""
        if self.distil == "prompts":
            return None
        return MptSources(distil_weight=self.distil_weight, iterations=self.iterations)

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """The target's rank-one matrix."""
        return length + width

    def grouping_settings(self) -> RuleSettings:
        """Settings of `decide` that give the logged ranking: cosines of pooled prompts."""
        return RuleSettings("nearest", measure="cosine", threshold=float("-inf"))
