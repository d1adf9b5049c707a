"""Surrogate: the sources that a linear model of trained subsets shows to be helpful are merged.

The trials train on a given subset; the fit between them and the final run is `specs.trials`. The
final run trains the subset of every cut of the coefficients side by side, on the same batches,
and is the branch with the best validation score so far: the cut is searched, as the paper
searches its threshold. arXiv 2303.14582, section 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import (
    Finding,
    Inputs,
    MethodState,
    PromptStep,
    Search,
    StepBatch,
    trainable,
)
from dtvg.methods.oracle import Method as OnSubset

KEPT, BEST, SEARCHED_AT = "kept", "best_score", "searched_at"
"""Names in `MethodState.memory` where the cut is searched: place of the branch that is scored, its
highest score so far, and the step of the last search, each `[R]`."""


class Method(OnSubset):
    """`surrogate`: see the module's first lines."""

    config: Any
    searches_at: ClassVar[Literal["any_step", "evaluations"]] = "evaluations"

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as DTVG does; where several subsets are given, once for each of them."""
        state = super().prepare(inputs)
        if inputs.candidates is None:
            return state
        count = inputs.candidates.shape[1]
        forked = {
            name: trainable(value[:, None].expand(-1, count, *value.shape[1:]))
            for name, value in state.parameters.items()
        }
        same = (inputs.candidates == state.frozen["chosen"][:, None]).all(-1)
        places = torch.zeros(len(same), dtype=torch.int64, device=same.device)
        memory = {
            KEPT: same.to(torch.int64).argmax(1),
            BEST: inputs.init.new_full((len(same),), float("-inf")),
            SEARCHED_AT: places - 1,
        }
        frozen = {**state.frozen, "candidates": inputs.candidates}
        return dataclasses.replace(
            state, parameters=forked, frozen=frozen, memory={**state.memory, **memory}
        )

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """The subset's prompt; or every branch's to train, the kept one's to evaluate."""
        if "candidates" not in state.frozen:
            return super().forward(state, batch)
        kept = state.memory[KEPT]
        step = super().forward(self._branch(state, kept), batch)
        return step if batch is None else dataclasses.replace(step, prompt=self.branches(state))

    def branches(self, state: MethodState) -> Float[Tensor, "R B r d"]:
        """Return the prompt of every subset."""
        subsets = state.frozen["candidates"]
        made = [
            super(Method, self).forward(self._branch(state, torch.full_like(state.memory[KEPT], b)))
            for b in range(subsets.shape[1])
        ]
        return torch.stack([step.prompt for step in made], dim=1)

    def _branch(self, state: MethodState, place: Tensor) -> MethodState:
        """Return the state of one branch of each run, on the graph of the whole."""
        rows = torch.arange(len(place), device=place.device)
        own = {name: value[rows, place] for name, value in state.parameters.items()}
        chosen = state.frozen["candidates"][rows, place]
        frozen = {**state.frozen, "chosen": chosen}
        return dataclasses.replace(state, parameters=own, frozen=frozen)

    def search(self, state: MethodState, row: int, step: int, total: int) -> Search | None:
        """Score every branch of a run that is about to be evaluated."""
        if "candidates" not in state.frozen or int(state.memory[SEARCHED_AT][row]) >= step:
            return None
        with torch.no_grad():
            prompts = self.branches(state)[row]
        subsets = state.frozen["candidates"][row].cpu().numpy() > 0
        best = (int(state.memory[KEPT][row]), float(state.memory[BEST][row]))
        return CutSearch(prompts, subsets, best, row, step)


class CutSearch(Search):
    """Which branch of a run is scored: the one with the best score so far.

    Args:
        prompts: of the branches.
        subsets: `[B n]`, whose sources each has.
        best: place and score of the best branch so far.
        row: the run's in its stack.
        step: updates made.
    """

    examples = 2**31
    """All rows that an evaluation takes."""

    def __init__(
        self,
        prompts: Float[Tensor, "B r d"],
        subsets: np.ndarray,
        best: tuple[int, float],
        row: int,
        step: int,
    ) -> None:
        self.prompts, self.subsets, self.row, self.step = prompts, subsets, row, step
        self.place, self.score = best
        self.judged = False

    @property
    def done(self) -> bool:
        """Whether the branches were scored."""
        return self.judged

    def propose(self) -> Float[Tensor, "c r d"]:
        """Return every branch's prompt."""
        return self.prompts

    def judge(self, scores: Sequence[float]) -> None:
        """Keep the best branch, the one with fewer sources on ties, if it is better than before."""
        self.judged = True
        best = int(np.argmax(scores))
        if scores[best] > self.score:
            self.place, self.score = best, float(scores[best])

    def apply(self, state: MethodState, moments: Sequence[dict[str, Tensor]]) -> None:
        """Remember which branch is scored."""
        state.memory[KEPT][self.row] = self.place
        state.memory[BEST][self.row] = self.score
        state.memory[SEARCHED_AT][self.row] = self.step

    def finding(self, sources: Sequence[str]) -> Finding:
        """The subset of the best branch."""
        subset = [
            name for name, held in zip(sources, self.subsets[self.place], strict=True) if held
        ]
        merged = ", ".join(subset) or "no source"
        detail = (
            f"The best of {len(self.subsets)} cuts so far merges {merged}: "
            f"validation {self.score:.4f}."
        )
        return Finding("cut", detail, {"subset": subset})
