"""What happened in an experiment since it was last looked at: failed, lost, done, stands still.

A pure function of what its files tell and of what was told before, so that each thing is told
once, whoever asks. docs/alerts.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dtvg.config.alerts import Event
from dtvg.jobs.deliver import Alert
from dtvg.records import RunState
from dtvg.store.reader import Experiment, Run


@dataclass(frozen=True)
class Told:
    """What was told of an experiment, and how far it was."""

    failed: tuple[str, ...] = ()
    """Runs that had failed, each with when that was: one that fails again is told again."""
    lost: tuple[str, ...] = ()
    done: bool = False
    steps: int = -1
    """Steps of all runs when they last grew."""
    grew: float = 0.0
    """When that was."""
    stalled: bool = False


@dataclass(frozen=True)
class News:
    """What is to be told, what is told then, and whether it goes on."""

    alerts: tuple[Alert, ...]
    told: Told
    going: bool
    events: tuple[Event, ...] = field(default=())


def news(
    experiment: Experiment,
    told: Told,
    now: float,
    stalled_s: float,
    events: Sequence[Event] = tuple(Event),
) -> News:
    """Return what is new.

    Args:
        experiment: as it is now.
        told: as `news` returned it before; a new one for a new start.
        now: the time.
        stalled_s: seconds without a step after which it is told.
        events: those that are told.
    """
    runs = [run for run in experiment.runs if run.problem is None]
    by_state = {state: [r for r in runs if r.state is state] for state in RunState}
    alive = [r for r in runs if r.state.alive]
    made: list[tuple[Event, str, list[Run]]] = []
    failed = [r for r in by_state[RunState.FAILED] if _when(r) not in told.failed]
    lost = [r for r in by_state[RunState.LOST] if _when(r) not in told.lost]
    if failed:
        made.append((Event.FAILED, _failed(failed), failed))
    if lost:
        said = f"{_runs(lost)} lost: the process is gone. Everything up to the last commit is kept."
        made.append((Event.LOST, said, lost))
    transfer = [r for r in runs if r.role == "transfer"]
    done = bool(transfer) and all(r.result is not None for r in transfer)
    if done and not told.done:
        made.append((Event.DONE, _done(transfer), []))
    steps = sum(run.step for run in runs)
    grew = told.grew if steps == told.steps and told.grew else now
    stalled = bool(alive) and now - grew >= stalled_s
    if stalled and not told.stalled:
        minutes = (now - grew) / 60
        said = f"No step for {minutes:.0f} minutes; {_runs(alive)} said to be training."
        made.append((Event.STALLED, said, alive))
    alerts = tuple(
        Alert(event.value, experiment.name, said, tuple(r.name for r in of), now)
        for event, said, of in made
        if event in events
    )
    again = replace(
        told,
        failed=tuple(map(_when, by_state[RunState.FAILED])),
        lost=tuple(map(_when, by_state[RunState.LOST])),
        done=done,
        steps=steps,
        grew=grew,
        stalled=stalled,
    )
    return News(alerts, again, bool(alive), tuple(event for event, _, _ in made))


def _when(run: Run) -> str:
    return f"{run.name} {run.updated_at}"


def _runs(runs: Sequence[Run]) -> str:
    return "1 run is" if len(runs) == 1 else f"{len(runs)} runs are"


def _failed(runs: Sequence[Run]) -> str:
    many = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    why = next((run.message for run in runs if run.message), "")
    return f"{many} failed. {why}".strip()


def _done(runs: Sequence[Run]) -> str:
    scored = [(r.test_score, r.name) for r in runs if r.test_score is not None]
    score, name = max(scored, key=lambda one: one[0], default=(0.0, ""))
    count = "Its run has" if len(runs) == 1 else f"All {len(runs)} runs have"
    more = f" Best test score: {100 * score:.1f} % ({name})." if name else ""
    return f"{count} finished.{more}"
