"""A process that trains nothing but holds an experiment as training does; see `states`.

It locks the experiment and keeps the statuses with the product's own code. On SIGTERM it only
says so, as a process that is about to commit. It ends when its standard input is closed.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from dtvg.records import RunState
from dtvg.store.files import read_json
from dtvg.store.layout import CohortDir, ExperimentDir
from dtvg.store.status import StatusBoard


def hold(experiment: ExperimentDir, state: RunState, message: str) -> None:
    """Put every unfinished run into a state and keep it there until the input is closed."""
    with experiment.lock():
        signal.signal(signal.SIGTERM, lambda number, frame: _say("asked to stop"))
        boards = [_board(experiment, cohort) for cohort in experiment.cohorts()]
        for board in boards:
            for name in board.runs:
                board.update(name, state=state, message=message)
        _say("holding")
        sys.stdin.read()
        for board in boards:
            board.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _board(experiment: ExperimentDir, cohort: CohortDir) -> StatusBoard:
    names = (read_json(cohort.process_path) or {}).get("runs", [])
    runs = {name: experiment.run(name) for name in names}
    return StatusBoard(cohort, {n: r for n, r in runs.items() if not r.result_path.exists()})


if __name__ == "__main__":
    hold(ExperimentDir(Path(sys.argv[1])), RunState(sys.argv[2]), sys.argv[3])
