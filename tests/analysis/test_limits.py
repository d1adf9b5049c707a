"""Which test a verdict rests on is what the table of simulated errors allows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dtvg.analysis.compare import limits
from dtvg.analysis.compare.limits import NONE, STRICTER, USUAL


@pytest.fixture
def own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up table: (seeds, examples) → test."""
    rows = []
    for seeds in (3, 5, 8):
        for examples in (50, 500):
            for spread in (0.0, 0.3):
                high = 0.02
                if (seeds, examples, spread) == (5, 500, 0.3):
                    high = 0.06
                if seeds == 8:
                    high = 0.08 if examples == 500 else 0.055
                strict = high / 1.5
                rows.append([seeds, examples, spread, 0.06, limits.named(high, strict)])
    columns = ["seeds", "examples", "spread", "student_high", "test"]
    path = tmp_path / "rates.csv"
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    monkeypatch.setattr(limits, "FILE", path)
    limits.table.cache_clear()
    limits.at.cache_clear()
    yield path
    limits.table.cache_clear()
    limits.at.cache_clear()


def test_a_bound_above_five_percent_takes_the_stricter_test_or_none() -> None:
    assert limits.named(0.05, 0.03) == USUAL
    assert limits.named(0.0501, 0.03) == STRICTER
    assert limits.named(0.06, 0.0501) == NONE


@pytest.mark.parametrize(
    ("seeds", "examples", "test"),
    [
        (3, 50, USUAL),
        (3, 20, USUAL),
        (5, 500, STRICTER),
        (5, 9000, STRICTER),
        (5, 51, STRICTER),  # a neighbour is
        (4, 100, STRICTER),
        (8, 50, STRICTER),
        (8, 500, NONE),
        (30, 500, NONE),
        (2, 500, NONE),
        (5, 0, NONE),  # no answers: Student's t alone errs too often
    ],
)
def test_the_strictest_neighbour_at_any_spread_counts(
    own_table: Path, seeds: int, examples: int, test: str
) -> None:
    assert limits.at(seeds, examples).test == test
    assert limits.at(seeds, examples).factor == (1.5 if test == STRICTER else 1)


def test_the_shipped_table_never_uses_a_test_that_errs_in_more_than_five_percent() -> None:
    rates = limits.table()
    used = rates["verdict_high"].where(rates["test"] == USUAL, rates["strict_high"])
    assert (used[rates["test"] != NONE] <= 0.05).all() and limits.fewest_seeds() == 3
    assert limits.at(5, 500).test == USUAL and limits.at(12, 700).test == STRICTER
    assert limits.at(20, 0).test == NONE
