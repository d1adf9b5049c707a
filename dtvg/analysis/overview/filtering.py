"""A filter as one types it, `method=dtvg seed<2 optim.lr_prompt>=0.1 tag=x`, read and applied.

Terms are joined by "and"; commas mean "or". What a term may name is given by whoever asks, so
that this file knows nothing of runs.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dtvg.errors import ConfigError, nearest

_TERM = re.compile(r"([A-Za-z_][\w.]*)\s*(>=|<=|!=|=|<|>|~)(.*)", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Row(Protocol):
    """What is filtered."""

    def value(self, key: str) -> Any:
        """Return a field's value: a number, text, bool, None, or several of these."""

    @property
    def text(self) -> str:
        """Return what a bare word is looked for in, in lower case."""


@dataclass(frozen=True)
class Term:
    """One condition; an empty key means a bare word."""

    key: str
    sign: str
    values: tuple[str, ...]

    def accepts(self, row: Row) -> bool:
        """Whether a row meets the condition."""
        if not self.key:
            return self.values[0] in row.text
        found = row.value(self.key)
        several = found if isinstance(found, tuple | list) else (found,)
        if self.sign in _ORDER:
            limit = _number(self.values[0])
            return any(
                _is_number(v) and limit is not None and _ORDER[self.sign](v, limit) for v in several
            )
        if self.sign == "~":
            return any(w.lower() in str(v).lower() for v in several for w in self.values)
        equal = any(_equal(v, wanted) for v in several or (None,) for wanted in self.values)
        return equal != (self.sign == "!=")


def parse(
    text: str, fields: Collection[str], words: Mapping[str, Collection[str]] | None = None
) -> tuple[Term, ...]:
    """Read a filter.

    Args:
        text: what was typed; empty, or a pair of quotation marks around nothing: no condition.
        fields: every name a term may have; a unique ending such as `lr_prompt` will do.
        words: fields whose values are known, so that a misspelt one is told.

    Raises:
        ConfigError: a quotation mark without its partner, a backslash at the end, an unknown name,
            a value that is missing or, after < and >, no number; with what was probably meant.
    """
    try:
        pieces = shlex.split(text)
    except ValueError as error:
        what = "ends in a backslash with nothing behind it"
        if "quotation" in str(error):
            what = "has a quotation mark that is never closed"
        raise ConfigError(f"The filter '{text}' {what}.") from None
    return tuple(_term(piece, fields, words or {}) for piece in pieces if piece)


def _term(piece: str, fields: Collection[str], words: Mapping[str, Collection[str]]) -> Term:
    made = _TERM.fullmatch(piece)
    if made is None:
        if piece[0] in "<>=~!" or piece[-1] in "<>=~!":
            raise ConfigError(
                f"'{piece}' is not a whole condition: write name, sign and value without spaces, "
                "e.g. seed<2 or state=failed."
            )
        return Term("", "", (piece.lower(),))
    name, sign, value = made.groups()
    key = resolve(name, fields)
    values = tuple(v for v in value.split(",") if v)
    if not values:
        raise ConfigError(f"'{piece}' has no value after '{sign}'; write e.g. {name}{sign}1.")
    if sign in _ORDER:
        if len(values) > 1 or _number(values[0]) is None:
            raise ConfigError(f"'{piece}' compares with '{value}', which is not a number.")
        if key in words:
            raise ConfigError(f"'{key}' is text, so '{sign}' cannot be used; use =, != or ~.")
    elif sign != "~" and key in words:
        _check_words(key, values, words[key])
    return Term(key, sign, values)


def _check_words(key: str, values: Iterable[str], known: Collection[str]) -> None:
    low = {k.lower() for k in known}
    for value in values:
        if not _is_pattern(value) and value.lower() not in low:
            match = nearest(value, low)
            hint = f" Did you mean '{match}'?" if match else ""
            shown = ", ".join(sorted(known)[:12]) or "none"
            more = f" and {len(known) - 12} more" if len(known) > 12 else ""
            raise ConfigError(f"No run has {key} '{value}'.{hint} There are: {shown}{more}.")


def resolve(name: str, fields: Collection[str]) -> str:
    """Return the field a name means: itself, or the one field that ends in it.

    Raises:
        ConfigError: there is none or several, with what was probably meant.
    """
    if name in fields:
        return name
    endings = sorted(f for f in fields if f.endswith(f".{name}"))
    if len(endings) == 1:
        return endings[0]
    if endings:
        raise ConfigError(f"'{name}' may mean {' or '.join(endings)}; write one of these.")
    short = {f.rpartition(".")[2]: f for f in fields}
    match = nearest(name, fields) or short.get(nearest(name, short) or "")
    hint = f" Did you mean '{match}'?" if match else ""
    raise ConfigError(
        f"There is no '{name}' to filter by.{hint} Every name that 'Columns' offers can be used."
    )


def _equal(value: Any, wanted: str) -> bool:
    if value is None:
        return wanted.lower() in ("none", "null")
    if isinstance(value, bool):
        return wanted.lower() in (("true", "yes") if value else ("false", "no"))
    if _is_number(value):
        number = _number(wanted)
        return number is not None and math.isclose(value, number, rel_tol=1e-9, abs_tol=1e-12)
    if _is_pattern(wanted):
        return fnmatch.fnmatchcase(str(value).lower(), wanted.lower())
    return str(value).lower() == wanted.lower()


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(text: str) -> float | None:
    """Read a number, also as a percentage."""
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        return None
    return value / 100 if share else value
