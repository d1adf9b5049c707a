"""What is seen of the fleet comes from files, and is the same for page and command."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dtvg.analysis.overview.fleet import COLUMNS, fleet_info
from dtvg.cli import main
from dtvg.plan.stored import lay_out
from dtvg.store.files import replace_json
from dtvg.store.lease import hold
from dtvg.store.status import StatusBoard
from tests.scale.factory import config


def test_the_fleet_shows_what_trains_where_and_what_waits_for_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    experiment = lay_out(config(tmp_path), root)
    empty = fleet_info(root)
    assert empty.drivers.empty and empty.sentence == "Nothing trains, and nothing waits."
    assert fleet_info(tmp_path / "absent").working.empty
    replace_json(
        experiment.fleet_path,
        {
            "on": "ray", "slots": 2, "waiting_count": 1, "over": {"done": 2},
            "busy_seconds": 30.0, "offered_seconds": 40.0, "ended": False,
            "running": [{"cohort": "transfer-000", "slot": "", "attempt": 3}],
            "waiting": [{"cohort": "transfer-001", "for": ["stage1-001"]}],
            "failed": {"stage1-001": "Given up."},
            "places": [{"host": "node1", "title": "2 cores", "slots": 2, "state": "up"}],
        },
    )  # fmt: skip
    monkeypatch.setenv("DTVG_JOB", "Ray scaled:transfer-000:x")
    cohort = experiment.cohort("transfer-000")
    cohort.path.mkdir(parents=True)
    run = experiment.run("rte.target_only.s0")
    with hold(cohort.path):
        board = StatusBoard(cohort, {run.name: run})
        board.update(run.name, state="running", step=10, total_steps=40, device="cpu")
        info = fleet_info(root)
        board.close()
        assert main(["fleet", "--runs-dir", str(root)]) == 0
    driver = info.drivers.iloc[0]
    assert (driver["state"], driver["training"], driver["waiting"]) == ("no driver", 1, 1)
    assert driver["used"] == 0.75 and driver["ended"] == 2
    working = info.working.iloc[0]
    assert working["job"] == "Ray scaled:transfer-000:x" and working["state"] == "training"
    assert working["done"] == 0.25 and working["attempt"] == 3 and abs(working["sign"]) < 10
    assert list(info.waiting.iloc[0]) == ["scaled", "transfer-001", "stage1-001"]
    assert list(info.ended.iloc[0]) == ["scaled", "stage1-001", "Given up."]
    assert all(list(getattr(info, name).columns) == list(of) for name, of in COLUMNS.items())
    shown = capsys.readouterr().out
    assert "1 cohorts train on 1 machine, 1 wait" in shown
    time.sleep(0.3)
    after = fleet_info(root)
    assert after.working.empty  # its lease was given back
