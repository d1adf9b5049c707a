"""Training one cohort: built from its newest commit or afresh, trained until it ends.

What its runs start from is found by `procedures`; docs/architecture.md "The plan".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from dtvg.backbones.base import UNKNOWN_REVISION, Backbone
from dtvg.config import ExperimentConfig, RunConfig
from dtvg.errors import DtvgError, JobError, StoreError
from dtvg.mirrors.follow import Mirrors
from dtvg.plan.graph import CohortPlan, Plan
from dtvg.records import RunState
from dtvg.storage.follow import Copies
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.given import Given
from dtvg.store.layout import (
    CohortDir,
    ExperimentDir,
    RunDir,
    add_run,
    make_durable,
)
from dtvg.store.lease import held_here, hold
from dtvg.store.liveness import look
from dtvg.store.offers import OfferFiles, Place
from dtvg.store.reader import open_run, read_prompts
from dtvg.store.recovery import FELL_BACK, start_over, without
from dtvg.store.status import StatusBoard
from dtvg.store.writer import CohortWriter, Committer, RunWriter, kept_prompts
from dtvg.training.cohort import Cohort
from dtvg.training.devices import token_budget
from dtvg.training.engine import Engine, as_json
from dtvg.training.evaluate import mixed_prompts
from dtvg.training.exchanging import Exchange, parties
from dtvg.training.loop import train
from dtvg.training.opening import Told, starting_events
from dtvg.training.progress import Report
from dtvg.training.recording import Failure
from dtvg.training.signals import StopWish
from dtvg.training.stages import description_of, guessing, run_data
from dtvg.training.state import RunSlot, best_of, build_stacks

log = logging.getLogger(__name__)


WORDS = {
    "rows": ("rows", "data", "them"),
    "prompt": (
        "tuned prompts",
        "data",
        "their entries of the prompt bank or the data that gave them",
    ),
    "backbone": ("files", "revision", "them"),
    "scoring": ("metrics or max_target_tokens", "description", "them"),
}
"""Of what a run begins with: its name, what tells it apart, and what to restore if it changed."""


@dataclass
class Session:
    """One process working on one experiment."""

    experiment: ExperimentDir
    config: ExperimentConfig
    plan: Plan
    backbone: Backbone
    device: torch.device
    engine: Engine
    bank: PromptBank
    stop: StopWish
    report: Report
    only: frozenset[str] | None = None
    """Transfer runs to work on; None: all."""
    given: Given = field(default_factory=Given)
    """Prompts of the bank used instead of tuning."""
    told: dict[str, list[Told]] = field(default_factory=dict)
    """Per run: events of its start, known before: weak sources, what its trials chose."""
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Per run: facts for its result, known before it starts."""
    starts: dict[str, dict[str, str]] = field(default_factory=dict)
    """Per run: identities of the prompts of the bank that it takes now; see `RunSlot.start`."""
    refused: dict[str, str] = field(default_factory=dict)
    """Stage I runs that cannot go on: why, in one sentence."""
    mirrors: Mirrors = field(default_factory=Mirrors)
    """Follow what is committed."""
    copies: Copies = field(default_factory=Copies)
    """Copy what is committed to a storage mirror."""
    meeting: Place | None = None
    """Where runs meet that exchange; None: in files."""

    def wanted(self, run: RunConfig) -> bool:
        """Whether this process works on a transfer run."""
        return self.only is None or run.name in self.only

    def remarks(self, run: str) -> list[tuple[str, str]]:
        """Return the events that a run should have because a tracker or a store fails."""
        return [*self.mirrors.told(run), *self.copies.told(run)]


def mark_failed(session: Session, cohort: CohortPlan, run: RunConfig, sentence: str) -> None:
    """Show a run that cannot start as failed, with the reason."""
    directory = add_run(session.experiment, run)
    board = StatusBoard(session.experiment.cohort(cohort.id), {run.name: directory})
    board.update(run.name, state=RunState.FAILED, message=sentence)
    board.close()


def train_together(
    session: Session,
    plan_of: CohortPlan,
    runs: Sequence[RunConfig],
    inputs: dict[str, dict[str, np.ndarray]],
    finished: Callable[[RunSlot], None],
) -> None:
    """Build a cohort from its newest commit (or afresh) and train it to the end.

    Raises:
        JobError: somebody else holds the cohort's lease.
        DtvgError: it cannot go on; its runs say why.
    """
    directory = session.experiment.cohort(plan_of.id)
    directory.path.mkdir(parents=True, exist_ok=True)
    with hold(directory.path):
        _train_held(session, plan_of, directory, runs, inputs, finished)


