"""Whether training did anything: what a run's own rows say, and what its sources had learned.

`Signs` are gathered while a run trains, or read again from the log of a run that noted none;
`marks` puts them in words. Pure numbers and files, no torch. docs/run_files.md "Health".
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from dtvg.errors import StoreError
from dtvg.store.bank import ADVICE, NOT_MOVED, SURE
from dtvg.store.reader import Run, open_run, read_prompts, read_table

NO_GRADIENT = "no gradient"
UNTOUCHED = "did not move"
NEVER_FELL = "loss never fell"
SATURATED = "validation saturated"
GUESSING = "no better than guessing"
KINDS = (NO_GRADIENT, UNTOUCHED, NEVER_FELL, SATURATED, GUESSING)
"""What is marked, the gravest first."""
EVENTS = {
    NO_GRADIENT: "no_gradient",
    UNTOUCHED: "not_moved",
    NEVER_FELL: "loss_never_fell",
    SATURATED: "saturated",
    GUESSING: "guessing",
}
"""Kind of the event in which a run says it."""

SHARE = 0.1
"""Share of steps without a gradient from which on it is said."""
LEAST_STEPS = 20
"""Steps below which nothing is said of the loss."""
LEAST_SCORES = 3
"""Evaluations below which nothing is said of them."""
WINDOWS = 16
"""Stretches of steps whose mean losses are compared, at most."""
STILL = 1e-6
"""A prompt that moved less than this share of its length did not move."""


class Guess(NamedTuple):
    """What always giving the commonest answer scores on the rows that a run is scored on."""

    validation: float
    n_validation: int
    test: float | None = None
    n_test: int = 0


class Mark(NamedTuple):
    """One thing that is wrong with a run: what, and with which numbers."""

    kind: str
    sentence: str


@dataclass
class Signs:
    """Running counts over a run's steps and evaluations, of bounded size."""

    steps: int = 0
    without_gradient: int = 0
    width: int = 1
    """Steps of a window."""
    sums: list[float] = field(default_factory=list)
    """Summed losses of the windows; the last may not be full."""
    filled: int = 0
    """Steps in the last window."""
    evaluations: int = 0
    best: float | None = None
    best_step: int = 0
    at_best: int = 0
    """Evaluations that reached the best score."""
    told: list[str] = field(default_factory=list)
    """Kinds that an event told of."""

    def add_steps(self, losses: Sequence[float], grad_norms: Sequence[float]) -> None:
        """Count steps: the loss, and the gradient norm before clipping."""
        self.steps += len(losses)
        self.without_gradient += int((np.asarray(grad_norms) == 0.0).sum())
        for loss in np.asarray(losses, dtype=float):
            if not self.sums or self.filled == self.width:
                self._make_room()
                self.sums.append(0.0)
                self.filled = 0
            self.sums[-1] += float(loss)
            self.filled += 1

    def _make_room(self) -> None:
        """Join neighbouring windows once all are full."""
        if len(self.sums) == WINDOWS:
            self.sums = [a + b for a, b in zip(self.sums[::2], self.sums[1::2], strict=True)]
            self.width *= 2

    def add_score(self, step: int, score: float) -> None:
        """Count an evaluation on validation."""
        self.evaluations += 1
        if self.best is None or score > self.best:
            self.best, self.best_step, self.at_best = score, step, 0
        self.at_best += score == self.best

    @property
    def losses(self) -> np.ndarray:
        """Mean losses of the full windows, in order."""
        full = self.sums if self.filled == self.width else self.sums[:-1]
        return np.asarray(full, dtype=float) / self.width

    def to_json(self) -> dict[str, Any]:
        """Return what a commit keeps."""
        return {k: list(v) if isinstance(v, list) else v for k, v in self.__dict__.items()}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Signs:
        """Return what a commit kept."""
        known: dict[str, Any] = {
            k: list(v) if isinstance(v, list) else v
            for k, v in values.items()
            if k in Signs.__dataclass_fields__
        }
        return Signs(**known)


