"""A cohort at work: its runs, where they are written, and how runs leave it.

`Cohort` holds state and the moves that change who is in it (start, score, finish, stop, fail,
commit); `loop.py` says in which order they happen. docs/architecture.md.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.base import Backbone
from dtvg.errors import StoreError
from dtvg.records import LOSS, RunResult, RunState
from dtvg.store.health import EVENTS, NO_GRADIENT, Guess, Mark, marks
from dtvg.store.layout import CohortDir, RunDir
from dtvg.store.lease import LeaseLost
from dtvg.store.reader import open_run, read_prompts
from dtvg.store.shares import shares_in_log
from dtvg.store.status import StatusBoard, clear, requested
from dtvg.store.writer import CohortWriter, Committer
from dtvg.training.devices import is_out_of_memory, memory_gib
from dtvg.training.engine import Engine
from dtvg.training.evaluate import (
    Answer,
    Question,
    answer,
    evaluation_rows,
    intervals_of,
    mixed_prompts,
    prediction_columns,
)
from dtvg.training.instance import Composer, composer_of
from dtvg.training.recording import Failure, StepLog
from dtvg.training.state import RunSlot, Stack
from dtvg.training.step import StackStep, cohort_step, gather

log = logging.getLogger(__name__)

LEAST_BUDGET = 16
"""Padded tokens below which a smaller batch helps nobody."""
PAUSE_SECONDS = 2.0
"""A disk that refuses is tried again so often while training waits for it."""


@dataclass
class Cohort:
    """Runs that train together over one backbone; see the module's first lines.

    `parked` keeps the saved tensors and numbers of runs that are no longer (or not yet again)
    trained, so that every commit holds the newest state of every run.
    """

    directory: CohortDir
    backbone: Backbone
    stacks: list[Stack]
    run_dirs: Mapping[str, RunDir]
    writer: CohortWriter
    board: StatusBoard
    committer: Committer
    budget: int
    finished: Callable[[RunSlot], None] = lambda slot: None
    """Called for every run that finished, after its `result.json`."""
    parked: dict[str, tuple[dict[str, np.ndarray], dict[str, Any]]] = field(default_factory=dict)
    met: list[tuple[RunDir, str]] = field(default_factory=list)
    """Requests that were met, to be taken back once a commit holds what they did."""
    keep_again: float | None = None
    """When a commit is kept that a disk refused to keep (`time.monotonic`); None: none was."""
    rows: StepLog = field(default_factory=StepLog)
    engine: Engine = field(default_factory=Engine)

    @property
    def slots(self) -> list[RunSlot]:
        """Runs being trained, in the order of their rows."""
        return [slot for stack in self.stacks for slot in stack.slots]

    # -- one step --------------------------------------------------------------------------

    def step(self) -> None:
        """Take one optimiser step; out of memory halves the token budget and tries again."""
        records = self._try()
        while records is None and self.stacks:
            self._shrink()  # after the error is gone, whose traceback holds on to memory
            records = self._try()
        if not records:
            return
        elapsed = records[0].step_ms / 1e3
        for slot in self.slots:
            slot.step += 1
            slot.seconds += elapsed
        self.rows.stacks = len(self.stacks)
        self.rows.add(records, memory_gib(self.backbone.device))
        if self.rows.full:
            self.write_rows()

    def _try(self) -> list[StackStep] | None:
        """Take a step; None where the device ran out of memory."""
        if not self.stacks:
            return None
        try:
            cutting = self.engine.cutting(self.backbone)
            return cohort_step(self.backbone, self.stacks, self.budget, cutting)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            return None

    def _shrink(self) -> None:
        """Halve the token budget; where one example alone does not fit, its run fails."""
        held = self._give_back()
        length = next(iter(self.slots)).config.prompt.length
        needs = {slot.name: self._longest(slot) + length for slot in self.slots}
        if self.budget > min(needs.values()):
            self.budget //= 2
            log.warning("out of memory: token budget halved to %d", self.budget)
            return
        if held and self.backbone.passes is not None:
            self.backbone.passes.records = False
            log.warning("out of memory: steps are launched kernel by kernel")
            return
        self.write_rows()  # what was trained so far belongs to the run that fails
        left = [slot for slot in self.slots if slot.name in needs]
        if not left:
            return
        worst = max(left, key=lambda slot: needs[slot.name])
        self.fail(
            [
                Failure(
                    worst,
                    worst.step + 1,
                    "Out of memory with a single example; lower data.max_source_tokens, "
                    "choose a lower precision, or use another device.",
                )
            ]
        )

    def _give_back(self) -> bool:
        """Give back memory that is only kept for later; return whether graphs held some."""
        passes = self.backbone.passes
        held = passes is not None and len(passes) > 0
        if passes is not None:
            passes.forget()
        if self.backbone.device.type == "cuda":
            torch.cuda.empty_cache()
        return held

    def _longest(self, slot: RunSlot) -> int:
        return max(e.tokens for e in gather(slot)[1])

    def write_rows(self) -> None:
        """Turn queued steps into rows and end the runs that left the finite numbers."""
        failures = self.rows.drain()
        where = self.backbone.device
        facts = {"device": str(where), "memory_gib": memory_gib(where)}
        for slot in self.slots:
            progress = {"step": slot.step, "seconds": slot.seconds, "loss": slot.loss}
            self.board.update(slot.name, **progress, **facts)
        if failures:
            self.fail(failures)

    # -- scoring ---------------------------------------------------------------------------

    def evaluate(self) -> None:
        """Score all runs that are due on validation; end those that have trained enough."""
        due = [s for s in self.slots if s.evaluated != s.step and is_due(s)]
        if not due:
            return
        self.write_rows()
        due = [s for s in due if s.failure is None]
        prompts = self.compose()
        asked = {slot.name: self._asked(slot, prompts[slot.name]) for slot in due}
        for slot, answers in zip(due, self._ask(due, asked, "validation"), strict=True):
            slot.evaluated = slot.step
            slot.score = self._record(slot, answers, "validation", slot.step)
            loss = _mean_loss(answers)
            better = slot.score > slot.best_score
            slot.since_best = 0 if better else slot.since_best + 1
            if slot.would_be_best(slot.score, loss):
                slot.best_score, slot.best_step, slot.best_loss = slot.score, slot.step, loss
                slot.best = self._tensors_of(slot, prompts[slot.name])
                if slot.config.evaluation.keep_predictions == "all":
                    self._keep(slot, answers, "validation", slot.step)
            slot.signs.add_score(slot.step, slot.score)
            self.board.update(slot.name, step=slot.step, score=slot.score)
            self.say_health(slot)
        self._tell(due)
        ended = [s for s in due if self._ends(s)]
        if ended:
            self.finish(ended, prompts)

    def say_health(self, slot: RunSlot, moved: float | None = None, end: bool = False) -> None:
        """Say where training does nothing: with the status, as events once, and in the result.

        Args:
            slot: the run.
            moved: how far its prompt moved; None: not known yet.
            end: whether it is over; what may still change is an event only then.
        """
        found = health_of_slot(slot, moved, end)
        slot.note["health"] = {mark.kind: mark.sentence for mark in found}
        self.board.update(slot.name, health=slot.note["health"], guessing=slot.note.get("guessing"))
        for mark in found:
            if (end or mark.kind == NO_GRADIENT) and mark.kind not in slot.signs.told:
                slot.signs.told.append(mark.kind)
                self.event(slot, EVENTS[mark.kind], mark.sentence)

    def _tell(self, due: Sequence[RunSlot]) -> None:
        """Write what methods have learned about their sources: an event, and the result's extra."""
        for stack in self.stacks:
            names = tuple(slot.config.sources for slot in stack.slots)
            found = stack.method.findings(stack.state, names)
            for slot, finding in zip(stack.slots, found, strict=False):
                if slot in due:
                    slot.note.update(finding.note)
                    self.event(slot, finding.kind, finding.detail)
                    for table, columns in finding.rows.items():
                        self._add_rows(slot, table, columns)

    def _add_rows(self, slot: RunSlot, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write rows that a method tells of an evaluation, unless only scores are kept."""
        count = len(next(iter(columns.values()), ()))
        if count and slot.config.logging.detail != "scores":
            slot.writer.extend(table, {"step": [slot.step] * count, **columns})

    def _ends(self, slot: RunSlot) -> bool:
        patience = slot.config.optim.patience
        if slot.step < slot.config.total_steps and patience and slot.since_best >= patience:
            self.event(slot, "early_end", f"No better score in {patience} evaluations.")
            return True
        return slot.step >= slot.config.total_steps

    def compose(self) -> dict[str, Tensor]:
        """Return every run's mixed prompt `[r d]` with a fresh decision; see `mixed_prompts`."""
        prompts: dict[str, Tensor] = {}
        for stack in self.stacks:
            prompts.update(mixed_prompts(self.backbone, stack, self.budget))
        return prompts

    def _asked(
        self, slot: RunSlot, prompt: Tensor, tensors: Mapping[str, Tensor] | None = None
    ) -> Tensor | Composer:
        """Return what is scored: the run's one prompt, or what composes one per example."""
        stack = next(s for s in self.stacks if slot in s.slots)
        return composer_of(stack, slot, tensors) or prompt

    def _ask(
        self, slots: Sequence[RunSlot], prompts: Mapping[str, Tensor | Composer], split: str
    ) -> list[list[Answer]]:
        """Score each slot's prompt on its tasks; one list of answers per slot."""
        questions, counts = [], []
        for slot in slots:
            config = slot.config
            for place, task in enumerate(slot.data.tasks):
                rows = evaluation_rows(
                    task, split, config.evaluation.max_examples, config.data.seed
                )
                asked = (config.evaluation.mode, config.evaluation.constrained)
                prompt = prompts[slot.name]
                if isinstance(prompt, Composer):
                    prompt = replace(prompt, task=place)
                with_loss = split == "validation" and slot.breaks_ties
                questions.append(Question(prompt, task, split, rows, *asked, with_loss))
                if questions[-1].note and slot.evaluated < 0:
                    self.event(slot, "evaluation", questions[-1].note)
            counts.append(len(slot.data.tasks))
        answers = iter(self.answers(questions))
        return [[next(answers) for _ in range(count)] for count in counts]

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Score questions; out of memory gives graphs back and halves the token budget."""
        while True:
            held = self.backbone.passes is not None and len(self.backbone.passes) > 0
            try:
                sharing = self.engine.shares_reading
                return answer(self.backbone, questions, self.budget * 2, sharing)
            except RuntimeError as error:
                if not is_out_of_memory(error) or (self.budget <= LEAST_BUDGET and not held):
                    raise
            self._give_back()  # after the error is gone, whose traceback holds on to memory
            if self.budget <= LEAST_BUDGET:
                continue
            self.budget //= 2
            log.warning("out of memory while scoring: token budget halved to %d", self.budget)

    def pause(self, stop: Callable[[], bool]) -> None:
        """Wait, without training on, until the disk takes the rows that wait in memory.

        Args:
            stop: whether somebody asked to stop meanwhile.
        """
        for slot in self.slots:
            self.board.update(slot.name, message="waits until the disk can be written again")
        while self.committer.full and not stop():
            time.sleep(PAUSE_SECONDS)
            self.commit()
            with contextlib.suppress(StoreError):
                self.committer.wait()
        for slot in self.slots:
            self.board.update(slot.name, message="")

    def _record(self, slot: RunSlot, answers: list[Answer], split: str, step: int) -> float:
        """Write the rows of an evaluation; return the run's score."""
        rows = [
            (task.spec.name, metric, value, result)
            for task, result in zip(slot.data.tasks, answers, strict=True)
            for metric, value in _logged(result).items()
        ]
        score = float(np.mean([result.metrics["score"] for result in answers]))
        if slot.config.role == "mixture":
            rows.append((slot.config.target, "score", score, answers[0]))
        slot.writer.extend(
            "evals",
            {
                "step": [step] * len(rows),
                "split": [split] * len(rows),
                "task": [row[0] for row in rows],
                "metric": [row[1] for row in rows],
                "value": [row[2] for row in rows],
                "n_examples": [row[3].n_examples for row in rows],
                "seconds": [row[3].seconds for row in rows],
            },
        )
        return score

    def _keep(self, slot: RunSlot, answers: list[Answer], split: str, step: int) -> None:
        """Write the rows of `predictions`."""
        for task, result in zip(slot.data.tasks, answers, strict=True):
            slot.writer.extend("predictions", prediction_columns(task, result, split, step))

    def _tensors_of(self, slot: RunSlot, mixed: Tensor) -> dict[str, Tensor]:
        """Return copies of a run's mixed prompt and parameters on the CPU."""
        for stack in self.stacks:
            if slot in stack.slots:
                i = stack.slots.index(slot)
                own = {f"parameter.{k}": v[i] for k, v in stack.state.parameters.items()}
                found = {"mixed_prompt": mixed, **own}
                return {k: v.detach().cpu().clone() for k, v in found.items()}
        raise KeyError(slot.name)

    # -- leaving ---------------------------------------------------------------------------

    def finish(self, slots: Sequence[RunSlot], prompts: Mapping[str, Tensor]) -> None:
        """Score the best prompts on test, write prompts and results, drop the runs."""
        tested = [
            s for s in slots if s.config.role == "transfer" and s.config.evaluation.at_end == "test"
        ]
        device = self.backbone.device
        best = {s.name: self._asked(s, s.best["mixed_prompt"].to(device), s.best) for s in tested}
        answers = dict(zip([s.name for s in tested], self._ask(tested, best, "test"), strict=True))
        for slot in slots:
            self.board.update(slot.name, message="writing the result")
            score = None
            metrics: dict[str, float] = {"score": slot.best_score}
            intervals: dict[str, list[float]] = {}
            if slot.name in answers:
                score = self._record(slot, answers[slot.name], "test", slot.best_step)
                if slot.config.evaluation.keep_predictions != "none":
                    self._keep(slot, answers[slot.name], "test", slot.best_step)
                metrics = answers[slot.name][0].metrics
                intervals = intervals_of(slot.data.tasks[0], answers[slot.name][0], "test")
            final = self._tensors_of(slot, prompts[slot.name])
            self.write_prompt(slot, "best", slot.best, slot.best_step)
            self.write_prompt(slot, "final", final, slot.step)
            slot.test_score = score
            self.say_health(slot, distance_moved(self.run_dirs[slot.name], final), end=True)
            slot.result = {
                "best_step": slot.best_step,
                "validation_score": slot.best_score,
                "test_score": score,
                "metrics": metrics,
                "steps": slot.step,
                "seconds": slot.seconds,
                "extra": slot.note,
                "intervals": intervals,
                "at_best": slot.signs.at_best if slot.signs.steps == slot.step else None,
                "trained_parameters": sum(
                    v.numel() for k, v in final.items() if k.startswith("parameter.")
                ),
            }
            shown = f", test {score:.4f}" if score is not None else ""
            self.event(
                slot,
                "finished",
                f"Best validation score {slot.best_score:.4f} at step {slot.best_step}{shown}.",
            )
        self.drop([s.name for s in slots])
        self.commit(wait=True)
        for slot in slots:
            self.conclude(slot)

    def conclude(self, slot: RunSlot) -> None:
        """Write `result.json` (last of all) and say so; the commit before holds the result."""
        shares = _shares(self.run_dirs[slot.name])
        slot.writer.finish(RunResult(**{**(slot.result or {}), "shares": shares}))
        self.board.update(
            slot.name, state=RunState.FINISHED, step=slot.step, score=slot.best_score, message=""
        )
        self.finished(slot)

    def write_prompt(
        self, slot: RunSlot, which: str, tensors: Mapping[str, Tensor], step: int
    ) -> None:
        """Write the best or the final prompt of a run; nothing where its detail keeps none."""
        facts = {
            "run": slot.name,
            "backbone": self.backbone.name,
            "revision": self.backbone.revision,
            "target": slot.config.target,
        }
        arrays = {k: np.asarray(v.numpy(), order="C") for k, v in tensors.items()}
        slot.writer.write_prompts(which, arrays, {**facts, "step": str(step)})

    def obey(self, stop_all: bool) -> None:
        """Stop the runs that were asked to stop, after a commit of their state."""
        asked = [s for s in self.slots if stop_all or "stop" in requested(self.run_dirs[s.name])]
        if not asked:
            return
        self.write_rows()
        asked = [s for s in asked if s.failure is None]
        for slot in asked:
            self.event(slot, "stopped", f"Stopped on request after step {slot.step}.")
            self.board.update(slot.name, state=RunState.STOPPING, message="writing its state")
        self.drop([s.name for s in asked])
        self.commit(wait=True)
        for slot in asked:
            clear(self.run_dirs[slot.name], "stop")
            self.board.update(
                slot.name,
                state=RunState.STOPPED,
                step=slot.step,
                message=f"stopped after step {slot.step}",
            )

    def fail(self, failures: Sequence[Failure]) -> None:
        """End runs that cannot go on; the others train on, also where the disk refuses."""
        for failure in failures:
            slot = failure.slot
            slot.failure, slot.step = failure.sentence, failure.step - 1
            self.event(slot, "failed", failure.sentence)
        self.drop([f.slot.name for f in failures])
        self.committed()
        for failure in failures:
            self.board.update(
                failure.slot.name,
                state=RunState.FAILED,
                step=failure.slot.step,
                message=failure.sentence,
            )

    def drop(self, names: Sequence[str]) -> None:
        """Park the named runs' state and compact the stacks."""
        gone = set(names)
        kept = []
        for stack in self.stacks:
            tensors = {k: v.cpu().numpy() for k, v in stack.tensors().items()}
            for slot in stack.slots:
                if slot.name in gone:
                    own = {k: v for k, v in tensors.items() if k.startswith(f"{slot.name}/")}
                    self.parked[slot.name] = (own, slot.meta())
            staying = {slot.name for slot in stack.slots} - gone
            if staying:
                kept.append(stack if len(staying) == len(stack.slots) else stack.keep(staying))
        self.stacks = kept

    # -- writing ---------------------------------------------------------------------------

    def event(self, slot: RunSlot, kind: str, detail: str, subject: str | None = None) -> None:
        """Write one row of `events`; `subject` is the source it is about."""
        slot.writer.extend(
            "events",
            {
                "step": [slot.step],
                "seconds": [slot.seconds],
                "kind": [kind],
                "detail": [detail],
                "subject": [subject],
            },
        )

    def commit(self, wait: bool = False) -> None:
        """Hand rows and state of every run to the background thread; maybe wait for it."""
        self.write_rows()
        tensors: dict[str, np.ndarray] = {}
        runs: dict[str, Any] = {}
        for name, (own, meta) in self.parked.items():
            tensors.update(own)
            runs[name] = meta
        for stack in self.stacks:
            tensors.update({k: v.cpu().numpy() for k, v in stack.tensors().items()})
            runs.update({slot.name: slot.meta() for slot in stack.slots})
        self.committer.submit(self.writer.snapshot(tensors, {"runs": runs}))
        if wait:
            self.committer.wait()

    def committed(self, new: bool = True) -> bool:
        """Commit what is new and wait; False where a disk refuses: the next commit tries again.

        Raises:
            LeaseLost: another process took over.
        """
        try:
            if new:
                self.commit()
            self.committer.wait()
        except LeaseLost:
            raise
        except StoreError:
            return False  # the committer has said why
        return True


def health_of_slot(slot: RunSlot, moved: float | None, end: bool) -> tuple[Mark, ...]:
    """Return what is wrong with a run's training so far."""
    noted = slot.note.get("guessing")
    return marks(
        slot.signs,
        ended=end,
        best_step=slot.best_step,
        moved=moved,
        guess=Guess(**noted) if noted else None,
        test_score=slot.test_score,
    )


def distance_moved(run: RunDir, final: Mapping[str, Tensor]) -> float | None:
    """Return how far the mixed prompt went, as a share of the initial one's norm; None: unknown."""
    try:
        start = read_prompts(open_run(run.path), "initial")["mixed_prompt"].astype(np.float64)
    except (StoreError, KeyError):
        return None
    end = final["mixed_prompt"].double().numpy()
    length = float(np.linalg.norm(start))
    return float(np.linalg.norm(end - start)) / length if length > 0 else None


def _shares(run: RunDir) -> dict[str, float] | None:
    """Return how often each source was in the group; None where the log cannot be read."""
    try:
        return shares_in_log(open_run(run.path))
    except StoreError:
        return None


def _logged(result: Answer) -> dict[str, float]:
    """Return what `evals` holds of an answer: its metrics, and the loss where it was asked for."""
    return result.metrics if result.loss is None else {**result.metrics, LOSS: result.loss}


def _mean_loss(answers: Sequence[Answer]) -> float | None:
    """Return the mean loss over a run's tasks; None where it was not asked for."""
    losses = [result.loss for result in answers if result.loss is not None]
    return float(np.mean(losses)) if losses else None


def is_due(slot: RunSlot) -> bool:
    """Whether a run is scored at its current step: at 0, every `every`, and at the end."""
    return slot.step % slot.config.evaluation.every == 0 or slot.step >= slot.config.total_steps
