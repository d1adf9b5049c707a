"""Reading runs: frozen views, tables and tensors; never an exception for a foreign folder.

A folder that holds no run, or half of one, is a `Run` whose `problem` says so. Lists read
status files only; configurations are parsed when asked for. docs/run_files.md.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from dtvg.config import ExperimentConfig, RunConfig, build
from dtvg.config.reading import YAML_ERRORS
from dtvg.errors import ConfigError, StoreError
from dtvg.methods.specs import METHODS, Role, role_of
from dtvg.records import TABLES, RunResult, RunState
from dtvg.rule.memory import has_memory
from dtvg.store import digests, repeated_yaml
from dtvg.store.cohorts import visible_parts
from dtvg.store.files import read_json
from dtvg.store.formats import ProvenanceFile, read_model, read_result
from dtvg.store.layout import ExperimentDir, RunDir, id_of, is_foreign, load_experiment
from dtvg.store.state_files import PROMPTS_OF, kept_prompts
from dtvg.store.status import read_status
from dtvg.store.tables import (
    BY_STEP,
    concatenate,
    cover,
    read_part,
    schema_of,
)

TRIES = 5
"""A file may vanish by compaction between listing and reading: list again so often."""


READERS = 4
"""Runs whose logs are worth reading at a time: unpacking them is done outside Python."""
INPUTS = "inputs.parquet"
"""File of an experiment with the texts that its runs answered; recorded examples have it."""


@dataclass(frozen=True)
class Run:
    """One run as its files tell it; see the module's first lines."""

    experiment: str
    name: str
    path: Path
    state: RunState
    role: str = "transfer"
    """`transfer`, `stage1` or `mixture`, as its configuration says; `full_role` tells more."""
    target: str = ""
    method: str = ""
    """The method's label, e.g. `dtvg-fixed`."""
    method_name: str = ""
    seed: int = 0
    sources: tuple[str, ...] = ()
    subset: tuple[str, ...] | None = None
    """Sources merged by a run that judges one subset; None for every other run."""
    noted_role: str = ""
    """`full_role` as it was when the run was made; empty in older folders."""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    score: float | None = None
    """Newest validation score."""
    result: RunResult | None = None
    started_at: float | None = None
    updated_at: float | None = None
    seconds: float | None = None
    """Wall-clock seconds trained so far; None in folders of before this was noted."""
    memory_gib: float | None = None
    device: str | None = None
    cohort: str | None = None
    pid: int | None = None
    host: str | None = None
    job: str = ""
    """A scheduler's job, e.g. `Slurm 4711`; empty outside one."""
    message: str = ""
    health: Mapping[str, str] | None = None
    """What is wrong with its training, by kind, as it noted (`dtvg.store.health`); None: nothing
    noted."""
    guessing: Mapping[str, float | None] | None = None
    """What always giving the commonest answer scores, as it noted."""
    problem: str | None = None
    """Why this folder is no whole run; None for one that is."""

    @property
    def directory(self) -> RunDir:
        """The run's folder."""
        return RunDir(self.path)

    @property
    def config(self) -> RunConfig | None:
        """The stored configuration; None where it is absent or cannot be read."""
        return self._read_config()[0]

    @property
    def config_problem(self) -> str:
        """Why there is no stored configuration, a sentence without its full stop; empty: there is
        one."""
        return self._read_config()[1]

    def _read_config(self) -> tuple[RunConfig | None, str]:
        path = self.path / "config.yaml"
        try:
            return _config(path, _stamp(path)), ""
        except ConfigError as error:
            return None, f"{path.parent / str(error)}".rstrip(".")
        except (OSError, *YAML_ERRORS):
            return None, f"{path} is missing or contains no run configuration"

    @property
    def full_role(self) -> Role:
        """What the run is for in a comparison."""
        if self.role != "transfer":
            return Role.MIXTURE if self.role == "mixture" else Role.STAGE_ONE
        known = self.method_name in METHODS
        if not known and self.noted_role in list(Role):  # its method's package is not installed
            return Role(self.noted_role)
        return role_of(self.method_name, self.subset is not None)

    @property
    def test_score(self) -> float | None:
        """The reported score: test at the best step."""
        return None if self.result is None else self.result.test_score


