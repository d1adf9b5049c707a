"""The tables of docs/experiments.md are the numbers of the Infos."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.lines import in_percent
from dtvg.analysis.run.groups import group_info
from dtvg.store.reader import open_experiment
from tools import experiment_tables

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "examples"


def test_tables_hold_every_cell_and_every_seeds_group() -> None:
    experiment = open_experiment(EXAMPLES / "demo-recorded")
    lines = experiment_tables.scores(experiment).splitlines()
    info = compare_info([run for run in experiment.runs if run.role == "transfer"])
    assert lines[0] == "| method | trip-mood | who-sent | average |"
    several = info.table[info.table["n_seeds"] > 1]
    assert len(several)
    for row in several[~several["method"].str.startswith("single-")].itertuples():
        (line,) = [x for x in lines if x.startswith(f"| {row.method} |")]
        shown = f"{in_percent(row.mean)} ± {in_percent(row.std)} ({in_percent(row.low)} to"
        assert shown in line
    for page in experiment_tables.PAGES:
        assert not re.search(r"(?<![\d,.])1 others", page.read_text("utf-8"))
    groups = experiment_tables.groups(experiment, "dtvg")
    for run in experiment.runs:
        if run.method == "dtvg":
            first = group_info(run).combinations.iloc[0]
            assert f"{first['members']} {100 * first['share']:.0f} %" in groups


def test_cells_with_fewer_seeds_say_so() -> None:
    experiment = open_experiment(EXAMPLES / "demo-recorded")
    kept = tuple(r for r in experiment.runs if r.method != "none" or r.seed == 0)
    table = experiment_tables.scores(replace(experiment, runs=kept))
    (line,) = [x for x in table.splitlines() if x.startswith("| none |")]
    assert line.count(", 1 seed") == 3 and ", 1 seeds" not in line


def test_a_page_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    page = tmp_path / "page.md"
    places = ("<!-- scores demo-recorded -->\nold", "<!-- groups no -->\nkept")
    page.write_text("a\n" + "\nb\n".join(f"{place}\n<!-- end -->" for place in places) + "\n")
    monkeypatch.setattr(experiment_tables, "PAGES", (page,))
    experiment_tables.main(EXAMPLES)
    text = page.read_text(encoding="utf-8")
    assert "old" not in text and "| dtvg |" in text and "kept" in text and "\nb\n" in text
    assert "left as it is: groups no" in capsys.readouterr().out
    experiment_tables.main(EXAMPLES)
    assert page.read_text(encoding="utf-8") == text


def test_trials_of_a_row_of_claims_name_cells_with_more_of_them() -> None:
    from benchmarks import claims

    key = claims.key_of("(f) against one method", (1, 5, 200), claims.AT_MARGIN)
    known = {
        claims.key_of("(f) against one method", (1, 5, 200), truth): {"cannot tell": 200}
        for truth in claims.TRUTHS
    }
    assert "| 1 | 5 | 200 | 200 |" in claims.table_of(known)
    known[key] = {"cannot tell": 1000}
    table = claims.table_of(known)
    assert "| 1 | 5 | 200 | 200 (at the margin 1,000) |" in table
    counts = json.loads(claims.COUNTS.read_text("utf-8"))
    assert claims.table_of(counts) in claims.PAGE.read_text("utf-8")
