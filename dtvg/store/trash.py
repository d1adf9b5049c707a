"""Deleting experiments and runs: they are moved under `<home>/trash`, and can be put back.

Only `empty` and `prune` erase anything, and only folders that the trash itself made; links in them
are removed, never followed. docs/run_files.md "Deleted runs".
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from dtvg import paths
from dtvg.errors import StoreError
from dtvg.names import check_name
from dtvg.records import RunState
from dtvg.store.files import check_own, replace_json
from dtvg.store.formats import OriginFile, read_model, read_whole
from dtvg.store.layout import ExperimentDir, changing
from dtvg.store.lease import keep_out
from dtvg.store.liveness import look_at_all
from dtvg.store.reader import open_run
from dtvg.tasks.catalogue import described_tasks

log = logging.getLogger(__name__)

ORIGIN = "origin.json"
HELD = "content"
KEPT_DAYS = 30
"""Days after which an entry is erased."""
KEPT_GIB = 10
"""Beyond this together, the oldest entries are erased."""
SAFE_DAYS = 1
"""What was deleted since then is kept even beyond `KEPT_GIB`."""
RULE = (
    f"After a deletion, what was deleted more than {KEPT_DAYS} days ago is erased, and the oldest "
    f"where the trash takes more than {KEPT_GIB} GiB."
)
"""What is erased without being asked for."""
DAY_S = 86_400
ERASED = ".erased-"
"""Begins the name of an entry that is being removed, so that no half of one is put back."""

_ID = re.compile(r"\d{8}-\d{6}-(?P<what>.+)")
_STEM = 70
"""Longest name of an entry, without the number behind it."""


@dataclass(frozen=True)
class Deleted:
    """Something in the trash."""

    id: str
    name: str
    """`experiment` or `experiment/run`."""
    origin: Path
    """Where it lay and goes back to."""
    time: float
    """When it was deleted, in seconds since 1970."""
    size: int
    """Bytes of its files."""


class Training(StoreError):
    """Something is not moved since runs of it are training.

    Args:
        sentence: for a terminal.
        runs: names of the runs that are training.
    """

    def __init__(self, sentence: str, runs: Sequence[str]) -> None:
        super().__init__(sentence)
        self.runs = tuple(runs)


def root() -> Path:
    """Return the folder of deleted things."""
    return paths.home() / "trash"


def check(experiment: ExperimentDir, run: str | None = None) -> None:
    """Refuse what trains, or may, as `delete` would; nothing is moved.

    Raises:
        Training: runs of it are training.
        StoreError: a process is at it, or that cannot be told.
    """
    _may_be_needed(experiment, run, experiment.name if run is None else f"{experiment.name}/{run}")


def delete(experiment: ExperimentDir, run: str | None = None) -> Deleted:
    """Move an experiment, or one of its runs, to the trash.

    Raises:
        Training: it trains.
        StoreError: it is being started, is not there, or cannot be moved.
    """
    origin = experiment.path if run is None else experiment.run(run).path
    name = experiment.name if run is None else f"{experiment.name}/{run}"
    if run == "mirrors":
        raise StoreError(f"'{name}' is no run: trackers keep their files in it.")
    if run == "cohorts":
        raise StoreError(
            f"'{name}' is no run: it contains the newest state of all runs of '{experiment.name}', "
            "which cannot be resumed without it. Delete the experiment or single runs."
        )
    if not origin.is_dir():
        raise StoreError(f"There is no '{name}' to delete; `dtvg runs list` shows all.")
    with changing(experiment.path), ExitStack() as stack:
        if _may_be_needed(experiment, run, name):
            stack.enter_context(keep_out(experiment.path, "nothing was moved"))
        return _move(name, origin)


def delete_prompt(folder: str) -> Deleted:
    """Move an entry of the prompt bank to the trash; the next experiment tunes it again.

    Args:
        folder: its name in the bank.

    Raises:
        StoreError: there is no such entry, or it cannot be moved.
    """
    origin = paths.prompts().resolve() / check_name(folder, "entry of the bank")
    if not origin.is_dir():
        raise StoreError(
            f"There is no prompt '{folder}' in the bank; `dtvg prompts list` shows all."
        )
    check_own(origin.parent)
    return _move(f"prompts/{folder}", origin)


def delete_task(name: str, users: Sequence[str] = ()) -> Deleted:
    """Move the description of a person's own task, and its files where it has a folder, away.

    Args:
        name: the task's.
        users: experiments that still need it; none: it may go.

    Raises:
        StoreError: an experiment needs it, it is no task of `<home>/tasks`, or cannot be moved.
    """
    if users:
        more = f" and {len(users) - 4} more" if len(users) > 4 else ""
        raise StoreError(
            f"Task '{name}' is used by {', '.join(users[:4])}{more}, which has not finished; "
            "finish or delete what uses it first."
        )
    folder = paths.home().resolve() / "tasks"
    known = described_tasks()[0].get(check_name(name, "task"))
    path = Path(known.described_in) if known else folder / name / f"{name}.yaml"
    if known is None and not path.is_file():
        path = folder / f"{name}.yaml"
    alone = path.parent.resolve() == folder
    origin = folder / (path.name if alone else path.parent.name)
    if not (origin if alone else origin / path.name).is_file():
        raise StoreError(
            f"There is no description of a task '{name}' in '{folder}', so nothing was moved."
        )
    return _move(f"tasks/{origin.name}", origin)


def set_aside(experiment: ExperimentDir, run: str) -> Deleted:
    """Move a run to the trash that this very process is about to train again.

    Raises:
        StoreError: it cannot be moved.
    """
    return _move(f"{experiment.name}/{run}", experiment.run(run).path)


def _may_be_needed(experiment: ExperimentDir, run: str | None, name: str) -> bool:
    """Refuse what trains, or may; return whether it has to be kept from being started.

    A run that has ended may be moved while others train on.
    """
    views = [open_run(r.path) for r in experiment.runs() if run in (None, r.name)]
    known = [view for view in views if view.problem is None]
    alive = [view.name for view in known if view.state.alive]
    sign = look_at_all(experiment.path)
    ended = run is not None and all(view.state in ENDED for view in known)
    if sign.held and not alive and not ended and run is not None:
        alive = [view.name for view in known]
    if alive:
        which = f" ({', '.join(alive[:4])})" if run is None else ""
        raise Training(
            f"'{name}' is training{which}; stop it first with `dtvg runs stop {name}`.", alive
        )
    if sign.held and not ended:
        pid = sign.holder.pid if sign.holder else "unknown"
        raise StoreError(
            f"'{name}' is being started or trained by process {pid}; stop it first with `dtvg runs "
            f"stop {experiment.name}`."
        )
    if sign.held is None and not ended:
        raise StoreError(str(sign.refusal(name, "nothing was moved")))
    return sign.held is False


ENDED = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)
"""Of these runs a process that trains others needs nothing more."""


def _move(name: str, origin: Path) -> Deleted:
    """Move a folder to the trash.

    Raises:
        StoreError: it cannot be moved.
    """
    size = _size(origin)
    place = _place_for(name)
    made = Deleted(place.name, name, origin, time.time(), size)
    facts = {"name": name, "origin": str(origin), "time": made.time, "size": made.size}
    facts["home"] = str(paths.home().resolve())
    try:
        replace_json(place / ORIGIN, facts, advice="free some space, then delete it again")
        _transfer(origin, place / HELD)
    except (OSError, StoreError) as error:
        moved = os.path.lexists(place / HELD)
        if not moved:
            shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, StoreError):
            raise
        if moved:
            raise StoreError(
                f"'{name}' is whole in the trash ('{place}'), but '{origin}' cannot be removed "
                f"({_why(error)}); remove it yourself."
            ) from None
        raise StoreError(f"'{name}' cannot be moved to '{place}' ({_why(error)}).") from None
    return made


def _transfer(origin: Path, to: Path) -> None:
    """Move a file or folder; on another disk it appears there whole or not at all.

    Raises:
        OSError: the disk refuses; the origin is whole as long as nothing has appeared, and what
            has appeared is whole where only the origin cannot be removed.
    """
    try:
        os.rename(origin, to)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    fresh = to.with_name(f".{to.name}.{secrets.token_hex(6)}.tmp")
    try:
        if origin.is_dir() and not origin.is_symlink():
            shutil.copytree(origin, fresh, symlinks=True)
        else:
            shutil.copy2(origin, fresh, follow_symlinks=False)
        os.rename(fresh, to)
    except OSError:
        with suppress(OSError):
            _remove(fresh)
        raise
    _remove(origin)


def _remove(path: Path) -> None:
    """Remove a file or folder.

    Raises:
        OSError: the disk refuses; what it had removed by then is gone.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _why(error: OSError) -> str:
    """Say why the disk refuses; copying a folder tells it file by file."""
    told = error.args[0] if isinstance(error, shutil.Error) and error.args else None
    if isinstance(told, list) and told:
        return f"{len(told)} of its files cannot be copied, first: {told[0][-1]}"
    return error.strerror or str(error)


