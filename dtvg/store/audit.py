"""Who did what on a shared server: an audit file, and a note that becomes an event of the run.

`<home>/audit.jsonl` is only ever appended to, one JSON object per line. docs/server.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dtvg import paths
from dtvg.errors import StoreError
from dtvg.plain_text import load_json
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import RunDir
from dtvg.store.status import requested

FILE = "audit.jsonl"
NOTE = "person."
"""Begins the name of a note in a run's `control/`."""
EVENT = "person"
"""Kind of the event that a note becomes."""


def path() -> Path:
    """Return the audit file."""
    return paths.home() / FILE


def append(entry: Mapping[str, Any]) -> None:
    """Add a line, in one write, and wait until it is on disk.

    Args:
        entry: plain values; its time is added.

    Raises:
        StoreError: it cannot be written.
    """
    line = json.dumps({"time": _now(), **entry}, ensure_ascii=False, default=str) + "\n"
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StoreError(
            f"'{path()}' cannot be written ({error.strerror or error}), and nothing is done on a "
            "shared server without noting who did it; free some space or make the file writable."
        ) from None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def entries() -> Iterator[dict[str, Any]]:
    """Yield the lines that can be read, oldest first."""
    try:
        with path().open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError):
                    found = load_json(line)
                    if isinstance(found, dict):
                        yield found
    except FileNotFoundError:
        return


def tell(run: RunDir, sentence: str) -> None:
    """Leave a note that the process which trains a run, now or next, writes down as an event.

    Does nothing for a run that has finished: its log is closed.

    Raises:
        StoreError: the folder cannot be written.
    """
    if run.result_path.exists() or not run.path.is_dir():
        return
    word = f"{NOTE}{time.time_ns()}-{secrets.token_hex(3)}"
    replace_json(run.control_dir / word, {"sentence": sentence}, durable=False)


def told(run: RunDir) -> list[tuple[str, str]]:
    """Return the notes of a run that are no events yet: request and sentence, in order."""
    words = sorted(word for word in requested(run) if word.startswith(NOTE))
    return [(w, str((read_json(run.control_dir / w) or {}).get("sentence", ""))) for w in words]
