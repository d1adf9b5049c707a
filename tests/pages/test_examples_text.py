"""The text filter of Compare → Examples, on tables of any shape."""

from __future__ import annotations

import pandas as pd
import pytest

from dtvg.ui.compare.examples import holding

TABLE = pd.DataFrame(
    {"input": ["A red Boat", None], "a": ["yes", "no [x]"], "seed": [1, 2], "margin": [0.5, 0.1]}
)


@pytest.mark.parametrize("dtype", ["object", "string", "str"])
@pytest.mark.parametrize(("text", "rows"), [("bOAT", [0]), ("no [", [1]), ("", [0, 1]), ("2", [])])
def test_a_text_is_looked_for_in_columns_of_text(dtype: str, text: str, rows: list[int]) -> None:
    table = TABLE.astype({"input": dtype, "a": dtype})
    assert holding(table, text).index.tolist() == rows


@pytest.mark.parametrize(
    "empty", [TABLE[:0], pd.DataFrame(), TABLE[["seed"]], TABLE[["seed"]][:0], TABLE[[]]]
)
def test_an_empty_table_holds_nothing_and_is_no_error(empty: pd.DataFrame) -> None:
    assert len(holding(empty, "boat")) == 0
    assert len(holding(empty, "")) == len(empty)
