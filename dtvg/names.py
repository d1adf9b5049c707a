"""What a name may be: of experiments, runs, tasks, prompts and whatever becomes a folder.

Everything that takes a name from a person asks here, so that all say the same sentence.
"""

from __future__ import annotations

import re

from dtvg.errors import ConfigError

NAME_PATTERN = r"^[a-z0-9_-][a-z0-9._-]{0,79}$"
"""Names never start with a dot and never leave their folder."""

NAME_RULE = "use 1-80 characters of a-z, 0-9, '.', '_' and '-', not starting with '.'"
"""The pattern in words."""


def is_name(text: str) -> bool:
    """Whether `text` may be a name."""
    return re.fullmatch(NAME_PATTERN, text) is not None


def check_name(name: str, what: str = "name") -> str:
    """Return the name if it may be one.

    Args:
        name: as given.
        what: what it names, e.g. "name of a run".

    Raises:
        ConfigError: otherwise.
    """
    if not is_name(name):
        raise ConfigError(f"'{name}' cannot be used as the {what}: {NAME_RULE}.")
    return name
