"""Mirrors: what trackers hold is what was committed, once; and training notices nothing of them."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.pools import settings_of
from dtvg.cli import main
from dtvg.config import RunConfig, build_config
from dtvg.errors import ConfigError, JobError
from dtvg.jobs.devices import list_devices
from dtvg.jobs.readiness import findings
from dtvg.mirrors import adapter, bring, follow, on_tensorboard
from dtvg.mirrors.bring import RunMirror, bring_experiment
from dtvg.mirrors.follow import LEFT_BEHIND, Mirrors
from dtvg.mirrors.position import load
from dtvg.store.bank import PromptBank
from dtvg.store.layout import (
    ExperimentDir,
    RunDir,
    add_run,
    check_unchanged,
    create_experiment,
    load_experiment,
)
from dtvg.store.lease import hold
from dtvg.store.merge import merge
from dtvg.store.reader import Run, list_runs, open_run, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.store.writer import CohortWriter, RunWriter
from dtvg.testing.made_runs import result_of, walking_grams, write_evals, write_steps
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures

SOURCES = ("sst2", "cola")
STEPS = 20


# ---- what trackers hold


class Growing:
    """A made run that is committed in two parts, as training would."""

    def __init__(self, root: Path) -> None:
        values = {"name": "made", "sources": list(SOURCES), "targets": ["rte"], "seeds": [0]}
        config = build_config({**values, "methods": ["dtvg"], "optim": {"steps": STEPS}})
        self.config: RunConfig = config.runs()[0]
        self.experiment = create_experiment(config, root)
        self.run: RunDir = add_run(self.experiment, self.config)
        self.grams = walking_grams(np.random.default_rng(3), STEPS, len(SOURCES))
        self.done = 0

    def grow(self, to: int, finish: bool = False) -> None:
        """Commit the steps up to `to`, with an evaluation at the last one."""
        writer = RunWriter(self.run, self.config)
        steps = np.arange(self.done + 1, to + 1)
        write_steps(writer, self.config, steps, self.grams[self.done : to])
        write_evals(writer, self.config, "validation", {to: {"score": to / 100}})
        if finish:  # the best prompt is of an earlier step, and scored last
            write_evals(writer, self.config, "test", {to // 2: {"score": 0.5}})
        cohort = CohortWriter(self.experiment.cohort("transfer"), {self.run.name: writer})
        cohort.cohort.path.mkdir(parents=True, exist_ok=True)
        cohort.commit(cohort.snapshot({}, {}))
        if finish:
            writer.finish(result_of(to, 0.2, 0.5, {"score": 0.5}))
        self.done = to

    def expected(self) -> dict[str, list[tuple[int, float]]]:
        """What a tracker should hold of some scalars, from the log."""
        view, found = open_run(self.run.path), {}
        steps = read_table(view, "steps").to_pydict()
        for name, column in (("train/loss", "loss"), ("group/size", "group_size")):
            found[name] = list(zip(steps["step"], steps[column], strict=True))
        rows = read_table(view, "sources").to_pylist()
        for source in SOURCES:
            for column in ("member", "similarity"):
                its = [(r["step"], float(r[column])) for r in rows if r["source"] == source]
                found[f"{column}/{source}"] = its
        for row in read_table(view, "evals").to_pylist():
            found.setdefault(f"{row['split']}/{row['metric']}", []).append(
                (row["step"], row["value"])
            )
        return found

    def compare(self, held: dict[str, list[tuple[int, float]]]) -> None:
        """Every value is there, and once."""
        for name, values in self.expected().items():
            (steps, found), (right, wanted) = (
                zip(*sorted(x), strict=True) for x in (held[name], values)
            )
            assert steps == right and found == pytest.approx(wanted), name


def tensorboard_holds(grown: Growing) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (grown.experiment.mirrors_dir / "tensorboard").iterdir()
    made = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    made.Reload()
    return {t: [(e.step, e.value) for e in made.Scalars(t)] for t in made.Tags()["scalars"]}


def mlflow_holds(grown: Growing) -> dict[str, list[tuple[int, float]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient((grown.experiment.mirrors_dir / "mlflow").as_uri())
    found = client.get_experiment_by_name("made")
    (run,) = client.search_runs([found.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "rte.dtvg.s0"
    assert run.data.params["method.name"] == "dtvg" and run.data.params["target"] == "rte"
    histories = {n: client.get_metric_history(run.info.run_id, n) for n in run.data.metrics}
    return {n: [(m.step, m.value) for m in history] for n, history in histories.items()}


def trackio_holds(grown: Growing) -> dict[str, list[tuple[int, float]]]:
    import trackio

    found: dict[str, list[tuple[int, float]]] = {}
    for log in trackio.SQLiteStorage.get_logs("made", "rte.dtvg.s0"):
        for name in log.keys() - {"step", "timestamp"}:
            found.setdefault(name, []).append((log["step"], log[name]))
    return found


def wandb_records(content: bytes) -> Iterator[bytes]:
    """The records of an offline file: LevelDB's log format, after a header of 7 bytes."""
    block, at, whole = 32768, 7, b""
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield whole
            whole = b""


