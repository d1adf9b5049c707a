"""Inputs behind stored answers: found by content, silent where the task is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dtvg import paths
from dtvg.analysis.compare.disagreements import answers
from dtvg.analysis.compare.examples import input_texts
from dtvg.store.reader import INPUTS, Experiment, open_experiment, read_inputs
from tests.analysis.factory import find


def test_inputs_of_the_recorded_example_are_found_by_their_fingerprint() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    run = next(r for r in recorded.runs if r.method == "dtvg" and r.target == "trip-mood")
    given = answers(run, "test")
    texts = input_texts(run, "test", given["row"].tolist())
    assert set(given["fingerprint"]) == set(texts)
    assert all(text.startswith("letter: ") for text in texts.values())
    assert input_texts(run, "test", [10**9]) == {}


def test_a_recorded_example_keeps_the_texts_that_its_runs_answered() -> None:
    recorded = open_experiment(paths.examples() / "yelp-recorded")
    run = next(r for r in recorded.runs if r.method == "dtvg")
    given = answers(run, "test")
    texts = input_texts(run, "test", given["row"].tolist())  # the home has no data of Yelp
    assert set(given["fingerprint"]) == set(texts)
    assert all(text.startswith("yelp sentence: ") for text in texts.values())
    assert "/" not in str(run.config and run.config.data.folder or "")


def test_kept_texts_that_are_damaged_or_of_another_task_are_none(tmp_path: Path) -> None:
    assert read_inputs(tmp_path, "rte") == {}
    rows = [{"task": "rte", "fingerprint": "f", "input": "rte sentence1: a"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / INPUTS)
    assert read_inputs(tmp_path, "rte") == {"f": "rte sentence1: a"}
    assert read_inputs(tmp_path, "cb") == {}
    (tmp_path / INPUTS).write_bytes(b"no Parquet")
    assert read_inputs(tmp_path, "rte") == {}


def test_a_task_that_is_not_known_here_has_no_inputs(experiment: Experiment) -> None:
    run = find(experiment, "dtvg")
    assert input_texts(run, "test", [0]) == {}
    assert input_texts(replace(run, path=run.path / "gone"), "test", [0]) == {}
