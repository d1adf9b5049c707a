"""Giving an experiment another name inside its own files, before it is put among the others.

Settings, plan and statuses name the experiment; the digests noted with them are made anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from dtvg.config import ExperimentConfig
from dtvg.errors import StoreError
from dtvg.store.files import read_json, replace_bytes, replace_json
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.store.reader import open_run


def rename_inside(folder: Path, config: ExperimentConfig, name: str) -> None:
    """Let everything in a folder name another experiment; the folder itself is not moved.

    Args:
        folder: of the experiment, which nobody trains.
        config: as it is stored there.
        name: the new one.

    Raises:
        StoreError: a run's settings cannot be read.
    """
    experiment = ExperimentDir(folder)
    content = config.model_copy(update={"name": name}).to_yaml().encode()
    replace_bytes(experiment.config_path, content)
    noted = read_json(experiment.digests_path) or {}
    digest = hashlib.sha256(content).hexdigest()
    replace_json(experiment.digests_path, {**noted, experiment.config_path.name: digest})
    plan = read_json(experiment.plan_path)
    if plan is not None:
        replace_json(experiment.plan_path, {**plan, "experiment": name})
    for run in experiment.runs():
        if run.config_path.exists():
            rename_run(run, name, {"renamed_from": config.name})


def rename_run(run: RunDir, experiment: str, note: dict[str, object]) -> None:
    """Let a run's settings and status name another experiment.

    Args:
        run: its folder.
        experiment: the new name.
        note: added to its provenance.

    Raises:
        StoreError: its settings cannot be read.
    """
    config = open_run(run.path).config
    if config is None:
        raise StoreError(f"The settings of run '{run.name}' cannot be read, so it keeps its name.")
    content = config.model_copy(update={"experiment": experiment}).to_yaml().encode()
    replace_bytes(run.config_path, content)
    known = read_json(run.provenance_path)
    if known is not None:
        digest = hashlib.sha256(content).hexdigest()
        replace_json(run.provenance_path, {**known, "config_sha256": digest, **note})
    status = read_json(run.status_path) or {}
    replace_json(run.status_path, {**status, "experiment": experiment})
