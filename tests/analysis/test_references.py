"""Scores below guessing and below no transfer are marked, with lines in every chart of scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.analysis.compare.lines import in_percent, legend, lines_of
from dtvg.analysis.compare.references import Reference, of_target
from dtvg.analysis.run.curves import curve_info
from dtvg.export import export
from dtvg.figures.compare import compare_figure, costs_figure
from dtvg.figures.curves import curves_figure
from tests.analysis.answered import config, mostly_right, record, right_answers


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CompareInfo:
    answer = mostly_right({"none": 0.95, "all_sources": 0.75, "dtvg": 0.05})
    told = config(targets=["rte"], seeds=[0, 1])
    right = lambda target, n: [  # noqa: E731 - the task's own words
        {"0": "0", "1": "1"}[word] for word in right_answers(target, n)
    ]
    made = record(tmp_path_factory.mktemp("below"), answer, told, right=right)
    return compare_info(made.runs)


def test_guessing_and_no_transfer_are_measured(info: CompareInfo) -> None:
    known = info.references["rte"]
    gold = right_answers("rte", 60)
    assert known.guessing == pytest.approx(max(gold.count("0"), gold.count("1")) / 60)
    table = info.table.set_index("method")["mean"]
    assert (known.method, known.no_transfer) == ("none", pytest.approx(table["none"]))


def test_scores_below_are_marked_in_every_table(info: CompareInfo) -> None:
    lines = lines_of(info, False)
    below = {line.method: line.cells[0].below for line in lines.lines}
    assert below == {"none": "", "all_sources": "no_transfer", "dtvg": "guessing"}
    said = " ".join(legend(lines, info))
    assert "⇓ below always giving the commonest answer (rte" in said and "↓ below the best" in said
    assert "⇓" in export(info, "md") and r"$^{\Downarrow}$" in export(info, "latex")


def test_references_are_rounded_as_the_scores_beside_them(info: CompareInfo) -> None:
    half = 203 / 400  # 100 times it is a little below 50.75
    known = Reference(guessing=half, no_transfer=half, method="none")
    info = replace(info, targets=("rte",))
    info.__dict__["references"] = {"rte": known}
    said = " ".join(legend(lines_of(info, False), info))
    assert in_percent(half) == "50.8" and "answer (rte 50.8)" in said
    texts = [a.text for a in compare_figure(info).layout.annotations]
    assert {"guessing 50.8", "no transfer (none) 50.8"} <= set(texts)


def test_charts_of_scores_have_reference_lines(info: CompareInfo) -> None:
    texts = [a.text for a in compare_figure(info).layout.annotations]
    assert any(t.startswith("guessing 5") for t in texts)
    assert any(t.startswith("no transfer (none)") for t in texts)
    lines = of_target(info.runs, "rte", "test").lines
    drawn = curves_figure(curve_info(info.runs, "score"), lines=lines)
    assert [a.text.split()[0] for a in drawn.layout.annotations] == ["guessing"]
    assert len(costs_figure(info.costs, lines=info.references["rte"].lines).layout.shapes) == 2


def test_nothing_is_marked_where_nothing_is_known(tmp_path: Path) -> None:
    from tests.analysis import factory

    made = factory.record(tmp_path, factory.config(targets=["lake"], methods=["dtvg"]), steps=12)
    info = compare_info(made.runs)
    assert info.references["lake"].lines == []
    assert {cell.below for line in lines_of(info).lines for cell in line.cells} == {""}