@dataclass(frozen=True)
class Experiment:
    """One experiment with its runs."""

    name: str
    path: Path
    config: ExperimentConfig | None
    runs: tuple[Run, ...] = ()
    problem: str | None = None


def _stamp(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=4096)
def _config(path: Path, stamp: tuple[int, int]) -> RunConfig:
    values = repeated_yaml.load(path.read_text("utf-8"))
    if isinstance(values, dict):
        values.setdefault("versions", {})  # of before versions were recorded: 1 of everything
    return build(RunConfig, values, path.name, stored=True)


def configs_but(runs: Sequence[Run], keys: Collection[str]) -> list[RunConfig | None]:
    """Return the configurations of many runs, parsed once where they differ in some keys only.

    Args:
        runs: whose.
        keys: top-level ones that nobody looks at, e.g. `seed`; another run's may stand there.

    Returns:
        One a run; None where it is absent or cannot be read.
    """
    known: dict[str, RunConfig | None] = {}
    found: list[RunConfig | None] = []
    for run in runs:
        try:
            text = (run.path / "config.yaml").read_text("utf-8")
        except (OSError, UnicodeError):
            found.append(None)
            continue
        alike = repeated_yaml.but(text, keys)
        if alike not in known:
            known[alike] = run.config
        found.append(known[alike])
    return found


def open_run(path: Path | str) -> Run:
    """Return a view of the run in a folder; a foreign or half-written one says so.

    Args:
        path: the run's folder.
    """
    folder = str(path)  # names as text: of 10,000 runs pathlib takes most of the time
    written = tuple(_stamped(f"{folder}/{name}") for name in ("status.json", "result.json"))
    if None in written:  # not finished: the truth is not in its files alone
        return _open_run(RunDir(Path(path)))
    return _open_finished(folder, written)


@functools.lru_cache(maxsize=32_768)
def _open_finished(folder: str, written: tuple[tuple[int, int] | None, ...]) -> Run:
    """Open a run whose files do not change any more, so that a list of 10,000 is quick."""
    return _open_run(RunDir(Path(folder)))


def _stamped(path: Path | str) -> tuple[int, int] | None:
    try:
        return _stamp(path)
    except OSError:
        return None


def _open_run(run: RunDir) -> Run:
    base: dict[str, Any] = {"experiment": run.path.parent.name, "name": run.name, "path": run.path}
    try:
        return _viewed(run, base)
    except StoreError as error:
        return Run(**base, state=RunState.FAILED, problem=str(error).rstrip("."))
    except OSError as error:  # a folder of somebody else
        why = f"cannot be read ({error.strerror or error})"
        return Run(**base, state=RunState.FAILED, problem=why)


def _viewed(run: RunDir, base: dict[str, Any]) -> Run:
    status = read_status(run)
    if status is None:
        there = run.path.is_dir()
        why = "no readable status.json" if there else "the folder does not exist"
        if there and not run.config_path.exists():
            why = "not the folder of a run: it has neither status.json nor config.yaml"
        return Run(**base, state=RunState.FAILED, problem=why)
    facts, state = status.facts, status.state
    result: RunResult | None = None
    problem: str | None = None
    content = read_json(run.result_path)
    if content is not None:
        try:
            result, state = read_result(run.result_path, content), RunState.FINISHED
        except StoreError:
            problem = "result.json contains something other than a result"
    elif state is RunState.FINISHED:
        problem = "is marked as finished, but has no result.json"
    return Run(
        **base,
        state=state,
        role=str(facts.get("role", "transfer")),
        target=str(facts.get("target", "")),
        method=str(facts.get("method", "")),
        method_name=str(facts.get("method_name", "")),
        seed=int(facts.get("seed") or 0),
        sources=tuple(facts.get("sources") or ()),
        noted_role=str(facts.get("full_role", "")),
        subset=None if facts.get("subset") is None else tuple(facts["subset"]),
        step=status.step,
        total_steps=status.total_steps,
        loss=status.loss,
        score=status.score,
        result=result,
        started_at=status.started_at,
        updated_at=status.updated_at,
        seconds=facts.get("seconds"),
        memory_gib=facts.get("memory_gib"),
        device=facts.get("device"),
        cohort=status.cohort,
        pid=status.pid,
        host=status.host,
        job=status.job,
        message=status.message,
        health=facts.get("health"),
        guessing=facts.get("guessing"),
        problem=problem,
    )


