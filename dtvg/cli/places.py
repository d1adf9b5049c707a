"""From what a person types (EXPERIMENT, EXPERIMENT/RUN or a path) to folders of the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtvg.errors import StoreError, unknown

if TYPE_CHECKING:
    from dtvg.store.layout import ExperimentDir


def locate(text: str, runs_dir: Path | None) -> tuple[ExperimentDir, str | None]:
    """Return the experiment and, where one was named, the run.

    Args:
        text: a name, `EXPERIMENT/RUN`, or a path to either.
        runs_dir: folder of experiments; None: the default.

    Raises:
        StoreError: nothing of that name, with the nearest one.
    """
    from dtvg import paths
    from dtvg.store.layout import ExperimentDir

    root = runs_dir or paths.runs()
    for base in (Path(text).expanduser(), root / text, paths.examples() / text):
        if (base / "experiment.yaml").exists():
            return ExperimentDir(base.resolve()), None
        if (base.parent / "experiment.yaml").exists() and base.is_dir():
            return ExperimentDir(base.parent.resolve()), base.name
    name = text.split("/")[0]
    known = [p.name for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    if name in known and "/" in text:
        runs = [p.name for p in (root / name).iterdir() if p.is_dir()]
        raise StoreError(unknown("run", text.split("/", 1)[1], runs))
    raise StoreError(
        unknown("experiment", name, known, f"Looked in '{root}'; --runs-dir names another folder.")
    )
