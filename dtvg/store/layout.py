"""Where everything of an experiment lies, and making its folders.

`runs/<experiment>/{experiment.yaml, cohorts/<id>/, <run>/}`; names never leave their folder.
docs/run_files.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel

from dtvg import paths
from dtvg.config import ExperimentConfig, RunConfig, build
from dtvg.config.reading import YAML_ERRORS
from dtvg.config.sections import OPEN
from dtvg.config.settings_path import differences
from dtvg.errors import ConfigError, StoreError
from dtvg.names import check_name
from dtvg.records import TABLES, RunState
from dtvg.store import digests
from dtvg.store.files import check_own, locked, read_json, replace_bytes, replace_json, sync_file
from dtvg.store.formats import (
    ProvenanceFile,
    SettingsDigests,
    StatusFile,
    VersionsFile,
    read_model,
    read_result,
    read_whole,
)
from dtvg.store.lease import Lease, hold
from dtvg.store.provenance import provenance
from dtvg.store.versions import of_run, versions_of_all
from dtvg.versions import Version, Versions

NO_RUNS = ("cohorts", "mirrors")
"""Folders of an experiment that are no runs."""

OF_EXPERIMENTS = {"experiment.yaml", "plan.json", "versions.json"}
OF_RUNS = {"status.json", "provenance.json", "result.json"}
"""Any of these shows that a folder is, or was, an experiment or a run."""


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
    def digests_path(self) -> Path:
        """Rows and result of a finished run, noted just before its result."""
        return self.path / "digests.json"

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
    def before_path(self) -> Path:
        """The commit before, for the case that the newest is damaged."""
        return self.path / "before.safetensors"

    @property
    def log_path(self) -> Path:
        """Messages of the process."""
        return self.path / "log.txt"

    @property
    def job_path(self) -> Path:
        """Where its newest job was started, and as what."""
        return self.path / "job.json"

    @property
    def ended_path(self) -> Path:
        """How its newest job ended, in the worker's own words."""
        return self.path / "ended.json"

    @property
    def control_dir(self) -> Path:
        """Requests to the worker, as of a run."""
        return self.path / "control"


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
    def scale_path(self) -> Path:
        """Where it trains, as it was last asked for; absent: in one process."""
        return self.path / "scale.json"

    @property
    def fleet_path(self) -> Path:
        """What trains where and what waits for what, as its driver last saw it."""
        return self.path / "fleet.json"

    @property
    def versions_path(self) -> Path:
        """What its runs were made with, part by part."""
        return self.path / "versions.json"

    @property
    def versions(self) -> dict[str, Version]:
        """What its runs were made with; empty in folders of before that was recorded.

        Raises:
            StoreError: the file is damaged.
        """
        found = read_whole(
            self.versions_path,
            VersionsFile,
            "Restore it from a copy: without it runs that are not made yet would be trained as "
            "the first version of this program did.",
        )
        return {} if found is None else dict(found.root)

    @property
    def engine_path(self) -> Path:
        """How it is computed; written when it is first trained."""
        return self.path / "engine.json"

    @property
    def digests_path(self) -> Path:
        """Digests of its settings, noted when they were written."""
        return self.path / "digests.json"

    @property
    def mirrors_dir(self) -> Path:
        """What trackers keep of its runs in files of their own."""
        return self.path / "mirrors"

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
        return [RunDir(self.path / name) for name in self.run_names()]

    def run_names(self) -> list[str]:
        """Return the names of the folders of runs; see `runs`."""
        try:
            with os.scandir(self.path) as entries:
                found = sorted(e.name for e in entries if e.is_dir())
        except OSError:
            return []
        return [name for name in found if name not in NO_RUNS and not name.startswith(".")]

    def cohorts(self) -> list[CohortDir]:
        """Return the folders of cohorts there are; none where they may not be looked at."""
        try:
            return [CohortDir(p) for p in sorted((self.path / "cohorts").iterdir())]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    @property
    def control_dir(self) -> Path:
        """Requests to the process that trains it, as of a run."""
        return self.path / ".control"

    def lock(self) -> AbstractContextManager[Lease]:
        """Be the only process that trains this experiment; see `lease.hold`.

        Raises:
            JobError: another process is already training it, or may be.
            StoreError: the folder cannot be written.
        """
        return hold(self.path)


def is_foreign(path: Path) -> bool:
    """Whether a folder among experiments is somebody else's: no file of an experiment, no run.

    Of a folder that cannot be looked into that is not said.
    """
    try:
        names = set(os.listdir(path))
        if names & OF_EXPERIMENTS:
            return False
        return not any(OF_RUNS & _names_in(path / n) for n in names if n[0] != ".")
    except OSError:
        return False


