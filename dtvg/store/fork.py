"""Forking a run: a new experiment that goes on from the newest commit of an unfinished run.

The fork starts with the parent's rows up to the commit, its prompts, parameters and moments,
so that without a change it follows the parent's trajectory (bit for bit where the parent
trains alone; else up to rounding). The parent is only read, and may train on beside it.
docs/run_files.md "Forks".
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtvg import paths
from dtvg.config import ExperimentConfig, RunConfig, build, with_overrides
from dtvg.config.presets import clone
from dtvg.config.rates import settings_of
from dtvg.errors import ConfigError, StoreError
from dtvg.methods.specs import MethodConfig
from dtvg.methods.specs.rates import ENTRY_FIELDS
from dtvg.names import check_name
from dtvg.records import TABLES, RunState
from dtvg.store.files import clear_abandoned, read_json, replace_json, sync_file, sync_folder
from dtvg.store.layout import (
    CohortDir,
    ExperimentDir,
    RunDir,
    changing,
    create_experiment,
    free_name,
    id_of,
)
from dtvg.store.reader import Run, read_table
from dtvg.store.recovery import has_rows
from dtvg.store.state_files import load_state, read_text
from dtvg.store.tables import BY_STEP, schema_of, to_arrow
from dtvg.store.versions import can_go_on, changed, versions_of
from dtvg.store.writer import CohortWriter, RunWriter, Snapshot
from dtvg.versions import FIRST, HUB_COMMIT, Version, Versions

KEPT = ("backbone", "prompt", "data", "sources", "target", "seed", "method")
"""What a fork shares with its parent: otherwise its rows would not be one trajectory."""
TRIES = 5
_STEP = re.compile(r"state-(\d+)")


def fork(
    run: Run,
    name: str | None = None,
    changes: Sequence[str] = (),
    runs_dir: Path | None = None,
    at: int | None = None,
) -> ExperimentDir:
    """Make an experiment of one run that goes on where `run` stands.

    Args:
        run: unfinished, with a commit; finished ones only with `at`.
        name: name of the new experiment; None: the parent's with `-fork`.
        changes: settings such as `optim.lr_prompt=0.1` that differ from the parent's.
        runs_dir: folder of experiments; None: the parent's.
        at: go on from the last kept commit at or before this step (`logging.keep_every`) instead
            of the newest.

    Returns:
        The new experiment; resuming it trains on.

    Raises:
        ConfigError: a change that a fork cannot make.
        StoreError: the run is finished, has no commit yet, or cannot be read; or the fork cannot be
            written, and nothing is left of it then.
    """
    parent = _parent(run)
    folder = Path(runs_dir or run.path.parent.parent)
    tensors, meta, rows = _newest(run) if at is None else _kept(run, at)
    step = int(meta["step"])
    wanted = name or free_name(f"{run.experiment}-fork"[:76], folder)
    config = _config(parent, wanted, changes, f"Fork of {run.experiment}/{run.name} at {step}.")
    (child,) = config.runs()
    _check(parent, child, changes)
    if child.total_steps <= step:
        raise ConfigError(
            f"The fork stands at step {step} but would end at {child.total_steps}; give it more "
            f"steps with --set {_budget_of(child)}=..."
        )
    known = ExperimentDir(run.path.parent).versions
    of_hub = {HUB_COMMIT: known[HUB_COMMIT]} if HUB_COMMIT in known else {}
    versions = {**inherited(parent, child), **of_hub}
    same_device = child.device == parent.device
    origin = {"experiment": run.experiment, "run": run.name, "step": step}
    origin |= {} if same_device else {"other_device": True}
    place = paths.expanded(folder).resolve() / check_name(wanted, "experiment")
    with changing(place):
        if place.exists():
            raise ConfigError(f"There is already an experiment '{wanted}'; choose another name.")
        with _whole_or_not(place) as staged:
            experiment = create_experiment(config, staged, versions)
            directory = experiment.run(child.name)
            rows["events"] = _with_event(rows["events"], run, meta, changes)
            _inherit(run, experiment, directory, origin, same_device)
            known = _without_changed(meta, parent.versions or {}, versions)
            _commit(experiment, RunWriter(directory, child), tensors, known, rows)
    return ExperimentDir(place)


@contextlib.contextmanager
def _whole_or_not(place: Path) -> Iterator[Path]:
    """Let an experiment be made aside and appear when it is whole, or not at all.

    Args:
        place: where it appears; nobody else makes something there meanwhile.

    Yields:
        The folder in which an experiment of that name is to be made.

    Raises:
        StoreError: the disk refuses, or whatever else ends it; nothing is left of it then.
    """
    clear_abandoned(place.parent)
    staged = place.with_name(f".fork-{secrets.token_hex(6)}")
    appeared = False
    try:
        yield staged
        os.replace(staged / place.name, place)
        appeared = True
        sync_folder(place.parent)
    except (OSError, StoreError) as error:
        if appeared:  # but that may not last
            os.replace(place, staged / place.name)
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        why = cause.strerror or str(error)
        raise StoreError(
            f"'{place}' cannot be written ({why.rstrip('.')}), so nothing was forked; free some "
            "space or make it writable, then fork again."
        ) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _inherit(
    run: Run, experiment: ExperimentDir, child: RunDir, origin: object, same_device: bool
) -> None:
    """Let a fork have its parent's initial prompts, name of rows and way of computing."""
    initial = run.directory.prompts_dir / "initial.safetensors"
    if initial.exists():
        child.prompts_dir.mkdir(exist_ok=True)
        shutil.copy2(initial, child.prompts_dir)
    noted = (read_json(run.directory.provenance_path) or {}).get("engine")
    engine = read_json(ExperimentDir(run.path.parent).engine_path) or noted
    if engine is not None and same_device:
        replace_json(experiment.engine_path, engine)
    known = read_json(child.provenance_path) or {}
    own = {"run_id": id_of(run.directory) or None}  # its first rows and its commit are the parent's
    replace_json(child.provenance_path, {**known, **own, "fork_of": origin})


