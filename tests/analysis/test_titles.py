"""Titles in place of ids: of tasks, methods and runs, alone, in labels, sentences and tables."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go
import pytest

from dtvg.analysis import titles
from dtvg.figures.titled import titled
from dtvg.tasks.catalogue import find_task


@pytest.mark.parametrize(
    ("label", "title"),
    [
        ("dtvg", "DTVG"),
        ("dtvg-similarity_only", "DTVG, similarity only"),
        ("single-sst2", "Single source: SST-2"),
        ("oracle-of-none", "Oracle: no source"),
        ("oracle-of-sst2.mnli", "Oracle: SST-2 + MNLI"),
        ("surrogate-samples2-of-sst2.cola", "Surrogate model, samples 2: SST-2 + CoLA"),
        ("dmtg", "After DMTG"),
        ("dmtg (after DMTG (2407.05082))", "After DMTG (2407.05082)"),
        ("nobody's", "nobody's"),
        ("dtvg-threshold-0.1", "DTVG, threshold -0.1"),
        ("none-lr1e-05", "No transfer, lr 1e-05"),
        (
            "dtvg-exact-threshold-1e-06-weightdecay1e-05",
            "DTVG, exact, threshold -1e-06, weight decay 1e-05",
        ),
        ("oracle-lr1e-05-of-mnli.qqp", "Oracle, lr 1e-05: MNLI + QQP"),
    ],
)
def test_a_method_is_called_by_its_title_and_its_settings(label: str, title: str) -> None:
    assert titles.method(label) == title


def test_a_label_of_a_chart_keeps_what_stands_behind_a_name() -> None:
    assert titles.label("single (best by validation) (8.00)") == (
        "Single source (best by validation) (8.00)"
    )
    assert titles.label("rte + sst2") == "RTE + SST-2"


def test_a_run_is_called_by_target_method_and_seed() -> None:
    assert titles.run("trip-mood.dtvg.s0") == "Trip mood · DTVG · seed 0"
    assert titles.run("demo/rte.none.s12") == "demo: RTE · No transfer · seed 12"
    assert titles.run("no run") == "no run"
    assert titles.run("trip.mood.single-a.b.s1") == "trip.mood · Single source: a.b · seed 1"
    assert titles.run("x/a.dtvg.none.s0") == "x: a.dtvg · No transfer · seed 0"
    assert titles.run("trip.mood.own-method.s0") == "trip · mood.own-method · seed 0"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("stage1.count-things.s0", "Stage I · Count things · seed 0"),
        ("stage1.trip-mood-k16.s3", "Stage I · Trip mood, 16 rows · seed 3"),
        ("stage1.trip-mood-k1.s3", "Stage I · Trip mood, 1 row · seed 3"),
        ("demo/stage1.rte.s12", "demo: Stage I · RTE · seed 12"),
        ("stage1.mixture-0a1b2c.s0", "Stage I · Mixture of sources 0a1b2c · seed 0"),
        (
            "stage1.mpt-0a1b2c.s1",
            "Stage I · Multitask prompt tuning, mixture of sources 0a1b2c · seed 1",
        ),
        ("stage1.nobody-s-k4.s1", "Stage I · nobody-s-k4 · seed 1"),
    ],
)
def test_a_run_of_stage_one_is_called_by_what_it_tunes(name: str, title: str) -> None:
    assert titles.run(name) == title
    assert titles.label(title) == title  # of a figure that is titled again
    said = titles.in_sentence(f"Without a value of 'loss' so far: {name}, x.", [name])
    assert said == f"Without a value of 'loss' so far: {title}, x."


def test_a_title_of_ones_own_is_plain_and_nobody_else_s(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        name: replace(find_task("rte"), name=name, title=title, short="")
        for name, title in (
            ("mine", "My task"), ("again", "My task"), ("picture", "![](http://a.bc/d)"),
            ("long", "A title of more than so many letters"), ("rte", "RTE"),
        )
    }  # fmt: skip
    monkeypatch.setattr(titles, "all_tasks", lambda: made)
    monkeypatch.setattr(titles, "_seen", None)
    assert [titles.task(name) for name in made] == ["My task", "again", "picture", "long", "RTE"]


def test_in_a_sentence_only_names_are_replaced() -> None:
    said = titles.in_sentence("On rte `none` beats dtvg; see rte.yaml and sort.", ["rte", "dtvg"])
    assert said == "On RTE No transfer beats DTVG; see rte.yaml and sort."
    assert titles.in_sentence("rte stays", []) == "rte stays"
    words = "(evaluation.at_end: none), none of three, older ones have none; better than none."
    told = titles.in_sentence(words, ["none"])
    assert told == words.replace("than none", "than No transfer")


def test_a_table_has_titles_in_its_cells_and_what_is_typed_stays() -> None:
    frame = pd.DataFrame({"method": ["dtvg"], "target": ["rte"], "note": ["rte"], "score": [0.5]})
    shown = titles.table(frame)
    assert shown.iloc[0].tolist() == ["DTVG", "RTE", "rte", 0.5]
    assert frame.iloc[0].tolist() == ["dtvg", "rte", "rte", 0.5]


def test_a_figure_has_titles_where_people_read_and_names_in_what_links_need() -> None:
    drawn = go.Figure(go.Bar(name="dtvg", x=["rte", "sst2"], y=[1, 2], customdata=["rte", "sst2"]))
    for _ in range(2):  # a figure that is kept is titled again
        bar = titled(drawn).data[0]
        assert (bar.name, list(bar.x)) == ("DTVG", ["RTE", "SST-2"])
        assert list(bar.customdata) == ["rte", "sst2"]


def test_rules_and_events_are_told_in_words() -> None:
    assert titles.rule("similarity_only") == "similarity only"
    assert titles.event("few_shot") == "rows drawn"
    assert titles.event("no_gradient") == "no gradient"


def test_a_single_source_is_named_as_a_task_even_where_it_is_not_known_here() -> None:
    assert titles.method("single-who_borrowed") == "Single source: who_borrowed"
    assert titles.method("single-my-own_task") == "Single source: my-own_task"
    assert titles.method("single-sst2") == "Single source: SST-2"
    assert titles.method("single-sst2-lrscale0.1") == "Single source: SST-2, lr scale 0.1"
    assert titles.method("single-sst2 (lr 0.3)") == "Single source: SST-2 (lr 0.3)"


def test_a_variant_of_all_single_sources_is_no_source() -> None:
    assert titles.label("single-lr0.1 (mean)") == "Single source, lr 0.1 (mean)"
    assert titles.label("single-lr0.1-lrscale0.2 (mean)").count(", ") == 2
    assert titles.label("single-amber-lr0.1") == "Single source: amber, lr 0.1"
