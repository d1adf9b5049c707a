"""Thinning keeps extremes and the newest value, and never more points than asked."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dtvg.analysis.downsample import bucket_edges, thin_index

series = arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6))


@given(series, st.integers(4, 60))
def test_extremes_first_and_last_value_are_always_kept(values: np.ndarray, most: int) -> None:
    kept = thin_index(values, most)
    assert {0, len(values) - 1} <= set(kept.tolist())
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()
    assert (np.diff(kept) > 0).all()


@given(series, st.integers(4, 60))
def test_never_more_points_than_asked_for(values: np.ndarray, most: int) -> None:
    assert len(thin_index(values, most)) <= max(most, 4)


def test_short_series_stay_as_they_are() -> None:
    x, y = np.arange(10), np.arange(10.0)
    assert np.array_equal(thin_index(y, 10), np.arange(len(x)))


def test_several_series_keep_the_extremes_of_each() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5000, 3))
    kept = thin_index(values, 300)
    assert len(kept) <= 300
    assert np.array_equal(values[kept].max(axis=0), values.max(axis=0))
    assert np.array_equal(values[kept].min(axis=0), values.min(axis=0))


def test_absent_values_do_not_hide_a_peak() -> None:
    values = np.full(1000, np.nan)
    values[501] = 7.0
    assert 501 in thin_index(values, 30)


def test_an_empty_series_stays_empty() -> None:
    assert len(thin_index(np.empty(0))) == 0


@given(st.integers(1, 5000), st.integers(1, 500))
def test_bucket_edges_cover_every_row_once(rows: int, buckets: int) -> None:
    edges = bucket_edges(rows, buckets)
    assert edges[0] == 0 and edges[-1] == rows
    assert (np.diff(edges) > 0).all() and len(edges) <= buckets + 1
