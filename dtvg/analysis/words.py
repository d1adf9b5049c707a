"""Words that sentences share: shares, lists and counts."""

from __future__ import annotations

from collections.abc import Sequence


def in_percent(value: float, digits: int = 1, sign: str = "") -> str:
    """Write a share or a difference of shares in percent, without the sign of percent.

    Half a last digit is rounded in one way only, whatever order the scores of a mean were added in.

    Args:
        value: 0..1, or a difference.
        digits: decimals.
        sign: `+`: positive ones have it.
    """
    return f"{round(100 * value, 9):{sign}.{digits}f}"


def percent(share: float, digits: int = 0) -> str:
    """Write a share in percent; what is neither 0 nor 1 is not said to be.

    Args:
        share: 0..1.
        digits: decimals.
    """
    text, least = in_percent(share, digits), 10.0**-digits
    if share > 0 and float(text) == 0:
        return f"under {least:g} %"
    if share < 1 and float(text) == 100:
        return f"over {100 - least:g} %"
    return f"{text} %"


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