def deleted() -> list[Deleted]:
    """Return what is in the trash, the newest first; folders it did not make are passed over."""
    places = root().iterdir() if root().is_dir() else ()
    found = [one for one in map(_entry, places) if one is not None]
    return sorted(found, key=lambda one: -one.time)


def unreadable() -> list[str]:
    """Return one sentence for each entry of the trash whose note cannot be read."""
    found = []
    for place in sorted(root().iterdir()) if root().is_dir() else ():
        if _ID.fullmatch(place.name) is None or place.is_symlink() or _entry(place) is not None:
            continue
        if not os.path.lexists(place / HELD):  # nothing was moved: it lies where it lay
            continue
        try:
            noted = read_whole(place / ORIGIN, OriginFile, "")
            why = "has no origin.json" if noted is None else "has a note of something else"
        except (StoreError, OSError) as error:
            why = f"cannot be read ({str(error).strip().rstrip('.')})"
        found.append(
            f"The entry '{place}' of the trash {why}, so it is neither restored nor erased; what "
            f"was deleted lies in '{place / HELD}'."
        )
    return found


def _entry(place: Path) -> Deleted | None:
    """Read one folder of the trash; None for one that `delete` did not make."""
    named, held = _ID.fullmatch(place.name), place / HELD
    if named is None or place.is_symlink() or not os.path.lexists(held):
        return None
    try:
        facts = read_model(place / ORIGIN, OriginFile)
    except (StoreError, OSError):
        return None
    if facts is None:
        return None
    name, origin, when = facts.name, _origin(facts), facts.time
    size = _size(held) if facts.size is None else facts.size
    stem = name.replace("/", "-")[: _STEM - len("YYYYMMDD-HHMMSS-")]
    if not named["what"].startswith(stem):
        return None
    return Deleted(place.name, name, origin, when, size)