def _train_held(
    session: Session,
    plan_of: CohortPlan,
    directory: CohortDir,
    runs: Sequence[RunConfig],
    inputs: dict[str, dict[str, np.ndarray]],
    finished: Callable[[RunSlot], None],
) -> None:
    run_dirs = {run.name: add_run(session.experiment, run) for run in runs}
    for run_dir in run_dirs.values():
        _note_engine(run_dir, session.engine)
        make_durable(run_dir)
    slots, tensors, meta = _restored(session, directory, run_dirs, runs, inputs)
    cohort = _cohort(session, directory, run_dirs, slots, tensors, finished)
    _park(cohort, tensors, meta["runs"])
    try:
        _conclude(cohort, slots)
        _open(cohort, set(meta["runs"]), session, str(meta.get(FELL_BACK) or ""))
        _refuse_others(session, cohort)
        session.mirrors.add(run_dirs.values())
        session.copies.add(directory, _home_of(session, plan_of, run_dirs))
        _train_and_meet(session, cohort)
        cohort.committer.close()
    except DtvgError as error:
        _give_up(cohort, str(error))
        raise
    except KeyboardInterrupt:
        _interrupted(cohort)
        raise
    except Exception as error:  # noqa: BLE001 - of a device or a library; said with every run
        log.debug("cohort %s", plan_of.id, exc_info=True)
        sentence = _said_of(error, plan_of.id)
        _give_up(cohort, sentence)
        raise JobError(sentence) from None
    finally:
        cohort.board.close()


def _restored(
    session: Session,
    directory: CohortDir,
    run_dirs: dict[str, RunDir],
    runs: Sequence[RunConfig],
    inputs: dict[str, dict[str, np.ndarray]],
) -> tuple[list[RunSlot], dict[str, np.ndarray], dict[str, Any]]:
    """Return the runs as the newest commit left them, its tensors and its numbers."""
    saved = CohortWriter.recover(directory, run_dirs)
    tensors, meta = saved if saved is not None else ({}, {"runs": {}})
    best = {run.name: _best_of(run_dirs[run.name], tensors, meta["runs"]) for run in runs}
    done = {name for name, of in meta["runs"].items() if of.get("result") is not None}
    again = [
        run.name for run in runs if run.name in done and _is_lost(run_dirs[run.name], run, best)
    ]
    for name in again:  # it finished, but what it made is not left whole
        log.warning("%s is trained again: its prompts are not whole in its files", name)
        start_over(run_dirs[name])
        best[name] = None
    tensors, meta = without(tensors, meta, again)
    slots = [
        _slot(session, run, RunWriter(run_dirs[run.name], run), inputs[run.name], meta["runs"])
        for run in runs
    ]
    for slot in slots:
        slot.best = best[slot.name] or {}
    _mend_initial(session, [slot for slot in slots if slot.name in meta["runs"]])
    return slots, tensors, meta


def _refuse_others(session: Session, cohort: Cohort) -> None:
    """End half-trained runs that began with something else, and note what the others have."""
    others, backbone, files = [], session.backbone, {}
    if backbone.revision != UNKNOWN_REVISION:
        files[f"backbone.{backbone.name}"] = backbone.revision
    for slot in cohort.slots:
        rows = {f"rows.{task.spec.name}": task.fingerprint for task in slot.data.beside}
        of_tasks = {t.spec.name: description_of(t.spec.name) for t in slot.data.tasks}
        described = {f"scoring.{name}": digest for name, digest in of_tasks.items() if digest}
        now = {**session.starts.get(slot.name, {}), **rows, **files, **described}
        failure = _of_other_data(slot, now)
        if failure is not None:
            others.append(failure)
        else:
            slot.start = {**now, **slot.start} if slot.step else now
    if others:
        cohort.fail(others)


def _of_other_data(slot: RunSlot, now: Mapping[str, str]) -> Failure | None:
    """Return why a half-trained run cannot go on: what it began with has changed.

    Args:
        slot: the run, as its commit left it.
        now: as `RunSlot.start`, today.
    """
    if not slot.step:
        return None
    own = f"rows.{slot.config.target}"
    began = {**slot.start, own: (slot.note.get("data") or {}).get("fingerprint")}
    for key, ours in {**now, own: slot.data.fingerprint}.items():
        if began.get(key) in (None, ours):
            continue
        kind, _, task = key.partition(".")
        what, told_by, back = WORDS[kind]
        sentence = (
            f"The {what} of '{task}' are others than those that this run began with ({told_by} "
            f"{ours}, not {began[key]}): restore {back} and resume, or delete the run "
            f"(`dtvg runs delete {slot.config.experiment}/{slot.name}`) to train it anew."
        )
        return Failure(slot, slot.step + 1, sentence)
    return None