def _commit(
    experiment: ExperimentDir,
    writer: RunWriter,
    tensors: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    rows: Mapping[str, pa.Table],
) -> None:
    """Make the commit that a fork goes on from."""
    name, step = writer.run.name, int(meta["step"])
    cohort = CohortWriter(experiment.cohort("transfer-000"), {name: writer})
    renamed = {f"{name}/{key.partition('/')[2]}": value for key, value in tensors.items()}
    numbers = {**meta, "rows": {table: data.num_rows for table, data in rows.items()}}
    covered = {table: _covered(table, data, step) for table, data in rows.items() if data.num_rows}
    cohort.commit(Snapshot({name: covered}, renamed, {"runs": {name: numbers}}))
    status = writer.run.status_path
    told = {"step": step, "cohort": cohort.cohort.id}
    replace_json(status, {**(read_json(status) or {}), **told})


def _parent(run: Run) -> RunConfig:
    """Return the configuration of a run that can go on by itself.

    Raises:
        StoreError: it cannot.
    """
    parent = run.config
    if parent is None or parent.role != "transfer" or run.problem is not None:
        raise StoreError(f"'{run.name}' is not a readable transfer run, so it cannot be forked.")
    if parent.needs.trials:
        raise StoreError(
            f"Run '{run.name}' depends on trials of its own experiment; clone the experiment "
            "instead."
        )
    others = parent.method.exchanges_with(parent.target)
    if others:
        raise StoreError(
            f"Run '{run.name}' exchanges with the runs on {', '.join(others)}, so it cannot go on "
            "alone; clone it instead, which repeats them together."
        )
    return parent


def _newest(run: Run) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, pa.Table]]:
    """Return tensors, numbers and rows of one and the same commit.

    A training parent may commit in between; then it is read again.
    """
    cohort = CohortDir(run.path.parent / "cohorts" / (run.cohort or "none"))
    for _ in range(TRIES):
        loaded = CohortWriter.load(cohort)
        meta = (loaded[1]["runs"] if loaded else {}).get(run.name)
        if loaded is None or meta is None or not _owns(run, meta) or not has_rows(run.directory):
            raise StoreError(_without_commit(run))
        if meta.get("result") is not None:
            raise StoreError(_finished(run))
        step = int(meta["step"])
        rows = {table: read_table(run, table, None, None, step) for table in TABLES}
        again = CohortWriter.load(cohort)
        if again is not None and again[1]["runs"].get(run.name) == meta:
            own = {k: v for k, v in loaded[0].items() if k.startswith(f"{run.name}/")}
            return own, {**meta, "failure": None}, rows
    raise StoreError(f"Run '{run.name}' commits faster than it can be read; stop it first.")


def _without_commit(run: Run) -> str:
    """Say that a run has nothing to continue from, and what to do."""
    if run.state is RunState.FINISHED:
        return _finished(run)
    step = "resume it" if run.state.resumable else "wait a few seconds"
    return f"Run '{run.name}' has no commit yet; {step}, or clone its experiment."