def _names_in(path: Path) -> set[str]:
    """Return what lies in a folder; nothing where it is a file."""
    try:
        return set(os.listdir(path))
    except NotADirectoryError:
        return set()


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
    experiment = ExperimentDir(paths.expanded(runs_dir).resolve() / check_name(config.name))
    with changing(experiment.path):
        _create(experiment, config, versions)
    return experiment


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Be the only one who creates, starts, moves or deletes an experiment.

    Args:
        path: the experiment's folder, which need not be there.

    Raises:
        StoreError: the folder of experiments cannot be written.
    """
    check_own(path.parent)
    with locked(path.parent / ".locks" / path.name):
        yield


def _create(experiment: ExperimentDir, config: ExperimentConfig, versions: Versions | None) -> None:
    """Write an experiment's folder, or compare with the one that is there."""
    if experiment.config_path.exists():
        _, stored = load_experiment(experiment.path)
        changed = ", ".join(_differing(stored, config))
        if changed:
            raise ConfigError(
                f"Experiment '{config.name}' exists in '{experiment.path.parent}' with other "
                f"settings ({changed}); choose another name (--set name=...) or another --runs-dir."
                f"{_one_of_many(changed)}"
            )
        copied = stored.scale.mirror != config.scale.mirror
        if copied or stored.logging.mirror != config.logging.mirror:
            check_unchanged(experiment, stored)
            _write_settings(experiment, config)
    else:
        made = versions_of_all(config) if versions is None else dict(versions)
        replace_json(experiment.versions_path, made)
        _write_settings(experiment, config)
    recorded = experiment.versions
    for run in config.runs():
        add_run(experiment, run, recorded)


def _one_of_many(changed: str) -> str:
    """Name the other way, where nothing keeps experiments from counting as one."""
    parts = {key.partition(".")[0] for key in changed.split(", ")}
    if not parts <= {"seeds", "targets", "methods", "notes"}:
        return ""
    return (
        " Experiments of different names that differ only in seeds, targets or methods are "
        "compared as one."
    )


def _write_settings(experiment: ExperimentDir, config: ExperimentConfig) -> None:
    content = config.to_yaml().encode()
    replace_bytes(experiment.config_path, content)
    _note_digest(experiment, hashlib.sha256(content).hexdigest())


def _note_digest(experiment: ExperimentDir, digest: str) -> None:
    replace_json(experiment.digests_path, {experiment.config_path.name: digest})


def check_unchanged(experiment: ExperimentDir, config: ExperimentConfig) -> None:
    """Refuse to train on where settings were changed in the files under runs that were made.

    Args:
        experiment: its folder; one of before digests is noted as it is now.
        config: what its file says now.

    Raises:
        StoreError: a file differs from what was written, with the keys and the way out.
    """
    found = digests.of_file(experiment.config_path)
    noted = _noted_digest(experiment)
    runs = {run.name: run for run in config.runs()}
    for directory in experiment.runs():
        run = runs.get(directory.name)
        content, wanted = _as_written(directory, strict=run is not None)
        if run is None:  # of Stage I, or added later with settings of its own
            continue
        if (
            content
            and noted is not None
            and (noted != found or wanted is None)
            and (keys := _changed_keys(content, run))
        ):
            raise StoreError(
                f"'{experiment.config_path}' was changed after its runs were made ({keys}), so "
                "their rows would belong to other settings; nothing was trained. Put the old "
                "value back. To train with the new one, fork a run (`dtvg runs fork "
                f"{experiment.name}/{run.name} --set ...`), or start the file under a new name "
                f"(`dtvg run {experiment.config_path} --set name=...`)."
            )
    if noted != found:
        _note_digest(experiment, found)


def _as_written(run: RunDir, strict: bool) -> tuple[bytes, str | None]:
    """Return a run's settings file and the digest that was noted for it.

    Args:
        run: its folder; without the file (not made yet, or to be written again) it is empty.
        strict: also refuse where what made the run cannot be read.

    Raises:
        StoreError: the file differs from what was written, with the way out.
    """
    try:
        content = run.config_path.read_bytes()
        made = read_model(run.provenance_path, ProvenanceFile)
    except OSError:
        return b"", None
    except StoreError:
        if strict:
            raise
        return b"", None
    wanted = None if made is None else made.config_sha256
    if content and wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
        raise StoreError(
            f"'{run.config_path}' was changed after the run was made, so nothing was trained. "
            "Restore it, or delete it: it is then written again from experiment.yaml. For other "
            f"settings fork the run (`dtvg runs fork {run.path.parent.name}/{run.name} --set "
            "...`)."
        )
    return content, wanted


