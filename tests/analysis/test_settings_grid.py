"""Runs that differ in settings: what differs, and how much of the score it accounts for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtvg import paths
from dtvg.analysis.overview.settings_grid import (
    NOT_SET,
    classes_of,
    epsilon_squared,
    readable,
    settings_info,
)
from dtvg.analysis.overview.table import run_rows
from dtvg.config import build_config
from dtvg.figures.settings_grid import (
    ROOM,
    importance_figure,
    parallel_figure,
    slice_figure,
    value_title,
)
from dtvg.figures.titled import titled
from dtvg.records import RunResult
from dtvg.report import as_html
from dtvg.store.layout import create_experiment
from dtvg.store.reader import open_experiment
from tests.analysis.factory import config, record


def test_the_setting_that_matters_comes_first_and_tied_ones_are_said(own_home: Path) -> None:
    rows = []
    rng = np.random.default_rng(0)
    for rate, batch in ((0.1, 4), (0.1, 8), (0.3, 4), (0.3, 8)):
        values = {
            "name": f"g-{rate}-{batch}",
            "targets": ["rte"],
            "methods": ["none"],
            "seeds": [0, 1, 2],
            "optim": {"lr_prompt": rate, "lr_stage1": 2 * rate, "batch_size": batch},
        }
        made = create_experiment(build_config(values), own_home / "runs")
        for row in run_rows([open_experiment(made.path)]):
            score = 0.5 + rate + float(rng.normal(0, 0.01))
            result = RunResult(1, score, score, {}, 1, 1.0, 1, {})
            rows.append(replace(row, run=replace(row.run, result=result, score=score)))
    info = settings_info(rows)
    shown = dict(zip(info.importance["setting"], info.importance["share"], strict=True))
    assert set(shown) == {"optim.lr_prompt", "optim.lr_stage1", "optim.batch_size", "seed"}
    assert shown["optim.lr_prompt"] > 0.9 and shown["optim.batch_size"] < 0.2
    tied = next(note for note in info.notes if "were always changed together" in note)
    assert "optim.lr_prompt" in tied and "optim.lr_stage1" in tied and "seed" not in tied
    part = info.slices[info.slices["setting"] == "optim.lr_prompt"]
    assert list(part["value"]) == ["0.1", "0.3"] and part["mean"].is_monotonic_increasing
    drawn = parallel_figure(info)
    assert list(drawn.layout.xaxis.ticktext)[-1] == "test (%)"
    assert sum(np.isnan(np.array(t.y, float)).sum() for t in drawn.data) == 12  # a gap a run
    assert len(importance_figure(info).data[0].y) == 4
    assert list(slice_figure(info, "optim.lr_prompt").data[0].x) == ["0.1", "0.3"]
    alone = settings_info(rows[:1])
    assert not len(alone.importance) and parallel_figure(alone).layout.annotations
    assert not len(settings_info([]).table)


def test_runs_of_several_backbones_are_told_apart_in_words() -> None:
    rows = run_rows(
        [open_experiment(paths.examples() / n) for n in ("demo-recorded", "yelp-recorded")]
    )
    info = settings_info(rows)
    assert "2 backbones (demo, mini-t5)" in info.warning and "Filter by one" in info.warning
    assert not settings_info(r for r in rows if r.run.experiment == "demo-recorded").warning
    values = set(info.slices.loc[info.slices["setting"] == "method.source", "value"])
    assert NOT_SET in values and "none" not in values
    words = readable(list(info.importance["setting"]))
    assert words["backbone.name"] == "backbone" and words["optim.lr_prompt"] == "lr prompt"
    assert words["method.source"] == "source (of the method)"
    drawn = titled(parallel_figure(info))
    axes = list(drawn.layout.xaxis.ticktext)
    assert "name" not in axes and "source" not in axes and len(set(axes)) == len(axes)
    notes = drawn.layout.annotations
    said = [(note.x, note.text) for note in notes]
    assert len(set(said)) == len(said) and max(len(text) for _, text in said) <= ROOM
    sliced = titled(slice_figure(info, "method.source"))
    assert NOT_SET in sliced.data[0].x and "No transfer" not in sliced.data[0].x
    by_method = titled(slice_figure(info, "method"))
    assert "No transfer" in by_method.data[0].x


def test_a_word_is_no_method_and_names_are_no_two_alike() -> None:
    assert value_title("evaluation.keep_predictions", "none") == "“none”"
    assert value_title("method", "none") == "No transfer"
    words = readable(["data.few_shot", "scale.steps", "optim.steps"])
    assert words == {
        "data.few_shot": "few shot",
        "scale.steps": "scale: steps",
        "optim.steps": "optim: steps",
    }


def test_chance_accounts_for_nothing() -> None:
    rng = np.random.default_rng(1)
    scores, groups = rng.normal(size=2000), rng.integers(0, 8, 2000).astype(str)
    assert epsilon_squared(scores, groups) < 0.01
    assert np.isnan(epsilon_squared(np.ones(4), np.array(list("aabb"))))
    assert np.isnan(epsilon_squared(np.arange(3.0), np.array(list("abc"))))


def test_one_run_without_a_score_is_one_in_words(tmp_path: Path) -> None:
    made = record(tmp_path, config(methods=["none", "dtvg"]), unfinished=["lake.none.s0"])
    notes = settings_info(run_rows([made])).notes
    assert "Left out: 1 run without a test score." in notes


def test_a_class_of_numbers_is_named_by_its_own_smallest_and_largest_value() -> None:
    seeds = classes_of(pd.Series(range(20), dtype=object))
    assert list(dict.fromkeys(seeds))[:2] == ["0 to 2", "3 to 4"] and seeds.iloc[-1] == "17 to 19"
    far = classes_of(pd.Series(range(1_000_000, 1_000_016)))
    assert far.nunique() == 8 and far.iloc[0] == "1000000 to 1000001"
    rates = classes_of(pd.Series([k / 1000 for k in range(1, 10)]))
    assert rates.iloc[0] == "0.001 to 0.002" and rates.iloc[-1] == "0.009"


def test_own_words_are_markdown_that_obeys_no_html() -> None:
    html = as_html(
        "# Title\n\n**bold** <script>alert(1)</script> [x](javascript:alert(1)) "
        "![p](http://far/a.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    assert "<h1>Title</h1>" in html and "<strong>bold</strong>" in html and "<table>" in html
    assert "<script" not in html and 'href="javascript' not in html and "<img" not in html
    assert as_html("  ") == ""


@pytest.mark.parametrize("name", ["demo-recorded"])
def test_the_recorded_example_has_methods_that_matter(name: str) -> None:
    info = settings_info(run_rows([open_experiment(paths.examples() / name)]))
    assert {"method", "target"} <= set(info.importance["setting"])
    assert not [s for s in info.importance["setting"] if s.startswith("logging.")]