def _origin(facts: OriginFile) -> Path:
    """Return where something goes back to: within the home that has moved since, to its place."""
    if facts.home is None or not facts.origin.is_relative_to(facts.home):
        return facts.origin
    return paths.home().resolve() / facts.origin.relative_to(facts.home)


def restore(wanted: str, runs_dir: Path | None = None) -> Deleted:
    """Put something back where it lay.

    Args:
        wanted: its id, or its name (the newest of that name).
        runs_dir: the folder of experiments it lay in; None: the default.

    Raises:
        StoreError: nothing of that name is in the trash, its place is taken, or it lay elsewhere.
    """
    found = [one for one in deleted() if wanted in (one.id, one.name)]
    if not found:
        held = ", ".join(one.name for one in deleted()[:6]) or "nothing"
        raise StoreError(f"There is no '{wanted}' in the trash, which contains {held}.")
    one = found[0]
    root_of_runs = paths.expanded(runs_dir or paths.runs()).resolve()
    home = paths.home().resolve()
    of_bank = one.origin.parent in (paths.prompts().resolve(), home / "tasks")
    if one.origin != root_of_runs / one.name and not of_bank:
        raise StoreError(
            f"'{one.name}' lay in '{one.origin}', not in '{root_of_runs}'; to restore it there, "
            "name that folder of experiments with --runs-dir."
        )
    if one.origin.exists():
        raise StoreError(
            f"'{one.origin}' exists again, so '{one.name}' cannot be restored; rename one of them."
        )
    try:
        if "/" in one.name and not of_bank and not one.origin.parent.is_dir():
            raise StoreError(
                f"The experiment of '{one.name}' is not there; restore it first, then its run."
            )
        one.origin.parent.mkdir(parents=True, exist_ok=True)
        _transfer(root() / one.id / HELD, one.origin)
        shutil.rmtree(root() / one.id, ignore_errors=True)
    except OSError as error:
        if os.path.lexists(one.origin):
            raise StoreError(
                f"'{one.name}' is back in '{one.origin}', but its copy in the trash cannot be "
                f"removed ({_why(error)}); remove '{root() / one.id}' yourself."
            ) from None
        raise StoreError(f"'{one.name}' cannot be restored ({_why(error)}).") from None
    return one


