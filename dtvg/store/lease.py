"""The lease of an experiment: who takes it trains, and nobody else.

Taken atomically with a lock, and with a name that can be made once only where there are no locks.
The holder gives a sign every second; who lost the lease writes nothing more. docs/run_files.md
"Who trains it".
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from dtvg.errors import JobError, StoreError
from dtvg.store.files import check_own, lock_state, open_lock_file, read_json, replace_json
from dtvg.store.liveness import (
    CLAIM,
    EXPIRES_SECONDS,
    LEASE,
    LOCK,
    STARTING,
    LeaseFile,
    Sign,
    age_of,
    forget,
    look,
    look_at_all,
    look_at_all_but_lock,
    read_lease,
    status_files,
)
from dtvg.store.processes import ProcessId, of_pid, this_process
from dtvg.version import __version__

BEAT_SECONDS = 1.0
"""The holder gives a sign so often."""

LINGER_SECONDS = 8.0
"""A killed process's lock may be held a moment longer: a start waits for it up to so long."""


class LeaseLost(StoreError):
    """Somebody else took over; whoever sees this writes nothing more."""


_held: dict[Path, Lease] = {}


class Lease:
    """A lease this process holds: gives a sign every second, and says when it was lost."""

    def __init__(self, folder: Path, file: LeaseFile, handle: int | None) -> None:
        self.folder = folder
        self.file = file
        self.lost = False
        self.thread = threading.get_ident()
        self._handle = handle
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """Names this taking."""
        return self.file.token

    def check(self) -> None:
        """Make sure that it is still ours.

        Raises:
            LeaseLost: it is not, so nothing may be written.
        """
        if self.lost or not self._is_mine():
            self.lost = True
            raise LeaseLost(
                f"'{self.folder}' was moved, or another process took over its training, while "
                "this process could give no sign; it ends here and writes nothing more. What "
                "was committed is safe."
            )

    def _is_mine(self) -> bool:
        try:
            found = read_lease(self.folder)
            if found is not None:
                return found.token == self.token
            if not _same_file(self._handle, self.folder / LOCK):
                return False
            replace_json(self.folder / LEASE, self.file.model_dump(), durable=False)
        except (OSError, StoreError):
            return True  # the disk fails: nothing can be told, and nothing be written
        return True

    def _work(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            if self.lost:
                return
            if not self._is_mine():
                self.lost = True
                return
            with contextlib.suppress(OSError):
                os.utime(self.folder / LEASE)

    def close(self) -> None:
        """Give it back."""
        self._stop.set()
        self._thread.join()
        found = read_lease(self.folder)
        if found is not None and found.token == self.token:
            given = found.model_copy(update={"released": True})
            with contextlib.suppress(StoreError):
                replace_json(self.folder / LEASE, given.model_dump(), durable=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_held.clear)  # a child holds nothing of its parent's


def held_here(folder: Path) -> Lease | None:
    """Return the lease of an experiment that this process holds; None where it holds none."""
    return _held.get(folder.resolve())


@contextmanager
def hold(folder: Path) -> Iterator[Lease]:
    """Take an experiment's lease, or take part in the one that this thread holds already.

    Raises:
        JobError: somebody trains it, or it cannot be told whether somebody does.
        StoreError: there is no such folder, or it cannot be written.
    """
    place = folder.resolve()
    if place in _held:
        if _held[place].thread != threading.get_ident():
            raise Sign(True, _held[place].file.holder).refusal(place.name, "nothing was started")
        yield _held[place]
        return
    for above in place.parents[:3]:
        check_own(above)
    with ExitStack() as stack:
        handle = _take_lock(place, stack)
        lease = _take(place, handle)
        _held[place] = lease
        forget(place)
        try:
            yield lease
        finally:
            del _held[place]
            lease.close()
            forget(place)


@contextmanager
def hold_when_free(folder: Path, pause: float = 1.0) -> Iterator[Lease]:
    """Hold the lease of any folder, made if absent; wait for whoever holds it.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"'{folder}' cannot be made ({error.strerror or error}).") from None
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(hold(folder))
                break
            except JobError:
                time.sleep(pause)
        yield lease


@contextmanager
def keep_out(folder: Path, done: str) -> Iterator[None]:
    """Keep everybody from training an experiment while it is moved or changed.

    Args:
        folder: the experiment's.
        done: what is not done where somebody trains it, e.g. `nothing was moved`.

    Raises:
        JobError: somebody trains it, or it cannot be told whether somebody does.
        StoreError: it cannot be written.
    """
    place = folder.resolve()
    for above in place.parents[:3]:
        check_own(above)
    with ExitStack() as stack:
        sign = look_at_all(place)
        if sign.held is not False:
            raise sign.refusal(place.name, done)
        _take_lock(place, stack)
        sign = look_at_all_but_lock(place)
        if sign.held is not False:
            raise sign.refusal(place.name, done)
        yield
    forget(place)


_NO_LOCKS = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL}


def _take_lock(folder: Path, stack: ExitStack) -> int | None:
    """Take the lock, waiting for that of a dead process; None where there are no locks.

    Raises:
        JobError: somebody holds it.
        StoreError: the folder cannot be written, or is gone.
    """
    if not folder.is_dir():
        raise StoreError(f"There is no folder '{folder}'; `dtvg runs list` shows all experiments.")
    file = stack.enter_context(open_lock_file(folder / LOCK))
    began, tries = time.monotonic(), 0
    while True:
        try:
            if lock_descriptor(file.fileno(), blocking=False):
                break
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise StoreError(
                f"'{folder / LOCK}' cannot be locked ({error.strerror or error}), so nothing was "
                "started or changed."
            ) from None
        tries += 1
        sign = look(folder, fresh=True)
        if time.monotonic() - began > (LINGER_SECONDS if sign.held is False else 0.2):
            raise (sign if sign.held else Sign(True, sign.holder)).refusal(folder.name, "")
        time.sleep(0.02 if tries < 10 else 0.1)
    stack.callback(unlock_descriptor, file.fileno())
    if not _same_file(file.fileno(), folder / LOCK):
        raise StoreError(f"'{folder}' was moved or replaced in this moment; try again.")
    return file.fileno()


def _same_file(handle: int | None, path: Path) -> bool:
    if handle is None:
        return False
    try:
        ours, there = os.fstat(handle), path.stat()
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _take(folder: Path, handle: int | None) -> Lease:
    """Take the lease, once the lock is ours or there are no locks."""
    me = this_process()
    forget(folder)
    note = read_json(folder / STARTING)
    if note is not None and ProcessId.read(note).same(me):
        (folder / STARTING).unlink(missing_ok=True)
    sign = look_at_all_but_lock(folder, workers=False)
    if sign.held is not False:
        raise sign.refusal(folder.name, "nothing was started")
    before = read_lease(folder)
    generation = _claim(folder, 0 if before is None else before.generation, me, handle is not None)
    file = LeaseFile(
        generation=generation,
        token=secrets.token_hex(8),
        process=me.to_json(),
        locks=handle is not None,
        taken_at=time.time(),
        version=__version__,
    )
    _write_pid(handle, me.pid)
    replace_json(folder / LEASE, file.model_dump(), durable=False)
    for path in folder.glob(CLAIM.format("*")):
        number = path.name.removeprefix(".lease-").removesuffix(".claim")
        if number.isdecimal() and int(number) <= generation:
            path.unlink(missing_ok=True)
    (folder / STARTING).unlink(missing_ok=True)
    return Lease(folder, file, handle)


def _write_pid(handle: int | None, pid: int) -> None:
    """Note the pid in the lock file, which is what earlier versions read."""
    if handle is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(pid).encode(), 0)


def _claim(folder: Path, generation: int, me: ProcessId, locked: bool) -> int:
    """Be the only one to take the next generation, also where there are no locks.

    A name that must not exist yet can be made by one process only, on any file system.
    """
    content = json.dumps(me.to_json()).encode()
    while True:
        generation += 1
        path = folder / CLAIM.format(generation)
        if _create(path, content):
            return generation
        other = ProcessId.read(read_json(path) or {})
        age = age_of(path)
        gone = other.exists() is False or (locked and other.pid > 0 and other.on_this_boot)
        if not gone and (age is None or age < EXPIRES_SECONDS):
            raise Sign(True, other, age, starting=True).refusal(folder.name, "nothing was started")


def _create(path: Path, content: bytes) -> bool:
    """Make a file with its content that must not be there yet; False where it is.

    Raises:
        StoreError: the disk refuses.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
        return True
    except OSError as error:
        raise StoreError(
            f"'{path.parent}' cannot be written ({error.strerror or error}), so nothing was "
            "started; free some space or make it writable, then try again."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def note_start(folder: Path, pid: int) -> None:
    """Note a process that was started for an experiment and will take its lease."""
    with contextlib.suppress(StoreError):
        replace_json(folder / STARTING, of_pid(pid).to_json(), durable=False)
    forget(folder)


def release(folder: Path, proved: bool = False) -> Sign:
    """Declare free what cannot be asked, on a person's word; return what had been known.

    Its holder, should it live after all, writes nothing more.

    Args:
        folder: the experiment's, or a cohort's.
        proved: a scheduler says that its process has ended, so a fresh sign of another host is
            that of the dead.

    Raises:
        JobError: it is alive.
        StoreError: it cannot be written.
    """
    place = folder.resolve()
    for above in place.parents[:3]:
        check_own(above)
    with ExitStack() as stack:
        sign = look_at_all(place)
        here = sign.holder is None or sign.holder.on_this_boot
        if sign.held and (here or not proved):
            raise sign.refusal(place.name, "nothing was released")
        locked = _take_lock(place, stack) is not None
        before = read_lease(place)
        me = this_process()
        number = _claim(place, 0 if before is None else before.generation, me, locked)
        file = LeaseFile(
            generation=number,
            token=secrets.token_hex(8),
            process=me.to_json(),
            locks=locked,
            taken_at=time.time(),
            released=True,
            version=__version__,
        )
        replace_json(place / LEASE, file.model_dump(), durable=False)
        (place / CLAIM.format(number)).unlink(missing_ok=True)
        (place / STARTING).unlink(missing_ok=True)
        for path in status_files(place):
            content = read_json(path) or {}
            if content.get("state") in ("running", "stopping") and not content.get("lease"):
                replace_json(path, {**content, "state": "lost"}, durable=False)
            with contextlib.suppress(OSError):  # who resumes it does not want it stopped
                (path.parent / "control" / "stop").unlink()
    forget(place)
    return sign


def wait_until_free(folder: Path, seconds: float = LINGER_SECONDS) -> bool:
    """Wait until nobody holds an experiment's lock any more, after its process was killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not lock_state(folder / LOCK):
            break
        time.sleep(0.02)
    forget(folder)
    return look(folder, fresh=True).held is False
