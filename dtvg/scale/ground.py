"""The scheduler's view of an experiment's folder: what is made, who holds what, how jobs ended.

Everything that machines tell each other goes through these files; docs/run_files.md "Jobs".
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dtvg.config import RunConfig
from dtvg.errors import JobError, StoreError
from dtvg.plan.graph import CohortPlan, Plan
from dtvg.records import RunState
from dtvg.scale.executor import Ended, Job, Kind
from dtvg.scale.scheduler import Piece
from dtvg.store.bank import PromptBank
from dtvg.store.files import check_own, read_json, replace_json
from dtvg.store.formats import EndedFile, JobFile, read_model, read_result, read_whole
from dtvg.store.layout import CohortDir, ExperimentDir, add_run
from dtvg.store.lease import release
from dtvg.store.liveness import look
from dtvg.store.processes import this_process
from dtvg.store.status import clear, request

log = logging.getLogger(__name__)

JOB_FIELDS = ("cohort", "token", "executor", "id", "slot", "facts", "started")


class FolderGround:
    """The folder of one experiment."""

    def __init__(self, experiment: ExperimentDir, made: Plan, bank: PromptBank) -> None:
        self.experiment = experiment
        self.bank = bank
        self.runs = {run.name: run for run in made.runs}
        self.cohorts = {cohort.id: cohort for cohort in made.cohorts}
        self._made: set[str] = set()

    def cohort(self, cohort: str) -> CohortDir:
        """Return a cohort's folder."""
        return self.experiment.cohort(cohort)

    def made(self, run: str) -> bool:
        """Whether a run's prompt is in the bank, or its result is there."""
        if run not in self._made and self._is_made(self.runs[run]):
            self._made.add(run)
        return run in self._made

    def _is_made(self, run: RunConfig) -> bool:
        path = self.experiment.run(run.name).result_path
        content = read_json(path)
        if content is None or not run.full_role.in_stage_one:
            return content is not None
        try:
            key = read_result(path, content).extra.get("identity")
        except StoreError:
            return False  # then it is made again
        entry = self.bank.root / f"{run.target}-{key}" / "prompt.json"
        return bool(key) and entry.exists()

    def progress(self, cohort: str) -> object:
        """Return the stamp of a cohort's newest commit; None before the first."""
        try:
            there = self.cohort(cohort).state_path.stat()
        except OSError:
            return None
        return there.st_mtime_ns, there.st_size, there.st_ino

    def intend(self, cohort: str, token: str) -> None:
        """Note the attempt, which its worker proves to have seen, and forget the last one."""
        folder = self.cohort(cohort)
        clear(folder, "stop")
        with contextlib.suppress(OSError):
            folder.ended_path.unlink(missing_ok=True)
        replace_json(folder.job_path, {"cohort": cohort, "token": token}, durable=False)

    def started(self, job: Job) -> None:
        """Store which job it is."""
        content = {name: getattr(job, name) for name in JOB_FIELDS}
        content["driver"] = this_process().to_json()
        replace_json(self.cohort(job.cohort).job_path, content)

    def ended(self, job: Job, told: Ended) -> Ended:
        """Return the worker's own words for this attempt, else what the engine told.

        A worker has no words where the folder takes none: then that is said.
        """
        said = ended_words(self.cohort(job.cohort), job.token)
        if said is not None:
            return said
        try:
            prove_shared(self.experiment.path)
        except StoreError as error:
            return replace(told, why=f"{told.why.rstrip('.')}. {error}")
        return told

    def held(self, cohort: str) -> bool | None:
        """Whether a worker holds a cohort's lease."""
        return look(self.cohort(cohort).path, fresh=True).held

    def free(self, cohort: str) -> None:
        """Declare a lease free whose holder is gone, so that its runs are lost at once."""
        folder = self.cohort(cohort).path
        if folder.is_dir() and look(folder, fresh=True).held is not False:
            with contextlib.suppress(JobError, StoreError):  # it still ends: asked again later
                release(folder, proved=True)

    def again(self, cohort: str, why: str) -> None:
        """Show the runs of a cohort as waiting, with why it did not go on where it was."""
        self._say(cohort, RunState.WAITING, f"goes on elsewhere: {why}" if why else "starts again")

    def give_up(self, cohort: str, why: str) -> None:
        """Show the runs of a cohort as failed, with the reason."""
        self._say(cohort, RunState.FAILED, why)

    def _say(self, cohort: str, state: RunState, message: str) -> None:
        for run in self.cohorts[cohort].runs:
            folder = self.experiment.run(run.name)
            if folder.result_path.exists() or (
                not folder.status_path.exists() and state is RunState.WAITING
            ):
                continue
            with contextlib.suppress(StoreError):
                path = add_run(self.experiment, run).status_path
                content = read_json(path) or {}
                if content.get("state") == "failed" and state is RunState.WAITING:
                    continue
                replace_json(path, {**content, "state": state.value, "message": message}, False)

    def in_queue(self, cohort: str, why: str) -> None:
        """Show the runs of a cohort as waiting in their engine's own queue, which goes on."""
        self._say(cohort, RunState.WAITING, why)

    def ask_to_stop(self, cohort: str) -> None:
        """Leave a request in a cohort's folder, which reaches a worker on any machine."""
        with contextlib.suppress(StoreError):
            request(self.cohort(cohort), "stop")

    def jobs(self) -> list[Job]:
        """Return the jobs of earlier drivers that did not say that they ended."""
        found = []
        for id_ in self.cohorts:
            folder = self.cohort(id_)
            try:
                job = read_job(folder)
            except StoreError as error:
                log.warning("%s", error)
                job = Job(id_, "unknown", "", "")  # its lease tells whether it still trains
            if job is not None and ended_words(folder, job.token) is None:
                found.append(job)
        return found


