"""Configurations of the methods that learn gates or weights over the sources.

Must not import torch. arXiv 2203.16708 (taps), 2407.05082 (dmtg),
2104.13874 (relational), 2004.01305 (primal_dual).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import MethodConfig


class Taps(MethodConfig):
    """Per token, the shared prompt or the target's own, by a learned gate."""

    title = "TAPS"
    paper = "Task Adaptive Parameter Sharing, arXiv 2203.16708"
    summary = "Learned 0/1 gates per token: the shared prompt, or the target's own token."
    trains_scales = False
    soft = True

    name: Literal["taps"] = "taps"
    base: Literal["mean_sources", "init"] = Field(
        "mean_sources", description="The shared prompt: mean of the sources', or the initial one."
    )
    threshold: float = Field(0.1, description="τ: a gate is open while its score reaches this.")
    score_start: float = Field(0.2, description="Scores at the start; above the threshold: open.")
    sparsity: float = Field(
        0.05, ge=0, description="λ: weight of the mean score, which pushes gates towards closed."
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """One score per token."""
        return length


class Dmtg(MethodConfig):
    """Which sources share the target's group, learned by Gumbel-softmax in one run."""

    title = "DMTG"
    paper = "One-Shot Differentiable Multi-Task Grouping, arXiv 2407.05082"
    summary = "Sources assigned to groups by a learned Gumbel-softmax; one group is the target's."
    soft = True

    name: Literal["dmtg"] = "dmtg"
    groups: int = Field(
        2, ge=2, le=16, description="K: groups a source can be in; the first is the target's."
    )
    sample: Literal["soft", "hard"] = Field(
        "soft", description="Relaxed assignments in training, or one-hot ones (straight through)."
    )
    temperature_start: float = Field(
        2.5, gt=0, description="Temperature of the relaxation at the first step."
    )
    temperature_end: float = Field(
        0.1, gt=0, description="Temperature when learning ends; falls exponentially until then."
    )
    learn_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the steps in which the grouping is learned; then it is fixed.",
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """One logit per source and group."""
        return sources * self.groups


class Relational(MethodConfig):
    """Per source one kind of context, chosen by differentiable search."""

    title = "Relational context"
    paper = "Exploring Relational Context (ATRC), arXiv 2104.13874"
    summary = "Per source a searched kind of context: token by token, attended, or none."
    soft = True

    name: Literal["relational"] = "relational"
    projection: int = Field(
        16, ge=1, le=1024, description="h: width of the attention's queries and keys."
    )
    window: int = Field(
        0, ge=0, description="Local context: source tokens at most so many places away."
    )
    sample: Literal["soft", "hard"] = Field(
        "soft", description="Relaxed choices in the search, or one-hot ones (straight through)."
    )
    temperature_start: float = Field(
        2.5, gt=0, description="Temperature of the relaxation at the first step."
    )
    temperature_end: float = Field(
        0.1, gt=0, description="Temperature when the search ends; falls exponentially until then."
    )
    search_share: float = Field(
        0.5, ge=0, le=1, description="Share of the steps that search; then the choices are kept."
    )

    def gate_count(self, length: int, width: int, sources: int) -> int:
        """Three logits per source, queries and keys."""
        return 3 * sources + 2 * width * self.projection


class PrimalDual(MethodConfig):
    """An online task-relation matrix, learned in the dual, weighs the sources."""

    title = "Primal-dual relations"
    paper = "Distributed Primal-Dual Online Multi-Task Learning, arXiv 2004.01305"
    summary = "A task-relation matrix learned online from per-task duals weighs the sources."
    trains_scales = False
    soft = True

    name: Literal["primal_dual"] = "primal_dual"
    rate: float = Field(
        5.0, gt=0, description="η: how sharply the relation matrix follows the duals."
    )
    skip: float = Field(
        0.0, ge=0, lt=1, description="Chance of a task to skip a round; its exchange waits."
    )
