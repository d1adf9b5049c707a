"""What all pages show things with."""

from __future__ import annotations

from dtvg.ui import show


def test_rows_are_as_high_as_their_longest_text_needs() -> None:
    line = "x" * int(500 / show.LETTER)
    one = show.row_height(["short", line], 500)
    two, three = show.row_height(["short", 2 * line], 500), show.row_height([3 * line], 500)
    assert one is None
    assert two is not None
    assert three == two + show.LINE == show.row_height([9 * line], 500)
    assert show.row_height([]) is None
