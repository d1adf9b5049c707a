"""The cost figure shows the numbers of its Info, and says where there are none."""

from __future__ import annotations

import pandas as pd
import pytest

from dtvg.analysis.compare.costs import COLUMNS, CostInfo
from dtvg.figures.compare import AXES, costs_figure


def info(seconds: list[float]) -> CostInfo:
    rows = [
        {**dict.fromkeys(COLUMNS, 1.0), "method": m, "score": 0.5 + i / 10, "seconds_alone": s}
        for i, (m, s) in enumerate(zip(("none", "dtvg"), seconds, strict=True))
    ]
    return CostInfo(pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(), ("one",), "")


def test_every_method_is_one_point_at_its_cost_and_score() -> None:
    figure = costs_figure(info([2.0, 4.0]))
    assert [(t.name, t.x[0], t.y[0]) for t in figure.data] == [
        ("none", 2.0, 0.5),
        ("dtvg", 4.0, 0.6),
    ]
    assert figure.layout.xaxis.type == "linear"
    assert [t.name for t in costs_figure(info([2.0, 4.0]), rows=("dtvg",)).data] == ["dtvg"]


def test_costs_far_apart_are_drawn_on_a_log_axis() -> None:
    assert costs_figure(info([1.0, 100.0])).layout.xaxis.type == "log"


def test_scores_fill_the_figure_and_references_far_below_are_named() -> None:
    lines = [("guessing", 0.05), ("no transfer", 0.52)]
    drawn = costs_figure(info([2.0, 11.0]), lines=lines)
    assert drawn.layout.xaxis.type == "log"
    assert list(drawn.layout.xaxis.ticktext)[:4] == ["1", "2", "5", "10"]
    low, high = drawn.layout.yaxis.range
    assert 0.4 < low < 0.5 and 0.6 < high < 0.7
    assert [shape.y0 for shape in drawn.layout.shapes] == [0.52]
    assert any("↓ guessing 5.0" in note.text for note in drawn.layout.annotations)


@pytest.mark.parametrize("axis", AXES)
def test_a_cost_that_was_not_logged_leaves_a_sentence(axis: str) -> None:
    empty = info([1.0, 2.0])
    empty.table[axis] = float("nan")
    assert "No finished run" in costs_figure(empty, axis).layout.annotations[0].text
