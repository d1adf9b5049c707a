"""GroupInfo holds the logged rows, whatever their order on disk, and says what is odd."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dtvg.analysis.run import segments
from dtvg.analysis.run.groups import GroupInfo, group_info
from dtvg.errors import StoreError
from dtvg.store.reader import Experiment, Run, read_table
from tests.analysis.factory import SOURCES, find, record


def test_matrices_are_the_logged_rows(groups: GroupInfo, dtvg_run: Run) -> None:
    rows = read_table(dtvg_run, "sources").to_pandas()
    for s, source in enumerate(SOURCES):
        mine = rows[rows["source"] == source]
        assert np.array_equal(groups.similarity[:, s], mine["similarity"])
        assert np.array_equal(groups.member[:, s], mine["member"])
        assert np.array_equal(groups.rank[:, s], mine["rank"])
        assert np.array_equal(groups.candidate[:, s], mine["candidate"])
        assert np.array_equal(
            groups.consistency_by_source[:, s], mine["consistency"], equal_nan=True
        )
    steps = read_table(dtvg_run, "steps", ["step", "group_size", "n_candidates"]).to_pandas()
    assert np.array_equal(groups.group_size, steps["group_size"])
    assert np.array_equal(groups.n_candidates, steps["n_candidates"])
    assert groups.sources == SOURCES and groups.exact and not groups.notes


def test_a_range_of_steps_is_read_alone(groups: GroupInfo, dtvg_run: Run) -> None:
    part = group_info(dtvg_run, 10, 19)
    assert part.steps.tolist() == list(range(10, 20))
    assert np.array_equal(part.member, groups.member[9:19])


def test_rows_in_another_order_give_the_same_info(tmp_path: Path) -> None:
    run = find(record(tmp_path, steps=12), "dtvg")
    before = group_info(run)
    (part,) = run.directory.table_dir("sources").glob("*.parquet")
    table = pq.read_table(part)
    mixed = np.random.default_rng(0).permutation(table.num_rows)
    pq.write_table(table.take(mixed), part)
    after = group_info(run)
    assert np.array_equal(after.member, before.member)
    assert np.array_equal(after.similarity, before.similarity)


def test_a_missing_row_is_refused_with_the_run_named(tmp_path: Path) -> None:
    run = find(record(tmp_path, steps=12), "dtvg")
    (part,) = run.directory.table_dir("sources").glob("*.parquet")
    table = pq.read_table(part)
    pq.write_table(table.slice(1), part)
    with pytest.raises(StoreError, match=r"lake\.dtvg\.s0.*not 4 per step"):
        group_info(run)


def test_a_run_without_sources_is_empty_and_says_why(experiment: Experiment) -> None:
    info = group_info(find(experiment, "none"))
    assert len(info.steps) == 0 and "groups no sources" in info.notes[0]
    tables = (
        info.table,
        info.events,
        info.combinations,
        info.similarity_table,
        info.size_table,
        info.churn_table,
        info.strip,
    )
    assert all(len(table) == 0 for table in tables)
    assert info.settling_step is None


def test_a_range_without_rows_gives_empty_tables_with_the_sources(dtvg_run: Run) -> None:
    info = group_info(dtvg_run, 1000, 2000)
    assert len(info.table) == len(info.churn_table) == len(info.strip) == 0
    assert info.source_table["source"].tolist() == list(SOURCES)
    assert info.source_table["share"].isna().all()


def test_shares_and_churn_follow_from_the_membership(groups: GroupInfo) -> None:
    table = groups.source_table
    assert np.allclose(table["share"], groups.member.mean(axis=0))
    assert groups.churn_table["changes"].sum() == groups.churn.sum()
    assert (table["stretches"].sum()) == len(groups.timeline)
    assert table["in_group_now"].tolist() == groups.member[-1].tolist()


def test_too_many_changes_are_merged_and_said_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(inspect.unwrap(segments.timeline), "__defaults__", (5,))
    info = group_info(find(record(tmp_path, steps=40), "dtvg"))
    assert not info.exact and "too often" in info.notes[0]
    assert (info.table["share"] < 1).any()


def test_a_running_run_shows_its_committed_steps(tmp_path: Path) -> None:
    made = record(tmp_path, steps=7, unfinished=["lake.dtvg.s0"])
    assert len(group_info(find(made, "dtvg")).steps) == 7


def test_weights_and_contributions_are_the_logged_ones(groups: GroupInfo, dtvg_run: Run) -> None:
    rows = read_table(dtvg_run, "sources").to_pandas()
    for s, source in enumerate(SOURCES):
        mine = rows[rows["source"] == source]
        assert np.array_equal(groups.weight[:, s], mine["weight"])
        assert np.array_equal(groups.contribution[:, s], mine["contribution_norm"])
    assert not groups.weighs
    shown = groups.weight_table
    logged = {(r.step, r.source): (r.weight, r.contribution_norm) for r in rows.itertuples()}
    assert all(logged[r.step, r.source] == (r.weight, r.contribution) for r in shown.itertuples())
    assert groups.similarity_of.startswith("similarity")
