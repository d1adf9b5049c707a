"""Inputs behind stored answers: found by content, silent where the task is missing."""

from __future__ import annotations

from dataclasses import replace

from dtvg import paths
from dtvg.analysis.compare.disagreements import answers
from dtvg.analysis.compare.examples import input_texts
from dtvg.store.reader import Experiment, open_experiment
from tests.analysis.factory import find


def test_inputs_of_the_recorded_example_are_found_by_their_fingerprint() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    run = next(r for r in recorded.runs if r.method == "dtvg" and r.target == "trip-mood")
    given = answers(run, "test")
    texts = input_texts(run, "test", given["row"].tolist())
    assert set(given["fingerprint"]) == set(texts)
    assert all(text.startswith("letter: ") for text in texts.values())
    assert input_texts(run, "test", [10**9]) == {}


def test_a_task_that_is_not_known_here_has_no_inputs(experiment: Experiment) -> None:
    run = find(experiment, "dtvg")
    assert input_texts(run, "test", [0]) == {}
    assert input_texts(replace(run, path=run.path / "gone"), "test", [0]) == {}
