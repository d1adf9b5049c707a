"""Checking a task that was uploaded: in a process of its own, with limits on what it may take.

The app never reads an uploaded file itself: a small file may unpack to gigabytes, or take hours to
read. The process is given a folder, bounds its own memory, and leaves what it found as JSON.
docs/tasks.md "Your own task without code".
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from dtvg.backbones.specs import speech_of
from dtvg.backbones.speech import round_trip
from dtvg.config import DataConfig
from dtvg.errors import DataError, DtvgError, JobError
from dtvg.jobs.launcher import own_environment
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.checking import Check, check_edited, check_file_name, check_given
from dtvg.tasks.drafting import FileLook, look_at
from dtvg.tasks.limits import check_size

MEMORY = 4 << 30
"""Bytes of address space that the process may take."""
SECONDS = 120
SHOWN = 3
TURN = 0.4
"""Seconds between two looks at the process."""
ASKED, FOUND, FILES, STAGE = "asked.json", "found.json", "files", "stage.txt"
NAMED = "named"
"""Folder of the files under their names, so that none is taken for one of those above."""


@dataclass(frozen=True)
class Shown:
    """An example as it is read and answered."""

    source: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What came of checking an uploaded task; see `dtvg.tasks.checking.Check`."""

    name: str
    sound: bool
    problems: tuple[str, ...]
    more: int
    found: tuple[str, ...]
    notes: tuple[str, ...]
    examples: tuple[Shown, ...]
    usable: dict[str, int]
    balance: dict[str, dict[str, int]]
    trip: tuple[str, ...]
    """What the tokenizer cannot write or read, a sentence each."""
    reachable: float | None
    """Score of answering everything right, once encoded and decoded; None without a tokenizer."""


class Asked(BaseModel):
    """What the process is asked."""

    name: str
    text: str
    backbone: str
    columns: bool = False
    """Whether only the columns of the first file are wanted."""
    edits: bool = False
    """Whether `text` is another description of the task `name`, which is there."""


class Refused(BaseModel):
    """What the process says where a description or a file cannot be used."""

    refused: str


_FOUND = TypeAdapter(Checked | FileLook | Refused)


Tell = Callable[[str, float], None]
"""Is told, about twice a second, what the process does and how many seconds it has taken."""


def check_upload(
    name: str,
    text: str,
    uploads: Mapping[str, bytes],
    backbone: str,
    edits: bool = False,
    tell: Tell | None = None,
) -> Checked:
    """Check a description and the files uploaded with it; nothing is kept.

    Args:
        name: of the task.
        text: the YAML.
        uploads: files by name, which lie beside the description.
        backbone: whose tokenizer writes the answers and reads the inputs.
        edits: whether this is another description of a task that is there.
        tell: see `Tell`.

    Raises:
        DataError: a description or file that cannot be used, or takes more than it may.
        JobError: the process could not be run.
    """
    asked = Asked(name=name, text=text, backbone=backbone, edits=edits)
    found = _ask(asked, uploads, tell)
    if not isinstance(found, Checked):
        raise DataError("The check gave another answer than asked for; try it again.")
    return found


def look_at_upload(name: str, content: bytes, tell: Tell | None = None) -> FileLook:
    """Return the columns and first rows of a file that was uploaded; nothing is kept.

    Args:
        name: of the file; its ending says what it is.
        content: its bytes.
        tell: see `Tell`.

    Raises:
        DataError: it cannot be read, or takes more than it may.
        JobError: the process could not be run.
    """
    asked = Asked(name="", text="", backbone="", columns=True)
    found = _ask(asked, {name: content}, tell)
    if not isinstance(found, FileLook):
        raise DataError(f"'{name}' gave another answer than asked for; try it again.")
    return found


def _ask(asked: Asked, uploads: Mapping[str, bytes], tell: Tell | None) -> Checked | FileLook:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / FILES).mkdir()
        (folder / ASKED).write_text(asked.model_dump_json(), encoding="utf-8")
        for number, (file, content) in enumerate(uploads.items()):
            (folder / FILES / f"{number}").write_bytes(content)
            (folder / FILES / f"{number}.name").write_text(file, encoding="utf-8")
        _run(folder, tell)
        return _read(folder)


