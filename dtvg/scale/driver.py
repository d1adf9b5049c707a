"""Driving an experiment: its plan's cohorts on an executor, until all of them are over.

The driver holds the experiment's lease, each worker that of its cohort. A driver that is killed
loses nothing: the next one takes over what still trains. docs/scale.md.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from dtvg.config import DeviceConfig, ExperimentConfig, ScaleConfig, build
from dtvg.config.sections import ON_PATTERN
from dtvg.errors import ConfigError, JobError, StoreError, unknown
from dtvg.extras import require
from dtvg.jobs.devices import list_devices
from dtvg.plan.graph import Plan
from dtvg.plan.stored import keep_plan, stored_plan
from dtvg.records import RunState
from dtvg.scale.code import own_code
from dtvg.scale.demand import demand_of
from dtvg.scale.executor import Executor, Place
from dtvg.scale.fleet import write_fleet
from dtvg.scale.ground import FolderGround, pieces, prove_shared, read_job
from dtvg.scale.local import LocalExecutor
from dtvg.scale.scheduler import Scheduler
from dtvg.storage.follow import Copies
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.formats import ScaleFile, read_whole
from dtvg.store.layout import ExperimentDir, check_unchanged, load_experiment
from dtvg.store.lease import Lease
from dtvg.store.processes import ProcessId
from dtvg.store.renewal import renew
from dtvg.store.status import as_written, began_at, clear, forget_stops, noted_with_runs
from dtvg.training.progress import Progress, Report, ended_progress
from dtvg.training.signals import StopWish, stop_on_signals

log = logging.getLogger(__name__)

FLEET_SECONDS = 2.0
"""`fleet.json` is written so often."""
ENGINES = ("inline", "local", "ray", "slurm")
DELETE = (
    "Delete the file where nothing of the experiment trains, and say with --on where it goes on."
)


def placed(scale: ScaleConfig, on: str | None) -> ScaleConfig:
    """Return the settings with another place to train.

    Args:
        scale: as configured.
        on: as `--on` gives it; None: as configured.

    Raises:
        ConfigError: there is no such engine, or it is no address.
    """
    if on is None:
        return scale
    if not re.match(ON_PATTERN, on):
        step = "A Ray cluster's address is ray://HOST:PORT, or HOST:PORT."
        raise ConfigError(unknown("executor", on, ENGINES, step))
    return build(ScaleConfig, {**scale.model_dump(), "on": on}, "scale")


def require_place(scale: ScaleConfig) -> None:
    """Refuse a place where nothing can be started, before anything is written.

    Raises:
        ConfigError: its extra is not installed, or nobody answers there.
    """
    engine = engine_of(scale.on)
    if engine == "ray":
        require("ray", "--on ray")
        from dtvg.scale.on_ray import reach

        if scale.on != "ray":
            reach(scale.on)
    elif engine == "slurm":
        require("slurm", "--on slurm")
        from dtvg.scale import on_slurm

        on_slurm.reach()


def engine_of(on: str) -> str:
    """Return which engine a place is: `inline`, `local`, `ray` or `slurm`."""
    return on if on in ENGINES else "ray"


def last_place(experiment: ExperimentDir, config: ExperimentConfig) -> ScaleConfig:
    """Return where an experiment was last asked to train; else as its configuration says.

    Raises:
        StoreError: `scale.json` is damaged.
    """
    found = _place_noted(experiment)
    if found is None:
        return config.scale
    try:
        return build(ScaleConfig, found.scale, "scale")
    except ConfigError as error:
        raise StoreError(f"'{experiment.scale_path}': {error} {DELETE}") from None


def _place_noted(experiment: ExperimentDir) -> ScaleFile | None:
    return read_whole(experiment.scale_path, ScaleFile, DELETE)


def make_executor(
    experiment: ExperimentDir,
    config: DeviceConfig,
    scale: ScaleConfig,
    arguments: Callable[[str, str], list[str]],
) -> Executor:
    """Connect to an engine.

    Raises:
        ConfigError: its extra is not installed, or it cannot be reached.
    """
    engine = engine_of(scale.on)
    if engine == "local":
        devices = list_devices()
        gpu_there = any(d.kind == "cuda" for d in devices)
        demand = demand_of(config, scale, gpu_there)
        return LocalExecutor(experiment, demand, devices, scale.slots, arguments, config.name)
    if engine == "ray":
        require("ray", "--on ray")
        from dtvg.scale.on_ray import RayExecutor

        return RayExecutor(experiment, config, scale, arguments)
    if engine == "slurm":
        require("slurm", "--on slurm")
        from dtvg.scale.on_slurm import SlurmExecutor

        return SlurmExecutor(experiment, config, scale, arguments)
    raise ConfigError(unknown("executor", scale.on, ENGINES))


def places_of(scale: ScaleConfig) -> list[Place]:
    """Return the machines of an engine, with what each has.

    Raises:
        ConfigError: its extra is not installed, or it cannot be reached.
    """
    engine = engine_of(scale.on)
    if engine in ("inline", "local"):
        host = socket.gethostname()
        return [
            Place(host, f"{d.title}, {d.free_gib:.1f} GiB free", 1, d.name) for d in list_devices()
        ]
    made = make_executor(ExperimentDir(Path()), DeviceConfig(), scale, lambda cohort, token: [])
    try:
        return made.places()
    finally:
        made.close()


def drive(
    experiment: ExperimentDir,
    scale: ScaleConfig,
    report: Report = lambda progress: None,
    only: Collection[str] | None = None,
    bank: PromptBank | None = None,
    executor: Executor | None = None,
) -> Scheduler:
    """Train whatever of an experiment is unfinished on an executor.

    Args:
        experiment: its folder.
        scale: where, with how many slots.
        report: told about progress about once a second.
        only: names of transfer runs to work on; None: all.
        bank: the prompt bank, which every worker has to see; None: the default one.
        executor: None: the one that `scale.on` names.

    Returns:
        The scheduler, which says how every cohort ended.

    Raises:
        DtvgError: nothing could be started, or every machine refuses.
    """
    experiment, config = load_experiment(experiment.path)
    kept, began = bank or PromptBank(), began_at(experiment)
    with experiment.lock() as lease, noted_with_runs(experiment, only), stop_on_signals() as stop:
        check_unchanged(experiment, config)
        forget_stops(experiment, began)
        stop.watch = partial(_asked_to_stop, experiment, lease)
        prove_shared(experiment.path)
        arguments = partial(worker_arguments, experiment)
        engine = executor or make_executor(experiment, config.device, scale, arguments)
        try:
            engine.check()
            renew(experiment, config)
            made = keep_plan(experiment, config, scale.slots or engine.capacity())
            _note_place(experiment, scale, only, kept)
            copies = Copies(config.scale.mirror, experiment, lambda: bool(stop))
            copies.add(None)
            with copies:
                return _drive(experiment, made, scale, engine, kept, only, stop, report)
        finally:
            engine.close()
            clear(experiment, "stop")


def _drive(
    experiment: ExperimentDir,
    made: Plan,
    scale: ScaleConfig,
    engine: Executor,
    bank: PromptBank,
    only: Collection[str] | None,
    stop: StopWish,
    report: Report,
) -> Scheduler:
    """Turn the scheduler until nothing is left."""
    ground = FolderGround(experiment, made, bank)
    scheduler = Scheduler(pieces(made, ground, only), engine, ground, scale.tries)
    scheduler.adopt(ground.jobs())
    told, ends = 0.0, set[str]()
    while not scheduler.finished:
        stop.look()
        if stop:
            scheduler.stop()
        scheduler.turn()
        if time.monotonic() - told > FLEET_SECONDS or scheduler.finished:
            told = time.monotonic()
            write_fleet(experiment, scale, scheduler)
            for progress in _progress(ground, scheduler, ends):
                report(progress)
        if not scheduler.finished:
            time.sleep(engine.pause)
    write_fleet(experiment, scale, scheduler, ended=True)
    if stop.interrupted:
        raise KeyboardInterrupt
    return scheduler


def _progress(ground: FolderGround, scheduler: Scheduler, told: set[str]) -> list[Progress]:
    """Sum up how far the cohorts are that train or wait to go on, from what their runs say.

    Args:
        ground: of the experiment.
        scheduler: which drives it.
        told: cohorts whose end was told; those that ended since are added.
    """
    found = []
    for cohort, known in scheduler.attempts.items():
        if cohort in scheduler.running or (known.jobs and cohort not in scheduler.over):
            found.append(_under_way(ground, scheduler, cohort))
    for cohort in scheduler.over.keys() - told:
        told.add(cohort)
        runs = [ground.runs[name] for name in scheduler.by_id[cohort].runs]
        steps = [(ground.experiment.run(run.name), run.total_steps) for run in runs]
        found.append(ended_progress(cohort, steps))
    return found


def _under_way(ground: FolderGround, scheduler: Scheduler, cohort: str) -> Progress:
    """Sum up how far a cohort is that is not over."""
    runs = [ground.runs[name] for name in scheduler.by_id[cohort].runs]
    said = [as_written(ground.experiment.run(run.name)) for run in runs]
    total = sum(run.total_steps for run in runs)
    done = sum(min(s.step, r.total_steps) for s, r in zip(said, runs, strict=True) if s)
    losses = [s.loss for s in said if s and s.loss is not None]
    mean = sum(losses) / len(losses) if losses else None
    active = sum(s is not None and s.state is RunState.RUNNING for s in said)
    if cohort not in scheduler.running:
        return Progress(cohort, done, total, 0, mean, "waits to go on")
    return Progress(cohort, done, total, active, mean, "" if active else "starts")


def worker_arguments(experiment: ExperimentDir, cohort: str, token: str) -> list[str]:
    """Return the arguments of `dtvg` that train one cohort."""
    return ["cohort", str(experiment.path), cohort, "--token", token]


def _note_place(
    experiment: ExperimentDir, scale: ScaleConfig, only: Collection[str] | None, bank: PromptBank
) -> None:
    """Store where it trains and what its workers have to know."""
    replace_json(
        experiment.scale_path,
        {
            "scale": scale.model_dump(mode="json"),
            "only": None if only is None else sorted(only),
            "bank": str(bank.root),
            "code": own_code(),
        },
    )


def _asked_to_stop(experiment: ExperimentDir, lease: Lease) -> bool:
    """Whether this driver was asked to stop by a file, as from another host.

    Raises:
        LeaseLost: another process took over.
    """
    lease.check()
    content = read_json(experiment.control_dir / "stop")
    return content is not None and ProcessId.read(content).same(lease.file.holder)


def worker_facts(experiment: ExperimentDir, cohort: str, token: str) -> dict[str, Any]:
    """Return what a worker has to know, once it has proved that it sees the driver's folder.

    Raises:
        StoreError: this machine sees another folder, or none.
        JobError: another attempt has begun since.
    """
    found = _place_noted(experiment)
    if found is None:
        raise StoreError(
            f"'{experiment.path}' holds no note of a driver on this machine, so it is not the "
            "folder that the driver sees; mount the same folder there on every machine."
        )
    job = read_job(experiment.cohort(cohort))
    if job is None or job.token != token:
        raise JobError(f"Cohort '{cohort}' was started again since; this attempt ends.")
    bank = PromptBank(Path(found.bank)) if found.bank else None
    return {"only": found.only, "bank": bank, "code": found.code}


def planned(experiment: ExperimentDir, config: ExperimentConfig) -> Plan:
    """Return the stored plan of an experiment.

    Raises:
        StoreError: there is none.
    """
    made = stored_plan(experiment, config)
    if made is None:
        raise StoreError(f"'{experiment.path}' has no plan.json; `dtvg runs resume` makes it.")
    return made