def _noted_digest(experiment: ExperimentDir) -> str | None:
    """Return the digest of the settings as noted: None before digests, empty if not readable."""
    try:
        known = read_whole(experiment.digests_path, SettingsDigests, "")
    except StoreError:
        return ""  # then the runs' own settings decide
    return None if known is None else known.root.get(experiment.config_path.name, "")


def _changed_keys(content: bytes, run: RunConfig) -> str:
    """Name the settings in which a run's file differs from what its experiment says now."""
    try:
        stored = build(RunConfig, yaml.load(content.decode(), Loader=yaml.CSafeLoader), run.name)
    except (ConfigError, *YAML_ERRORS):
        return "its settings"
    now = run.model_copy(update={"versions": stored.versions, "rates_from": stored.rates_from})
    return ", ".join(differences(stored, now, RunConfig))


def make_durable(run: RunDir) -> None:
    """Wait until a run's settings and provenance are on disk, before its first commit.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        for path in (run.config_path, run.provenance_path, run.path):
            sync_file(path)
    except OSError as error:
        raise StoreError(
            f"'{run.path}' cannot be written ({error.strerror or error}); free some space, then "
            "resume."
        ) from None


def _differing(stored: ExperimentConfig, config: ExperimentConfig) -> list[str]:
    """Return the settings that differ, and rates that methods take from elsewhere.

    Where it trains, and where its scalars are mirrored to, may be other places.
    """
    logging = stored.logging.model_copy(update={"mirror": config.logging.mirror})
    stored = stored.model_copy(update={"scale": config.scale, "logging": logging})
    if stored != config:
        return list(differences(stored, config, ExperimentConfig))
    if [run.optim for run in stored.runs()] == [run.optim for run in config.runs()]:
        return []
    here, there = (set(OPEN) & c.optim.model_fields_set for c in (stored, config))
    return [f"optim.{name} named or left to the methods" for name in OPEN if name in here ^ there]


def free_name(name: str, runs_dir: Path) -> str:
    """Return `name`, or `name-2`, `name-3`, ... whichever is not taken yet.

    The names of recorded examples are taken as well.
    """
    candidate, number = name, 1
    while (Path(runs_dir) / candidate).exists() or (paths.examples() / candidate).exists():
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
    except (OSError, *YAML_ERRORS) as error:
        raise StoreError(
            f"'{experiment.config_path}' cannot be read ({' '.join(str(error).split())}); "
            "restore it from a copy, or start a new experiment."
        ) from None
    try:
        where = str(experiment.config_path)
        return experiment, build(ExperimentConfig, values, where, stored=True)
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
    if not run.config_path.exists() or not run.config_path.stat().st_size:  # cut off by power loss
        if config.versions is None:
            recorded = experiment.versions if versions is None else versions
            config = config.model_copy(update={"versions": of_run(recorded, config)})
        content = config.to_yaml().encode()
        replace_bytes(run.config_path, content, durable=False)
        digest = hashlib.sha256(content).hexdigest()
        begun = (read_json(run.provenance_path) if _has_tables(run) else None) or {}
        made = {**provenance(), **begun, "config_sha256": digest}
        kept = id_of(run) or ("" if _has_tables(run) else digest[:16])
        if kept:
            made["run_id"] = kept
        replace_json(run.provenance_path, made, durable=False)
    elif _cannot_be_read(run.provenance_path, ProvenanceFile):
        replace_json(run.provenance_path, provenance(), durable=False)
    if _cannot_be_read(run.status_path, StatusFile):
        replace_json(run.status_path, {**identity_of(config), **_progress(run, config)}, False)
    return run


def id_of(run: RunDir) -> str:
    """Return what names a run in its own files, wherever its folder is moved; empty: not known."""
    try:
        found = read_model(run.provenance_path, ProvenanceFile)
    except StoreError:
        return ""
    return "" if found is None else found.run_id or ""


def _has_tables(run: RunDir) -> bool:
    return any(run.table_dir(table).exists() for table in TABLES)


def _cannot_be_read(path: Path, model: type[BaseModel]) -> bool:
    """Whether a file is absent or holds something else than it should."""
    try:
        return read_model(path, model) is None
    except StoreError:
        return True


def _progress(run: RunDir, config: RunConfig) -> dict[str, object]:
    """Return what the status of a run says that nobody works on: it waits, or it has finished."""
    state, step = RunState.WAITING, 0
    content = read_json(run.result_path)
    if content is not None:
        with suppress(StoreError):
            state, step = RunState.FINISHED, read_result(run.result_path, content).steps
    return {"state": state.value, "step": step, "total_steps": config.total_steps}


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