def wandb_holds(grown: Growing) -> dict[str, list[tuple[int, float]]]:
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, list[tuple[int, float]]] = {}
    files = sorted((grown.experiment.mirrors_dir / "wandb").glob("wandb/offline-run-*/*.wandb"))
    for path in files:
        for data in wandb_records(path.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            items = {
                i.key or "/".join(i.nested_key): json.loads(i.value_json)
                for i in record.history.item
            }
            for name in items.keys() - {"step"}:
                if name[:1] != "_":
                    found.setdefault(name, []).append((items["step"], items[name]))
    return found


HOLDS = {
    "tensorboard": tensorboard_holds,
    "mlflow": mlflow_holds,
    "trackio": trackio_holds,
    "wandb": wandb_holds,
}


@pytest.mark.parametrize("tracker", list(HOLDS))
def test_a_tracker_holds_every_committed_value_once(
    tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(tracker)
    for name in [n for n in os.environ if n.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    if tracker == "trackio":
        from trackio import sqlite_storage

        monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr(bring, "ROWS_AT_ONCE", 3)
    grown = Growing(tmp_path)
    first = RunMirror(grown.run, tracker, adapter.make(tracker))
    assert not first.bring() and load(grown.run, tracker) is None  # nothing committed yet
    grown.grow(7)
    assert not first.bring() and not first.bring()
    first.leave()
    grown.grow(STEPS, finish=True)
    second = RunMirror(grown.run, tracker, adapter.make(tracker))  # another process goes on
    assert second.bring() and second.bring()
    held = HOLDS[tracker](grown)
    grown.compare(held)
    assert not any("lr_scale" in name for name in held)
    assert [run.name for run in list_runs(tmp_path, "made")] == ["rte.dtvg.s0"]


def test_after_a_crash_while_rows_were_handed_over_nothing_is_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    grown = Growing(tmp_path)
    grown.grow(STEPS, finish=True)

    class Torn(on_tensorboard.TensorBoard):
        def write(self, key, rows) -> None:
            super().write(key, rows[: len(rows) // 2])
            raise OSError("killed")

    class Silent:
        """Cannot say what it has, as wandb's offline files."""

        def open(self, facts, known):
            return known or "key"

        def write(self, key, rows) -> None:
            raise AssertionError("what may have arrived is not sent again")

        def stored(self, key):
            return None

        def close(self, key, finished) -> None: ...

    with pytest.raises(OSError, match="killed"):
        RunMirror(grown.run, "tensorboard", Torn()).bring()
    position = load(grown.run, "tensorboard")
    assert position is not None and position.done.step == 0 and position.sending is not None
    assert bring_experiment(grown.experiment.path, ["tensorboard"]) == 1
    assert bring_experiment(grown.experiment.path, ["tensorboard"]) == 1
    held = tensorboard_holds(grown)
    grown.compare(held)
    (grown.run.path / "mirrors" / "wandb.json").write_text(
        (grown.run.path / "mirrors" / "tensorboard.json").read_text()
        .replace('"ended": true', '"ended": false')
        .replace('"sending": null', '"sending": [20, 99, 1.0]')
        .replace("0,", "1,", 1)
    )  # fmt: skip
    assert RunMirror(grown.run, "wandb", Silent()).bring()
    with hold(grown.experiment.path), pytest.raises(JobError, match="is being trained"):
        bring_experiment(grown.experiment.path, ["tensorboard"])
    assert main(["runs", "mirror", str(grown.experiment.path), "--to", "tensorboard"]) == 0
    assert main(["runs", "mirror", str(grown.experiment.path)]) == 2


# ---- training beside trackers that fail


def test_a_merged_experiment_begins_anew_with_its_trackers(tmp_path: Path) -> None:
    grown = Growing(tmp_path)
    grown.grow(STEPS, finish=True)
    bring_experiment(grown.experiment.path, ["tensorboard"])
    _, config = load_experiment(grown.experiment.path)
    runs = list_runs(tmp_path, grown.experiment.name)
    merged = merge(config.model_copy(update={"name": "merged"}), runs, tmp_path, {})
    assert bring_experiment(merged.path, ["tensorboard"]) == 1
    grown.experiment, grown.run = merged, merged.runs()[0]
    grown.compare(tensorboard_holds(grown))


class TooManyRequests(Exception):
    """What a server's client raises."""


class Raising:
    def open(self, facts, known):
        raise TooManyRequests("429 Client Error: Too Many Requests")


class Breaking(Raising):
    def open(self, facts, known):
        return known or facts.run

    def write(self, key, rows) -> None:
        raise ValueError("no such\nfield")


class Hanging(Raising):
    let_go = threading.Event()

    def open(self, facts, known):
        self.let_go.wait(120)
        return "late"


FAKES = {"tensorboard": Raising, "wandb": Hanging, "mlflow": Breaking}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory):
    """The same experiment without mirrors, and beside three trackers that all fail."""
    folder, found, follow_more = tmp_path_factory.mktemp("mirrors"), [], Mirrors.add
    bank = PromptBank(folder / "bank")

    def add_and_see_them_fail(self: Mirrors, runs) -> None:
        follow_more(self, runs)
        until = time.monotonic() + 10
        while self._followers and bank.list() and time.monotonic() < until:
            for one in self._followers:
                one.look()
            if all(one.problem for one in self._followers):
                break
            time.sleep(0.01)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "require", lambda extra, what: None)
        patch.setattr(follow, "make", lambda tracker: FAKES[tracker]())
        patch.setattr(follow, "PAUSE_SECONDS", 0.01)
        patch.setattr(follow, "SLOW_SECONDS", 0.5)
        patch.setattr(follow, "END_SECONDS", 20.0)
        patch.setattr(loop, "CONTROL_SECONDS", 0.0)
        patch.setattr(Mirrors, "add", add_and_see_them_fail)
        for name, trackers in (("failing", list(FAKES)), ("plain", [])):
            values = tiny_config(folder / "parts", name=name, methods=["none", "dtvg"])
            values["logging"] |= {"mirror": trackers}
            if name == "plain":
                bank = PromptBank(folder / "other-bank")
            experiment = create_experiment(build_config(values), folder / "runs")
            began = time.monotonic()
            procedures.run_experiment(experiment, bank=bank)
            found.append((time.monotonic() - began, list_runs(folder / "runs", name)))
    Hanging.let_go.set()
    return found


def test_trackers_that_fail_or_hang_change_nothing_and_are_reported_once(both) -> None:
    (seconds, failing), (_, plain) = both
    assert len(failing) == len(plain) == 6
    for run, other in zip(failing, plain, strict=True):
        assert run.name == other.name and history(run) == history(other)
        assert verify_run(run.path) == []
        events = read_table(run, "events").to_pylist()
        told = [e["detail"] for e in events if e["kind"] == LEFT_BEHIND]
        if run.role == "transfer":
            assert len(told) == len(FAKES)
            (said,) = (t for t in told if "tensorboard" in t)
            assert "failed (TooManyRequests: 429 Client Error: Too Many Requests)" in said
            assert "left behind; training goes on" in said
            assert any("wandb has not answered for 0.5 s" in t for t in told)
            assert any("mlflow failed (ValueError: no such field)" in t for t in told)
        assert not [e for e in read_table(other, "events").to_pylist() if e["kind"] == LEFT_BEHIND]
    assert not (failing[0].path.parent / "mirrors").exists()


def history(run: Run) -> tuple:
    """Everything that training computed, bit for bit."""
    clock = {"seconds", "step_ms", "device_mem_gib"}
    tables = []
    for name in ("steps", "sources", "evals", "predictions"):
        table = read_table(run, name)
        tables.append(table.drop_columns([c for c in table.column_names if c in clock]).to_pydict())
    prompts = {k: v.tobytes() for k, v in read_prompts(run, "best").items()}
    assert run.result is not None
    return repr(tables), prompts, run.result.validation_score, run.result.test_score


# ---- the setting


def test_the_setting_is_part_of_no_result(tmp_path: Path) -> None:
    values = {"name": "set", "sources": ["sst2"], "targets": ["rte"], "methods": ["dtvg"]}
    plain = build_config(values)
    mirrored = build_config({**values, "logging": {"mirror": ["tensorboard", "wandb"]}})
    assert "mirror" not in plain.to_yaml() and "mirror" in mirrored.to_yaml()
    assert plain.fingerprint() == mirrored.fingerprint()
    assert plain.runs() == mirrored.runs()
    assert plain.stage_one("sst2", 0) == mirrored.stage_one("sst2", 0)
    assert settings_of(plain) == settings_of(mirrored)
    create_experiment(plain, tmp_path)
    create_experiment(mirrored, tmp_path)
    experiment, stored = load_experiment(tmp_path / "set")
    assert stored.logging.mirror == ("tensorboard", "wandb")
    check_unchanged(experiment, stored)
    with pytest.raises(ConfigError, match="tensorboard"):
        build_config({**values, "logging": {"mirror": ["tensorbord"]}})
    (tmp_path / "set" / "mirrors").mkdir()
    names = {run.name for run in ExperimentDir(tmp_path / "set").runs()}
    assert names == {run.name for run in plain.runs()}


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    words = ["demo", "run", "--runs-dir", str(tmp_path / "runs"), "--set", "logging.mirror=trackio"]
    assert main([*words, "--set", "name=lacking"]) == 2
    said = capsys.readouterr().err
    assert "`pip install -e '.[trackio]'`" in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()
    values = {"name": "x", "sources": ["sst2"], "targets": ["rte"], "methods": ["none"]}
    values["device"] = {"name": "cpu"}
    config = build_config({**values, "logging": {"mirror": ["trackio"]}})
    found = [f for f in findings(config, tmp_path, list_devices()) if f.kind == "mirror"]
    assert len(found) == 1 and found[0].blocks