def _finished(run: Run) -> str:
    kept = "fork it at a kept commit, or " if kept_steps(run) else ""
    return (
        f"Run '{run.name}' is finished, so there is nothing to continue; {kept}clone its "
        "experiment with more steps."
    )


def inherited(parent: RunConfig, child: RunConfig) -> dict[str, Version]:
    """Return the versions a fork is made with: its parent's, today's where these cannot go on."""
    now = versions_of(child)
    was = changed(parent.versions or {}, now)
    return now | {part: old for part, (old, _) in was.items() if can_go_on(part, old)}


def _without_changed(meta: Mapping[str, Any], was: Versions, now: Versions) -> dict[str, Any]:
    """Return a run's numbers without what it began with where a fork is made with another version.

    Args:
        meta: of the parent's commit.
        was: the parent's versions.
        now: the fork's.
    """
    start = {
        part: identity
        for part, identity in (meta.get("start") or {}).items()
        if now.get(part, FIRST) == was.get(part, FIRST)
    }
    return {**meta, "start": start}


def keep_state(cohort: CohortDir, step: int) -> None:
    """Keep a copy of a cohort's newest commit under its step.

    What was kept under that step stays where a run could be forked from it alone.

    Raises:
        StoreError: the disk refuses; nothing is left of it then.
    """
    folder = cohort.path / "kept"
    hidden = folder / f".state-{step:09d}.safetensors"
    try:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(cohort.state_path, hidden)
        sync_file(hidden)
        hidden.replace(_place(folder, step, _unfinished(cohort.state_path)))
    except OSError as error:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise StoreError(
            f"The state of step {step} cannot be kept in '{folder}' ({error.strerror or error}); "
            "free some space."
        ) from None


def _place(folder: Path, step: int, new: set[tuple[str, str, int]]) -> Path:
    """Return where a commit is kept: in place of one of that step that holds nothing more."""
    path = folder / f"state-{step:09d}.safetensors"
    for number in itertools.count(2):
        if not path.exists() or _unfinished(path) <= new:
            break
        path = folder / f"state-{step:09d}-{number}.safetensors"
    return path


def _unfinished(path: Path) -> set[tuple[str, str, int]]:
    """Return the runs that can go on from a commit's file, and from which step."""
    try:
        runs = read_text(path)["meta"].get("runs", {})
    except StoreError:
        return set()
    return {
        (name, str(of.get("run_id") or ""), int(of.get("step") or 0))
        for name, of in runs.items()
        if of.get("result") is None
    }


def kept_steps(run: Run) -> list[int]:
    """Return the steps at which a run can be forked at a kept commit, the latest first."""
    return sorted({step for step, _, _ in _kept_commits(run)}, reverse=True)


def _kept_commits(run: Run) -> list[tuple[int, float, Path]]:
    """Return step, time and file of a run's kept commits in this order.

    A file that cannot be read counts under the step of its name, so that whoever needs it is told.
    """
    cohort = CohortDir(run.path.parent / "cohorts" / (run.cohort or "none"))
    found, last, made = [], _committed(cohort, run), _made_at(run)
    for path in (cohort.path / "kept").glob("state-*.safetensors"):
        try:
            meta, time = _kept_numbers(path, path.stat().st_mtime_ns, run.name)
        except (OSError, StoreError):
            named = _STEP.match(path.name)
            found += [(int(named[1]), 0.0, path)] if named else []
            continue
        if meta.get("result") is not None or not _owns(run, meta):
            continue
        if "step" in meta and int(meta["step"]) <= last and time >= made:
            found.append((int(meta["step"]), time, path))
    return sorted(found)


@functools.lru_cache(maxsize=4096)
def _kept_numbers(path: Path, changed: int, name: str) -> tuple[dict[str, Any], float]:
    """Return a run's numbers in a kept commit, and when this was made; read once."""
    content = read_text(path)
    time = content.get("time")
    numbers = content["meta"].get("runs", {}).get(name) or {}
    return numbers, float(time) if isinstance(time, int | float) else np.inf


def _committed(cohort: CohortDir, run: Run) -> float:
    """Return the step of a run's newest commit; infinite where that is not known."""
    try:
        numbers = read_text(cohort.state_path)["meta"].get("runs", {}).get(run.name) or {}
    except StoreError:
        return np.inf
    return float(numbers.get("step", np.inf))


def _owns(run: Run, meta: Mapping[str, Any]) -> bool:
    """Whether numbers of a commit are a run's; old commits do not say whose they are."""
    own, owner = id_of(run.directory), meta.get("run_id")
    return not own or not owner or own == owner


