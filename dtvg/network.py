"""Whether the hub can be reached from here, found out at once instead of after many retries.

The hub's client repeats every request of a refusing network for half a minute. Imports nothing
of the package.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 3.0
"""Seconds in which the hub has to accept a connection."""


def refuse_unreachable_hub() -> None:
    """Fail at once where the hub's name cannot be resolved, or nobody answers there.

    Raises:
        ConnectionError: naming the host; never behind a proxy, which resolves by itself.
    """
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    host = address.hostname
    if urllib.request.getproxies() or not host:
        return
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except OSError:
        raise ConnectionError(f"{host} cannot be reached from here") from None
    if found and not any(_answers(family, place) for family, _, _, _, place in found):
        raise ConnectionError(f"{host} cannot be reached from here")


def _answers(family: int, place: object) -> bool:
    """Whether somebody accepts a connection at an address."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as line:
            line.settimeout(PATIENCE_S)
            line.connect(place)  # type: ignore[arg-type]
    except OSError:
        return False
    return True


@contextmanager
def hub_left_alone() -> Iterator[None]:
    """Let the hub's client, and `datasets` where it is loaded, use only what is in their caches."""
    from huggingface_hub import constants

    loaded = sys.modules.get("datasets.config")
    places: list[Any] = [constants] if loaded is None else [constants, loaded]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
