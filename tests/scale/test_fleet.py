"""What is seen of the fleet comes from files, and is the same for page and command."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from dtvg.analysis.overview.fleet import COLUMNS, fleet_info
from dtvg.cli import main
from dtvg.errors import JobError, StoreError
from dtvg.plan.stored import lay_out
from dtvg.scale.driver import last_place, planned, worker_facts
from dtvg.scale.executor import Ended
from dtvg.scale.ground import FolderGround, ended_words, read_job
from dtvg.store.bank import PromptBank
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
            "places": [
                {"host": "node1", "title": "2 cores", "slots": 2, "state": "up"},
                *({"host": socket.gethostname(), "title": "GPU", "slots": 1} for _ in range(2)),
            ],
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
    assert info.machines[["machine", "what", "slots", "busy"]].to_numpy().tolist() == [
        ["node1", "2 cores", 2, 0],
        [socket.gethostname(), "2 × GPU", 2, 1],  # one cohort is busy on one of both
    ]
    assert list(info.ended.iloc[0]) == ["scaled", "stage1-001", "Given up."]
    assert all(list(getattr(info, name).columns) == list(of) for name, of in COLUMNS.items())
    shown = capsys.readouterr().out
    assert "1 cohort trains on 1 machine, 1 waits." in shown
    time.sleep(0.3)
    after = fleet_info(root)
    assert after.working.empty  # its lease was given back
    for value in (["x"], {"waiting": 3}, {"slots": "x"}, {"places": [{"host": 1}]}):
        replace_json(experiment.fleet_path, value)
        replace_json(cohort.process_path, {"runs": 5, "pid": [1]})
        told = fleet_info(root)
        assert told.drivers.empty and (not isinstance(value, dict) or len(told.problems) == 1)
        assert all("fleet.json': field '" in one for one in told.problems)
        assert main(["fleet", "--runs-dir", str(root)]) == 0


FOREIGN = ("x", 7, [1], {"a": [1]}, None, -1)


@pytest.mark.parametrize("value", FOREIGN)
def test_a_foreign_value_in_what_workers_and_drivers_tell_each_other_is_a_sentence(
    tmp_path: Path, value: Any
) -> None:
    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    settings, cohort = config(tmp_path), experiment.cohort("transfer-000")
    ground = FolderGround(experiment, planned(experiment, settings), PromptBank(tmp_path / "bank"))
    job = {"cohort": "transfer-000", "token": "t1", "executor": "local", "id": "1", "facts": {}}
    place = {"scale": {"on": "local"}, "only": None, "bank": "b", "code": {"torch": "2"}}
    replace_json(cohort.job_path, job)
    for key in place:
        replace_json(experiment.scale_path, {**place, key: value})
        with contextlib.suppress(StoreError):
            last_place(experiment, settings)
            worker_facts(experiment, "transfer-000", "t1")
            assert value is None or (key == "bank" and value == "x")
    replace_json(experiment.scale_path, {**place, "scale": value})
    with pytest.raises(StoreError, match=r"scale.json': .*--on"):
        last_place(experiment, settings)
    replace_json(experiment.scale_path, place)
    for key in ("token", "facts", "started", "slot"):
        replace_json(cohort.job_path, {**job, key: value})
        with contextlib.suppress(StoreError, JobError):
            read_job(cohort)
            worker_facts(experiment, "transfer-000", "t1")
        assert all(isinstance(one.facts, dict) for one in ground.jobs())
    for key in ("kind", "token", "why"):
        replace_json(cohort.ended_path, {"token": "t1", "kind": "done", "why": "", key: value})
        words = ended_words(cohort, "t1")
        assert words in (None, Ended("done"), Ended("done", "x"))
