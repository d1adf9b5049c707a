"""Bringing what is committed of a run, and not with a tracker yet, to the tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from dtvg.mirrors.adapter import Adapter, Row, Stored, make
from dtvg.mirrors.position import Position, Reach, load, save
from dtvg.mirrors.rows import ROWS_AT_ONCE, begun, eval_rows, facts_of, rows_of, step_rows
from dtvg.store.layout import RunDir
from dtvg.store.lease import keep_out
from dtvg.store.reader import Run, list_runs, open_run

Look = Callable[[], None]


class RunMirror:
    """One run on its way to one tracker."""

    def __init__(self, run: RunDir, tracker: str, adapter: Adapter) -> None:
        self.run, self.tracker, self.adapter = run, tracker, adapter
        self._position: Position | None = None
        self._begun = 0.0
        self._seen: tuple[object, ...] = ()

    def bring(self, look: Look = lambda: None) -> bool:
        """Hand over what is new; return whether the run has ended and the tracker has all of it.

        Args:
            look: called before each stretch; may raise to break off.

        Raises:
            StoreError: rows cannot be read now, or the position cannot be written.
            Exception: anything of the tracker's.
        """
        ended = self.run.result_path.exists()
        visible = (ended, _listed(self.run, "steps"), _listed(self.run, "evals"))
        if visible == self._seen or not (ended or visible[1] or visible[2]):
            return self._position is not None and self._position.ended
        known = self._position or load(self.run, self.tracker)
        if known is not None and known.ended:
            return True
        view = open_run(self.run.path)
        if self._position is None:
            self._open(view, known)
        assert self._position is not None
        position = self._position
        already = None
        if position.sending is not None:
            position, already = self._settled(position)
        for reach, rows in _stretches(view, position.done, self._begun):
            look()
            fresh = _without(rows, already)
            self._save(position.model_copy(update={"sending": reach}))
            if fresh:
                self.adapter.write(position.key, fresh)
            position = position.model_copy(update={"done": reach, "sending": None})
            self._save(position)
        self._seen = visible
        if ended:
            self.adapter.close(position.key, True)
            self._save(position.model_copy(update={"ended": True}))
        return ended

    def leave(self) -> None:
        """Say to the tracker that no more rows come now."""
        if self._position is not None and not self._position.ended:
            self.adapter.close(self._position.key, False)

    def _open(self, view: Run, known: Position | None) -> None:
        self._begun = begun(view)
        key = self.adapter.open(facts_of(view), None if known is None else known.key)
        made = known or Position(key=key)
        self._save(made.model_copy(update={"key": key}))

    def _settled(self, position: Position) -> tuple[Position, Stored | None]:
        """Settle what was handed over when a process ended: it arrived, or part of it did."""
        already = self.adapter.stored(position.key)
        if already is not None:
            return position, already
        update = {"done": position.sending, "sending": None}
        return position.model_copy(update=update), None

    def _save(self, position: Position) -> None:
        self._position = position
        save(self.run, self.tracker, position)


def _listed(run: RunDir, table: str) -> tuple[str, ...]:
    folder = run.table_dir(table)
    return tuple(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else ()


def _stretches(view: Run, done: Reach, begun_at: float) -> Iterator[tuple[Reach, list[Row]]]:
    """Cut what is new into stretches of steps; evaluations go with the steps they follow."""
    steps, evals = step_rows(view, done.step), eval_rows(view, done.evals)
    reach = done
    for start in range(0, max(steps.num_rows, 1), ROWS_AT_ONCE):
        part = steps.slice(start, ROWS_AT_ONCE)
        last = start + ROWS_AT_ONCE >= steps.num_rows
        scored = evals if last else _up_to(evals, part["step"][-1].as_py())
        evals = evals.slice(scored.num_rows)
        rows = rows_of(view, part, scored, begun_at, reach.seconds)
        if part.num_rows:
            at, seconds = part["step"][-1].as_py(), part["seconds"][-1].as_py()
            reach = Reach(at, reach.evals, seconds)
        reach = reach._replace(evals=reach.evals + scored.num_rows)
        if rows:
            yield reach, rows


def _up_to(evals: pa.Table, step: int) -> pa.Table:
    """Return the first rows, up to the first one of a later step."""
    for place, at in enumerate(evals["step"].to_pylist()):
        if at > step:
            return evals.slice(0, place)
    return evals


def _without(rows: Sequence[Row], already: Stored | None) -> list[Row]:
    """Leave out the values that the tracker has."""
    if not already:
        return list(rows)
    left = []
    for row in rows:
        values = {k: v for k, v in row.values.items() if (row.step, k) not in already}
        if values:
            left.append(row._replace(values=values))
    return left


def bring_experiment(path: Path, trackers: Iterable[str]) -> int:
    """Bring all of an experiment's runs to trackers, while nobody trains it; return how many runs.

    Raises:
        JobError: somebody trains it.
        Exception: anything of a tracker's.
    """
    with keep_out(path, "nothing was mirrored"):
        runs = [run.directory for run in list_runs(path.parent, path.name) if run.problem is None]
        for tracker in trackers:
            adapter = make(tracker)
            for run in runs:
                mirror = RunMirror(run, tracker, adapter)
                mirror.bring()
                mirror.leave()
    return len(runs)
