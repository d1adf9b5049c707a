"""Storage mirrors: what is committed can be read and trained on from there, whatever fails."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dtvg import paths
from dtvg.cli import main, parser, storage
from dtvg.config import build_config
from dtvg.errors import ConfigError, DtvgError, JobError, StoreError
from dtvg.jobs import launcher, queue
from dtvg.records import RunState
from dtvg.storage import follow, manifest, place
from dtvg.storage import restore as restoring
from dtvg.storage.cache import looked, refresh
from dtvg.storage.fetch import bring, manifests_of
from dtvg.storage.follow import Copies
from dtvg.storage.place import Place, check_place, hidden
from dtvg.storage.push import Foreign, Pusher, identity_of, push_experiment
from dtvg.storage.restore import restore
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.labels import Labels, write_labels
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.lease import hold
from dtvg.store.liveness import forget
from dtvg.store.merge import merge
from dtvg.store.reader import list_runs, open_run, read_table
from dtvg.store.status import request
from dtvg.store.verify import verify_run
from dtvg.store.writer import CohortWriter, RunWriter
from dtvg.testing.made_runs import result_of, write_evals
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures
from tests.scale.factory import histories

URI = "memory://lab/{}"


class Made:
    """A made experiment of one run, whose commits come when they are asked for."""

    def __init__(self, root: Path) -> None:
        values = {"name": "made", "sources": ["sst2"], "targets": ["rte"], "seeds": [0]}
        self.config = build_config({**values, "methods": ["none"], "optim": {"steps": 40}})
        self.experiment = create_experiment(self.config, root)
        self.run = self.experiment.runs()[0]
        self.cohort = self.experiment.cohort("transfer-000")
        self.cohort.path.mkdir(parents=True, exist_ok=True)
        self.step = 0

    def commit(self, finish: bool = False) -> None:
        """Commit ten more evaluations with the state of their last step."""
        writer = RunWriter(self.run, self.config.runs()[0])
        rows = {self.step + i: {"score": i / 10} for i in range(1, 11)}
        write_evals(writer, self.config.runs()[0], "validation", rows)
        self.step += 10
        cohort = CohortWriter(self.cohort, {self.run.name: writer})
        meta = {"runs": {self.run.name: {"step": self.step, "result": None}}}
        cohort.commit(cohort.snapshot({}, meta))
        if finish:
            writer.finish(result_of(self.step, 0.2, 0.5, {"score": 0.5}))

    def pushers(self, at: Place) -> list[Pusher]:
        """The cohort, then the experiment."""
        return [Pusher(at, self.experiment, self.cohort, [self.run]), Pusher(at, self.experiment)]


def steps_of(folder: Path) -> int:
    """The rows that can be read, compared with the commit that names them."""
    (run,) = [r for r in list_runs(folder.parent, folder.name) if r.role == "transfer"]
    cohort = ExperimentDir(folder).cohort("transfer-000")
    recovered = CohortWriter.recover(cohort, {run.name: run.directory})
    assert recovered is not None
    steps = read_table(run, "evals", ["step"])["step"].to_pylist()
    assert steps == list(range(1, recovered[1]["runs"][run.name]["step"] + 1))
    return len(steps)


class Failing:
    """Lets the n-th write of a store fail, as a crash in the middle of a copy would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when: int, every: bool = False) -> None:
        self.count, real = 0, Place.put

        def put(at: Place, name: str, content: bytes | Path) -> None:
            self.count += 1
            if self.count % when == 0 if every else self.count >= when:
                raise StoreError("503 Slow Down")
            real(at, name, content)

        monkeypatch.setattr(Place, "put", put)


