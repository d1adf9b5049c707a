"""What is told when training fails, ends or stands still, and to whom: `<home>/alerts.yaml`.

No password is ever written there: it comes from the environment or the system's key ring.
docs/alerts.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from dtvg import paths
from dtvg.config.reading import build, read_yaml
from dtvg.config.sections import Section
from dtvg.errors import ConfigError

FILE = "alerts.yaml"
PASSWORD = "DTVG_SMTP_PASSWORD"
"""Variable that holds the mail server's password."""
KEYRING = "dtvg"
"""Service under which the key ring is asked, where the variable is not set."""


class Event(StrEnum):
    """What can be told."""

    FAILED = "failed"
    LOST = "lost"
    DONE = "done"
    STALLED = "stalled"


class EmailConfig(Section):
    """A mail server and who is written to."""

    host: str = Field(min_length=1, description="Name of the mail server.")
    port: int = Field(587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "ssl", "none"] = Field(
        "starttls", description="How the connection is encrypted; none sends no password."
    )
    user: str = Field("", description="Account; empty: no login.")
    sender: str = Field(min_length=3, description="Address that the mails come from.")
    to: tuple[str, ...] = Field(min_length=1, description="Addresses that are written to.")

    @model_validator(mode="before")
    @classmethod
    def _no_password(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and any(str(k).lower() == "password" for k in values):
            raise ValueError(
                f"a password does not belong into a file; put it into {PASSWORD}, or into the "
                f"system's key ring (service '{KEYRING}', name as user), and remove it here"
            )
        return values

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for one in [value] if isinstance(value, str) else value:
            if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", one):
                raise ValueError(f"'{one}' is no address such as anna@example.org")
        return value


class AlertsConfig(Section):
    """Which events are told, and where."""

    events: tuple[Event, ...] = Field(tuple(Event), description="What is told.")
    stalled_minutes: float = Field(
        30.0, gt=0, le=100_000, description="Minutes without a step after which `stalled` is told."
    )
    email: EmailConfig | None = Field(None, description="A mail to each of some addresses.")
    webhooks: tuple[str, ...] = Field(
        (),
        description="Addresses that get a JSON object by POST; ${NAME} stands for a variable of "
        "the environment, so that a secret part need not be written here.",
    )
    app: str = Field("", description="Address of the app, for links; empty: none.")

    @field_validator("webhooks")
    @classmethod
    def _hooks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if urlsplit(one).scheme not in ("http", "https") and not one.startswith("${"):
                raise ValueError(f"'{one[:60]}' does not begin with http:// or https://")
        return value


EXAMPLE = "e.g. `webhooks: [https://chat.example.org/hooks/1]`"
"""The shortest file of settings, for messages."""


def path() -> Path:
    """Return where the settings are looked for; without them nothing is sent."""
    return paths.home() / FILE


def alerts() -> AlertsConfig | None:
    """Return the settings; None where there are none.

    Raises:
        ConfigError: the file cannot be read, or holds something that is not allowed.
    """
    place = path()
    if not place.exists():
        return None
    try:
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{place}' cannot be read ({error}).") from None
    return build(AlertsConfig, read_yaml(text, f"'{place}'"), str(place))


def expanded(address: str) -> str:
    """Return a web hook's address with variables of the environment put in.

    Raises:
        ConfigError: one is not set; its name is said, nothing else of the address.
    """
    for name in re.findall(r"\$\{(\w+)\}", address):
        if name not in os.environ:
            raise ConfigError(f"A web hook names the variable {name}, which is not set; set it.")
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], address)