def empty(names: Sequence[str] = ()) -> list[Deleted]:
    """Erase what is in the trash, for good; return what was erased.

    Args:
        names: ids, or names (everything of that name); none: everything.

    Raises:
        StoreError: nothing of a name is in the trash (then nothing is erased), or the disk
            refuses.
    """
    found = deleted()
    for name in names:
        if not any(name in (one.id, one.name) for one in found):
            held = ", ".join(one.name for one in found[:6]) or "nothing"
            raise StoreError(f"There is no '{name}' in the trash, which contains {held}.")
    _clear_leftovers()
    chosen = [one for one in found if not names or one.id in names or one.name in names]
    return [one for one in chosen if _erase(one)]


def prune() -> list[Deleted]:
    """Erase entries older than 30 days, and the oldest while all take more than 10 GiB.

    What was deleted within the last day stays in any case.

    Returns:
        What was erased; the log says it too.
    """
    _clear_leftovers()
    now, left, gone = time.time(), deleted(), []
    total = sum(one.size for one in left)
    for one in reversed(left):
        days = (now - one.time) / DAY_S
        if days > KEPT_DAYS or (total > KEPT_GIB << 30 and days > SAFE_DAYS):
            try:
                erased = _erase(one)
            except StoreError as error:
                log.warning("%s", error)
                continue
            total -= one.size
            if erased:
                gone.append(one)
    if gone:
        log.info("%s", pruned_text(gone))
    return gone


def pruned_text(gone: Sequence[Deleted]) -> str:
    """Say in one sentence what `prune` erased, and why."""
    names = ", ".join(f"'{one.name}'" for one in gone[:6])
    more = f" and {len(gone) - 6} more" if len(gone) > 6 else ""
    return f"Erased from the trash, which keeps {KEPT_DAYS} days and {KEPT_GIB} GiB: {names}{more}."


def _erase(one: Deleted) -> bool:
    """Remove an entry; False where another process was quicker.

    Raises:
        StoreError: the disk refuses.
    """
    going = root() / f"{ERASED}{one.id}"
    try:
        (root() / one.id).rename(going)
        shutil.rmtree(going)  # removes links, never what they lead to
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"'{one.name}' cannot be erased from the trash ({error.strerror}); delete "
            f"'{error.filename or going}' yourself."
        ) from None
    return True


def _clear_leftovers() -> None:
    """Remove what an interrupted `_erase` left, or a `_move` that never came to move anything."""
    for place in root().iterdir() if root().is_dir() else ():
        if not _ID.fullmatch(place.name.removeprefix(ERASED)) or place.is_symlink():
            continue
        if place.name.startswith(ERASED) or _is_abandoned(place):
            shutil.rmtree(place, ignore_errors=True)


def _is_abandoned(place: Path) -> bool:
    """Whether nothing was moved to a folder of the trash within a day after it was made."""
    if os.path.lexists(place / HELD) or not (place / ORIGIN).is_file():
        return False
    return time.time() - (place / ORIGIN).stat().st_mtime > SAFE_DAYS * DAY_S


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; links count as links."""
    if folder.is_symlink():
        return 0
    if folder.is_file():
        return folder.stat().st_size
    files = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    found = 0
    for file in files:
        try:
            found += file.lstat().st_size
        except OSError:
            continue
    return found


def _place_for(name: str) -> Path:
    """Make a folder of the trash that is nobody else's, named by when and what.

    Raises:
        StoreError: the disk refuses.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace('/', '-')}"[:_STEM]
    number, place = 1, root() / check_name(stem, "name in the trash")
    while True:
        try:
            place.mkdir(parents=True)
            return place
        except FileExistsError:  # maybe made in this moment by another process
            number += 1
            place = root() / check_name(f"{stem}-{number}", "name in the trash")
        except OSError as error:
            raise StoreError(f"'{name}' cannot be moved to '{place}' ({_why(error)}).") from None