def marks(
    signs: Signs,
    ended: bool,
    best_step: int | None = None,
    moved: float | None = None,
    guess: Guess | None = None,
    test_score: float | None = None,
) -> tuple[Mark, ...]:
    """Say what is wrong with a run.

    Args:
        signs: of its steps and evaluations.
        ended: whether it has finished.
        best_step: so far, where the run tells; None: the first with the best score.
        moved: how far its prompt moved, as a share of the initial one's norm; None: not known.
        guess: what the commonest answer scores.
        test_score: of a finished run.
    """
    found = (
        _no_gradient(signs),
        _untouched(signs, ended, best_step, moved),
        _never_fell(signs),
        _saturated(signs),
        _guessing(signs, guess, ended, test_score),
    )
    return tuple(mark for mark in found if mark is not None)


def _no_gradient(signs: Signs) -> Mark | None:
    share = signs.without_gradient / signs.steps if signs.steps else 0.0
    if share < SHARE or signs.without_gradient < min(3, signs.steps):
        return None
    return Mark(
        NO_GRADIENT,
        f"{signs.without_gradient:,} of {signs.steps:,} steps ({100 * share:.0f} %) had a gradient "
        "of exactly zero, so they taught nothing. A lower learning rate helps where the prompt "
        "was thrown too far away.",
    )


def _untouched(
    signs: Signs, ended: bool, best_step: int | None, moved: float | None
) -> Mark | None:
    if moved is not None and moved <= STILL:
        return Mark(UNTOUCHED, "The final prompt is the initial one: training changed nothing.")
    step = signs.best_step if best_step is None else best_step
    if step != 0 or not (ended or signs.evaluations > LEAST_SCORES):
        return None
    said = "The best prompt is the initial one" if ended else "The start is still the best prompt"
    return Mark(
        UNTOUCHED,
        f"{said}: no step scored better on validation in {signs.evaluations:,} evaluations.",
    )


def _never_fell(signs: Signs) -> Mark | None:
    losses = signs.losses
    if signs.steps < LEAST_STEPS or len(losses) < 4 or not losses[0] > 1e-6:
        return None
    if losses[1:].min() < losses[0] * (1 - 1e-3):
        return None
    return Mark(
        NEVER_FELL,
        f"The training loss never fell below that of the first {signs.width:,} steps: mean "
        f"{losses[0]:.4g} there, at best {losses[1:].min():.4g} later, {losses[-1]:.4g} at the "
        "end.",
    )


def _saturated(signs: Signs) -> Mark | None:
    count, best = signs.evaluations, signs.best
    if best is None or signs.at_best < max(LEAST_SCORES, count / 2):
        return None
    return Mark(
        SATURATED,
        f"{signs.at_best:,} of {count:,} evaluations have the best validation score, "
        f"{100 * best:.1f} %, so it does not tell steps apart; a larger evaluation.max_examples "
        "may.",
    )


def _guessing(
    signs: Signs, guess: Guess | None, ended: bool, test_score: float | None
) -> Mark | None:
    if guess is None or signs.best is None or not (ended or signs.evaluations > LEAST_SCORES):
        return None
    on_test = test_score is not None and guess.test is not None and guess.n_test > 0
    if on_test:
        assert test_score is not None and guess.test is not None
        split, score, common, rows = "test", test_score, guess.test, guess.n_test
    else:
        split, score, common = "validation", signs.best, guess.validation
        rows = guess.n_validation
    if score > _reach(common, rows):
        return None
    return Mark(
        GUESSING,
        f"{split.capitalize()} {100 * score:.1f} % of {rows:,} rows is not surely above the "
        f"{100 * common:.1f} % of always giving the commonest answer.",
    )


def _reach(guess: float, rows: int) -> float:
    """Return the score above which a run is better than guessing, for sure."""
    return guess + SURE * float(np.sqrt(max(guess * (1 - guess), 0.0) / max(rows, 1)))


# -- runs as recorded ----------------------------------------------------------------------


