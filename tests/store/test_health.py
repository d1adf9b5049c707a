"""What is marked in a run's numbers, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dtvg.records import RunResult, RunState
from dtvg.store.health import (
    GUESSING,
    NEVER_FELL,
    NO_GRADIENT,
    SATURATED,
    UNTOUCHED,
    WINDOWS,
    Guess,
    Signs,
    health_of,
    marks,
)
from dtvg.store.reader import Run


def signs(losses: object, norms: object = None, scores: dict[int, float] | None = None) -> Signs:
    made = Signs()
    loss = np.asarray(losses, dtype=float)
    made.add_steps(loss, np.ones(len(loss)) if norms is None else np.asarray(norms))  # type: ignore[arg-type]
    for step, score in (scores or {0: 0.3, 50: 0.6, 100: 0.7}).items():
        made.add_score(step, score)
    return made


def kinds(made: Signs, ended: bool = True, **more: object) -> set[str]:
    best = made.best_step if ended else None
    return {mark.kind for mark in marks(made, ended, best, **more)}  # type: ignore[arg-type]


FALLING = 2 / np.sqrt(np.arange(1, 201))


def test_a_run_that_learns_has_no_mark() -> None:
    assert kinds(signs(FALLING), guess=Guess(0.4, 100, 0.4, 100), test_score=0.69) == set()
    assert kinds(Signs(), ended=False) == set()


@pytest.mark.parametrize(("zero", "said"), [(0, False), (10, False), (25, True), (200, True)])
def test_no_gradient_is_a_share_of_exact_zeros(zero: int, said: bool) -> None:
    norms = np.full(200, 1e-30)
    norms[:zero] = 0.0
    assert (NO_GRADIENT in kinds(signs(FALLING, norms))) is said


def test_a_loss_that_never_fell_is_told_from_one_that_fell_a_little() -> None:
    rng = np.random.default_rng(0)
    assert NEVER_FELL in kinds(signs(np.full(200, 2.0)))
    assert NEVER_FELL in kinds(signs(np.linspace(1, 9, 200)))
    assert NEVER_FELL not in kinds(signs(np.linspace(2, 1.9, 200) + rng.normal(0, 0.01, 200)))
    assert NEVER_FELL not in kinds(signs(np.full(10, 2.0)))
    assert NEVER_FELL not in kinds(signs(np.zeros(200)))


def test_losses_are_kept_in_few_windows_that_do_not_depend_on_how_they_came() -> None:
    whole, parts = signs(FALLING), Signs()
    for at in range(0, 200, 7):
        parts.add_steps(FALLING[at : at + 7], np.ones(len(FALLING[at : at + 7])))  # type: ignore[arg-type]
    assert len(whole.sums) <= WINDOWS and whole.width == parts.width
    np.testing.assert_allclose(whole.losses, parts.losses)
    np.testing.assert_allclose(whole.losses[0], FALLING[: whole.width].mean())


def test_no_movement_saturation_and_guessing() -> None:
    flat = signs(FALLING, scores={0: 0.5, 50: 0.4, 100: 0.45})
    assert UNTOUCHED in kinds(flat) and UNTOUCHED not in kinds(flat, ended=False)
    assert UNTOUCHED in kinds(signs(FALLING), moved=0.0)
    assert UNTOUCHED not in kinds(signs(FALLING), moved=0.1)
    full = signs(FALLING, scores={0: 0.9, 50: 1.0, 100: 1.0, 150: 1.0})
    assert SATURATED in kinds(full) and SATURATED not in kinds(signs(FALLING))
    guess = Guess(0.65, 100, 0.65, 100)  # the best on validation is 0.7, within 1.96 errors
    assert GUESSING in kinds(signs(FALLING), guess=guess)
    assert GUESSING not in kinds(signs(FALLING), guess=guess._replace(validation=0.5))
    assert GUESSING not in kinds(signs(FALLING), guess=guess, test_score=0.9), "test tells more"
    below = guess._replace(validation=0.5)
    for score, marked in ((0.6, True), (0.7, True), (0.75, False)):
        assert (GUESSING in kinds(signs(FALLING), guess=below, test_score=score)) == marked
    (mark,) = (m for m in marks(signs(FALLING), True, guess=guess) if m.kind == GUESSING)
    assert mark.sentence.startswith("Validation 70.0 % of 100 rows is not surely above")


def test_an_older_run_s_mark_gives_way_to_its_test_score() -> None:
    noted = {"validation": 0.6, "n_validation": 16, "test": 0.52, "n_test": 100}
    for score, marked in ((0.92, False), (0.55, True)):
        extra = {"health": {GUESSING: "as noted", SATURATED: "full"}, "guessing": noted}
        result = RunResult(1, 0.8, score, {}, 1, 1.0, 1, extra)
        run = Run("e", "r", Path("/nowhere"), RunState.FINISHED, result=result)
        assert (GUESSING in {m.kind for m in health_of(run)}) == marked
        assert SATURATED in {m.kind for m in health_of(run)}