def open_experiment(path: Path | str) -> Experiment:
    """Return a view of an experiment and its runs; one that cannot be read says why."""
    directory = ExperimentDir(Path(path))
    try:
        config, problem = _experiment_config(directory.path, _stamped(directory.config_path)), None
    except StoreError as error:
        config, problem = None, str(error)
    runs = tuple(open_run(f"{directory.path}/{name}") for name in directory.run_names())
    made = Experiment(directory.name, directory.path, config, runs, problem)
    place = {name: i for i, name in enumerate(run_configs(made))}
    ordered = tuple(sorted(runs, key=lambda r: (place.get(r.name, len(place)), r.name)))
    return replace(made, runs=ordered)


def experiment_config(path: Path | str) -> ExperimentConfig | None:
    """Return the configuration of the experiment in a folder; None where it cannot be read."""
    folder = ExperimentDir(Path(path))
    try:
        return _experiment_config(folder.path, _stamped(folder.config_path))
    except StoreError:
        return None


@functools.lru_cache(maxsize=1024)
def _experiment_config(path: Path, stamp: tuple[int, int] | None) -> ExperimentConfig:
    """Read an experiment's configuration once, until its file changes."""
    return load_experiment(path)[1]


def run_configs(experiment: Experiment) -> Mapping[str, RunConfig]:
    """Return the settings of the runs an experiment was made with, by name, from its own file.

    Runs added later, with settings of their own, are not among them.
    """
    path = experiment.path / "experiment.yaml"
    return {} if experiment.config is None else _expanded(path.parent, _stamped(path))


@functools.lru_cache(maxsize=256)
def _expanded(path: Path, stamp: tuple[int, int] | None) -> Mapping[str, RunConfig]:
    return {run.name: run for run in _experiment_config(path, stamp).runs()}


def foreign_folders(runs_dir: Path | str) -> list[str]:
    """Return the names of folders among experiments that are somebody else's."""
    return [name for name in _folders(Path(runs_dir)) if is_foreign(Path(runs_dir) / name)]


def foreign_sentence(names: Sequence[str]) -> str:
    """Say that folders are left out; empty where there are none."""
    if not names:
        return ""
    shown = ", ".join(f"'{name}'" for name in names[:5])
    shown += f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"Left out, since they are no experiments: {shown}."


def _folders(root: Path) -> list[str]:
    """Return the names of the folders in one, hidden ones left out; none where it is absent."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and e.name[0] != ".")
    except OSError:
        return []


def list_experiments(runs_dir: Path | str, with_runs: bool = True) -> list[Experiment]:
    """Return the experiments in a folder, newest first; folders of somebody else are left out.

    Args:
        runs_dir: folder of experiments; an absent one is empty.
        with_runs: also open their runs (status files only).
    """
    folders = [Path(runs_dir) / name for name in _folders(Path(runs_dir))]
    folders = [path for path in folders if not is_foreign(path)]
    made = sorted(folders, key=lambda p: (_stamped(p) or (0, 0))[0], reverse=True)
    if with_runs:
        return [open_experiment(path) for path in made]
    found = []
    for path in made:
        try:
            found.append(Experiment(path.name, path, load_experiment(path)[1]))
        except StoreError as error:
            found.append(Experiment(path.name, path, None, problem=str(error)))
    return found


def list_runs(runs_dir: Path | str, experiment: str | None = None) -> list[Run]:
    """Return the runs of all experiments in a folder, or of one; reads status files only."""
    root = Path(runs_dir)
    names = [experiment] if experiment else [n for n in _folders(root) if not is_foreign(root / n)]
    return [open_run(run.path) for name in names for run in ExperimentDir(root / name).runs()]


def only_scores(run: str) -> str:
    """Say why there is nothing to show of a run's steps (`logging.detail: scores`)."""
    return (
        f"Run '{run}' was recorded with `logging.detail: scores`: its evaluations, answers and "
        "result are kept, its steps are not. Choose a run that keeps them."
    )