def _conclude(cohort: Cohort, slots: Sequence[RunSlot]) -> None:
    """Write what a kill kept from the folders of runs that are over by their cohort's commit."""
    for slot in slots:
        if slot.result is not None:
            if not _readable(slot.writer.run, "best"):
                cohort.write_prompt(slot, "best", slot.best, slot.best_step)
            cohort.conclude(slot)


def _home_of(session: Session, plan_of: CohortPlan, trained: Mapping[str, RunDir]) -> list[RunDir]:
    """Return the folders of a cohort's runs, also of those that are not trained now."""
    others = [session.experiment.run(r.name) for r in plan_of.runs if r.name not in trained]
    return [*trained.values(), *others]


def _train_and_meet(session: Session, cohort: Cohort) -> None:
    """Train, and let runs meet those on other targets where they exchange."""
    exchange = _exchange(session, cohort)
    train(cohort, session.stop, session.report, session.remarks, exchange)
    if exchange is not None:
        exchange.close(cohort)


def _exchange(session: Session, cohort: Cohort) -> Exchange | None:
    """Let the cohort's runs meet those on other targets; None where none of them does."""
    if not parties(cohort):
        return None
    home = {run.name: planned.id for planned in session.plan.cohorts for run in planned.runs}

    def begun(run: str) -> bool:
        return run in home and is_begun(session.experiment.cohort(home[run]))

    def asked() -> bool:
        session.stop.look()
        return bool(session.stop)

    files = OfferFiles(session.experiment)
    wait = session.config.scale.wait_seconds
    made = Exchange(files, session.meeting or files, wait, begun, asked)
    made.begin(cohort)
    return made


def is_begun(cohort: CohortDir) -> bool:
    """Whether a process trains a cohort, or a driver has started one that did not end yet."""
    job, ended = read_json(cohort.job_path), read_json(cohort.ended_path)
    if job is not None and (ended is None or ended.get("token") != job.get("token")):
        return True
    return cohort.path.is_dir() and look(cohort.path).held is True


def _note_engine(directory: RunDir, engine: Engine) -> None:
    """Let a run say how it was first computed."""
    known = read_json(directory.provenance_path) or {}
    if "engine" not in known:
        replace_json(directory.provenance_path, {**known, "engine": as_json(engine)})


def _park(cohort: Cohort, tensors: Mapping[str, np.ndarray], known: Mapping[str, Any]) -> None:
    """Carry along what a commit holds of runs that are not trained now."""
    names = {slot.name for slot in cohort.slots}
    for name, numbers in known.items():
        if name not in names:
            own = {k: v for k, v in tensors.items() if k.startswith(f"{name}/")}
            cohort.parked[name] = (own, numbers)


def _best_of(
    directory: RunDir, tensors: Mapping[str, np.ndarray], known: Mapping[str, Any]
) -> dict[str, torch.Tensor] | None:
    """Return a run's tensors at its best step, from the commit or else from its own files.

    Empty before the first; None where a run has finished and they are nowhere.
    """
    found = best_of(directory.name, tensors)
    if found or (known.get(directory.name) or {}).get("result") is None:
        return found
    try:
        stored = read_prompts(open_run(directory.path), "best")
    except StoreError:
        return None
    return {k: torch.from_numpy(v) for k, v in stored.items()} if "mixed_prompt" in stored else None


def _readable(directory: RunDir, which: str) -> bool:
    """Whether a prompt file of a run is there and whole."""
    with suppress(StoreError):
        return bool(read_prompts(open_run(directory.path), which))
    return False


def _is_lost(
    directory: RunDir, run: RunConfig, best: Mapping[str, Mapping[str, torch.Tensor] | None]
) -> bool:
    """Whether a prompt that a finished run made is nowhere; `result.json` is still missing."""
    kept = kept_prompts(run.logging.detail)
    if best[run.name] is None and (run.full_role.in_stage_one or "best" in kept):
        return True
    return "final" in kept and not _readable(directory, "final")


def _mend_initial(session: Session, slots: Sequence[RunSlot]) -> None:
    """Write the initial prompts of runs that go on anew where their file is gone or damaged.

    A fork's are its parent's and stay as they are.
    """
    for slot in slots:
        run = slot.writer.run
        forked = (read_json(run.provenance_path) or {}).get("fork_of")
        if "initial" not in kept_prompts(slot.config.logging.detail) or forked:
            continue
        if not _readable(run, "initial"):
            (stack,) = build_stacks([replace(slot)], session.device, session.engine.dtype)
            budget = token_budget(session.config.device, session.device)
            _write_initial(slot, mixed_prompts(session.backbone, stack, budget)[slot.name])