@pytest.mark.parametrize("scheme, writes", [("file", (1, 4)), ("memory", range(2, 12, 2))])
def test_a_crash_at_any_write_leaves_the_commit_before_or_the_new_one(
    tmp_path: Path, scheme: str, writes: Iterable[int]
) -> None:
    seen = set()
    for when in writes:
        home = tmp_path / str(when)
        uri = f"file://{home}/store" if scheme == "file" else URI.format(f"crash{when}")
        made = Made(home / "runs")
        made.commit()
        for pusher in made.pushers(Place(uri)):
            pusher.push()
        made.commit(finish=True)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, when)
            try:
                for pusher in made.pushers(Place(uri)):
                    pusher.push()
            except StoreError as error:
                assert "503" in str(error)
        folder = home / "copy" / "made"
        bring(Place(uri), "made", folder, lambda found: None)
        seen.add(steps_of(folder))
        for pusher in made.pushers(Place(uri)):  # tried again, the copy is whole
            pusher.push()
        bring(Place(uri), "made", folder, lambda found: None)
        assert steps_of(folder) == 20 and (folder / made.run.name / "result.json").exists()
        assert failing.count or when == 1
    assert seen == ({10} if scheme == "file" else {10, 20})


def test_rows_stay_and_old_states_go(tmp_path: Path) -> None:
    made, at = Made(tmp_path / "runs"), Place(f"file://{tmp_path}/store")
    pushers = made.pushers(at)
    for _ in range(6):
        made.commit()
        for pusher in pushers:
            pusher.push()
    names = at.names("runs/made")
    parts = [n for n in names if ".parquet" in n and "/evals/" in n]
    assert len(parts) == 6 and not any(n.endswith(".tmp") for n in names)
    assert len([n for n in names if "/state." in n]) == 2
    assert len([n for n in names if "/manifests/cohort-transfer-000/" in n]) == 2
    made.commit(finish=True)  # merges: a reader takes the one merged file
    for pusher in pushers:
        pusher.push()
    bring(at, "made", tmp_path / "copy" / "made", lambda found: None)
    assert steps_of(tmp_path / "copy" / "made") == 70
    assert len(list((tmp_path / "copy" / "made" / made.run.name / "evals").iterdir())) == 1
    newest = at.names("runs/made/manifests/cohort-transfer-000")[-1]
    at.put(newest, at.read(newest)[:-20])  # cut off: the one before counts
    bring(at, "made", tmp_path / "other" / "made", lambda found: None)
    assert steps_of(tmp_path / "other" / "made") == 60
    (part,) = {n for n in at.names("runs/made/files") if "000000001-000000010" in n}
    at.put(part, b"other rows")
    with pytest.raises(StoreError, match="is damaged in 'file://"):
        bring(at, "made", tmp_path / "third" / "made", lambda found: None)


# ---- trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """An experiment trained alone; and with a store that fails often, stopped half-way."""
    folder, uri = tmp_path_factory.mktemp("trained"), URI.format("trained")
    steps = {"stage1_steps": 4, "steps": 16, "batch_size": 2, "lr_prompt": 0.05}
    more = {
        "name": "mirrored", "sources": ["sst2"], "methods": ["dtvg"],
        "optim": steps, "logging": {"commit_seconds": 0.01, "commit_share": 1.0},
    }  # fmt: skip
    config = build_config({**tiny_config(folder, **more), "scale": {"mirror": uri}})
    alone = create_experiment(
        config.model_copy(update={"scale": config.scale.model_copy(update={"mirror": None})}),
        folder / "alone",
    )
    procedures.run_experiment(alone, bank=PromptBank(folder / "bank-alone"))
    experiment = create_experiment(config, folder / "runs")

    def stop_half_way(progress) -> None:
        if progress.cohort.startswith("transfer") and progress.steps_done >= 5:
            for run in experiment.runs():
                request(run, "stop")

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PAUSE_SECONDS", 0.01), ("FIRST_WAIT", 0.02), ("SHARE", 1.0)):
            patch.setattr(follow, name, value)
        patch.setattr(loop, "CONTROL_SECONDS", 0.0)
        Failing(patch, 5, every=True)
        procedures.run_experiment(experiment, stop_half_way, bank=PromptBank(folder / "bank"))
    push_experiment(Place(uri), experiment, PromptBank(folder / "bank"))
    yield folder, uri