def no_configuration(run: str) -> str:
    """Say why nothing can be decided again of a run."""
    return (
        f"The configuration of run '{run}' cannot be read (config.yaml), so it is not known by "
        "which rule it decided; `dtvg runs verify` says what is wrong with the file."
    )


def read_table(
    run: Run,
    table: str,
    columns: list[str] | None = None,
    first: int | None = None,
    last: int | None = None,
) -> pa.Table:
    """Read rows of a table, each once, in order of steps.

    Args:
        run: whose.
        table: one of `dtvg.records.TABLES`.
        columns: those wanted; None: all.
        first: lowest step; None: from the start.
        last: highest step; None: to the end.

    Raises:
        StoreError: unknown table or column, or a part file that is no Parquet.
    """
    if table not in TABLES:
        raise StoreError(f"There is no table '{table}'; a run has {', '.join(TABLES)}.")
    schema = schema_of(table)
    strange = sorted(set(columns or ()) - set(schema.names))
    if strange:
        raise StoreError(f"Table '{table}' has no column '{strange[0]}'; it has {schema.names}.")
    wanted = columns if columns is None else list(dict.fromkeys([*columns, "step"]))
    for attempt in range(TRIES):
        chosen = cover(visible_parts(run.directory, table))
        if table in BY_STEP:
            chosen = [
                p
                for p in chosen
                if (last is None or p.first <= last) and (first is None or p.last >= first)
            ]
        try:
            batches = [read_part(part, wanted, schema) for part in chosen]
            break
        except FileNotFoundError:
            if attempt == TRIES - 1:
                raise StoreError(
                    f"Part files of '{run.path / table}' keep disappearing; try again."
                ) from None
    data = (
        concatenate(table, batches)
        if wanted is None or batches
        else (schema.empty_table().select(wanted))
    )
    data = _of_steps(data, first, last)
    return data if columns is None else data.select(columns)


def _of_steps(data: pa.Table, first: int | None, last: int | None) -> pa.Table:
    """Keep the rows of some steps; a table that is wanted whole is not copied."""
    if not data.num_rows or (first is None and last is None):
        return data
    steps = data.column("step").to_numpy()
    kept = np.ones(len(steps), dtype=bool)
    if first is not None:
        kept &= steps >= first
    if last is not None:
        kept &= steps <= last
    return data if kept.all() else data.filter(pa.array(kept))


