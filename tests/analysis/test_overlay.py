"""Differences from a baseline, and two runs side by side, say what the logs say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.run.curves import curve_info
from dtvg.analysis.run.groups import group_info
from dtvg.analysis.run.overlay import differences, ends, quantities_of
from dtvg.analysis.run.pair import pair_info
from dtvg.figures.curves import overlay_figure
from dtvg.store.reader import Experiment, read_table
from tests.analysis.factory import config, find, record


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    settings = config(methods=["none", "dtvg"], targets=["lake"], seeds=[0, 1])
    return record(tmp_path_factory.mktemp("overlay") / "runs", settings, steps=40)


def test_a_difference_is_the_difference_of_the_logged_values(made: Experiment) -> None:
    ours, base = find(made, "dtvg"), find(made, "none")
    info = curve_info((ours, base), quantity="loss", group_by="run")
    less = differences(info, base.name)
    a, b = (read_table(run, "steps", ["loss"]).column("loss").to_numpy() for run in (ours, base))
    found = {curve.name: curve.y for curve in less.curves}
    assert np.array_equal(found[ours.name], a.astype(float) - b.astype(float))
    assert not found[base.name].any()
    table = ends(info, base.name).set_index("run")
    assert table.loc[ours.name, "difference"] == float(a[-1]) - float(b[-1])
    assert "no difference is shown" in differences(info, "absent").notes[-1]
    assert quantities_of((ours,))[:3] == ["loss", "score", "grad_norm"]
    assert "accuracy" in quantities_of((ours,))


def test_names_stand_at_their_values_on_a_logarithmic_axis(tmp_path: Path) -> None:
    runs = record(tmp_path, config(methods=["none", "dtvg", "all_sources"]), steps=20).runs
    mine = [run for run in runs if run.target == "lake"]
    names = [run.name for run in mine]
    assert len(names) > 4
    info = curve_info(mine, quantity="loss", group_by="run")
    last = {f"line end {curve.name}": curve.y[-1] for curve in info.curves}
    for log in (False, True):
        notes = overlay_figure(info, names, log=(False, log)).layout.annotations
        assert {n.name: 10**n.y if log else n.y for n in notes} == pytest.approx(last)
    scores = curve_info(mine, quantity="score", group_by="run")
    lines = [("guessing", 0.5), ("nothing", 0.0)]
    drawn = overlay_figure(scores, names, log=(False, True), lines=lines).layout
    assert [n.y for n in drawn.annotations if n.text == "guessing 50.0"] == [np.log10(0.5)]
    assert [shape.y0 for shape in drawn.shapes] == [0.5]
    below = replace(info, curves=tuple(replace(c, y=-c.y) for c in info.curves))
    assert not overlay_figure(below, names, log=(False, True)).layout.annotations


def test_two_seeds_differ_exactly_where_their_logs_do(made: Experiment) -> None:
    a, b = (group_info(find(made, "dtvg", seed=seed)) for seed in (0, 1))
    info = pair_info(a, b)
    apart = a.member != b.member
    assert apart.any() and not apart.all(axis=1).all()  # the case is worth looking at
    assert np.array_equal(info.differs, apart.any(axis=1))
    assert info.first_parted == int(a.steps[apart.any(axis=1).argmax()])
    steps = {
        (row.source, step)
        for row in info.apart.itertuples()
        for step in range(row.first, row.last + 1)
    }
    there = {(a.sources[s], int(a.steps[at])) for at, s in zip(*np.nonzero(apart), strict=True)}
    assert steps == there
    first = info.moments.iloc[0]
    assert (first["step"], first["event"]) == (info.first_parted, "part")
    events = info.moments["event"].tolist()
    assert events == ["part", "meet"] * (len(events) // 2) + ["part"] * (len(events) % 2)
    assert f"step {info.first_parted:,}" in info.sentence
    once = np.zeros_like(apart)
    once[7] = apart[apart.any(axis=1).argmax()]
    rows = len(a.steps)
    long = replace(a, steps=np.arange(1, 400 * rows + 1), member=np.tile(a.member, (400, 1)))
    other = replace(long, member=long.member ^ np.pad(once, ((0, 399 * rows), (0, 0))))
    assert "the same at over 99 % of 16,000 common steps" in pair_info(long, other).sentence
    same = pair_info(a, a)
    assert same.first_parted is None and not len(same.apart) and same.same_share == 1


def test_runs_over_other_sources_and_steps_compare_where_both_have_rows(
    made: Experiment, tmp_path: Path
) -> None:
    few = config(methods=["dtvg"], targets=["lake"], seeds=[0], sources=["cove", "fern", "reef"])
    other = group_info(find(record(tmp_path / "runs", few, steps=9), "dtvg"))
    mine = group_info(find(made, "dtvg"))
    info = pair_info(mine, other)
    assert info.steps.tolist() == list(range(1, 10)) and set(other.sources) <= set(info.sources)
    assert "Only one of the runs could choose" in info.notes[0]
