"""ForkMerge: branches that train on the target with or without a source, merged by search.

All branches start from one prompt. Branch 0 trains on the target's batches, branch s on the sum
of the target's loss and source s's, each on a batch of its own data. Every K steps weights Λ on
the branches are searched on validation and every branch goes on from `Σ_b Λ_b P_b`; between
merges the run's prompt is the mixture of its branches. The search is greedy: start from the
best branch, then mix the others in, the better first, each with the weight that raises the
score, if any does. arXiv 2301.12618, algorithms 1 and 2.
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
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Fork the target's Stage I prompt; until a merge only the branch without source counts."""
        vectors = inputs.source_vectors
        runs, n = vectors.shape[:2]
        mixture = vectors.new_zeros((runs, n + 1))
        mixture[:, 0] = 1.0
        forked = inputs.target_prompt[:, None].expand(-1, n + 1, -1, -1)
        merged_at = torch.zeros(runs, dtype=torch.int64, device=mixture.device)
        return MethodState(
            {"prompt": trainable(forked)},
            {"init": inputs.init, "source_vectors": vectors},
            {MIXTURE: mixture, MERGED_AT: merged_at},
        )

    def branches(self, state: MethodState) -> Float[Tensor, "R B r d"]:
        """Return every branch's prompt."""
        return state.parameters["prompt"]

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """All branches' prompts to train; their mixture to evaluate."""
        branches, mixture = self.branches(state), state.memory[MIXTURE]
        sources = state.frozen["source_vectors"]
        prompt = branches.clone() if batch is not None else mix(branches, mixture)
        with torch.no_grad():
            own = mix(branches, mixture) - state.frozen["init"]
            weights = mixture[:, 1:]
            ones = torch.ones_like(own[..., 0])
            scales = torch.ones_like(weights)
            gram = gram_matrix(own, sources, ones, sources.new_ones(sources.shape[:-1]))
            apart = branches[:, 1:] - branches[:, :1]
            norms = apart.flatten(2).norm(dim=-1) * weights
        grouping = decide_on_device(gram, self.settings)
        beside = ((), *((place,) for place in range(sources.shape[1])))
        return PromptStep(prompt, weights, grouping, scales, norms, beside=beside)

    def search(self, state: MethodState, row: int, step: int, total: int) -> Search | None:
        """Merge the branches of a run that has just ended a round and has not merged yet."""
        if not due(self.config.merge_every, state, row, step, total):
            return None
        branches = self.branches(state)[row].detach().clone()
        return Merge(branches, row, step, self.config.grid, self.config.search_examples)


def due(every: int, state: MethodState, row: int, step: int, total: int) -> bool:
    """Return whether a run has just ended a round and has not merged yet."""
    if step == 0 or (step % every and step < total):
        return False
    return int(state.memory[MERGED_AT][row]) < step


@dataclass
class WeightSearch:
    """Greedy search of weights on branches; `propose` and `judge` take turns until done."""

    branches: int
    grid: tuple[float, ...]
    bounded: bool = True
    """Whether the grid's numbers are shares of the mean weight of the branches before, as in
    algorithm 2; else they are shares of the mixture."""
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """`[B]`, the best found so far; they sum to 1."""
    score: float = float("-inf")
    order: list[int] = field(default_factory=list)
    """Branches still to be mixed in, the best first."""
    tried: int = 0
    judged: int = 1
    """Branches that were mixed in or left out, the best one included."""
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
            if self.bounded:
                # weights α/j beside those that sum to 1, brought to sum 1 again
                share = share / (self.judged + share)
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
            self.judged += 1


class Merge(Search):
    """The merge of one run's branches at the end of a round.

    Args:
        branches: the branches' prompts.
        row: the run's in its stack.
        step: updates made.
        grid: tried for a branch.
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
    """Let every branch of a run go on from the merged prompt `Σ_b Λ_b P_b`.

    Each branch keeps its own Adam moments, as the authors' branches keep their optimisers.

    Args:
        state: of the stack.
        moments: both of Adam; not changed.
        row: the run's in the stack.
        weights: `[B]`.
        step: updates made.
    """
    share = torch.as_tensor(weights).to(state.memory[MIXTURE])
    with torch.no_grad():
        own = state.parameters["prompt"][row]
        own.copy_((share[:, None, None] * own).sum(0).expand_as(own))
        state.memory[MIXTURE][row] = share
        state.memory[MERGED_AT][row] = step


def mix(prompts: Float[Tensor, "R B r d"], weights: Float[Tensor, "R B"]) -> Tensor:
    """Return `Σ_b Λ_b P_b`, `[R r d]`."""
    return (weights[..., None, None] * prompts).sum(1)