def read_grams(
    run: Run, first: int | None = None, last: int | None = None, every: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Read the logged Gram matrices.

    Args:
        run: whose.
        first: lowest step.
        last: highest step.
        every: keep each so-manieth step.

    Returns:
        Steps `[S]` int64 and matrices `[S m m]` float32, symmetric; empty where none is logged.
    """
    data = read_table(run, "steps", ["step", "gram"], first, last)
    data = data.filter(pc.is_valid(data.column("gram")))
    if every > 1:
        data = data.take(np.arange(0, data.num_rows, every))
    steps = data.column("step").to_numpy()
    if not len(steps):
        return steps, np.zeros((0, 0, 0), dtype=np.float32)
    values, m = _triangles(data)
    grams = np.zeros((len(steps), m, m), dtype=np.float32)
    rows, columns = np.triu_indices(m)
    grams[:, rows, columns] = values
    grams[:, columns, rows] = values
    return steps, grams


def read_towards_target(run: Run, config: RunConfig | None) -> np.ndarray:
    """Read the target's row of every logged Gram matrix, without the matrices.

    Where a run ranks by inner products they stand in its table of sources too, in a fraction of
    the bytes. `config` is its own or another seed's; None where it cannot be read.

    Returns:
        `[S n]` float32: inner products of the target's vector with each source's; `[0 0]` where
        none is logged.
    """
    if _ranks_by_products(run, config):
        found = read_table(run, "sources", ["similarity"]).column("similarity").to_numpy()
        n = len(run.sources)
        if n and len(found) % n == 0 and not np.isnan(found).any():
            return found.reshape(-1, n) if len(found) else np.zeros((0, 0), dtype=np.float32)
    data = read_table(run, "steps", ["gram"])
    data = data.filter(pc.is_valid(data.column("gram")))
    if not data.num_rows:
        return np.zeros((0, 0), dtype=np.float32)
    values, m = _triangles(data)
    return values[:, 1:m]


def _ranks_by_products(run: Run, config: RunConfig | None) -> bool:
    """Whether the logged similarities are entries of the logged Gram matrices."""
    if config is None or config.method.ranks_prompts or tuple(config.sources) != run.sources:
        return False
    settings = config.rule_settings
    return settings.measure == "dot" and not has_memory(settings)


def _triangles(data: pa.Table) -> tuple[np.ndarray, int]:
    """Return the upper triangles of Gram matrices, row by row `[S m(m+1)/2]`, and m."""
    flat = data.column("gram").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    values = flat.reshape(data.num_rows, -1)
    return values, int((np.sqrt(8 * values.shape[1] + 1) - 1) / 2)


def read_prompts(run: Run, which: str) -> dict[str, np.ndarray]:
    """Read `initial`, `best` or `final` tensors of a run.

    Raises:
        StoreError: the file is absent or damaged.
    """
    path = run.directory.prompts_dir / f"{which}.safetensors"
    try:
        with safe_open(path, framework="np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        digests.check_tensors(path, tensors, metadata)
        _check_owner(run, path, metadata.get(PROMPTS_OF))
        return tensors
    except FileNotFoundError:
        raise StoreError(_without_prompts(run, which)) from None
    except (SafetensorError, OSError, ValueError, TypeError, MemoryError) as error:
        raise StoreError(f"'{path}' is damaged ({error}).") from None


def _without_prompts(run: Run, which: str) -> str:
    """Say why a run has no prompts of a kind: it does not keep them, or not yet."""
    detail = "full" if run.config is None else run.config.logging.detail
    kept = kept_prompts(detail)
    if which not in kept:
        return (
            f"Run '{run.name}' was recorded with `logging.detail: {detail}`, which keeps "
            f"{'only the best' if kept else 'none'} of its prompts, so it has no '{which}' ones."
        )
    return (
        f"Run '{run.name}' has no '{which}' prompts yet; initial ones are written at its start, "
        "best and final ones when it finishes."
    )


def _check_owner(run: Run, path: Path, owner: str | None) -> None:
    """Refuse prompts of another run; a fork starts from a copy of its parent's.

    Raises:
        StoreError: they are another's.
    """
    own = id_of(run.directory)
    if not owner or not own or owner == own:
        return
    if path.stem == "initial" and read_provenance(run).get("fork_of"):
        return
    raise StoreError(f"'{path}' holds the prompts of another run.")


def read_inputs(experiment: Path, task: str) -> dict[str, str]:
    """Return fingerprint → input text of a task's examples, kept with a recorded example.

    Args:
        experiment: its folder.
        task: whose rows were answered.

    Returns:
        Empty where nothing was kept, which is usual, or the file is damaged.
    """
    try:
        rows = pq.read_table(experiment / INPUTS).to_pylist()
        return {row["fingerprint"]: row["input"] for row in rows if row["task"] == task}
    except (OSError, pa.ArrowException, KeyError):
        return {}


def read_provenance(run: Run) -> dict[str, Any]:
    """Return what made a run; empty where it is not known or not as written."""
    path = run.directory.provenance_path
    try:
        known = read_model(path, ProvenanceFile)
    except StoreError:  # `verify` says what is wrong
        return {}
    return {} if known is None else read_json(path) or {}


def to_json(run: Run) -> str:
    """Return a run's view as JSON text."""
    content = {k: v for k, v in run.__dict__.items() if k not in ("result", "path")}
    content["result"] = None if run.result is None else run.result.__dict__
    return json.dumps({**content, "path": str(run.path)}, default=str, indent=1)
