"""Words that sentences share: shares, lists and counts."""

from __future__ import annotations

from collections.abc import Sequence


def percent(share: float) -> str:
    """Write a share in whole percent; what is neither 0 nor 1 is not said to be."""
    if 0 < share < 0.005:
        return "under 1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def listed(names: Sequence[str]) -> str:
    """Return names with commas and a last "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def counted(number: int, what: str, several: str = "") -> str:
    """Return a number with its noun: `1 row`, `1,000 rows`.

    Args:
        number: how many.
        what: the noun of one.
        several: the noun of many; empty: with an s.
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"


__all__ = ["counted", "listed", "percent"]
