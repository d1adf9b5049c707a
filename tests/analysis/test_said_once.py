"""Sentences that name several things: said once, with the right number."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dtvg.analysis.overview.fleet import COLUMNS, FleetInfo
from dtvg.analysis.run.segments import zero_vectors
from dtvg.analysis.sources import COLUMNS as OF_SOURCES
from dtvg.analysis.sources import source_sentences
from dtvg.store.bank import ADVICE, AT_MAJORITY, NOT_MOVED


def _sources(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    said = [(name, state, a, b, ADVICE[state]) for name, state, a, b in rows]
    return pd.DataFrame(said, columns=OF_SOURCES)


def test_sources_that_have_the_same_are_told_together() -> None:
    table = _sources(
        ("a", NOT_MOVED, 1.0, 0.0), ("b", AT_MAJORITY, 0.5, 0.25), ("c", NOT_MOVED, 1.0, 0.1)
    )
    first, second = source_sentences(table)
    assert first.startswith("Sources a and c: did not move. Their best prompts are the initial")
    assert first.endswith(
        "They were candidates in 100 % of the steps and in the group in 0 %, 10 %."
    )
    assert second.startswith("Source b: at the commonest answer. Scores no better")
    assert second.endswith("It was a candidate in 50 % of the steps and in the group in 25 %.")
    (merged,) = source_sentences(_sources(("a", NOT_MOVED, np.nan, 1.0)))
    assert merged.endswith("It was merged in 100 % of the steps.")
    (hardly,) = source_sentences(_sources(("a", NOT_MOVED, 0.999, 0.001)))
    assert hardly.endswith(
        "It was a candidate in over 99 % of the steps and in the group in under 1 %."
    )


def test_one_vector_is_zero_and_several_are() -> None:
    assert zero_vectors(["a"]).startswith("The vector of a is zero: it learned")
    assert zero_vectors(["a", "b"]).startswith("The vectors of a and b are zero: they learned")


def _fleet(working: int, waiting: int) -> FleetInfo:
    made = {name: pd.DataFrame(columns=list(columns)) for name, columns in COLUMNS.items()}
    made["drivers"] = pd.DataFrame({"experiment": ["x"], "waiting": [waiting]})
    made["working"] = pd.DataFrame({"host": ["vm"] * working})
    return FleetInfo(**made)


def test_the_fleet_counts_in_words_that_fit() -> None:
    assert _fleet(1, 1).sentence == "1 cohort trains on 1 machine, 1 waits."
    assert _fleet(2, 0).sentence == "2 cohorts train on 1 machine."
    assert _fleet(0, 0).sentence.startswith("No cohort trains yet: the process")
    assert _fleet(0, 2).sentence.startswith("No cohort trains yet, 2 wait: the process")
