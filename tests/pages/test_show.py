"""What all pages show things with."""

from __future__ import annotations

import pytest

from dtvg.analysis.words import percent
from dtvg.ui import show


def test_rows_are_as_high_as_their_longest_text_needs() -> None:
    line = "x" * int(500 / show.LETTER)
    one = show.row_height(["short", line], 500)
    two, three = show.row_height(["short", 2 * line], 500), show.row_height([3 * line], 500)
    assert one is None
    assert two == show.LEAST_TO_WRAP > 64  # in lower rows Streamlit wraps nothing
    assert three is not None and three > two and three == show.row_height([9 * line], 500)
    assert show.row_height([]) is None


@pytest.mark.parametrize(
    ("share", "digits", "said"),
    [
        (0.0, 1, "0.0 %"),
        (1 / 3000, 1, "under 0.1 %"),
        (0.0006, 1, "0.1 %"),
        (2999 / 3000, 1, "over 99.9 %"),
        (1.0, 1, "100.0 %"),
        (0.004, 0, "under 1 %"),
        (0.996, 0, "over 99 %"),
    ],
)
def test_a_share_that_is_nearly_none_or_all_is_not_said_to_be(
    share: float, digits: int, said: str
) -> None:
    assert percent(share, digits) == said
