"""Run lengths, changes and combinations say exactly what the membership history says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dtvg.analysis.run import segments

histories = arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 5)))


def _names(member: np.ndarray) -> list[str]:
    return [f"s{i}" for i in range(member.shape[1])]


def _similarity(member: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(member.size)
    return rng.normal(size=member.shape).astype(np.float32)


@given(histories)
def test_intervals_rebuild_the_membership_exactly(member: np.ndarray) -> None:
    steps = np.arange(11, 11 + len(member))
    table, exact = segments.timeline(steps, _names(member), member, _similarity(member))
    assert exact
    rebuilt = np.zeros_like(member)
    for row in table.itertuples():
        source = _names(member).index(row.source)
        assert not rebuilt[row.first - 11 : row.last - 10, source].any()
        rebuilt[row.first - 11 : row.last - 10, source] = True
    assert np.array_equal(rebuilt, member)


@given(histories)
def test_similarity_of_an_interval_is_that_of_its_steps(member: np.ndarray) -> None:
    steps = np.arange(1, 1 + len(member))
    similarity = _similarity(member)
    table, _ = segments.timeline(steps, _names(member), member, similarity)
    for row in table.itertuples():
        values = similarity[row.first - 1 : row.last, _names(member).index(row.source)]
        assert np.isclose(row.similarity, values.mean(dtype=np.float64))
        assert row.similarity_low == values.min() and row.similarity_high == values.max()


@given(histories)
def test_every_interval_begins_with_a_start_or_an_entry(member: np.ndarray) -> None:
    steps = np.arange(1, 1 + len(member))
    found = segments.find_segments(steps, member)
    events = segments.changes(steps, _names(member), member, _similarity(member))
    assert (events["event"] != "leave").sum() == len(found.source)
    assert segments.churn(steps, member).sum() == (events["event"] != "start").sum()


@given(histories, st.integers(1, 20))
def test_buckets_keep_the_number_of_member_steps(member: np.ndarray, most: int) -> None:
    steps = np.arange(1, 1 + len(member))
    table, exact = segments.timeline(steps, _names(member), member, _similarity(member), most)
    counted = table.groupby("source", observed=False)["steps"].sum()
    assert counted.tolist() == member.sum(axis=0).tolist()
    assert np.allclose(table["share"], table["steps"] / (table["last"] - table["first"] + 1))
    assert exact == (len(segments.find_segments(steps, member).source) <= most)


@given(histories)
def test_combinations_add_up_to_all_steps(member: np.ndarray) -> None:
    steps = np.arange(1, 1 + len(member))
    table = segments.combinations(steps, _names(member), member)
    assert table["steps"].sum() == len(member)
    assert np.isclose(table["share"].sum(), 1)
    for row in table.itertuples():
        same = [segments.group_name(m, _names(member)) == row.members for m in member]
        assert sum(same) == row.steps
        assert steps[np.flatnonzero(same)[[0, -1]]].tolist() == [row.first, row.last]


@given(histories, st.integers(1, 4))
def test_the_strip_covers_every_step_once(member: np.ndarray, most: int) -> None:
    steps = np.arange(1, 1 + len(member))
    table, exact = segments.strip(steps, _names(member), member, most)
    assert exact and table["steps"].sum() == len(member)
    assert len(table["members"].cat.categories) <= most + 1


def test_a_gap_in_the_steps_ends_an_interval() -> None:
    member = np.ones((4, 1), dtype=bool)
    found = segments.find_segments(np.array([1, 2, 5, 6]), member)
    assert found.first.tolist() == [0, 2] and found.last.tolist() == [1, 3]


def test_stretches_and_the_longest_are_counted() -> None:
    member = np.array([[1], [1], [0], [1], [0], [0]], dtype=bool)
    table = segments.combinations(np.arange(1, 7), ["a"], member).set_index("members")
    assert table.loc["a", "stretches"] == 2 and table.loc["a", "longest"] == 2
    assert table.loc["(empty)", "stretches"] == 2 and table.loc["(empty)", "last"] == 6


def test_settling_is_the_first_step_of_the_last_group() -> None:
    member = np.array([[0], [1], [1]], dtype=bool)
    assert segments.settling_step(np.array([4, 5, 6]), member) == 5
    assert segments.settling_step(np.array([4, 5, 6]), member[[1, 1, 1]]) == 4
    assert segments.settling_step(np.empty(0, dtype=np.int64), member[:0]) is None
