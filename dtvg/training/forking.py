"""Merging the branches of `forkmerge`: weights are searched on validation, in the loop.

The search is greedy: start from the best branch, then mix the others in, the better first, each
with the weight of the grid that raises the score, if any does. All runs that are due search
together, so that a level costs one evaluation. Must not import streamlit or plotly.
arXiv 2301.12618, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dtvg.methods import forkmerge
from dtvg.training.cohort import Cohort
from dtvg.training.evaluate import Question, answer, evaluation_rows
from dtvg.training.state import RunSlot, Stack


@dataclass
class Search:
    """Greedy search of one run's weights; `propose` and `judge` take turns until done."""

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


def merge_branches(cohort: Cohort) -> None:
    """Merge the branches of every run that has come to the end of a round."""
    found = [
        (stack, slot)
        for stack in cohort.stacks
        if isinstance(stack.method, forkmerge.Method)
        for slot in stack.slots
        if _is_due(stack, slot)
    ]
    if not found:
        return
    prompts: dict[str, Tensor] = {}
    for stack in {id(stack): stack for stack, _ in found}.values():
        method: forkmerge.Method = stack.method  # type: ignore[assignment]
        with torch.no_grad():
            made = method.branches(stack.state)
        prompts.update({slot.name: made[i] for i, slot in enumerate(stack.slots)})
    searches = {
        slot.name: Search(prompts[slot.name].shape[0], stack.method.config.grid)  # type: ignore[attr-defined]
        for stack, slot in found
    }
    search_together(
        [searches[slot.name] for _, slot in found],
        lambda asked: _scores(cohort, [slot for _, slot in found], prompts, asked),
    )
    for stack, slot in found:
        apply_weights(stack, stack.slots.index(slot), searches[slot.name].weights, slot.step)
        _tell(cohort, slot, searches[slot.name])


def search_together(
    searches: Sequence[Search],
    score: Callable[[list[np.ndarray | None]], list[list[float]]],
) -> None:
    """Run searches side by side.

    Args:
        searches: one per run.
        score: takes one `[C B]` per run (None for those that are done), returns their scores.
    """
    while not all(search.done for search in searches):
        asked = [None if search.done else search.propose() for search in searches]
        for search, scores in zip(searches, score(asked), strict=True):
            if not search.done:
                search.judge(scores)


def _is_due(stack: Stack, slot: RunSlot) -> bool:
    """Whether a run has just ended a round and has not merged yet."""
    every = stack.method.config.merge_every  # type: ignore[attr-defined]
    if slot.step == 0 or (slot.step % every and slot.step < slot.config.total_steps):
        return False
    place = stack.slots.index(slot)
    return int(stack.state.memory[forkmerge.MERGED_AT][place]) < slot.step


def _scores(
    cohort: Cohort,
    slots: Sequence[RunSlot],
    prompts: dict[str, Tensor],
    asked: Sequence[np.ndarray | None],
) -> list[list[float]]:
    """Score mixtures of the runs' branches on validation, all in one evaluation."""
    questions, counts = [], []
    for slot, weights in zip(slots, asked, strict=True):
        counts.append(0 if weights is None else len(weights))
        if weights is None:
            continue
        branches, evaluation = prompts[slot.name], slot.config.evaluation
        most = min(slot.config.method.search_examples, evaluation.max_examples)  # type: ignore[attr-defined]
        (task,) = slot.data.tasks
        rows = evaluation_rows(task, "validation", most, slot.config.data.seed)
        way = (evaluation.mode, evaluation.constrained)
        shares = torch.as_tensor(weights, dtype=branches.dtype, device=branches.device)
        for mixed in torch.einsum("cb,brd->crd", shares, branches):
            questions.append(Question(mixed, task, "validation", rows, *way))
    answers = iter(answer(cohort.backbone, questions, cohort.budget * 2))
    return [[next(answers).metrics["score"] for _ in range(count)] for count in counts]


def apply_weights(stack: Stack, row: int, weights: np.ndarray, step: int) -> None:
    """Let every branch of a run go on from the mixture, Adam's moments mixed alike.

    The run's mixed prompt is the same before and after: prompts are mixed without their
    source's part, which the weights keep.
    """
    state = stack.state
    share = torch.as_tensor(weights).to(state.memory[forkmerge.MIXTURE])
    with torch.no_grad():
        for tensors in (state.parameters, stack.moments.first, stack.moments.second):
            own = tensors["prompt"][row]
            own.copy_((share[:, None, None] * own).sum(0).expand_as(own))
        state.memory[forkmerge.MIXTURE][row] = share
        state.memory[forkmerge.MERGED_AT][row] = step


def _tell(cohort: Cohort, slot: RunSlot, search: Search) -> None:
    """Write the event of a merge and keep the weights for the result."""
    names = ("no source", *slot.config.sources)
    share = {n: round(float(w), 6) for n, w in zip(names, search.weights, strict=True) if w > 0}
    slot.note["mixture"] = share
    terms = " + ".join(f"{weight:g} · {name}" for name, weight in share.items())
    cohort.event(
        slot,
        "merged",
        f"Branches merged to {terms}: validation {search.score:.4f}, the best of {search.tried} "
        "mixtures.",
    )
