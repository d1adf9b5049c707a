"""Writing files so that a reader sees the old content or the new, never half of one.

Imports nothing of the package but errors and paths.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from filelock import lock_descriptor, unlock_descriptor

from dtvg import paths
from dtvg.errors import StoreError

RESUME = "free some space or give another --runs-dir, then resume"
"""What to do where a file of a run cannot be written."""


def replace_bytes(path: Path, content: bytes, durable: bool = True, advice: str = RESUME) -> None:
    """Write a file under a dot-prefixed temporary name, then rename it into place.

    Args:
        path: where the content goes.
        content: the whole file.
        durable: wait until it is on disk (not needed for status and heartbeat).
        advice: what to do where it cannot be written.

    Raises:
        StoreError: if the disk refuses (full, read-only, gone).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    new_folder = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
            if new_folder:
                path.parent.rmdir()
        raise StoreError(
            f"'{path}' cannot be written ({error.strerror or error}); {advice}."
        ) from None


_STAGED = re.compile(r"\.(fork|import|merge)-[0-9a-f]{12}")
"""Names of folders beside experiments in which one is made before it appears."""
ABANDONED_SECONDS = 86_400.0
"""Such a folder that is older is nobody's any more."""


def clear_abandoned(folder: Path) -> None:
    """Remove what killed forks, merges and imports left beside experiments more than a day ago.

    Args:
        folder: of experiments; a disk that refuses costs only room.
    """
    with contextlib.suppress(OSError):
        for place in folder.iterdir():
            if _STAGED.fullmatch(place.name) and not place.is_symlink():
                if time.time() - place.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(place, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written; make it where it is absent.

    Raises:
        StoreError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"The folder '{folder}' cannot be written ({error.strerror or error}); set DTVG_HOME "
            "to a writable folder."
        ) from None


def is_shipped(folder: Path) -> bool:
    """Whether a folder is that of the recorded examples, in which nothing may be written."""
    return folder.resolve() == paths.examples().resolve()


def shipped_sentence(name: str = "") -> str:
    """Say that a recorded example is not changed, and how to work on a copy of it.

    Args:
        name: of the example; empty: any.
    """
    what = f"'{name}' is a recorded example: it comes" if name else "Recorded examples come"
    name = name or "NAME"
    return (
        f"{what} with the program and can only be read, so nothing was changed. To work on a copy: "
        f"`dtvg runs export {name} --to {name}.zip`, then `dtvg runs import {name}.zip --name "
        f"{name[:70]}-copy`."
    )


COPY_OF = ".copy-of"
"""In a folder of experiments or prompts: it is a read-only copy of the mirror named in it."""


def check_own(folder: Path) -> None:
    """Refuse to change what is a copy of a storage mirror, or came with the program.

    Args:
        folder: of experiments or prompts.

    Raises:
        StoreError: with what to do instead.
    """
    if is_shipped(folder):
        raise StoreError(shipped_sentence())
    uri = copied_from(folder)
    if uri is not None:
        raise StoreError(
            f"'{uri}' is a storage mirror, which is read-only here, so nothing was changed; work "
            f"where it is trained, or `dtvg runs fetch {uri} NAME` to go on here."
        )


def copied_from(folder: Path) -> str | None:
    """Return the URI of the storage mirror that a folder is a copy of; None where it is none."""
    try:
        return (folder / COPY_OF).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def replace_json(path: Path, content: Any, durable: bool = True, advice: str = RESUME) -> None:
    """Write JSON as `replace_bytes` does; NaN is refused by writing null instead."""
    replace_bytes(path, json_text(content).encode(), durable, advice)


def json_text(content: Any) -> str:
    """Return what `replace_json` writes."""
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, default=str)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None where there is no such file or it holds something else."""
    try:
        return json_object(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or None where it is something else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file; the system frees it when the process ends, however it ends.

    Args:
        path: the lock file; made if absent, left there.
        wait: wait for another holder; otherwise yield False after a moment, in which someone
            who only looked whether it is held lets go of it.

    Yields:
        Whether the lock is held.
    """
    with open_lock_file(path) as file:
        if not _lock(file.fileno(), wait):
            yield False
            return
        with contextlib.suppress(OSError):  # a full disk: the note is for people
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), str(os.getpid()).encode(), 0)
        try:
            yield True
        finally:
            unlock_descriptor(file.fileno())


def open_lock_file(path: Path) -> TextIO:
    """Open a lock file, made if absent.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"'{path.parent}' cannot be written ({error.strerror or error}), so nothing was "
            "started or changed; make it writable, or give another --runs-dir with a copy."
        ) from None


def _lock(handle: int, wait: bool) -> bool:
    """Take an open file's lock: `flock` on Linux and macOS, as earlier versions took it."""
    for pause in (0.01, 0.04, 0.15, None):
        with contextlib.suppress(OSError):  # a file system that knows no locks, or an interruption
            if lock_descriptor(handle, blocking=wait, poll_interval=0.01):
                return True
        if pause is not None:
            time.sleep(pause)
    return False


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file; never takes it from one that is about to."""
    return lock_state(path) is True


def lock_state(path: Path) -> bool | None:
    """Return whether a process holds a lock file; None where locks say nothing.

    A look holds the lock for some microseconds. So that two looks never take each other for a
    holder, they take turns; where they cannot, only a lock that is held at every look counts.
    """
    for pause in (0.001, 0.004, None):
        try:
            with _open_to_look(path) as file, _turn_to_look(path.parent) as alone:
                if lock_descriptor(file.fileno(), blocking=False):
                    unlock_descriptor(file.fileno())
                    return False
                if alone:
                    return True
        except FileNotFoundError:
            return False
        except OSError:  # a file system without locks, or a file that may not be opened
            return None
        if pause is not None:
            time.sleep(pause)
    return True


_one_look = threading.Lock()
"""Threads of one process take turns here, processes by the lock of the folder."""


@contextlib.contextmanager
def _turn_to_look(folder: Path) -> Iterator[bool]:
    """Keep other looks out by the lock of the folder itself, for which no file is made.

    Someone who was suspended during a look may hold it: after a moment others go on without.

    Yields:
        Whether nobody else looks now.
    """
    alone = False
    with _one_look, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a system that does not open or lock folders
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            for _ in range(50):
                alone = lock_descriptor(handle, blocking=False)
                if alone:
                    break
                time.sleep(0.001)
        yield alone


def _open_to_look(path: Path) -> BinaryIO:
    """Open a lock file; network folders only lock what may be written, others need not."""
    try:
        return path.open("r+b")
    except FileNotFoundError:
        raise
    except OSError:
        return path.open("rb")


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for (NaN, infinities) by None."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def size_text(count: int) -> str:
    """Return a number of bytes as people read it."""
    if count < 1 << 20:
        return f"{count / (1 << 10):,.1f} KiB"
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):,.1f} MiB"