def health_of(run: Run) -> tuple[Mark, ...]:
    """Return the marks of a run: as noted, else from its log."""
    noted = run.result.extra.get("health") if run.result is not None else run.health
    if isinstance(noted, Mapping):
        told = (Mark(kind, str(noted[kind])) for kind in KINDS if kind in noted)
        return tuple(mark for mark in told if mark.kind != GUESSING or not _is_refuted(run))
    if run.problem is not None or not run.step:
        return ()
    return _read_marks(run.path, _changed(run))


def _is_refuted(run: Run) -> bool:
    """Whether test shows a run to be better than guessing, which older runs judged by validation
    too."""
    guess = guess_of(run)
    if guess is None or guess.test is None or not guess.n_test or run.test_score is None:
        return False
    return run.test_score > _reach(guess.test, guess.n_test)


def _changed(run: Run) -> tuple[Any, ...]:
    """Return what changes when a run's log does; without times where it has no log."""
    found: list[Any] = [run.result is not None, run.step]
    for table in ("steps", "evals"):
        try:
            found.append(os.stat(f"{run.path}/{table}").st_mtime_ns)
        except OSError:
            found.append(None)
    return tuple(found)


@functools.lru_cache(maxsize=32_768)
def _read_marks(path: Path, changed: tuple[Any, ...]) -> tuple[Mark, ...]:
    run = open_run(path)
    try:
        signs = Signs() if changed[2:] == (None, None) else signs_of(run)
    except StoreError:
        return ()
    result = run.result
    return marks(
        signs,
        ended=result is not None,
        best_step=None if result is None else result.best_step,
        guess=guess_of(run),
        test_score=run.test_score,
    )


def signs_of(run: Run) -> Signs:
    """Read a run's signs from its log.

    Raises:
        StoreError: its files are damaged.
    """
    signs = Signs()
    rows = read_table(run, "steps", ["loss", "grad_norm"])
    signs.add_steps(rows.column("loss").to_numpy(), rows.column("grad_norm").to_numpy())
    evals = read_table(run, "evals", ["step", "split", "task", "metric", "value"])
    wanted = (("metric", "score"), ("split", "validation"), ("task", run.target))
    for column, value in wanted:
        evals = evals.filter(pc.equal(evals.column(column), value))
    newest = dict(zip(evals["step"].to_pylist(), evals["value"].to_pylist(), strict=True))
    for step in sorted(newest):
        signs.add_score(step, newest[step])
    return signs


def guess_of(run: Run) -> Guess | None:
    """Return what always giving the commonest answer scores, as noted by the run."""
    noted = run.guessing
    if noted is None and run.result is not None:
        noted = run.result.extra.get("guessing")
    if not isinstance(noted, Mapping) or "validation" not in noted:
        return None
    known = {k: noted.get(k) for k in Guess._fields}
    return Guess(
        float(known["validation"] or 0.0),
        int(known["n_validation"] or 0),
        None if known["test"] is None else float(known["test"]),
        int(known["n_test"] or 0),
    )


# -- the sources of a run ------------------------------------------------------------------


def weak_sources(run: Run) -> dict[str, str]:
    """Return the sources of a run whose prompts had learned nothing → what is wrong.

    As its events told at the start; a vector of zeros is found in any run.
    """
    if run.problem is not None or not run.sources:
        return {}
    found: dict[str, str] = {}
    try:
        events = read_table(run, "events", ["kind", "detail", "subject"]).to_pylist()
    except StoreError:
        events = []
    for event in (e for e in events if e["kind"] == "weak_source"):
        name, _, rest = event["detail"].removeprefix("Source ").partition(": ")
        state = rest.partition(".")[0]
        if (event["subject"] or name) in run.sources:
            found[event["subject"] or name] = state if state in ADVICE else rest
    for name in _zero_vectors(run):
        found.setdefault(name, NOT_MOVED)
    return found


def _zero_vectors(run: Run) -> list[str]:
    try:
        vectors = read_prompts(run, "initial").get("source_vectors")
    except StoreError:
        return []
    if vectors is None or len(vectors) != len(run.sources):
        return []
    return [s for s, v in zip(run.sources, vectors, strict=True) if not np.asarray(v).any()]
