"""How far an experiment is: Stage I, transfer, test; what trains now, and the time left.

Read from statuses and `plan.json` alone, so that a page can ask every two seconds. A Stage I run
whose prompt is in the bank already is in the plan but never trains.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dtvg.analysis.compare.scores import SUBJECT
from dtvg.errors import StoreError
from dtvg.records import RunState
from dtvg.store.formats import PlanFile, read_model
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment, Run

IN_STAGE_ONE = ("stage1", "distil")
"""First parts of the ids of cohorts that train before any transfer."""
TRAINING = (RunState.RUNNING, RunState.STOPPING)
FEW = 20
"""Run steps after which a stage's own pace counts as much as that of all."""


@dataclass(frozen=True)
class Stage:
    """One of the stages, in runs."""

    title: str
    done: int
    total: int
    """Of a stage that has not begun: at most so many."""
    state: Literal["done", "now", "later"]

    @property
    def text(self) -> str:
        """Return e.g. `Stage I 12 of 18`."""
        return f"{self.title} {self.done:,} of {self.total:,}"


@dataclass(frozen=True)
class Progress:
    """Where an experiment stands."""

    stages: tuple[Stage, ...]
    now: tuple[Run, ...]
    """What trains in this moment, the method in question first."""
    left: float | None
    """Seconds until the last step at the pace so far, by as many workers as train now; None: not
    known or nothing left."""

    @property
    def share(self) -> float:
        """Share of all planned runs' stages that is done, 0..1."""
        total = sum(stage.total for stage in self.stages)
        return sum(stage.done for stage in self.stages) / total if total else 0.0


def progress(experiment: Experiment) -> Progress:
    """Return how far an experiment is."""
    known = [run for run in experiment.runs if run.problem is None]
    transfer = [run for run in known if run.role == "transfer"]
    first = {run.name: run for run in known if run.role != "transfer"}
    planned = _planned(ExperimentDir(experiment.path).plan_path)
    begun = [run for run in transfer if run.step or run.state in TRAINING or run.result]
    total, done, left = _stage_one(planned, first, bool(begun))
    trained = sum(_is_trained(run) for run in transfer)
    now = tuple(
        sorted((r for r in known if r.state in TRAINING), key=lambda r: r.method_name != SUBJECT)
    )
    stages = [_stage("Stage I", done, total)] if total else []
    stages.append(_stage("Transfer", trained, len(transfer), bool(begun)))
    config = experiment.config
    if config is None or config.evaluation.at_end == "test":
        tested = sum(run.result is not None for run in transfer)
        stages.append(_stage("Test", tested, len(transfer), trained > 0))
    after = sum(r.total_steps - r.step for r in transfer if not _is_trained(r) and _goes_on(r))
    seconds = _seconds((tuple(first.values()), left), (transfer, after))
    at_once = len({run.cohort for run in now if run.step < run.total_steps})
    return Progress(tuple(stages), now, None if seconds is None else seconds / max(1, at_once))


def losses(experiment: Experiment) -> str:
    """Say how many runs failed or were lost, and what to do; empty where none was.

    Transfer runs are counted; Stage I runs where only those ended badly.
    """
    known = [run for run in experiment.runs if run.problem is None]
    for what, mine in (
        ("run", [run for run in known if run.role == "transfer"]),
        ("Stage I run", [run for run in known if run.role != "transfer"]),
    ):
        lost = sum(run.state is RunState.LOST for run in mine)
        failed = [run for run in mine if run.state is RunState.FAILED]
        of = f"of {len(mine):,} {what}{'' if len(mine) == 1 else 's'}"
        told = []
        if lost:
            whose = (
                "its process ended before it" if lost == 1 else "their process ended before they"
            )
            told.append(f"{lost:,} {of} {'is' if lost == 1 else 'are'} lost: {whose} did.")
        if failed:
            why = next((run.message for run in failed if run.message), "")
            told.append(f"{len(failed):,} {of} failed{': ' if why else ''}{why.rstrip('.')}.")
        if told:
            kept = "What was committed is kept, and Resume on the live page continues from there."
            return " ".join([*told, kept])
    return ""


def _is_trained(run: Run) -> bool:
    return run.result is not None or 0 < run.total_steps <= run.step


def _goes_on(run: Run) -> bool:
    """Whether somebody trains a run, or will; one that failed, stopped or was lost waits for a
    person."""
    return run.state not in (RunState.FAILED, RunState.STOPPED, RunState.LOST)


def _stage(title: str, done: int, total: int, begun: bool = True) -> Stage:
    ended = done == total
    return Stage(title, done, total, "done" if ended else "now" if begun else "later")


def _stage_one(
    planned: Sequence[tuple[str, tuple[str, ...]]], first: dict[str, Run], passed: bool
) -> tuple[int, int, int]:
    """Count Stage I runs: all, those that are done, and steps that are left.

    Args:
        planned: cohorts with the names of their runs.
        first: the Stage I runs that have a folder.
        passed: whether a transfer run has begun, so that nothing of Stage I is to come.
    """
    names = dict.fromkeys(first)
    cohorts = [runs for id_, runs in planned if id_.split("-")[0] in IN_STAGE_ONE]
    if not passed:
        while cohorts and not any(name in first for name in cohorts[-1]):
            names |= dict.fromkeys(cohorts.pop())  # a later cohort, not yet begun
    done = sum(first[name].result is not None for name in names if name in first)
    steps = max((run.total_steps for run in first.values()), default=0)
    left = sum(
        first[name].total_steps - first[name].step if name in first else steps
        for name in names
        if name not in first or (first[name].result is None and _goes_on(first[name]))
    )
    return len(names), done, 0 if passed else left


def _seconds(*stages: tuple[Sequence[Run], int]) -> float | None:
    """Return how long one worker takes for the steps that are left, each stage's at its own pace.

    A step of another stage may take several times as long, so an average over all would jump when
    one begins. A stage that has hardly begun is taken to go on as those before it.

    Args:
        stages: runs, and the run steps that they have left.
    """
    paces = [_pace(runs) for runs, _ in stages]
    spent, done = (sum(pace[i] for pace in paces) for i in (0, 1))
    if not done or not spent or not any(left for _, left in stages):
        return None
    return sum(
        left * (own + FEW * spent / done) / (steps + FEW)
        for (own, steps), (_, left) in zip(paces, stages, strict=True)
    )


def _pace(runs: Sequence[Run]) -> tuple[float, int]:
    """Return the seconds in which the cohorts of runs trained, and their run steps."""
    by_cohort: dict[str, list[Run]] = {}
    for run in runs:
        if run.step and run.seconds and run.cohort:
            by_cohort.setdefault(run.cohort, []).append(run)
    spent = sum(max(run.seconds or 0.0 for run in mine) for mine in by_cohort.values())
    return spent, sum(run.step for mine in by_cohort.values() for run in mine)


def _planned(path: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the cohorts of a stored plan with their runs; empty where there is none."""
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        return ()
    return _read(path, written)


@functools.lru_cache(maxsize=256)
def _read(path: Path, written: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    try:
        found = read_model(path, PlanFile)
    except StoreError:  # a resume says what is wrong
        return ()
    return () if found is None else tuple((c.id, tuple(c.runs)) for c in found.cohorts)
