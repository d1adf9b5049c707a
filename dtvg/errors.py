"""Errors a person can act on: one sentence saying what, got, allowed, and the next step.

Every error raised on purpose derives from `DtvgError`; the command line and the pages print
its message without a traceback. Imports nothing of the package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LONG = re.compile(r"\S{601,}")


def _cut(word: re.Match[str]) -> str:
    return f"{word[0][:200]}… ({len(word[0]):,} characters) …{word[0][-50:]}"


def shortened(text: str, most: int = 400) -> str:
    """Return a text that may be anybody's, cut where it is long."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


class DtvgError(Exception):
    """Base of every error this package raises on purpose; very long words are cut."""

    def __init__(self, *given: object) -> None:
        super().__init__(*(_LONG.sub(_cut, g) if isinstance(g, str) else g for g in given))


class ConfigError(DtvgError):
    """A setting, name or file given by a person cannot be used."""


class DataError(DtvgError):
    """A data file or task definition is missing something or holds something unexpected."""


class StoreError(DtvgError):
    """A folder or file of the log or the prompt bank is missing, foreign or damaged."""


class JobError(DtvgError):
    """A process could not be started, stopped or found."""


class NumericsError(DtvgError):
    """A number left the range in which training means anything (NaN, infinity)."""


def _alike(name: str) -> float:
    """Return how much of its letters a name must share with another; of `s4` one suffices."""
    return 0.5 if len(name) <= 4 else 0.55


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the entry of `known` that `name` most likely meant, or None.

    The closest in spelling, of a path to its end (`optim.stepz` among names without dots); else
    one that is a word of it (`glue_sst2`, `yelp_polarity`).
    """
    names = list(known)
    spelled = name.lower()
    if not any("." in known_name for known_name in names):
        spelled = spelled.rpartition(".")[2] or spelled
    matches = difflib.get_close_matches(spelled, names, n=1, cutoff=_alike(spelled))
    words = [n for n in names if n in re.split(r"[^a-z0-9]+", name.lower())]
    return next(iter([*matches, *words]), None)


MOST = 60
"""Allowed names that a message lists at most."""


def unknown(what: str, got: str, known: Iterable[str], next_step: str = "") -> str:
    """Compose the message for an unknown name: what, got, nearest match, list, next step.

    Args:
        what: the kind of thing, e.g. "task".
        got: the name a person gave.
        known: every allowed name.
        next_step: one more sentence, e.g. a command that lists them.
    """
    names = sorted(known)
    match = nearest(got, names)
    hint = f" Did you mean '{match}'?" if match else ""
    listing = ", ".join(names[:MOST]) if names else "none are defined"
    listing += f" and {len(names) - MOST:,} more" if len(names) > MOST else ""
    tail = f" {next_step}" if next_step else ""
    return f"Unknown {what} '{got}'.{hint} Allowed: {listing}.{tail}"