def _write_initial(slot: RunSlot, mixed: torch.Tensor) -> None:
    """Write what a run starts from."""
    arrays = {**slot.inputs, "mixed_prompt": mixed.detach().cpu().float().numpy()}
    slot.writer.write_prompts("initial", arrays, {"run": slot.name, "step": "0"})


def _slot(
    session: Session,
    run: RunConfig,
    rows: RunWriter,
    inputs: dict[str, np.ndarray],
    known: Mapping[str, Any],
) -> RunSlot:
    """Make a run's bookkeeping, as its cohort's newest commit left it."""
    slot = RunSlot(run, run_data(run, session.backbone), rows, inputs)
    slot.note = dict(session.notes.get(run.name, {}))
    if len(slot.data.tasks) == 1:
        (task,) = slot.data.tasks
        slot.note["data"] = {"fingerprint": slot.data.fingerprint, "split": task.rule}
    if slot.data.drawn is not None:
        slot.note["few_shot"] = slot.data.drawn.to_json()
    if run.name in known:
        slot.restore({**known[run.name], "failure": None})
    if slot.result is None:
        told = guessing(slot)
        slot.note |= {"guessing": told} if told else {}
    return slot


def _cohort(
    session: Session,
    directory: CohortDir,
    run_dirs: dict[str, RunDir],
    slots: Sequence[RunSlot],
    tensors: Mapping[str, np.ndarray],
    finished: Callable[[RunSlot], None],
) -> Cohort:
    """Stack the unfinished runs, with the tensors of the newest commit, and their writers."""
    device, engine = session.config.device, session.engine
    stacks = build_stacks([s for s in slots if s.result is None], session.device, engine.dtype)
    for stack in stacks:
        stack.load(tensors)
    leases = [held_here(place) for place in (session.experiment.path, directory.path)]

    def guard() -> None:
        for lease in leases:
            if lease is not None:
                lease.check()

    writer = CohortWriter(directory, {slot.name: slot.writer for slot in slots}, guard)
    pace = session.config.logging
    return Cohort(
        directory,
        session.backbone,
        stacks,
        run_dirs,
        writer,
        StatusBoard(directory, run_dirs),
        Committer(writer, pace.commit_seconds, pace.commit_share),
        token_budget(device, session.device),
        finished,
        engine=engine,
    )


def _open(cohort: Cohort, known: set[str], session: Session, fell_back: str) -> None:
    """Write how each run starts: its initial prompts and a first event.

    Args:
        cohort: the runs.
        known: those that go on from a commit.
        session: the process.
        fell_back: why that was not the newest commit; empty: it was.
    """
    prompts = cohort.compose()
    alone = session.only is not None
    for method, slot in ((s.method, slot) for s in cohort.stacks for slot in s.slots):
        if slot.name in known:
            detail = f"Resumed after step {slot.step}"
            detail += " without the rest of its cohort." if alone else "."
            cohort.event(slot, "resumed", detail)
            if fell_back:
                cohort.event(slot, FELL_BACK, fell_back)
            continue
        _write_initial(slot, prompts[slot.name])
        cohort.event(
            slot,
            "started",
            f"In cohort {cohort.directory.id} on {session.device}, "
            f"process {os.getpid()}, {torch.get_num_threads()} threads. "
            f"{session.engine.sentence()}",
        )
        told = session.told.get(slot.name, [])
        for one in starting_events(slot, method, told, session.backbone):
            cohort.event(slot, *one)


def _said_of(error: Exception, cohort: str) -> str:
    """Say in one sentence what ended a cohort that nobody foresaw."""
    text = " ".join(str(error).split())[:300]
    return (
        f"Training of cohort '{cohort}' ended: {type(error).__name__}: {text or 'no message'}. "
        "What was committed is safe, and resuming continues from there; `dtvg -v runs resume` "
        "shows where it happened."
    )


def _interrupted(cohort: Cohort) -> None:
    """Say on every run that it was interrupted."""
    for name in _not_over(cohort):
        cohort.board.update(
            name,
            state=RunState.STOPPED,
            message="interrupted; resuming continues from its last commit",
        )


def _give_up(cohort: Cohort, sentence: str) -> None:
    """Say on every run why its process ended; what was committed stays."""
    for name in _not_over(cohort):
        cohort.board.update(name, state=RunState.FAILED, message=sentence)


def _not_over(cohort: Cohort) -> list[str]:
    """Let the commit in work end, while the folder is held, and return the runs that did not.

    They are those that train, and those that left but whose last commit was not written.
    """
    with suppress(StoreError):
        cohort.committer.close()
    trained = [slot.name for slot in cohort.slots]
    return trained + [name for name in cohort.board.open_runs() if name not in trained]
