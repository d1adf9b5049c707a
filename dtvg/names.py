"""What a name may be: of experiments, runs, tasks, prompts and whatever becomes a folder.

Everything that takes a name from a person asks here, so that all say the same sentence.
"""

from __future__ import annotations

import re
import unicodedata

from dtvg.errors import ConfigError

NAME_PATTERN = r"^[a-z0-9_-][a-z0-9._-]{0,79}$"
"""Names never start with a dot and never leave their folder."""

NAME_RULE = "use 1-80 characters of a-z, 0-9, '.', '_' and '-', not starting with '.'"
"""The pattern in words."""


def number_in_name(value: float) -> str:
    """Write a number in the letters a name may have: as `:g` does, without a plus sign."""
    return f"{value:g}".replace("+", "")


def word_in_name(text: str) -> str:
    """Write a word in the letters a name may have: as it stands, else as `proposed` has it."""
    return text if re.fullmatch(r"[a-z0-9._-]*", text) else proposed(text) or "_"


def is_name(text: str) -> bool:
    """Whether `text` may be a name."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def proposed(text: str) -> str:
    """Return the allowed name nearest to what was given; empty where nothing of it is left.

    Capitals become small, accents are dropped, everything else that is not allowed becomes '-'.
    """
    split = unicodedata.normalize("NFKD", text.translate(_LETTERS).casefold())
    plain = "".join(c for c in split if not unicodedata.combining(c))
    runs = re.sub(r"[^a-z0-9._-]+", "-", plain)
    name = runs.lstrip(".").strip("-") if runs != plain else runs.lstrip(".")
    return name[:80].rstrip("-") if is_name(name[:80]) else ""


_LETTERS = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "Ae", "đ": "d"})
"""Letters that Unicode does not take apart."""


def rule_for(text: str) -> str:
    """Return the rule of names in words, with the name that is proposed for `text`."""
    near = proposed(text)
    return f"{NAME_RULE}, e.g. '{near}'" if near else NAME_RULE


def check_name(name: str, what: str = "name") -> str:
    """Return the name if it may be one.

    Args:
        name: as given.
        what: what it names, e.g. "name of a run".

    Raises:
        ConfigError: otherwise.
    """
    if not is_name(name):
        raise ConfigError(f"'{name}' cannot be used as the {what}: {rule_for(name)}.")
    return name
