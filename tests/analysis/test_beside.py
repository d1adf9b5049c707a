"""Marks and right sets beside a timeline, and the table of all rules, say what the log says."""

from __future__ import annotations

import numpy as np
import pytest

from dtvg.analysis.run.all_rules import all_rules
from dtvg.analysis.run.groups import group_info
from dtvg.analysis.run.replay import replay
from dtvg.analysis.subsets.beside import BEST, EVALUATED, beside
from dtvg.figures.groups import timeline_figure
from dtvg.rule.rules import RULE_NAMES
from dtvg.store.reader import Run, read_table
from tests.analysis.factory import config, find, record


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = config(methods=["dtvg"], targets=["lake"], seeds=[0])
    return find(record(tmp_path_factory.mktemp("beside") / "runs", made, steps=40), "dtvg")


def test_marks_are_the_logs_evaluations_and_the_best_step(run: Run) -> None:
    marks = beside(run, group_info(run), {}).marks
    rows = read_table(run, "evals", ["step", "split", "metric"]).to_pandas()
    at = rows[(rows["split"] == "validation") & (rows["metric"] == "score")]["step"]
    assert marks[marks["kind"] == EVALUATED]["step"].tolist() == sorted(set(at))
    assert marks[marks["kind"] == BEST]["step"].tolist() == [run.result.best_step]


def test_agreement_with_a_right_set_is_the_jaccard_of_every_step(run: Run) -> None:
    info = group_info(run)
    right = frozenset(info.sources[:2])
    made = beside(run, info, {"truth": right})
    found = np.full(len(info.steps), np.nan)
    for row in made.references.itertuples():
        found[(info.steps >= row.first) & (info.steps <= row.last)] = row.overlap
    groups = [{s for s, m in zip(info.sources, row, strict=True) if m} for row in info.member]
    expected = [len(g & right) / len(g | right) for g in groups]
    assert np.allclose(found, expected)
    figure = timeline_figure(info, beside=made)
    assert list(figure.layout.yaxis.categoryarray) == [*info.sources, "truth", "marks"]


def test_every_rule_agrees_as_its_own_replay_says(run: Run) -> None:
    table, notes = all_rules(run)
    assert table["rule"].iloc[0] == run.config.method.rule and table["same group"].iloc[0] == 1
    assert set(table["rule"]) == set(RULE_NAMES) and notes == ()
    for row in table.to_dict("records"):
        whole = replay(run, rule=row["rule"])
        assert row["same group"] == whole.agreement and row["overlap"] == whole.mean_jaccard
    few, _ = all_rules(run, leave_out=run.sources[:1], threshold=0.1)
    whole = replay(run, leave_out=run.sources[:1], threshold=0.1)
    assert few["same group"].iloc[0] == whole.agreement
