"""Figures of verdicts draw the numbers of their Info, and say why they are empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.compare.families import in_words
from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.analysis.compare.lines import in_percent, verdicts_shown
from dtvg.analysis.compare.ranks import rank_scores
from dtvg.figures.compare import (
    compare_figure,
    forest_figure,
    profile_figure,
    ranks_figure,
    verdict_figure,
)
from dtvg.figures.theme import ink
from tests.analysis.answered import config, mostly_right, record


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> CompareInfo:
    answer = mostly_right({"none": 0.6, "all_sources": 0.7, "dtvg": 0.85})
    made = record(tmp_path_factory.mktemp("r"), answer, config(targets=["lake", "moor", "fen"]))
    return compare_info(made.runs)


def test_the_diagram_places_methods_at_their_ranks_and_joins_level_ones(info: CompareInfo) -> None:
    figure = ranks_figure(info.ranks)
    stems = {t.name: t.x[0] for t in figure.data if t.mode == "lines+markers"}
    assert stems == pytest.approx(info.ranks.table.set_index("method")["rank"].to_dict())
    texts = [a.text for a in figure.layout.annotations]
    assert any("critical difference" in t for t in texts)
    assert all(any(t.startswith(m) for t in texts) for m in stems)


def test_who_points_at_a_number_reads_it_as_tables_print_it(info: CompareInfo) -> None:
    """A browser rounds half a digit up, and 94.25 stood as 94.3 beside the table's 94.2."""
    told = [str(t.hovertemplate) for t in compare_figure(info).data if t.name in info.rows]
    for row in info.table.itertuples():
        beside = f"mean {in_percent(row.mean)}% ± {in_percent(row.std)} "
        assert any(f"<b>{row.method}</b> on {row.target}<br>{beside}" in one for one in told)
    pairs = [str(t.hovertemplate) for t in forest_figure(info.paired).data if t.mode == "markers"]
    shown = verdicts_shown(info)["points"]
    assert all(f"<br>{point}% (" in one for point, one in zip(shown, pairs, strict=True))


def test_every_clique_is_one_bar() -> None:
    scores = np.array([[9, 8, 9, 8, 9, 9, 8, 9], [8, 9, 8, 9, 8, 8, 9, 8], [1.0] * 8, [0.0] * 8])
    ranked = rank_scores(scores / 10, list("abcd"), [str(i) for i in range(8)])
    figure = ranks_figure(ranked)
    bars = [t for t in figure.data if t.mode == "lines" and t.name == "Not told apart"]
    assert len(bars) == len(ranked.cliques) > 1


def test_the_profile_draws_the_steps_of_its_table(info: CompareInfo) -> None:
    for trace in profile_figure(info.profile).data:
        rows = info.profile.table[info.profile.table["method"] == trace.name]
        assert list(trace.x[:-1]) == rows["tau"].tolist()
        assert list(trace.y[:-1]) == rows["share"].tolist() and trace.line.shape == "hv"


def test_the_forest_shows_both_intervals_and_colours_only_verdicts(info: CompareInfo) -> None:
    figure = forest_figure(info.paired, targets=["average"])
    diamonds = {t.name: t for t in figure.data if t.mode == "markers"}
    rows = info.paired.of("average")
    assert [float(t.x[0]) for t in diamonds.values()] == rows["difference"].tolist()
    together = [t.x for t in figure.data if t.name == "corrected"]
    both = [t.x for t in figure.data if t.name == "over seeds and examples"]
    ends = rows[["low_corrected", "high_corrected"]].to_numpy()
    assert np.array(together) == pytest.approx(ends)
    # beside a corrected p stands an interval of the same level
    assert (ends[:, 0] <= rows["low_both"]).all() and (ends[:, 1] >= rows["high_both"]).all()
    assert np.array(both) == pytest.approx(rows[["low_both", "high_both"]].to_numpy())
    for row in rows.itertuples():
        decided = row.verdict in ("better", "worse")
        drawn = diamonds[row.baseline]
        filled = decided or row.verdict_runs in ("better", "worse")
        assert drawn.marker.symbol == ("diamond" if filled else "diamond-open")
        lines = {t.line.color for t in figure.data if t.mode == "lines" and t.y[0] == row.baseline}
        assert lines == {drawn.marker.color}
        assert (drawn.marker.color == ink(False).muted) is not decided
        assert in_words(row.verdict, row.statement) in drawn.hovertemplate
        assert "p = " in drawn.hovertemplate
    assert "on these runs: better" in diamonds["none"].hovertemplate


def test_one_seed_is_one_in_words(info: CompareInfo) -> None:
    alone = compare_info([r for r in info.runs if r.seed == info.runs[0].seed])
    for figure in (forest_figure(alone.paired), compare_figure(alone)):
        assert "(1 seed)" in figure.to_json() and "1 seeds" not in figure.to_json()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_finished_is_said_in_words(tmp_path: Path, dark: bool) -> None:
    made = record(tmp_path, mostly_right({}), unfinished=[r.name for r in config().runs()])
    info = compare_info(made.runs)
    for figure in (
        compare_figure(info, dark),
        verdict_figure(info, dark),
        forest_figure(info.paired, dark),
        profile_figure(info.profile, dark),
        ranks_figure(info.ranks, dark),
    ):
        assert not figure.data and figure.layout.annotations[0].text
