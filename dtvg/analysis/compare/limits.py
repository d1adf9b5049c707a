"""Which test a verdict may rest on, by seeds and examples: read from simulated error rates.

`error_rates.csv` is written by `benchmarks/verdicts.py` and printed in docs/verdicts.md. A test
is used only where the upper bound of its simulated error is at most 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from dtvg.analysis.statistics import ALPHA, FEWEST_SEEDS

FILE = Path(__file__).with_name("error_rates.csv")
FAMILIES = Path(__file__).with_name("error_rates_of_families.csv")
PENALTY = 1.5
"""What p is multiplied with in the stricter test."""
USUAL, STRICTER, NONE = "t and both", "stricter", "none"
"""Tests of the table: the larger p of Student's t and resampling; that times 1.5; no verdict."""
ORDER = (USUAL, STRICTER, NONE)


@dataclass(frozen=True)
class Limit:
    """What a verdict on so many seeds and examples rests on."""

    test: str
    """`USUAL`, `STRICTER` or `NONE`."""

    @property
    def factor(self) -> float:
        """What p is multiplied with before it is compared with 5 %."""
        return PENALTY if self.test == STRICTER else 1.0


@lru_cache(maxsize=1)
def table() -> pd.DataFrame:
    """Return the simulated rates, a row a cell of seeds, examples and spread; rates 0..1."""
    return pd.read_csv(FILE)


def named(usual_high: float, stricter_high: float) -> str:
    """Return the test for a cell from the upper bounds of the errors."""
    if usual_high <= ALPHA:
        return USUAL
    return STRICTER if stricter_high <= ALPHA else NONE


@lru_cache(maxsize=4096)
def at(seeds: int, examples: int) -> Limit:
    """Return what a verdict rests on: the strictest of the neighbouring cells, at any spread.

    The spread of seeds is not known, and what lies between two cells is not simulated; beyond
    the table its nearest cell counts.

    Args:
        seeds: that both sides have.
        examples: answered by both sides; 0: the answers are not known.
    """
    if seeds < FEWEST_SEEDS:
        return Limit(NONE)
    rates = table()
    near = rates[rates["seeds"].isin(_around(seeds, rates["seeds"]))]
    if examples == 0:  # only the seeds can be tested: luck of the examples stays
        return Limit(USUAL if (near["student_high"] <= ALPHA).all() else NONE)
    near = near[near["examples"].isin(_around(examples, near["examples"]))]
    return Limit(max(near["test"], key=ORDER.index))


def _around(value: int, known: pd.Series) -> set[int]:
    """Return the neighbours of a value among those of the table, itself if it is there."""
    below, above = known[known <= value], known[known >= value]
    return {
        int(x)
        for x in ([below.max()] if len(below) else []) + ([above.min()] if len(above) else [])
    }


def fewest_seeds() -> int:
    """Return the fewest seeds at which the table allows a verdict at any number of examples."""
    rates = table()
    known = rates[rates["test"] != NONE]["seeds"]
    return int(known.min()) if len(known) else int(rates["seeds"].max()) + 1
