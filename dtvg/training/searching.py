"""Searches between steps: candidate prompts of runs are scored on validation, in the loop.

What is searched for, and what becomes of it, is the method's (`Search` in `methods/base.py`).
All runs that are due search together, so that a level costs one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dtvg.methods.base import Search
from dtvg.training.cohort import Cohort, is_due
from dtvg.training.evaluate import Question, evaluation_rows
from dtvg.training.state import RunSlot, Stack


class Turns(Protocol):
    """What takes turns: proposals and their scores."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to try."""

    def propose(self) -> Any:
        """Return candidates."""

    def judge(self, scores: Sequence[float]) -> None:
        """Take their scores."""


def search_between_steps(cohort: Cohort) -> None:
    """Let every run search for which a search is due, and apply what it found."""
    found = list(_due(cohort))
    if not found:
        return
    slots = [slot for _, slot, _ in found]
    search_together(
        [search for *_, search in found],
        lambda asked: _scores(cohort, slots, [search for *_, search in found], asked),
    )
    for stack, slot, search in found:
        search.apply(stack.state, (stack.moments.first, stack.moments.second))
        finding = search.finding(slot.config.sources)
        slot.note.update(finding.note)
        cohort.event(slot, finding.kind, finding.detail)


def _due(cohort: Cohort) -> list[tuple[Stack, RunSlot, Search]]:
    """Return the searches that are due, with their runs: none where the step cannot be the best."""
    found = []
    for stack in cohort.stacks:
        for row, slot in enumerate(stack.slots):
            if stack.method.searches_at == "evaluations" and not (is_due(slot) and slot.counts):
                continue
            search = stack.method.search(stack.state, row, slot.step, slot.config.total_steps)
            if search is not None:
                found.append((stack, slot, search))
    return found


def search_together(
    searches: Sequence[Turns], score: Callable[[list[Any | None]], list[list[float]]]
) -> None:
    """Run searches side by side.

    Args:
        searches: one per run.
        score: takes each run's candidates (None for those that are done), returns their scores.
    """
    while not all(search.done for search in searches):
        asked = [None if search.done else search.propose() for search in searches]
        for search, scores in zip(searches, score(asked), strict=True):
            if not search.done:
                search.judge(scores)


def _scores(
    cohort: Cohort,
    slots: Sequence[RunSlot],
    searches: Sequence[Search],
    asked: Sequence[Any | None],
) -> list[list[float]]:
    """Score the runs' candidates on validation, all in one evaluation."""
    questions, counts = [], []
    for slot, search, prompts in zip(slots, searches, asked, strict=True):
        counts.append(0 if prompts is None else len(prompts))
        if prompts is None:
            continue
        evaluation = slot.config.evaluation
        most = min(search.examples, evaluation.max_examples)
        (task,) = slot.data.tasks
        rows = evaluation_rows(task, "validation", most, slot.config.data.seed)
        way = (evaluation.mode, evaluation.constrained)
        for prompt in prompts:
            questions.append(Question(prompt, task, "validation", rows, *way))
    answers = iter(cohort.answers(questions))
    return [[next(answers).metrics["score"] for _ in range(count)] for count in counts]
