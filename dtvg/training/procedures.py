"""Running a whole experiment: cohort after cohort of its plan, each after what it starts from.

`run_experiment` is idempotent: it trains whatever is unfinished, from the newest commit, so
starting, resuming after a stop and resuming after a crash are the same call. Which cohorts
there are stands in the plan. docs/architecture.md "The plan".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from functools import partial

import numpy as np
import torch

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.errors import NumericsError, StoreError
from dtvg.mirrors.adapter import check_installed
from dtvg.mirrors.follow import Mirrors
from dtvg.plan.graph import CohortPlan, Plan
from dtvg.plan.stored import keep_plan, stored_plan
from dtvg.storage.follow import Copies
from dtvg.store import trash
from dtvg.store.bank import PromptBank, TaskPrompt, complaints
from dtvg.store.files import read_json, replace_json
from dtvg.store.formats import read_result
from dtvg.store.given import given_prompts
from dtvg.store.layout import (
    ExperimentDir,
    RunDir,
    add_run,
    check_unchanged,
    load_experiment,
)
from dtvg.store.lease import Lease, hold, hold_when_free
from dtvg.store.liveness import look
from dtvg.store.offers import Place
from dtvg.store.processes import ProcessId
from dtvg.store.reader import Run, open_run, read_prompts, read_provenance
from dtvg.store.renewal import renew
from dtvg.store.status import began_at, clear, forget_stops, noted_with_runs
from dtvg.store.writer import RunWriter
from dtvg.training import stages
from dtvg.training.devices import pick_device, set_threads
from dtvg.training.engine import (
    Engine,
    choose_precision,
    record,
    recorded,
    with_faster_parts,
    with_graphs,
    with_layers,
)
from dtvg.training.one_cohort import Session, mark_failed, train_together
from dtvg.training.opening import Told
from dtvg.training.progress import Report
from dtvg.training.recorded import (
    as_recorded,
    began_with,
    has_start,
    keep_commit,
    pinned,
    why_not,
)
from dtvg.training.signals import StopWish, stop_on_signals
from dtvg.training.stages import (
    bank_get,
    initial_prompt,
    prompt_identity,
    pupil_inputs,
    run_data,
    stage_one_inputs,
    to_task_prompt,
    transfer_inputs,
)
from dtvg.training.state import RunSlot
from dtvg.training.trials import choose_by_trials

log = logging.getLogger(__name__)


def run_experiment(
    experiment: ExperimentDir,
    report: Report = lambda progress: None,
    only: Collection[str] | None = None,
    bank: PromptBank | None = None,
    before: Callable[[Plan], None] = lambda plan: None,
) -> bool:
    """Train whatever of an experiment is unfinished, cohort after cohort in this process.

    Args:
        experiment: a folder made by `create_experiment`.
        report: told about progress about twice a second.
        only: names of transfer runs to work on; None: all.
        bank: the prompt bank; None: the one under `paths.prompts()`.
        before: called with the plan once everything is loaded.

    Returns:
        Whether it was asked to stop, by a signal or by `dtvg runs stop`, and did so.

    Raises:
        DtvgError: for a backbone, task, device or folder that cannot be used; runs that fail
            by themselves end as FAILED and raise nothing.
    """
    experiment, config = load_experiment(experiment.path)
    check_names(config, only)
    began = began_at(experiment)
    with experiment.lock() as lease, noted_with_runs(experiment, only), stop_on_signals() as stop:
        check_unchanged(experiment, config)
        forget_stops(experiment, began)
        stop.watch = partial(_asked_to_stop, experiment, lease)
        renew(experiment, config, stages.VERSION)
        made = keep_plan(experiment, config, config.scale.slots)
        session = _open_session(experiment, config, made, stop, report, only, bank)
        before(session.plan)
        session.copies.add(None)
        with session.mirrors, session.copies:
            for cohort in session.plan.cohorts:
                stop.look()
                if not stop and _taken_over(session, cohort):
                    train_cohort(session, cohort)
        clear(experiment, "stop")
        if stop.interrupted:
            raise KeyboardInterrupt
        return bool(stop)


def run_cohort(
    experiment: ExperimentDir,
    cohort: str,
    stop: StopWish,
    report: Report = lambda progress: None,
    only: Collection[str] | None = None,
    bank: PromptBank | None = None,
    loaded: Callable[[float], None] = lambda at: None,
    meeting: Place | None = None,
) -> None:
    """Train one cohort of an experiment that somebody else drives; holds the cohort's lease.

    Args:
        experiment: its folder, with its plan stored.
        cohort: which one.
        stop: becomes true when this process should commit and stop.
        report: as of `run_experiment`.
        only: as of `run_experiment`.
        bank: as of `run_experiment`.
        loaded: called with the time once everything is loaded.
        meeting: where runs meet that exchange; None: in files.

    Raises:
        JobError: another process trains it.
        DtvgError: as `run_experiment`.
    """
    experiment, config = load_experiment(experiment.path)
    made = stored_plan(experiment, config)
    found = [c for c in (() if made is None else made.cohorts) if c.id == cohort]
    if made is None or not found:
        raise StoreError(f"'{experiment.plan_path}' has no cohort '{cohort}'.")
    folder = experiment.cohort(cohort).path
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder):
        session = _open_session(experiment, config, made, stop, report, only, bank)
        session.meeting = meeting
        loaded(time.time())
        (planned,) = (c for c in session.plan.cohorts if c.id == cohort)
        stop.look()
        if not stop:
            with session.mirrors, session.copies:
                train_cohort(session, planned)


def train_cohort(session: Session, cohort: CohortPlan) -> None:
    """Train whatever of a cohort is unfinished: the unit of work that every executor starts."""
    work = _stage_one if cohort.in_stage_one else _transfer
    work(session, cohort)


def check_names(config: ExperimentConfig, only: Collection[str] | None) -> None:
    """Refuse names of transfer runs that an experiment does not have.

    Raises:
        StoreError: naming the first.
    """
    names = {run.name for run in config.runs()}
    unknown_names = sorted(set(only or ()) - names)
    if unknown_names:
        raise StoreError(
            f"Experiment '{config.name}' has no transfer run '{unknown_names[0]}'; "
            f"`dtvg runs show {config.name}` lists its runs."
        )


def _open_session(
    experiment: ExperimentDir,
    config: ExperimentConfig,
    made: Plan,
    stop: StopWish,
    report: Report,
    only: Collection[str] | None,
    bank: PromptBank | None,
) -> Session:
    """Load the backbone and what else every cohort needs."""
    check_installed(config.logging)
    mirrors = Mirrors(config.logging.mirror, lambda: bool(stop)).start()
    device = pick_device(config.device)
    threads = set_threads(config.device)
    log.info("device %s, %d threads", device, threads)
    made = as_recorded(experiment, made)
    kept = bank or PromptBank()
    backbone, engine = _load(experiment, config, made, device)
    given, copies = (
        given_prompts(config.prompt, kept),
        Copies(config.scale.mirror, experiment, lambda: bool(stop)),
    )
    copies.used(kept, given.prompts.values())
    return Session(
        experiment,
        config,
        made,
        backbone,
        device,
        engine,
        kept,
        stop,
        report,
        None if only is None else frozenset(only),
        given,
        mirrors=mirrors,
        copies=copies,
    )


def _load(
    experiment: ExperimentDir, config: ExperimentConfig, made: Plan, device: torch.device
) -> tuple[Backbone, Engine]:
    """Load the backbone, to be computed as recorded; the first to come chooses and records how."""
    with ExitStack() as first:
        begun = recorded(experiment, config.device)
        if begun is None and config.device.precision == "auto":  # a probe: one for all workers
            first.enter_context(hold_when_free(experiment.path / ".engine"))
            begun = recorded(experiment, config.device)
        engine = begun or choose_precision(config.device, device)
        backbone = load_backbone(
            pinned(experiment, config), str(device), engine.precision, config.data.template
        )
        keep_commit(experiment, backbone, config.backbone.revision)
        engine = with_graphs(engine, config.device, backbone, begun is not None)
        engine = with_layers(engine, config, made, backbone, begun is not None)
        engine = with_faster_parts(engine, backbone, begun is not None)
        record(experiment, engine)
    return backbone, engine


WAIT_SECONDS = 1.0
"""So often one looks whether a worker that trains a cohort has ended."""


def _taken_over(session: Session, cohort: CohortPlan) -> bool:
    """Wait for a worker of another driver that still trains a cohort; False where to stop."""
    folder = session.experiment.cohort(cohort.id).path
    while look(folder, fresh=True).held is not False:
        log.info("cohort %s is still trained by a worker started before", cohort.id)
        time.sleep(WAIT_SECONDS)
        session.stop.look()
        if session.stop:
            return False
    return True


def _asked_to_stop(experiment: ExperimentDir, lease: Lease) -> bool:
    """Whether this very process was asked to stop by a file, as from another host or container.

    Raises:
        LeaseLost: another process took over.
    """
    lease.check()
    content = read_json(experiment.control_dir / "stop")
    return content is not None and ProcessId.read(content).same(lease.file.holder)


def _unfinished(session: Session) -> list[RunConfig]:
    """Return the transfer runs this process has yet to finish."""
    return [
        run
        for cohort in session.plan.transfer
        for run in cohort.runs
        if session.wanted(run) and not _has_result(session.experiment.run(run.name))
    ]


def _has_result(directory: RunDir) -> bool:
    """Whether a run has a result that can be read; a damaged one is written again."""
    if not directory.result_path.exists():
        return False
    content = read_json(directory.result_path)
    with suppress(StoreError):
        return content is not None and bool(read_result(directory.result_path, content).steps)
    return False


def _needed(session: Session) -> set[str]:
    """Return the names of the Stage I runs whose prompts unfinished runs start from.

    A prompt that is in the bank asks for nothing that it started from itself, and the one that a
    run began with for no other.
    """
    needed: set[str] = set()
    runs = _unfinished(session)
    waiting = [run for run in runs if not has_start(session.experiment.run(run.name))]
    while waiting:
        before = {
            other.name: other
            for run in waiting
            for other in session.plan.starts_from(run)
            if other.full_role.in_stage_one
            and other.name not in needed
            and _begun_with(session, run, other) is None
        }
        needed |= set(before)
        absent = (o for o in before.values() if session.plan.starts.get(o.name))
        waiting = [o for o in absent if bank_get(session.bank, _identity(session, o)) is None]
    return needed


def _stage_one(session: Session, cohort: CohortPlan) -> None:
    """Tune the task prompts of a cohort that are needed and not in the bank yet."""
    for run in cohort.runs:
        if session.experiment.run(run.name).result_path.exists():
            add_run(session.experiment, run)  # writes a damaged status.json again
    names = _needed(session)
    needed = [run for run in cohort.runs if run.name in names]
    keys = {run.name: _identity(session, run) for run in needed}
    found = {run.name: bank_get(session.bank, keys[run.name]) for run in needed}
    session.copies.used(session.bank, (prompt for prompt in found.values() if prompt is not None))
    missing = [run for run in needed if found[run.name] is None]
    if not missing:
        return
    with session.bank.lock_all(sorted(keys[run.name] for run in missing)):
        todo = [run for run in missing if bank_get(session.bank, keys[run.name]) is None]

        def keep(slot: RunSlot) -> None:
            made = to_task_prompt(slot, session.backbone, keys[slot.name])
            session.bank.put(made)
            session.copies.used(session.bank, [made])

        inputs = {}
        for run in todo:
            try:
                _check_recorded(session, run, keys[run.name])
                inputs[run.name] = _before(session, run)
                session.notes[run.name] = {"identity": keys[run.name]}
            except StoreError as error:
                session.refused[run.name] = str(error)
                mark_failed(session, cohort, run, str(error))
        ready = [run for run in todo if run.name in inputs]
        left = [r for r in ready if not _put_again(session, r, keys[r.name], inputs[r.name])]
        for run in left:
            _start_over_if_other(session, run, keys[run.name])
        if left:
            train_together(session, cohort, left, inputs, keep)


def _put_again(session: Session, run: RunConfig, key: str, inputs: dict[str, np.ndarray]) -> bool:
    """Put the prompt of a finished Stage I run into the bank again, from the run's own files.

    It was lost there by a crash between the run's end and the bank, or the entry was deleted or
    damaged.

    Returns:
        Whether that was possible; otherwise the run has to be trained.
    """
    view = open_run(session.experiment.run(run.name).path)
    if view.result is None or _identity_noted(view) != key:
        return False
    try:
        stored = read_prompts(view, "best")
        prompt = stored["mixed_prompt"]
    except (StoreError, KeyError):
        return False
    rows = RunWriter(view.directory, run)
    slot = RunSlot(run, run_data(run, session.backbone), rows, inputs)
    slot.best = {"mixed_prompt": torch.from_numpy(prompt)}
    slot.best_score, slot.result = view.result.validation_score, dict(view.result.__dict__)
    made = to_task_prompt(slot, session.backbone, key)
    session.bank.put(made)
    session.copies.used(session.bank, [made])
    log.info("the prompt of %s was put into the bank again from its own files", run.name)
    return True


def _identity_noted(run: Run) -> str | None:
    """Return the identity of the prompt that a Stage I run trains, noted when it began."""
    noted = read_provenance(run).get("prompt_identity")
    return None if noted is None else str(noted)


def _start_over_if_other(session: Session, run: RunConfig, key: str) -> None:
    """Note which prompt a Stage I run trains; what it has of another one is not gone on with."""
    directory = add_run(session.experiment, run)
    noted = _identity_noted(open_run(directory.path))
    if noted is not None and noted != key:
        log.warning("%s is trained again: its data or settings are others now", run.name)
        trash.set_aside(session.experiment, run.name)
        directory = add_run(session.experiment, run)
    if noted != key:
        known = read_json(directory.provenance_path) or {}
        replace_json(directory.provenance_path, {**known, "prompt_identity": key})


def _check_recorded(session: Session, run: RunConfig, key: str) -> None:
    """Refuse a Stage I run that would not end in the prompt of this identity.

    Raises:
        StoreError: it was begun with other versions, or has finished and its prompt is not the
            one that is wanted.
    """
    why = why_not(session.experiment, run, session.backbone)
    if why:
        raise StoreError(why)
    result = open_run(session.experiment.run(run.name).path).result
    if result is not None and result.extra.get("identity") != key:
        raise StoreError(
            f"Run '{run.name}' has finished, but its prompt is not in the prompt bank, or its data "
            f"changed since; `dtvg runs delete {run.experiment}/{run.name}` lets the next resume "
            "tune it again."
        )


def _before(session: Session, run: RunConfig) -> dict[str, np.ndarray]:
    """Return what a Stage I run starts from: the initial prompt, and teachers where it has some."""
    if not run.needs.stage_one:
        return stage_one_inputs(run, session.backbone, session.given.init)
    init = initial_prompt(run, session.backbone, session.given.init)
    found = dict(session.given.prompts)
    for task, teacher in _teachers(session, run).items():
        prompt = bank_get(session.bank, _identity(session, teacher))
        if prompt is not None:
            found[task] = prompt
    return pupil_inputs(run, init, found)


def _teachers(session: Session, run: RunConfig) -> dict[str, RunConfig]:
    """Return the runs whose prompts a run on a mixture learns from, by task."""
    return {teacher.target: teacher for teacher in session.plan.starts_from(run)}


def _identity(session: Session, run: RunConfig) -> str:
    """Return the identity of the prompt that a Stage I run makes in this experiment."""
    data, teachers = run_data(run, session.backbone), []
    if run.needs.stage_one:
        made = _teachers(session, run)
        given = session.given.prompts
        teachers = [
            _identity(session, made[s]) if s in made else given[s].fingerprint for s in run.sources
        ]
    return prompt_identity(run, session.backbone, data, session.given.init, teachers)


def _transfer(session: Session, cohort: CohortPlan) -> None:
    """Train the unfinished transfer runs of a cohort."""
    names = {run.name for run in _unfinished(session)}
    todo, inputs = [], {}
    for run in cohort.runs:
        if run.name not in names:
            continue
        try:
            why = why_not(session.experiment, run, session.backbone)
            if why:
                raise StoreError(why)
            inputs[run.name] = _inputs_of(session, run)
            todo.append(run)
        except (StoreError, NumericsError) as error:
            mark_failed(session, cohort, run, str(error))
    if todo:
        train_together(session, cohort, todo, inputs, lambda slot: None)


def _begun_with(session: Session, run: RunConfig, other: RunConfig) -> TaskPrompt | None:
    """Return the bank's prompt that a half-trained run began with, also where tuning would give
    another one today; None where it has not begun, or the bank has it no more.

    Args:
        session: the process's.
        run: which starts from the other.
        other: a Stage I run.
    """
    before = session.plan.starts_from(run)
    apart = any(one.target == other.target and one is not other for one in before)
    if run.role != "transfer" or apart:  # of two runs on one task it was noted for one alone
        return None
    planned = next(c for c in session.plan.transfer if run in c.runs)
    known = began_with(session.experiment.cohort(planned.id), run)
    return bank_get(session.bank, known[other.target]) if other.target in known else None


def _inputs_of(session: Session, run: RunConfig) -> dict[str, np.ndarray]:
    """Return what a transfer run starts from: its own stored copy, else the bank's prompts."""
    directory = session.experiment.run(run.name)
    chosen: dict[str, np.ndarray] = {}
    told: list[Told] = []
    if run.needs.trials:
        chosen, session.notes[run.name], sentence = choose_by_trials(session.experiment, run)
        told.append(("chose_source", sentence))
    found: dict[str, TaskPrompt] = dict(session.given.prompts)
    mixture: TaskPrompt | None = None
    own: TaskPrompt | None = None
    for other in session.plan.starts_from(run):
        prompt = _begun_with(session, run, other)
        if prompt is None and other.name in session.refused:
            raise StoreError(session.refused[other.name])
        if not other.full_role.in_stage_one:
            continue
        prompt = prompt or bank_get(session.bank, _identity(session, other))
        session.copies.used(session.bank, [] if prompt is None else [prompt])
        if prompt is not None and other.role == "mixture":
            mixture = prompt
        elif prompt is not None and other.data.few_shot is not None:
            own = prompt
        elif prompt is not None:
            found[other.target] = prompt
    sources = {name: found[name] for name in run.sources if name in found}
    session.told[run.name] = [
        *(("weak_source", s, name) for name, s in complaints(sources).items()),
        *told,
    ]
    if has_start(directory):
        try:
            stored = read_prompts(open_run(directory.path), "initial")
        except StoreError as error:
            raise StoreError(
                f"{error} The bank cannot prove that it still holds what the run began with: "
                "restore the file from a copy, or delete the run "
                f"(`dtvg runs delete {run.experiment}/{run.name}`) to train it anew."
            ) from None
        return {k: v for k, v in stored.items() if k != "mixed_prompt"}
    if run.needs.mixture is not None and mixture is None:
        raise StoreError(
            f"Run '{run.name}' starts from the prompt trained on the mixture of "
            f"{', '.join(run.sources)}, which did not finish; resume the experiment to tune it."
        )
    taken = {task: found[task] for task in (run.target, *run.sources) if task in found}
    taken |= {} if own is None else {run.target: own}
    taken |= {} if mixture is None else {mixture.task: mixture}
    session.starts[run.name] = {f"prompt.{task}": one.fingerprint for task, one in taken.items()}
    return {**transfer_inputs(run, found, mixture, own), **chosen}