def read_job(folder: CohortDir) -> Job | None:
    """Return the newest job of a cohort; None where none was noted.

    Raises:
        StoreError: its file is damaged.
    """
    found = read_whole(
        folder.job_path,
        JobFile,
        "Resume the experiment where it is driven: the next attempt writes it anew.",
    )
    if found is None:
        return None
    return Job(
        folder.id, found.token, found.executor, found.id, found.slot, found.facts, found.started
    )


def ended_words(folder: CohortDir, token: str) -> Ended | None:
    """Return how an attempt ended, in its worker's words; None where it said nothing readable."""
    try:
        found = read_model(folder.ended_path, EndedFile)
    except StoreError as error:
        log.warning("%s What the engine tells counts.", error)
        return None
    return None if found is None or found.token != token else Ended(found.kind, found.why)


def pieces(made: Plan, ground: FolderGround, only: Collection[str] | None = None) -> list[Piece]:
    """Return what of a plan is still to be trained, cohort by cohort.

    Args:
        made: the plan.
        ground: what is there already.
        only: transfer runs to work on; None: all.
    """
    wanted = _wanted(made, ground, only)
    found = []
    for cohort in made.cohorts:
        runs = [run for run in cohort.runs if run.name in wanted]
        if runs:
            needs = frozenset(n for run in runs for n in wanted[run.name])
            found.append(Piece(cohort.id, _cost(cohort), tuple(r.name for r in runs), needs))
    return found


def _wanted(
    made: Plan, ground: FolderGround, only: Collection[str] | None
) -> Mapping[str, tuple[str, ...]]:
    """Return the runs to be trained, each with the runs it waits for."""
    found: dict[str, tuple[str, ...]] = {}
    waiting = [
        run
        for cohort in made.transfer
        for run in cohort.runs
        if (only is None or run.name in only)
        and read_json(ground.experiment.run(run.name).result_path) is None
    ]
    while waiting:
        run = waiting.pop()
        if run.name in found:
            continue
        before = made.starts_from(run)
        own = ground.experiment.run(run.name).prompts_dir / "initial.safetensors"
        if own.exists() and not run.full_role.in_stage_one:
            before = tuple(other for other in before if not other.full_role.in_stage_one)
        found[run.name] = tuple(other.name for other in before)
        stage_one = (o for o in before if o.full_role.in_stage_one)
        waiting += [other for other in stage_one if not ground.made(other.name)]
    return found


def _cost(cohort: CohortPlan) -> float:
    """Return a cohort's expected length: its steps, longer with more runs together."""
    return float(sum(run.total_steps * run.optim.batch_size for run in cohort.runs))


def prove_shared(folder: Path) -> None:
    """Write, read and delete a file in a folder that all machines have to see.

    Raises:
        StoreError: it cannot be written here, or does not hold what was written.
    """
    check_own(folder.parent)
    name = f".probe-{this_process().host}-{os.getpid()}-{time.time_ns()}"
    try:
        (folder / name).write_text(name, encoding="utf-8")
        same = (folder / name).read_text(encoding="utf-8") == name
        (folder / name).unlink()
    except OSError as error:
        raise StoreError(
            f"Host {this_process().host} cannot write into the shared folder '{folder}' "
            f"({error.strerror or error}); mount it there for this user, free some space, or give "
            "a --runs-dir that every machine can write."
        ) from None
    if not same:
        raise StoreError(
            f"Host {this_process().host} does not read back what it wrote into '{folder}'; choose "
            "a --runs-dir on a file system that all machines share."
        )


def note_ended(folder: CohortDir, token: str, kind: Kind, why: str, **facts: Any) -> None:
    """Let a worker say how its attempt ended."""
    me = this_process()
    content = {"token": token, "kind": kind, "why": why, "host": me.host, "job": me.job, **facts}
    with contextlib.suppress(StoreError):
        replace_json(folder.ended_path, {**content, "at": time.time()})
