"""Where everything of an experiment lies, and making its folders.

`runs/<experiment>/{experiment.yaml, cohorts/<id>/, <run>/}`; names never leave their folder.
docs/run_files.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.config.sections import OPEN
from dtvg.config.settings_path import differences
from dtvg.errors import ConfigError, JobError, StoreError
from dtvg.names import check_name
from dtvg.records import RunState
from dtvg.store.files import locked, read_json, replace_bytes, replace_json
from dtvg.store.provenance import provenance
from dtvg.store.versions import of_run, versions_of_all
from dtvg.versions import Version, Versions


@dataclass(frozen=True)
class RunDir:
    """The folder of one run."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The stored configuration."""
        return self.path / "config.yaml"

    @property
    def provenance_path(self) -> Path:
        """Packages, hardware and command that made the run."""
        return self.path / "provenance.json"

    @property
    def status_path(self) -> Path:
        """State and progress, rewritten at least every 2 s while a process works on it."""
        return self.path / "status.json"

    @property
    def result_path(self) -> Path:
        """Written last: there if and only if the run finished."""
        return self.path / "result.json"

    @property
    def control_dir(self) -> Path:
        """Requests to the process: files named by what is wanted."""
        return self.path / "control"

    @property
    def prompts_dir(self) -> Path:
        """Tensors: initial, best, final."""
        return self.path / "prompts"

    def table_dir(self, table: str) -> Path:
        """The folder of a table's part files."""
        return self.path / table


@dataclass(frozen=True)
class CohortDir:
    """The folder of one cohort: the process and the newest commit's state."""

    path: Path

    @property
    def id(self) -> str:
        """The cohort's name."""
        return self.path.name

    @property
    def process_path(self) -> Path:
        """Process, host, heartbeat, runs."""
        return self.path / "process.json"

    @property
    def state_path(self) -> Path:
        """THE commit: tensors, numbers, and which part files belong to it."""
        return self.path / "state.safetensors"

    @property
    def log_path(self) -> Path:
        """Messages of the process."""
        return self.path / "log.txt"


