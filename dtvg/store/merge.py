"""Making one experiment of several that differ only in seeds, targets or methods.

The finished runs are copied and the originals stay; what is missing is trained by the next
resume. Which experiments fit together is decided by `dtvg.analysis.pools`. docs/run_files.md
"Merged experiments".
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtvg import paths
from dtvg.config import ExperimentConfig
from dtvg.errors import ConfigError, StoreError
from dtvg.store.files import clear_abandoned, read_json, replace_bytes, replace_json, sync_folder
from dtvg.store.layout import ExperimentDir, RunDir, changing, create_experiment
from dtvg.store.reader import Run
from dtvg.versions import Version

STAY = ("control", "mirrors")
"""Folders of a run that are not copied."""


def merge(
    config: ExperimentConfig,
    runs: Sequence[Run],
    runs_dir: Path,
    versions: Mapping[str, Version],
) -> ExperimentDir:
    """Make an experiment of runs of several; it appears as a whole or not at all.

    Args:
        config: seeds, targets and methods of all, under the new name.
        runs: each once; finished ones are copied, the others are left waiting.
        runs_dir: folder of experiments.
        versions: what the runs were made with.

    Raises:
        ConfigError: there is an experiment of that name.
        StoreError: a run's files are not complete, or the folder cannot be written.
    """
    folder = paths.expanded(runs_dir).resolve()
    place = folder / config.name
    staged = folder / f".merge-{secrets.token_hex(6)}"
    with changing(place):
        if place.exists():
            raise ConfigError(
                f"There is already an experiment '{config.name}'; choose another name with --name."
            )
        clear_abandoned(folder)
        try:
            made = create_experiment(config, staged, versions)
            for run in runs:
                if run.result is not None:
                    _copy(run, made)
            made.path.replace(place)
            sync_folder(folder)
        except OSError as error:
            raise StoreError(
                f"'{place}' cannot be written ({error.strerror or error}); free some space, or "
                "give another --runs-dir."
            ) from None
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return ExperimentDir(place)


def _copy(run: Run, into: ExperimentDir) -> None:
    """Copy a finished run, with its name, settings and status as part of the new experiment."""
    hidden = [p for p in run.path.rglob(".part-*") if p.is_file()]
    config = run.config
    if hidden or config is None:
        raise StoreError(
            f"The files of '{run.path}' are not complete (a commit was cut off, or config.yaml "
            "cannot be read); resume its experiment once, then merge again."
        )
    target = into.run(run.name)
    shutil.rmtree(target.path, ignore_errors=True)
    shutil.copytree(run.path, target.path, ignore=_ours)
    content = config.model_copy(update={"experiment": into.name}).to_yaml().encode()
    replace_bytes(target.config_path, content)
    known = read_json(target.provenance_path) or {}
    origin = {"experiment": run.path.parent.name, "run": run.name}
    digest = hashlib.sha256(content).hexdigest()
    replace_json(target.provenance_path, {**known, "config_sha256": digest, "merged_from": origin})
    _restate(target, run, into.name)


def _ours(folder: str, names: list[str]) -> list[str]:
    """Leave out requests, how far trackers came with the original, unfinished files and links."""
    return [n for n in names if n[0] == "." or n in STAY or (Path(folder) / n).is_symlink()]


def _restate(target: RunDir, run: Run, experiment: str) -> None:
    """Let the status name the new experiment, and the cohort as one of where it was trained."""
    status = read_json(target.status_path) or {}
    cohort = f"{run.path.parent.name}.{run.cohort}"[-80:] if run.cohort else None
    replace_json(target.status_path, {**status, "experiment": experiment, "cohort": cohort})