@pytest.mark.slow  # trains the same three times
def test_on_an_empty_machine_it_goes_on_to_the_same_numbers(
    trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder, uri = trained
    before = list_runs(folder / "runs", "mirrored")
    half = [run for run in before if run.role == "transfer"]
    assert all(run.state is RunState.STOPPED and 5 <= run.step < 16 for run in half)
    for run in half:  # the store failed all the time and that was said once
        told = [
            e["detail"] for e in read_table(run, "events").to_pylist() if e["kind"] == "storage"
        ]
        assert told == ["503 Slow Down Training goes on; copying is tried again."]
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    assert main(["runs", "fetch", uri]) == 0 and capsys.readouterr().out == "mirrored\n"
    assert main(["runs", "fetch", uri, "mirroredd"]) == 2
    assert "Did you mean 'mirrored'?" in capsys.readouterr().err
    assert main(["runs", "resume", f"{uri}/mirrored", "--quiet"]) == 0
    path = paths.runs() / "mirrored"
    assert histories(path) == histories(folder / "alone" / "mirrored")
    for run in list_runs(path.parent, "mirrored"):
        assert verify_run(run.path) == []
        if run.role == "transfer":
            kinds = [e["kind"] for e in read_table(run, "events").to_pylist()]
            assert kinds.count("started") == 1 and kinds.count("resumed") == 1
    assert main(["runs", "fetch", uri, "mirrored"]) == 2
    assert "exists already, so nothing was fetched" in capsys.readouterr().err
    old = ExperimentDir(folder / "runs" / "mirrored")
    with pytest.raises(Foreign, match="as it goes on on host .* where it was restored"):
        Pusher(Place(uri), old).push()
    bring(Place(uri), "mirrored", tmp_path / "copy" / "mirrored", lambda found: None)
    assert len(list((tmp_path / "copy" / "mirrored").glob("*/result.json"))) == len(before)


# ---- looking


def test_the_desk_reads_a_mirror_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, uri = Made(tmp_path / "runs"), f"file://{tmp_path}/store"
    made.commit()
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DTVG_RUNS", uri)
    status = made.run.status_path
    with hold(made.experiment.path) as lease:
        content = json.loads(status.read_text()) | {"state": "running", "step": 10}
        content |= {**lease.file.holder.to_json(), "lease": lease.token, "cohort": "transfer-000"}
        status.write_text(json.dumps(content))
        for pusher in made.pushers(Place(uri)):
            pusher.push()
        assert main(["runs", "list"]) == 0
        assert "running" in capsys.readouterr().out
        with pytest.raises(JobError, match="is still being trained on host .* .last sign . s ago"):
            restore(uri, "made", tmp_path / "elsewhere", tmp_path / "bank")
    copy = paths.runs() / "made"
    assert copy.is_relative_to(tmp_path / "home") and steps_of(copy) == 10
    os.utime(copy / "lease.json", (1e9, 1e9))  # no sign for long
    forget(copy)
    found = open_run(copy / made.run.name)
    assert found.state is RunState.LOST, found
    made.commit()
    for pusher in made.pushers(Place(uri)):
        pusher.push(last=True)
    assert main(["runs", "show", f"made/{made.run.name}"]) == 0
    capsys.readouterr()
    assert steps_of(copy) == 20
    for words in (["runs", "delete", "made"], ["runs", "resume", "made"], ["demo", "run"]):
        assert main(words) == 2
        assert "read-only, so `dtvg" in capsys.readouterr().err
    run = open_run(copy / made.run.name)
    for change in (
        lambda: request(run.directory, "stop"),
        lambda: write_labels(run.path, Labels(("a",))),
        lambda: hold(copy).__enter__(),
        lambda: create_experiment(made.config, paths.runs()),
    ):
        with pytest.raises(StoreError, match="is a storage mirror, which is read-only here"):
            change()
    (tmp_path / "store").rename(tmp_path / "gone")
    assert main(["runs", "list"]) == 0  # an empty folder is no failure; the copy stays
    monkeypatch.setenv("DTVG_RUNS", "s3://bucket?key=secret-value")
    assert main(["runs", "list"]) == 2
    assert "secret-value" not in capsys.readouterr().err


def test_what_a_mirror_holds_is_exported_whole_also_while_it_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, uri = Made(tmp_path / "runs"), f"file://{tmp_path}/store"
    made.commit()
    with hold(made.experiment.path):
        for pusher in made.pushers(Place(uri)):
            pusher.push()
    monkeypatch.setenv("DTVG_RUNS", uri)
    assert main(["runs", "export", "made", "--to", str(tmp_path / "made.zip")]) == 0
    assert "made.zip" in capsys.readouterr().out
    monkeypatch.delenv("DTVG_RUNS")
    there = tmp_path / "there"
    assert main(["runs", "import", str(tmp_path / "made.zip"), "--runs-dir", str(there)]) == 0
    assert steps_of(there / "made") == steps_of(made.experiment.path)


DAMAGED = ("", '{"state": "runn', "[]", "[" * 100_000)
"""What a small file may hold after the power failed."""


@pytest.mark.parametrize("content", [*(text.encode() for text in DAMAGED), b"\xff\xfe"])
def test_a_small_file_that_was_cut_off_is_not_pushed(tmp_path: Path, content: bytes) -> None:
    made, uri = Made(tmp_path / "runs"), f"file://{tmp_path}/store"
    made.commit()
    for path in (made.run.status_path, made.cohort.path / "lease.json"):
        path.write_bytes(content)
    made.experiment.fleet_path.write_bytes(content)
    for pusher in made.pushers(Place(uri)):
        pusher.push(last=True)
    assert not any(found.manifest.texts for found in manifests_of(Place(uri), "made").values())
    restore(uri, "made", tmp_path / "there", tmp_path / "bank")
    assert steps_of(tmp_path / "there" / "made") == 10


def _damage(at: Place, text: str) -> None:
    """Write a manifest as earlier versions did, whose small files were cut off."""
    found = manifests_of(at, "made")["cohort-transfer-000"]
    (status,) = (path for path in found.manifest.texts if path.endswith("status.json"))
    texts = {status: text, "cohorts/transfer-000/lease.json": text}
    manifest.write(at, found.manifest.model_copy(update={"texts": texts}), found.number + 1)


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_small_file_in_a_mirror_is_named_once_and_hides_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    made, uri = Made(tmp_path / "runs"), f"file://{tmp_path}/store"
    made.commit()
    push_experiment(Place(uri), made.experiment, PromptBank(tmp_path / "bank"))
    _damage(Place(uri), text)
    other = build_config({**made.config.model_dump(), "name": "other"})
    push_experiment(
        Place(uri), create_experiment(other, tmp_path / "runs"), PromptBank(tmp_path / "bank")
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            refresh(uri, tmp_path / "copy")
            _damage(Place(uri), text)
        restore(uri, "made", tmp_path / "there", tmp_path / "bank")
    said = f"'{made.run.name}/status.json' of 'made' in '{uri}' is damaged and was left out."
    assert [r.getMessage() for r in caplog.records].count(said) == 1
    for root in (tmp_path / "copy" / "runs", tmp_path / "there"):
        assert steps_of(root / "made") == 10
    names = {run.experiment for run in list_runs(tmp_path / "copy" / "runs")}
    assert names == {"made", "other"}


@pytest.mark.parametrize("command", storage.WRITES)
def test_what_is_refused_beside_a_mirror_is_what_the_command_line_has(command: str) -> None:
    commands = choices_of(parser())
    assert command in commands
    for action in storage.WRITES[command] or ():
        assert action in choices_of(commands[command]), f"there is no `dtvg {command} {action}`"


def choices_of(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands below a parser."""
    (below,) = (a for a in made._actions if isinstance(a, argparse._SubParsersAction))
    return dict(below.choices)


def test_beside_a_mirror_the_queue_rests_and_alerts_are_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path / "runs")
    monkeypatch.setattr(queue, "free_device", lambda device, known: None)
    started: list[list[str]] = []
    monkeypatch.setattr(launcher, "detached", lambda command, *_: started.append(command) or 1)
    queue.add(made.experiment)
    assert started.pop()[-2:] == ["queue", "work"] and not started
    before = {p: p.read_bytes() for p in (paths.home() / "queue").rglob("*.json")}
    monkeypatch.setattr(queue, "work", lambda: pytest.fail("the queue is served"))
    monkeypatch.setenv("DTVG_RUNS", f"file://{tmp_path}/store")
    (paths.home() / "queue" / ".spawned.json").unlink()  # that process is over
    queue.ensure()
    assert not started
    assert main(["queue", "work"]) == 2
    assert "read-only, so `dtvg queue work` does nothing" in capsys.readouterr().err
    assert all(p.read_bytes() == text for p, text in before.items() if p.name[0] != ".")
    assert main(["queue", "list"]) == 0
    assert "waiting" in capsys.readouterr().out
    assert main(["alerts", "work"]) == 0  # what is fetched from a mirror and trained on is told
    assert not paths.mirrored().exists()


# ---- what a person gets wrong


@pytest.mark.parametrize(
    "uri, said",
    [
        ("bucket/lab", "is not the URI of a storage mirror"),
        ("s3://", "give scheme, bucket, folder"),
        ("s4://bucket", "Unknown scheme of a storage mirror 's4'. Did you mean 's3'?"),
        ("sftp://me:hunter22@host/lab", "must not hold a password"),
        ("s3://AKIAHUNTER22@bucket", "must not hold a password"),
        ("s3://bucket/lab?secret=hunter22", "must not hold a password"),
    ],
)
def test_uris_that_cannot_be_used_say_so_without_secrets(uri: str, said: str) -> None:
    values = {"name": "x", "sources": ["sst2"], "targets": ["rte"], "methods": ["none"]}
    with pytest.raises(ConfigError) as raised:
        build_config({**values, "scale": {"mirror": uri}})
    assert said in str(raised.value) and "hunter22" not in str(raised.value).lower()


def test_credentials_and_packages_that_lack_are_named_and_nothing_of_them_is_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22-hunter22")
    assert hidden("got hunter22-hunter22 at https://x/y?sig=1") == "got … at https://x/y?…"
    at = Place(URI.format("said"))

    class NoCredentialsError(Exception):
        pass

    error = at.said(NoCredentialsError("Unable to locate credentials hunter22-hunter22"))
    assert isinstance(error, place.Unusable) and "lacks credentials" in str(error)
    for other in (RuntimeError("bad hunter22-hunter22"), OSError("hunter22-hunter22 refused")):
        assert "hunter22" not in str(at.said(other)) and "failed" in str(at.said(other)) or "cannot"
    monkeypatch.setattr(Place, "put", lambda *given: (_ for _ in ()).throw(error))
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError, match="Nothing was started"):
        check_place(URI.format("said"))
    assert "hunter22" not in caplog.text
    monkeypatch.setattr("dtvg.extras.missing", lambda extra: ["s3fs"])
    with pytest.raises(DtvgError, match=r"pip install -e '.\[s3\]'"):
        Place("s3://bucket/lab")


def test_another_experiment_of_that_name_is_not_written_over(tmp_path: Path) -> None:
    at = Place(URI.format("foreign"))
    for folder, fails in (("one", False), ("two", True)):
        made = Made(tmp_path / folder)
        made.commit()
        if not fails:
            push_experiment(at, made.experiment, PromptBank(tmp_path / "bank"))
            continue
        with pytest.raises(Foreign, match="another experiment named 'made'"):
            push_experiment(at, made.experiment, PromptBank(tmp_path / "bank"))
    assert len(manifests_of(at, "made")) == 2
    refresh(URI.format("foreign"), tmp_path / "copy")
    assert len(list_runs(tmp_path / "copy" / "runs")) == 1


def test_a_status_is_copied_between_commits_and_once_more_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, at = Made(tmp_path / "runs"), Place(URI.format("status"))
    for name, value in (("PAUSE_SECONDS", 0.01), ("SHARE", 1.0), ("BEAT_SECONDS", 0.05)):
        monkeypatch.setattr(follow, name, value)

    def say(state: str, step: int) -> None:
        status = read_json(made.run.status_path) or {}
        replace_json(made.run.status_path, {**status, "state": state, "step": step})

    def told(wanted: tuple[str, int]) -> bool:
        found = manifests_of(at, "made").get("cohort-transfer-000")
        text = "{}" if found is None else found.manifest.texts[f"{made.run.name}/status.json"]
        return (json.loads(text).get("state"), json.loads(text).get("step")) == wanted

    def comes(wanted: tuple[str, int]) -> bool:
        end = time.monotonic() + 5
        while not told(wanted) and time.monotonic() < end:
            time.sleep(0.02)
        return told(wanted)

    with hold(made.experiment.path), Copies(at.uri, made.experiment) as copies:
        copies.add(None)
        copies.add(made.cohort, [made.run])
        say("running", 1)
        made.commit()
        assert comes(("running", 1))
        say("running", 7)
        assert comes(("running", 7)), "without a commit"
        monkeypatch.setattr(follow, "BEAT_SECONDS", 1e9)
        made.commit()
        assert comes(("running", 7))
        time.sleep(0.1)
        say("stopped", 10)  # after the last commit was copied
    assert told(("stopped", 10))


@pytest.mark.parametrize("later", [False, True])
def test_an_experiment_that_cannot_be_read_here_hides_no_other(tmp_path: Path, later: bool) -> None:
    at, bank = Place(URI.format(f"unreadable{later}")), PromptBank(tmp_path / "bank")
    values = {"targets": ["rte"], "methods": ["none"], "seeds": [0]}
    first = create_experiment(build_config({**values, "name": "first"}), tmp_path / "runs")
    text = first.config_path.read_text()
    if not later:
        first.config_path.write_text(text.replace("name: none", "name: of_a_package"))
    push_experiment(at, first, bank)
    if later:
        ((_, found),) = manifests_of(at, "first").items()
        manifest.write(at, found.manifest.model_copy(update={"version": 2}), found.number)
    made = Made(tmp_path / "runs")
    made.commit()
    push_experiment(at, made.experiment, bank)
    for _ in range(2):  # a second look brings nothing new, and says it too
        refresh(at.uri, tmp_path / "copy")
        assert len(list_runs(tmp_path / "copy" / "runs", "made")) == 1
        at_, problem = looked(tmp_path / "copy")
        assert at_ is not None and ("later version" if later else "of_a_package") in problem


def test_an_experiment_is_shown_once_its_method_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Place(URI.format("once_it_is_there"))
    values = {"name": "first", "targets": ["rte"], "methods": ["none"], "seeds": [0]}
    made = create_experiment(build_config(values), tmp_path / "runs")
    push_experiment(at, made, PromptBank(tmp_path / "bank"))
    with monkeypatch.context() as patch:
        patch.setattr("dtvg.storage.cache.load_experiment", _without_package)
        refresh(at.uri, tmp_path / "copy")
    assert looked(tmp_path / "copy")[1] == "No package."
    refresh(at.uri, tmp_path / "copy")
    assert not looked(tmp_path / "copy")[1]
    assert len(list_runs(tmp_path / "copy" / "runs", "first")) == 1


def _without_package(folder: Path) -> None:
    raise StoreError("No package.")


def test_an_experiment_that_was_removed_from_a_mirror_is_shown_no_more(tmp_path: Path) -> None:
    at, bank = Place(f"file://{tmp_path}/store"), PromptBank(tmp_path / "bank")
    values = {"targets": ["rte"], "methods": ["none"], "seeds": [0]}
    for name in ("goes", "stays"):
        made = create_experiment(build_config({**values, "name": name}), tmp_path / "runs")
        push_experiment(at, made, bank)

    def shown() -> set[str]:
        refresh(at.uri, tmp_path / "copy")
        return {run.experiment for run in list_runs(tmp_path / "copy" / "runs")}

    assert shown() == {"goes", "stays"}
    shutil.rmtree(tmp_path / "store" / "runs" / "goes")
    assert shown() == {"stays"}
    (tmp_path / "store").rename(tmp_path / "unmounted")
    assert shown() == {"stays"}


def test_what_two_processes_fetch_at_once_is_brought_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, at = Made(tmp_path / "runs"), Place(URI.format("twice"))
    made.commit()
    push_experiment(at, made.experiment, PromptBank(tmp_path / "bank"))
    to, looks = (at.uri, "made", tmp_path / "there", tmp_path / "bank"), list[str]()
    real = restoring.require_experiment

    def late(place: Place, name: str) -> None:
        real(place, name)
        looks.append(name)
        if len(looks) == 1:
            restore(*to)  # another process is quicker

    monkeypatch.setattr(restoring, "require_experiment", late)
    with pytest.raises(StoreError, match="exists already, so nothing was fetched"):
        restore(*to)
    assert steps_of(tmp_path / "there" / "made") == 10


def test_what_was_begun_from_one_store_is_not_mixed_with_another(tmp_path: Path) -> None:
    made, bank = Made(tmp_path / "runs"), PromptBank(tmp_path / "bank")
    older, newer = Place(URI.format("older")), Place(URI.format("newer"))
    made.commit()
    push_experiment(older, made.experiment, bank)
    made.commit()
    push_experiment(newer, made.experiment, bank)
    bring(older, "made", tmp_path / "there" / ".fetching-made", lambda found: None)  # then killed
    there = restore(newer.uri, "made", tmp_path / "there", tmp_path / "bank")
    assert steps_of(there.path) == 20


def test_a_name_that_was_cut_off_is_given_once_and_then_kept(tmp_path: Path) -> None:
    made, at = Made(tmp_path / "runs"), Place(URI.format("cut"))
    made.commit()
    (made.experiment.path / "storage.json").touch()  # the disk was full when it was written
    for _ in range(2):
        push_experiment(at, made.experiment, PromptBank(tmp_path / "bank"))
    assert {f.manifest.id for f in manifests_of(at, "made").values()} == {
        identity_of(made.experiment)[0]
    }


def test_runs_that_are_in_no_cohort_are_copied_and_brought_back(tmp_path: Path) -> None:
    values = {"sources": ["sst2"], "targets": ["rte"], "methods": ["none"], "optim": {"steps": 40}}
    made = Made(tmp_path / "runs")
    made.commit(finish=True)
    config = build_config({**values, "name": "merged", "seeds": [0, 1]})
    merged = merge(config, list_runs(tmp_path / "runs", "made"), tmp_path / "runs", {})
    at, bank = Place(URI.format("loose")), PromptBank(tmp_path / "bank")
    assert push_experiment(at, merged, bank) == 1
    there = restore(at.uri, "merged", tmp_path / "other", tmp_path / "bank")
    first, second = list_runs(there.path.parent, "merged")
    assert (first.state, second.state) == (RunState.FINISHED, RunState.WAITING)
    assert first.test_score == 0.5
    assert read_table(first, "evals").num_rows == 10

    refresh(at.uri, tmp_path / "copy")
    cohort = merged.cohort("transfer-000")  # trained again, it lies in its cohort's part
    replace_json(cohort.process_path, {"runs": [merged.runs()[0].name]})
    assert push_experiment(at, merged, bank) == 1
    refresh(at.uri, tmp_path / "copy")
    again = open_run(tmp_path / "copy" / "runs" / "merged" / first.name)
    assert again.test_score == 0.5 and read_table(again, "evals").num_rows == 10
