"""A foreign value, an unreadable folder or a formula is a sentence, never a traceback."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pandas as pd
import pytest

from dtvg.cli import main
from dtvg.config import load_config
from dtvg.errors import ConfigError, StoreError
from dtvg.export import plain_cells
from dtvg.jobs import queue_files
from dtvg.plain_text import load_json
from dtvg.store import audit, trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import list_runs, open_run
from dtvg.store.status import clear, request, requested
from dtvg.tasks.own import parse_description
from tests.analysis.factory import config

FOREIGN = [
    ("step", '"x"'), ("step", "[]"), ("step", "-1"), ("loss", '"x"'), ("sources", "1"),
    ("subset", '"x"'), ("seed", "{}"), ("state", '"dancing"'), ("updated_at", "[1]"),
    ("message", "{}"),
]  # fmt: skip


@pytest.fixture
def experiment(own_home: Path) -> ExperimentDir:
    return create_experiment(config(targets=["lake"], seeds=[0]), own_home / "runs")


@pytest.mark.parametrize(("field", "value"), FOREIGN)
def test_a_foreign_value_of_a_status_names_file_and_field(
    experiment: ExperimentDir, field: str, value: str
) -> None:
    run = experiment.runs()[0]
    content = read_json(run.status_path) or {}
    run.status_path.write_text(json.dumps({**content, field: json.loads(value)}))
    problem = open_run(run.path).problem or ""
    assert "status.json" in problem and f"'{field}" in problem
    others = [r for r in list_runs(experiment.path.parent) if r.name != run.name]
    assert others and not any(r.problem for r in others)
    assert main(["runs", "list"]) == 0 and main(["runs", "verify", "trial"]) == 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 5000, "\udcff", "null", "NaN"])
def test_json_that_is_none_counts_as_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, errors="surrogateescape")
    assert read_json(tmp_path / "x") is None


VALUES = [
    "2024-02-30", "!!int x", "!!float x", "!!bool x", "!!timestamp x", "[" * 3000 + "]" * 3000,
    "1" + "0" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda v: v[:12])
def test_a_yaml_value_that_is_none_is_one_sentence(
    own_home: Path, value: str, experiment: ExperimentDir
) -> None:
    file = own_home / "x.yaml"
    file.write_text(f"notes: {value}\n")
    with pytest.raises(ConfigError):
        load_config(file)
    with pytest.raises(ConfigError):
        parse_description(f"licence: {value}\n", file)
    experiment.config_path.write_text(f"notes: {value}\n")
    assert main(["runs", "resume", "trial"]) == 2
    assert main(["runs", "list"]) == 0


def test_a_bad_file_of_the_queue_or_the_trash_is_passed_over_and_named(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = own_home / "queue" / "jobs"
    jobs.mkdir(parents=True)
    (jobs / "000001.json").write_text('{"id": "000001", "path": null, "state": "waiting"}')
    (own_home / "trash" / "20260101-000000-x" / "content").mkdir(parents=True)
    (own_home / "trash" / "20260101-000000-x" / "origin.json").write_text('{"time": []}')
    assert queue_files.jobs() == [] and trash.deleted() == []
    assert main(["queue", "list"]) == 0 and main(["runs", "trash"]) == 0
    assert "000001.json' contains no job that can be read (field 'path'" in capsys.readouterr().out


def test_what_lay_elsewhere_is_not_restored_unasked(
    experiment: ExperimentDir, tmp_path: Path
) -> None:
    made = trash.delete(experiment)
    path = trash.root() / made.id / trash.ORIGIN
    replace_json(path, {**(read_json(path) or {}), "origin": str(tmp_path / "etc" / "trial")})
    with pytest.raises(StoreError, match="with --runs-dir"):
        trash.restore("trial")
    assert trash.restore("trial", tmp_path / "etc").origin == tmp_path / "etc" / "trial"


def test_threads_that_write_one_file_do_not_share_a_temporary_one(tmp_path: Path) -> None:
    path, wrong = tmp_path / "status.json", []

    def write(name: str) -> None:
        for i in range(150):
            try:
                replace_json(path, {"name": name, "i": i, "pad": "y" * 2000}, durable=False)
            except StoreError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists() and read_json(path) is None:
            wrong.append("half a file")
    assert wrong == [] and [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_folder_in_the_place_of_a_request_is_nobodys_request(experiment: ExperimentDir) -> None:
    run = experiment.runs()[0]
    (run.control_dir / "stop").mkdir(parents=True)
    assert requested(run) == set()
    clear(run, "stop")
    with pytest.raises(StoreError):
        request(run, "stop")


def test_an_orphan_folder_is_not_proposed_for_its_own_name(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_home / "runs" / "x" / "rte.none.s0").mkdir(parents=True)
    assert main(["runs", "verify", "x"]) == 2
    said = capsys.readouterr().err
    assert "has no experiment.yaml" in said and "Did you mean" not in said


def test_two_creations_of_one_name_never_mix(own_home: Path) -> None:
    runs, seen = own_home / "runs", []

    def create(rate: float) -> None:
        made = config(targets=["lake"], seeds=[0], optim={"lr_prompt": rate})
        try:
            create_experiment(made, runs)
            seen.append(rate)
        except ConfigError:
            pass

    threads = [threading.Thread(target=create, args=(0.001 * k,)) for k in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1
    for run in list_runs(runs):
        assert run.config is not None and run.config.optim.lr_prompt == seen[0]


def test_csv_cells_are_no_formulas() -> None:
    frame = pd.DataFrame({"=a": ["=HYPERLINK(1)", "+1 b", "-0.5", "@x"], "n": [-1.0, 2, 3, 4]})
    plain = plain_cells(frame)
    assert plain.columns[0] == "'=a"
    assert plain.iloc[:, 0].tolist() == ["'=HYPERLINK(1)", "'+1 b", "-0.5", "'@x"]
    assert plain["n"].tolist() == [-1.0, 2, 3, 4]


@pytest.mark.parametrize("line", ["[" * 100_000, "1" + "0" * 5000, "{half"], ids=len)
def test_a_foreign_line_of_the_audit_file_is_passed_over(own_home: Path, line: str) -> None:
    audit.append({"action": "stop"})
    with audit.path().open("a") as file:
        file.write(f"{line}\n")
    assert [entry["action"] for entry in audit.entries()] == ["stop"]


@pytest.mark.parametrize("text", ["[" * 100_000, "{}x", "1" + "0" * 5000], ids=len)
def test_json_of_any_depth_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(ValueError):
        load_json(text)


def test_a_method_whose_package_is_missing_is_said_to_be(
    experiment: ExperimentDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next(run for run in experiment.runs() if ".none." in run.name)
    for path in (experiment.config_path, run.config_path):
        path.write_text(path.read_text().replace("name: none", "name: softy"))
    assert main(["runs", "verify", f"trial/{run.name}"]) == 1
    said = capsys.readouterr().out
    assert "'method': the method 'softy' is of a package that is not installed" in said
    assert main(["runs", "export", "trial", "--to", str(tmp_path / "trial.zip")]) == 2
    said = capsys.readouterr().err
    assert "the method 'softy' is of a package" in said and "Did you mean" not in said
