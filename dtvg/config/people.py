"""Who may do what on a shared server: `<home>/people.yaml`, which turns the app's login on.

A viewer looks; an operator also launches, stops, deletes, pins and uploads. Imports nothing of
the app. docs/server.md.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from dtvg import paths
from dtvg.config.reading import build, read_yaml
from dtvg.config.sections import Section
from dtvg.errors import ConfigError

FILE = "people.yaml"


class Role(StrEnum):
    """What a person may do."""

    VIEWER = "viewer"
    """Looks at everything and changes nothing."""
    OPERATOR = "operator"
    """Also launches, stops, deletes, pins and uploads."""


class Members(Section):
    """Who has a role: by e-mail address or by group."""

    emails: tuple[str, ...] = Field(
        (), description="Addresses; '@example.org' stands for everybody of that domain."
    )
    groups: tuple[str, ...] = Field((), description="Values of the provider's group claim.")

    @field_validator("emails")
    @classmethod
    def _addresses(cls, emails: tuple[str, ...]) -> tuple[str, ...]:
        for email in emails:
            name, at, domain = email.rpartition("@")
            if not at or not domain or any(c.isspace() or c in "@*?" for c in name + domain):
                raise ValueError(
                    "give an address such as anna@example.org, or @example.org for everybody of "
                    "that domain"
                )
        return tuple(email.lower() for email in emails)

    def has(self, email: str | None, groups: Sequence[str]) -> bool:
        """Whether a person with this address (lower case) and these groups is meant."""
        if email and (email in self.emails or f"@{email.rpartition('@')[2]}" in self.emails):
            return True
        return any(group in self.groups for group in groups)


class PeopleConfig(Section):
    """Roles of the people who log in. Who has both is an operator; who has none is turned away."""

    operators: Members = Field(
        Members(), description="Who may launch, stop, delete, pin and upload."
    )
    viewers: Members = Field(Members(), description="Who may look.")
    group_claim: str = Field(
        "groups",
        min_length=1,
        description="Claim of the identity token that lists a person's groups; a dot leads into a "
        "nested claim, e.g. realm_access.roles.",
    )
    login_hours: float = Field(
        12.0, gt=0, le=720, description="Hours after which a person has to log in again."
    )
    trust_unverified_emails: bool = Field(
        False,
        description="Accept an e-mail address that the provider does not call verified. Only for "
        "providers whose people cannot choose their address.",
    )

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the role of a person, or None.

        Args:
            claims: of the identity token.
        """
        email = claims.get("email")
        verified = self.trust_unverified_emails or claims.get("email_verified") in (True, "true")
        address = email.lower() if isinstance(email, str) and verified else None
        groups = self._groups(claims)
        if self.operators.has(address, groups):
            return Role.OPERATOR
        if self.viewers.has(address, groups):
            return Role.VIEWER
        return None

    def _groups(self, claims: Mapping[str, Any]) -> list[str]:
        found: Any = claims.get(self.group_claim)
        if found is None:
            found = claims
            for key in self.group_claim.split("."):
                found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, str):
            return [found]
        return [str(group) for group in found] if isinstance(found, list | tuple) else []


def path() -> Path:
    """Return where the file is looked for; that it is there turns login on."""
    return paths.home() / FILE


def people() -> PeopleConfig | None:
    """Return who may do what; None where there is no file, so no login.

    Raises:
        ConfigError: the file cannot be read, names nobody, or contains something not allowed.
    """
    place = path()
    try:
        stat = place.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(place, error) from None
    return _read(place, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _read(place: Path, changed: int, size: int) -> PeopleConfig:
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(place, error) from None
    found = build(PeopleConfig, read_yaml(text, f"'{place}'"), str(place))
    if not any((*found.operators.emails, *found.operators.groups)):
        raise ConfigError(
            f"'{place}' names no operator, so nobody could launch or stop anything; add e.g. "
            "'operators: {emails: [anna@example.org]}'."
        )
    return found


def _unreadable(place: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"'{place}' cannot be read ({error}); without it nobody can be let in. Make it readable "
        "for the app."
    )