def _run(folder: Path, tell: Tell | None) -> None:
    """Let a process do it; it is ended when it takes too long.

    Raises:
        DataError: it took too long.
        JobError: it could not be started.
    """
    command = [sys.executable, "-P", "-m", __spec__.name, str(folder)]
    nowhere = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, env=own_environment()
        )
    except OSError as error:
        raise JobError(
            f"The check could not be started ({error.strerror or error}); try `dtvg tasks check "
            "FILE.yaml`."
        ) from None
    began = time.monotonic()
    try:
        while (passed := time.monotonic() - began) < SECONDS:
            with suppress(subprocess.TimeoutExpired):
                process.wait(TURN)
                return
            if tell is not None:
                tell(_stage(folder), passed)
        raise DataError(
            f"Reading the files took longer than {SECONDS} s, so it was ended; give fewer rows, or "
            "check the task with `dtvg tasks check FILE.yaml`."
        )
    finally:  # also where whoever waits goes away
        if process.poll() is None:
            process.kill()
            process.wait()


def _stage(folder: Path) -> str:
    try:
        return (folder / STAGE).read_text(encoding="utf-8") or "Starting"
    except OSError:
        return "Starting"


def _read(folder: Path) -> Checked | FileLook:
    try:
        found = _FOUND.validate_json((folder / FOUND).read_bytes(), strict=True)
    except (OSError, ValidationError):
        raise DataError(
            f"Reading the files took more than {MEMORY >> 30} GiB of memory, or ended for another "
            "reason, so nothing was saved; see what `dtvg tasks check FILE.yaml` says."
        ) from None
    if isinstance(found, Refused):
        raise DataError(found.refused)
    return found


def work(folder: Path) -> None:
    """Check what lies in a folder, as the process that `check_upload` starts."""
    answer: Checked | FileLook | Refused
    try:
        asked = Asked.model_validate_json((folder / ASKED).read_bytes())
        uploads = _given(folder)
        (folder / STAGE).write_text("Reading the rows", encoding="utf-8")
        answer = _columns(folder, uploads) if asked.columns else _checked(asked, uploads, folder)
    except DtvgError as error:
        said = str(error).replace(f"{folder / NAMED}/", "")  # names as they were uploaded
        answer = Refused(refused=said[:2000])
    except MemoryError:
        answer = Refused(
            refused=f"Reading the files takes more than {MEMORY >> 30} GiB of memory; give fewer "
            "or smaller rows."
        )
    (folder / FOUND).write_bytes(TypeAdapter(type(answer)).dump_json(answer))


def _given(folder: Path) -> dict[str, bytes]:
    """Return the files by name, none of which takes more than it may."""
    uploads = {}
    (folder / NAMED).mkdir()
    for named in sorted((folder / FILES).glob("*.name")):
        name = named.read_text(encoding="utf-8")
        place = named.with_suffix("")
        given = folder / NAMED / Path(name).name  # its ending says how to unpack it
        with suppress(OSError, ValueError):
            given.symlink_to(place)
            check_size(given)
        uploads[name] = place.read_bytes()
    return uploads


def _columns(folder: Path, uploads: Mapping[str, bytes]) -> FileLook:
    """Look at the columns of the one file."""
    name = next(iter(uploads))
    check_file_name(name)
    return look_at(folder / NAMED / name)


def _checked(asked: Asked, uploads: Mapping[str, bytes], folder: Path) -> Checked:
    if asked.edits:
        done = check_edited(find_task(asked.name), asked.text, DataConfig())
    else:
        done = check_given(asked.name, asked.text, uploads, DataConfig())
    (folder / STAGE).write_text("Writing and reading answers with the tokenizer", encoding="utf-8")
    trip, reachable = _trip(done, asked.backbone)
    return Checked(
        name=done.spec.name,
        sound=done.sound,
        problems=tuple(dict.fromkeys(problem[:1000] for problem in done.problems)),
        more=done.more,
        found=done.found,
        notes=tuple(done.data.notes) if done.data else (),
        examples=tuple(Shown(e.source[:4000], tuple(e.references)) for e in done.train[:SHOWN]),
        usable=done.usable,
        balance=done.balance,
        trip=trip,
        reachable=reachable,
    )


def _trip(done: Check, backbone: str) -> tuple[tuple[str, ...], float | None]:
    """Write every label and a sample of inputs and read them again."""
    if done.data is None:
        return (), None
    try:
        found = round_trip(done.data.spec, speech_of(backbone), done.train)
    except DtvgError as error:
        return (str(error),), None
    return tuple(found.sentences()), found.reachable


def bound_memory() -> None:
    """Let this process take no more memory than `MEMORY`, where the system can do that."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    except (ImportError, ValueError, OSError):
        return


if __name__ == "__main__":
    bound_memory()
    work(Path(sys.argv[1]))