@dataclass(frozen=True)
class ExperimentDir:
    """The folder of one experiment."""

    path: Path

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The experiment's configuration."""
        return self.path / "experiment.yaml"

    @property
    def plan_path(self) -> Path:
        """Which runs train together, and what they start from; met again at every resume."""
        return self.path / "plan.json"

    @property
    def versions_path(self) -> Path:
        """What its runs were made with, part by part."""
        return self.path / "versions.json"

    @property
    def versions(self) -> dict[str, Version]:
        """What its runs were made with; empty in folders of before that was recorded."""
        return dict(read_json(self.versions_path) or {})

    @property
    def log_path(self) -> Path:
        """What the process working on it printed."""
        return self.path / "log.txt"

    def run(self, name: str) -> RunDir:
        """Return a run's folder; the name is checked."""
        return RunDir(self.path / check_name(name, "name of a run"))

    def cohort(self, name: str) -> CohortDir:
        """Return a cohort's folder; the name is checked."""
        return CohortDir(self.path / "cohorts" / check_name(name, "name of a cohort"))

    def runs(self) -> list[RunDir]:
        """Return the folders of runs there are, foreign ones included, by name."""
        try:
            with os.scandir(self.path) as entries:
                found = sorted(e.name for e in entries if e.is_dir())
        except OSError:
            return []
        return [RunDir(self.path / n) for n in found if n != "cohorts" and not n.startswith(".")]

    def cohorts(self) -> list[CohortDir]:
        """Return the folders of cohorts there are."""
        folder = self.path / "cohorts"
        return [CohortDir(p) for p in sorted(folder.iterdir())] if folder.is_dir() else []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that trains this experiment.

        Raises:
            JobError: another process is already training it.
        """
        path = self.path / ".lock"
        with locked(path, wait=False) as mine:
            if not mine:
                holder = path.read_text(encoding="utf-8").strip() or "unknown"
                raise JobError(
                    f"Experiment '{self.name}' is being trained by process {holder}; wait for "
                    f"it, or stop it with `dtvg runs stop {self.name}`."
                )
            yield


def create_experiment(
    config: ExperimentConfig, runs_dir: Path, versions: Versions | None = None
) -> ExperimentDir:
    """Make an experiment's folder and one per transfer run, so that all show at once as waiting.

    Args:
        config: what to run.
        runs_dir: folder of experiments; made if absent.
        versions: what its runs are made with; None: everything as it is today.

    Returns:
        The folder; the one that is there if it holds an equal configuration.

    Raises:
        ConfigError: the folder holds another configuration (the differing keys are named).
        StoreError: the folder cannot be written.
    """
    experiment = ExperimentDir(Path(runs_dir).expanduser().resolve() / check_name(config.name))
    if experiment.config_path.exists():
        _, stored = load_experiment(experiment.path)
        changed = ", ".join(_differing(stored, config))
        if changed:
            raise ConfigError(
                f"Experiment '{config.name}' exists in '{experiment.path.parent}' with other "
                f"settings ({changed}); choose another name (--set name=...) or another --runs-dir."
            )
    else:
        made = versions_of_all(config) if versions is None else dict(versions)
        replace_json(experiment.versions_path, made)
        replace_bytes(experiment.config_path, config.to_yaml().encode())
    recorded = experiment.versions
    for run in config.runs():
        add_run(experiment, run, recorded)
    return experiment


def _differing(stored: ExperimentConfig, config: ExperimentConfig) -> list[str]:
    """Return the settings that differ, and rates that methods take from elsewhere."""
    if stored != config:
        return list(differences(stored, config, ExperimentConfig))
    if [run.optim for run in stored.runs()] == [run.optim for run in config.runs()]:
        return []
    here, there = (set(OPEN) & c.optim.model_fields_set for c in (stored, config))
    return [f"optim.{name} named or left to the methods" for name in OPEN if name in here ^ there]


def free_name(name: str, runs_dir: Path) -> str:
    """Return `name`, or `name-2`, `name-3`, ... whichever is not taken yet."""
    candidate, number = name, 1
    while (Path(runs_dir) / candidate).exists():
        number += 1
        candidate = f"{name[:76]}-{number}"
    return candidate


def load_experiment(path: Path) -> tuple[ExperimentDir, ExperimentConfig]:
    """Open an experiment's folder.

    Raises:
        StoreError: no experiment is there, or its configuration cannot be read.
    """
    experiment = ExperimentDir(Path(path))
    try:
        values = yaml.load(experiment.config_path.read_text("utf-8"), Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise StoreError(
            f"There is no experiment in '{path}' (no experiment.yaml); "
            "`dtvg runs list` shows all experiments."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StoreError(
            f"'{experiment.config_path}' cannot be read ({' '.join(str(error).split())}); "
            "restore it from a copy, or start a new experiment."
        ) from None
    try:
        return experiment, build_config(values, str(experiment.config_path))
    except ConfigError as error:
        raise StoreError(str(error)) from None


def add_run(
    experiment: ExperimentDir, config: RunConfig, versions: Versions | None = None
) -> RunDir:
    """Make a run's folder with its configuration; does nothing if it is there.

    Args:
        experiment: its folder.
        config: the run's settings.
        versions: what the experiment's runs are made with; None: as its folder says.
    """
    run = experiment.run(config.name)
    if not run.config_path.exists():
        if config.versions is None:
            recorded = experiment.versions if versions is None else versions
            config = config.model_copy(update={"versions": of_run(recorded, config)})
        replace_bytes(run.config_path, config.to_yaml().encode(), durable=False)
        replace_json(run.provenance_path, provenance(), durable=False)
    if read_json(run.status_path) is None:
        replace_json(
            run.status_path,
            {
                **identity_of(config),
                "state": RunState.WAITING.value,
                "step": 0,
                "total_steps": config.total_steps,
            },
            durable=False,
        )
    return run


def identity_of(config: RunConfig) -> dict[str, object]:
    """Return what `status.json` repeats of the configuration, so that lists need not parse it."""
    subset = config.method.subset_of_sources
    return {
        "experiment": config.experiment,
        "name": config.name,
        "role": config.role,
        "full_role": config.full_role.value,
        "target": config.target,
        "method": config.method.label,
        "method_name": config.method.name,
        "seed": config.seed,
        "sources": list(config.sources),
        "subset": None if subset is None else list(subset),
    }
