"""What is said before a start: label words, inputs and splits that a person should know about."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg import paths
from dtvg.cli.run import run_config
from dtvg.config import ExperimentConfig, build_config
from dtvg.jobs.answers import task_notes
from dtvg.jobs.devices import Device
from dtvg.jobs.readiness import findings
from dtvg.testing.tiny_run import tiny_config


def made(folder: Path, **data: object) -> ExperimentConfig:
    values = tiny_config(folder / "parts", methods=["none"])
    return build_config({**values, "data": {**values["data"], **data}})


def with_paws(folder: Path, test: bool) -> ExperimentConfig:
    place = folder / "data" / "paws"
    place.mkdir(parents=True)
    rows = {"sentence1": ["a film", "b"] * 4, "sentence2": ["b", "a"] * 4, "label": [0, 1] * 4}
    for split in ("train", "validation", *(["test"] if test else [])):
        pq.write_table(pa.table(rows), place / f"{split}.parquet")
    values = tiny_config(folder / "parts", methods=["none"])
    values |= {"sources": ["paws"], "targets": ["paws"], "allow_self": True}
    return build_config({**values, "data": {"folder": str(folder / "data")}})


def test_an_experiment_whose_answers_can_be_written_has_no_note(tmp_path: Path) -> None:
    assert task_notes(made(tmp_path)) == []


def test_label_words_that_cannot_be_written_are_said_at_their_task(tmp_path: Path) -> None:
    config = made(tmp_path, label_words={"rte": ["\u263a", "\u2639"]})
    (note,) = task_notes(config)
    assert (note.setting, note.place) == ("targets", 0)
    assert "cannot write the label words of task rte" in note.sentence
    found = findings(config, paths.runs(), [Device("cpu", "CPU", 8, 4)])
    assert [(f.setting, f.blocks) for f in found if f.kind == "answers"] == [("targets.0", False)]


def test_the_dry_run_prints_the_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = made(tmp_path, label_words={"rte": ["\u263a", "\u2639"]})
    assert run_config(config, None, dry_run=True) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Note: Backbone" in out and "cannot write the label words of task rte" in out


def test_the_name_of_a_recorded_example_is_refused_where_it_would_hide_it(
    tmp_path: Path, own_home: Path
) -> None:
    config = made(tmp_path).model_copy(update={"name": "demo-recorded"})
    found = findings(config, paths.runs(), [Device("cpu", "CPU", 8, 4)])
    said = [f.sentence for f in found if f.kind == "taken" and f.blocks]
    assert said == [
        "'demo-recorded' is the name of a recorded example, which this experiment would hide; "
        "choose another name, e.g. 'demo-recorded-2'."
    ]


def test_inputs_that_become_unknown_are_said(tmp_path: Path) -> None:
    config = made(tmp_path)
    folder = Path(config.data.folder or "") / "glue_rte"
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path).to_pydict()
        table["sentence1"] = ["\u4e00\u4e01"] * len(table["sentence1"])
        pq.write_table(pa.table(table), path)
    (note,) = task_notes(config)
    assert "input tokens of task rte become the unknown token" in note.sentence


@pytest.mark.parametrize("test", [True, False])
def test_a_split_that_is_not_the_literatures_is_said_once(test: bool, tmp_path: Path) -> None:
    sentences = [note.sentence for note in task_notes(with_paws(tmp_path, test))]
    said = [s for s in sentences if "official test split of paws is not at hand" in s]
    assert len(said) == (0 if test else 1)