def _made_at(run: Run) -> float:
    """Return when a run's folder was made; 0 where it is not known.

    Trained again with the same settings a run has the same `run_id`, but what was kept before its
    folder was made is not its own.
    """
    made = read_json(run.directory.provenance_path) or {}
    try:
        time = datetime.datetime.fromisoformat(str(made.get("time"))).timestamp()
    except ValueError:
        return 0.0
    return time if made.get("run_id") else 0.0


def _kept(run: Run, at: int) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, pa.Table]]:
    """Return tensors, numbers and rows of the last kept commit at or before a step."""
    found = _kept_commits(run)
    fitting = [path for step, _, path in found if step <= at]
    if not fitting:
        held = ", ".join(str(step) for step in sorted({step for step, _, _ in found})) or "none"
        raise StoreError(
            f"Run '{run.name}' has no kept commit at or before step {at} (kept: {held}); "
            "logging.keep_every says how often commits are kept."
        )
    tensors, commit = load_state(fitting[-1])
    meta = commit["runs"][run.name]
    own = {k: v for k, v in tensors.items() if k.startswith(f"{run.name}/")}
    return own, {**meta, "failure": None}, _rows_until(run, meta)


def _rows_until(run: Run, meta: Mapping[str, Any]) -> dict[str, pa.Table]:
    """Return what had been written when a kept commit was made: at step s, before its scoring."""
    step, scored = int(meta["step"]), int(meta["evaluated"])
    rows = {table: read_table(run, table, None, None, step) for table in TABLES}
    for table in ("events", "exchanges"):
        rows[table] = read_table(run, table, None, None, step - 1)
    rows["relations"] = read_table(run, "relations", None, None, scored)
    for table in ("evals", "predictions"):
        data = read_table(run, table, None, None, scored)
        rows[table] = data.filter(pc.equal(data.column("split"), "validation"))
    return rows


def _config(parent: RunConfig, name: str, changes: Sequence[str], notes: str) -> ExperimentConfig:
    """Return the configuration of an experiment with this run alone, changed as asked."""
    values = {**clone(parent), "name": name, "notes": notes}
    values["prompt"] = parent.to_values()["prompt"]  # also given prompts of tasks it does not read
    return build(ExperimentConfig, with_overrides(values, changes), "fork", stored=True)


def _budget_of(child: RunConfig) -> str:
    """Return the setting that says how many steps a run has."""
    own = child.rates_from.get("steps") == "entry"
    return f"methods.{child.method.name}.steps" if own else "optim.steps"


def _check(parent: RunConfig, child: RunConfig, changes: Sequence[str]) -> None:
    """Refuse changes that would make another trajectory of it."""
    for key in KEPT:
        was, now = getattr(parent, key), getattr(child, key)
        if isinstance(was, MethodConfig):
            was, now = was.without_rates(), now.without_rates()
        if was != now:
            raise ConfigError(
                f"A fork keeps its parent's '{key}', because its rows have to belong to one run; "
                "change optim, a method's rates, evaluation, logging or device, pin or ban "
                "sources, or clone the experiment instead."
            )
    for change in changes:
        name = change.partition("=")[0].strip().removeprefix("optim.")
        what = next((w for w, s in settings_of(child.method).items() if s == name), name)
        if child.rates_from.get(what) == "entry" and change.strip().startswith("optim."):
            field = ENTRY_FIELDS.get(what, what)
            raise ConfigError(
                f"'optim.{name}' has no effect on this run, whose method entry gives '{field}'; "
                f"change methods.{child.method.name}.{field} instead."
            )


def _with_event(
    events: pa.Table, run: Run, meta: Mapping[str, Any], changes: Sequence[str]
) -> pa.Table:
    """Add the event that says where the run comes from."""
    changed = f" with {', '.join(changes)}" if changes else " without a change"
    row = {
        "step": [int(meta["step"])],
        "seconds": [float(meta["seconds"])],
        "kind": ["forked"],
        "detail": [f"Continues {run.experiment}/{run.name} after step {meta['step']}{changed}."],
    }
    return pa.concat_tables([_typed("events", events), to_arrow("events", row)])


def _typed(table: str, data: pa.Table) -> pa.Table:
    """Return rows under the table's own schema."""
    return pa.Table.from_arrays(data.columns, schema=schema_of(table))


def _covered(table: str, data: pa.Table, step: int) -> tuple[int, int, pa.Table]:
    """Return rows with what their part file covers: all steps so far, or running row numbers."""
    typed = _typed(table, data)
    return 1, step if table in BY_STEP else typed.num_rows, typed
