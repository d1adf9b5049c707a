"""From what a person types (EXPERIMENT, EXPERIMENT/RUN or a path) to folders of the log."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dtvg.errors import ConfigError, StoreError, unknown

if TYPE_CHECKING:
    from dtvg.store.layout import ExperimentDir

RUNS_DIR = "folder of experiments (default: DTVG_RUNS, else <home>/runs)"
"""Help of an option."""


def locate(text: str, runs_dir: Path | None) -> tuple[ExperimentDir, str | None]:
    """Return the experiment and, where one was named, the run.

    Args:
        text: a name, `EXPERIMENT/RUN`, or a path to either.
        runs_dir: folder of experiments, where a name is looked for first; None: the default, where
            it is looked for after the current folder.

    Raises:
        StoreError: nothing of that name, with the nearest one; or no experiment in that folder.
    """
    from dtvg import paths
    from dtvg.store.layout import ExperimentDir

    root = paths.runs() if runs_dir is None else paths.expanded(runs_dir)
    given, places = paths.expanded(text), _places(text, root, first=runs_dir is not None)
    for base in places:
        if os.path.exists(base / "experiment.yaml"):
            return ExperimentDir(base.resolve()), None
        if os.path.exists(base.parent / "experiment.yaml") and _may_be_run(base):
            return ExperimentDir(base.parent.resolve()), base.name
    for base in places:
        if os.path.exists(base.parent / "experiment.yaml"):
            raise StoreError(unknown("run", base.name, ExperimentDir(base.parent).run_names()))
    if given.is_absolute():
        raise StoreError(
            f"There is no experiment in '{text}' (no experiment.yaml); `dtvg runs list` shows all "
            "experiments."
        )
    name = text.split("/")[0]
    folders, known = _known(root)
    if name in known:
        raise StoreError(f"'{text}' is no run; name an experiment, or one run: {name}/RUN.")
    if name in folders:
        raise StoreError(
            f"The folder '{root / name}' has no experiment.yaml, so it is no experiment that can "
            "be read. Restore the file from a copy; `dtvg runs trash` shows what was deleted."
        )
    raise StoreError(
        unknown("experiment", name, known, f"Looked in '{root}'; --runs-dir names another folder.")
    )


def _places(text: str, root: Path, first: bool) -> tuple[Path, ...]:
    """Return where something may lie, in the order in which it is looked for.

    Args:
        text: as typed; nothing lies nowhere, not in the current folder.
        root: folder of experiments.
        first: whether a name means what lies there, also where the current folder has the same.
    """
    from dtvg import paths

    if not text:
        return ()
    given = paths.expanded(text)
    given = given if given.name else Path.cwd()  # `.` has no name, which tells the run
    inside = root / text
    by_path = text.startswith((".", "~"))
    found = (inside, given) if first and not by_path else (given, inside)
    return (*found, paths.examples() / text)


def locate_own(text: str, runs_dir: Path | None) -> tuple[ExperimentDir, str | None]:
    """Return an experiment, and where one was named the run, that are about to be changed.

    Args:
        text: as of `locate`.
        runs_dir: as of `locate`.

    Raises:
        StoreError: as `locate`; or it is a recorded example, which can only be read.
    """
    from dtvg.store.files import is_shipped, shipped_sentence

    experiment, name = locate(text, runs_dir)
    if is_shipped(experiment.path.parent):
        raise StoreError(shipped_sentence(experiment.name))
    return experiment, name


def locate_whole(text: str, runs_dir: Path | None, own: bool = False) -> ExperimentDir:
    """Return an experiment, for what is done to whole ones only.

    Args:
        text: as of `locate`.
        runs_dir: as of `locate`.
        own: whether it is about to be changed; see `locate_own`.

    Raises:
        ConfigError: a run is named.
        StoreError: as `locate` or `locate_own`.
    """
    experiment, name = (locate_own if own else locate)(text, runs_dir)
    if name is not None:
        raise ConfigError(
            f"'{text}' is a run, and this is done to whole experiments; name '{experiment.name}'."
        )
    return experiment


def command_name(experiment: Path) -> str:
    """Return what names an experiment in a further command: its name, elsewhere its folder.

    As it has to be typed: with quotes around a space, and nothing that is taken for an option.
    """
    from dtvg import paths

    here = experiment.resolve().parent == paths.runs().resolve()
    name = f"./{experiment.name}" if experiment.name[0] == "-" else experiment.name
    return shlex.quote(name if here else str(experiment))


def in_folder(root: Path) -> str:
    """Return the option that a further command needs for what lies in a folder of experiments."""
    from dtvg import paths

    here = root.resolve() == paths.runs().resolve()
    return "" if here else f" --runs-dir {shlex.quote(str(root))}"


def by_experiment(
    found: Iterable[tuple[ExperimentDir, str | None]],
) -> dict[Path, list[str] | None]:
    """Return folder → names of the runs that are meant, once each; None: all of them.

    An experiment that is named itself is meant whole, whichever of its runs are named beside it.

    Args:
        found: from `locate` or `locate_own`, in the order of the places.
    """
    wanted: dict[Path, list[str] | None] = {}
    for experiment, name in found:
        names = wanted.setdefault(experiment.path, [])
        if name is None:
            wanted[experiment.path] = None
        elif names is not None and name not in names:
            names.append(name)
    return wanted


def _may_be_run(base: Path) -> bool:
    """Whether a folder inside an experiment is a run's, going by its name."""
    from dtvg.store.layout import NO_RUNS

    return os.path.isdir(base) and base.name not in NO_RUNS and not base.name.startswith(".")


def _known(root: Path) -> tuple[set[str], set[str]]:
    """Return the names of all folders in a folder of experiments, and of all experiments.

    Recorded examples count as experiments: they can be named like one's own.
    """
    from dtvg import paths

    folders: set[str] = set()
    known: set[str] = set()
    for place in (paths.examples(), root):
        with contextlib.suppress(OSError):
            found = {p.name for p in place.iterdir() if p.name[0] != "." and p.is_dir()}
            known |= {n for n in found if os.path.exists(place / n / "experiment.yaml")}
            folders |= found if place == root else set()
    return folders, known
