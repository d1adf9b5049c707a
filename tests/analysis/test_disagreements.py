"""Answers of two runs on the same examples: matched by content, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dtvg.analysis.compare.disagreements import (
    BOTH,
    NEITHER,
    ONLY_A,
    ONLY_B,
    disagreement_info,
    pair_runs,
)
from dtvg.config import RunConfig
from dtvg.figures.compare import disagreement_figure
from dtvg.store.layout import RunDir, create_experiment
from dtvg.store.reader import Run, open_run
from dtvg.store.writer import CohortWriter, RunWriter
from tests.analysis.factory import config

Row = tuple[str, str, bool]
"""Fingerprint, answer, whether right."""


def written(root: Path, answers: dict[str, list[Row]], split: str = "test") -> dict[str, Run]:
    """Write runs with these answers; label → run."""
    plan = config("talk", targets=["lake"], seeds=[0, 1], methods=["none", "dtvg"])
    directory = create_experiment(plan, root)
    chosen = [c for c in plan.runs() if c.name in answers]
    writers = {c.name: RunWriter(RunDir(directory.run(c.name).path), c) for c in chosen}
    for c in chosen:
        writers[c.name].extend("predictions", columns(c, answers[c.name], split))
    cohort = CohortWriter(directory.cohort("transfer"), writers)
    cohort.cohort.path.mkdir(parents=True, exist_ok=True)
    cohort.commit(cohort.snapshot({}, {}))
    return {c.name: open_run(directory.run(c.name).path) for c in chosen}


def columns(run: RunConfig, rows: list[Row], split: str) -> dict[str, Any]:
    n = len(rows)
    return {
        "step": [10] * n,
        "split": [split] * n,
        "task": [run.target] * n,
        "row": list(range(n)),
        "fingerprint": [r[0] for r in rows],
        "target": ["yes"] * n,
        "prediction": [r[1] for r in rows],
        "correct": [r[2] for r in rows],
        "value": [float(r[2]) for r in rows],
        "margin": None,
    }


MINE: list[Row] = [
    ("f1", "yes", True),
    ("f2", "no", False),
    ("f3", "yes", True),
    ("f4", "x", False),
]
OTHER: list[Row] = [
    ("f3", "no", False),
    ("f1", "yes", True),
    ("f2", "yes", True),
    ("f4", "y", False),
]


def test_examples_are_matched_by_content_and_counted(tmp_path: Path) -> None:
    runs = written(tmp_path, {"lake.dtvg.s0": MINE, "lake.none.s0": OTHER})
    pair = (runs["lake.dtvg.s0"], runs["lake.none.s0"])
    info = disagreement_info([pair], "dtvg", "none")
    assert info.counts.iloc[0].to_dict() == {
        "seed": "0",
        "examples": 4,
        BOTH: 1,
        ONLY_A: 1,
        ONLY_B: 1,
        NEITHER: 1,
    }
    assert info.examples["fingerprint"].tolist() == ["f3", "f2", "f4", "f1"]
    first = info.of(ONLY_A).iloc[0]
    assert (first["answer_a"], first["answer_b"], first["row"]) == ("yes", "no", 2)
    assert info.p == 1.0 and "McNemar" in info.test
    assert len(disagreement_figure(info).data) == 4


def test_several_seeds_are_added_up_without_a_test_over_their_examples(tmp_path: Path) -> None:
    runs = written(
        tmp_path,
        {
            n: MINE if "dtvg" in n else OTHER
            for n in ("lake.dtvg.s0", "lake.dtvg.s1", "lake.none.s0", "lake.none.s1")
        },
    )
    pairs = pair_runs(
        [runs["lake.dtvg.s0"], runs["lake.dtvg.s1"]], [runs["lake.none.s1"], runs["lake.none.s0"]]
    )
    assert [(a.seed, b.seed) for a, b in pairs] == [(0, 0), (1, 1)]
    info = disagreement_info(pairs, "dtvg", "none")
    assert info.counts["seed"].tolist() == ["0", "1", "all"]
    assert info.counts.iloc[-1].tolist() == ["all", 8, 2, 2, 2, 2]
    assert info.p != info.p and info.test == ""
    lone = pair_runs([runs["lake.dtvg.s0"]], [runs["lake.dtvg.s1"]])
    assert [(a.seed, b.seed) for a, b in lone] == [(0, 1)]


def test_the_same_text_twice_in_a_split_is_matched_in_order(tmp_path: Path) -> None:
    twice: list[Row] = [("f1", "yes", True), ("f1", "no", False)]
    runs = written(tmp_path, {"lake.dtvg.s0": twice, "lake.none.s0": twice})
    info = disagreement_info([(runs["lake.dtvg.s0"], runs["lake.none.s0"])], "a", "b")
    assert info.counts[[BOTH, NEITHER, ONLY_A]].iloc[0].tolist() == [1, 1, 0]


def test_examples_of_one_run_only_are_left_out_and_named(tmp_path: Path) -> None:
    runs = written(tmp_path, {"lake.dtvg.s0": MINE, "lake.none.s0": OTHER[:2]})
    info = disagreement_info([(runs["lake.dtvg.s0"], runs["lake.none.s0"])], "a", "b")
    assert len(info.examples) == 2
    assert "2 examples were answered by only one of them" in info.notes[0]


def test_examples_of_one_run_only_are_those_of_both_sides(tmp_path: Path) -> None:
    """Each side answered one example that the other did not, as with other drawn rows."""
    other: list[Row] = [*OTHER[:3], ("f5", "no", False)]
    runs = written(tmp_path, {"lake.dtvg.s0": MINE, "lake.none.s0": other})
    info = disagreement_info([(runs["lake.dtvg.s0"], runs["lake.none.s0"])], "a", "b")
    assert len(info.examples) == 3
    assert "2 examples were answered by only one of them" in info.notes[0]


def test_runs_that_kept_no_answers_are_named(tmp_path: Path) -> None:
    runs = written(tmp_path, {"lake.dtvg.s0": MINE, "lake.none.s0": OTHER})
    pair = (runs["lake.dtvg.s0"], replace(runs["lake.none.s0"], path=tmp_path / "gone"))
    info = disagreement_info([pair], "a", "b")
    assert not len(info.examples) and not len(info.counts)
    assert "lake.none.s0 stored no answers on test" in info.notes[0]
    assert not disagreement_figure(info).data
    assert not len(disagreement_info([pair], "a", "b", "validation").examples)


@pytest.mark.parametrize("kind", [None, ONLY_B])
def test_of_filters_by_kind(tmp_path: Path, kind: str | None) -> None:
    runs = written(tmp_path, {"lake.dtvg.s0": MINE, "lake.none.s0": OTHER})
    info = disagreement_info([(runs["lake.dtvg.s0"], runs["lake.none.s0"])], "a", "b")
    assert len(info.of(kind)) == (4 if kind is None else 1)
