"""ForkMerge: branches with no source and with one source each, merged by searched weights.

Branch 0 trains `P_init + T_0`, branch s trains `P_init + T_s' + α_s ⊙ T_s` (its own copy of
the target's vector with source s merged in), all on the same batches. Every K steps weights Λ
on the branches are searched on validation; every branch goes on from `Σ_b Λ_b P_b`, and
between merges the run's prompt is the mixture of its branches. The search is greedy: start
from the best branch, then mix the others in, the better first, each with the weight of the
grid that raises the score, if any does. arXiv 2301.12618, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Finding,
    Inputs,
    MethodState,
    PromptStep,
    Role,
    Search,
    StepBatch,
    TransferMethod,
    trainable,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import gram_matrix

MIXTURE, MERGED_AT = "mixture", "merged_at"
"""Names in `MethodState.memory`: Λ `[R B]`, and the step `[R]` of the last merge."""


class Method(TransferMethod):
    """`forkmerge`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt", "scale_sources": "scale"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Fork the target's Stage I prompt; until a merge only the branch without source counts."""
        runs, n, length, _ = inputs.source_vectors.shape
        vectors = inputs.source_vectors
        none = torch.zeros_like(vectors[:, :1])
        mixture = vectors.new_zeros((runs, n + 1))
        mixture[:, 0] = 1.0
        forked = inputs.target_prompt[:, None].expand(-1, n + 1, -1, -1)
        return MethodState(
            {
                "prompt": trainable(forked),
                "scale_sources": trainable(vectors.new_ones((runs, n + 1, length))),
            },
            {"init": inputs.init, "branch_vectors": torch.cat([none, vectors], dim=1)},
            {
                MIXTURE: mixture,
                MERGED_AT: torch.zeros(runs, dtype=torch.int64, device=mixture.device),
            },
        )

    def branches(self, state: MethodState) -> Float[Tensor, "R B r d"]:
        """Return every branch's prompt."""
        scale = state.parameters["scale_sources"][..., None]
        return state.parameters["prompt"] + scale * state.frozen["branch_vectors"]

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """All branches' prompts to train; their mixture to evaluate."""
        branches, mixture = self.branches(state), state.memory[MIXTURE]
        prompt = branches if batch is not None else mix(branches, mixture)
        sources, scale = state.frozen["branch_vectors"][:, 1:], state.parameters["scale_sources"]
        with torch.no_grad():
            own = mix(state.parameters["prompt"], mixture) - state.frozen["init"]
            ones, weights = torch.ones_like(own[..., 0]), mixture[:, 1:]
            gram = gram_matrix(own, sources, ones, scale[:, 1:])
            norms = (scale[:, 1:, :, None] * sources).flatten(2).norm(dim=-1) * weights
            grouping = decide_on_device(gram, self.settings)
        return PromptStep(prompt, weights, grouping, scale[:, 1:].detach().mean(-1), norms)

    def search(self, state: MethodState, row: int, step: int, total: int) -> Search | None:
        """Merge the branches of a run that has just ended a round and has not merged yet."""
        if step == 0 or (step % self.config.merge_every and step < total):
            return None
        if int(state.memory[MERGED_AT][row]) >= step:
            return None
        with torch.no_grad():
            branches = self.branches(state)[row]
        return Merge(branches, row, step, self.config.grid, self.config.search_examples)


@dataclass
class WeightSearch:
    """Greedy search of weights on branches; `propose` and `judge` take turns until done."""

    branches: int
    grid: tuple[float, ...]
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """`[B]`, the best found so far; they sum to 1."""
    score: float = float("-inf")
    order: list[int] = field(default_factory=list)
    """Branches still to be mixed in, the best first."""
    tried: int = 0
    _asked: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def done(self) -> bool:
        """Whether nothing is left to try."""
        return self.tried > 0 and not self.order

    def propose(self) -> np.ndarray:
        """Return weights `[C B]` to be scored next: every branch alone, then mixtures."""
        alone = np.eye(self.branches)
        if self.tried == 0:
            self._asked = alone
        else:
            share = np.array(self.grid)[:, None]
            self._asked = (1 - share) * self.weights + share * alone[self.order[0]]
        return self._asked

    def judge(self, scores: Sequence[float]) -> None:
        """Take the scores of what was proposed; on ties what came first stays."""
        first = self.tried == 0
        self.tried += len(scores)
        best = int(np.argmax(scores))
        if scores[best] > self.score:
            self.weights, self.score = self._asked[best], float(scores[best])
        if first:
            ranked = sorted(range(self.branches), key=lambda b: -scores[b])
            self.order = ranked[1:]
        else:
            self.order.pop(0)


class Merge(Search):
    """The merge of one run's branches at the end of a round.

    Args:
        branches: the branches' prompts.
        row: the run's in its stack.
        step: updates made.
        grid: weights tried for a branch.
        examples: validation rows that decide.
    """

    def __init__(
        self,
        branches: Float[Tensor, "B r d"],
        row: int,
        step: int,
        grid: tuple[float, ...],
        examples: int,
    ) -> None:
        self.branches, self.row, self.step, self.examples = branches, row, step, examples
        self.weights = WeightSearch(len(branches), grid)

    @property
    def done(self) -> bool:
        """Whether every branch was tried."""
        return self.weights.done

    def propose(self) -> Float[Tensor, "c r d"]:
        """Return mixtures of the branches."""
        asked, branches = self.weights.propose(), self.branches
        shares = torch.as_tensor(asked, dtype=branches.dtype, device=branches.device)
        return torch.einsum("cb,brd->crd", shares, branches)

    def judge(self, scores: Sequence[float]) -> None:
        """Keep the best weights."""
        self.weights.judge(scores)

    def apply(self, state: MethodState, moments: Sequence[dict[str, Tensor]]) -> None:
        """Let every branch go on from the mixture."""
        apply_weights(state, moments, self.row, self.weights.weights, self.step)

    def finding(self, sources: Sequence[str]) -> Finding:
        """The weights, for the event and the result."""
        names = ("no source", *sources)
        weights = zip(names, self.weights.weights, strict=True)
        share = {name: round(float(w), 6) for name, w in weights if w > 0}
        terms = " + ".join(f"{weight:g} · {name}" for name, weight in share.items())
        sentence = (
            f"Branches merged to {terms}: validation {self.weights.score:.4f}, the best of "
            f"{self.weights.tried} mixtures."
        )
        return Finding("merged", sentence, {"mixture": share})


def apply_weights(
    state: MethodState,
    moments: Sequence[dict[str, Tensor]],
    row: int,
    weights: np.ndarray,
    step: int,
) -> None:
    """Let every branch of a run go on from the mixture, Adam's moments mixed alike.

    The run's mixed prompt is the same before and after: prompts are mixed without their
    source's part, which the weights keep.

    Args:
        state: of the stack.
        moments: both of Adam.
        row: the run's in the stack.
        weights: `[B]`.
        step: updates made.
    """
    share = torch.as_tensor(weights).to(state.memory[MIXTURE])
    with torch.no_grad():
        for tensors in (state.parameters, *moments):
            own = tensors["prompt"][row]
            own.copy_((share[:, None, None] * own).sum(0).expand_as(own))
        state.memory[MIXTURE][row] = share
        state.memory[MERGED_AT][row] = step


def mix(prompts: Float[Tensor, "R B r d"], weights: Float[Tensor, "R B"]) -> Tensor:
    """Return `Σ_b Λ_b P_b`, `[R r d]`."""
    return (weights[..., None, None] * prompts).sum(1)
