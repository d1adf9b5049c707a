"""Configurations of the methods that decide a group of sources at every step.

Must not import torch. arXiv 2503.18063, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig

Rule = Literal[
    "greedy", "similarity_only", "consistency_only", "exact", "all_sources", "fixed", "empty"
]


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
