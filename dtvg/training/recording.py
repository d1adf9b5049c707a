"""From the tensors of finished steps to the rows of the log, without holding up the device.

Steps queue up as device tensors and are drained together: one vectorised NumPy `decide` over
all steps and runs of a stack gives the logged numbers, from the same float32 Gram matrices
that decided. A non-finite loss is found here and ends that run only. docs/run_files.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide
from dtvg.rule.types import Grouping
from dtvg.training.state import RunSlot
from dtvg.training.step import StackStep

DRAIN_STEPS = 16
"""Steps that may queue up before they are turned into rows."""


@dataclass(frozen=True)
class Failure:
    """A run whose loss or gradient stopped being finite, and where."""

    slot: RunSlot
    step: int
    sentence: str


@dataclass
class _Queued:
    record: StackStep
    tensors: dict[str, Tensor]
    seconds: list[float]
    memory_gib: float


@dataclass
class StepLog:
    """Rows on their way from the device to the runs' writers."""

    queue: list[_Queued] = field(default_factory=list)
    stacks: int = 1
    """Stacks of the cohort: their number of records makes one step."""
    suspect: bool = False
    """Set when a value on the CPU is seen to be non-finite: drain at once."""

    def add(self, records: Sequence[StackStep], memory_gib: float) -> None:
        """Queue one step of every stack; copies to the CPU are started, not awaited."""
        for record in records:
            step = record.prompt_step
            tensors: dict[str, Tensor] = {"loss": record.loss, "grad_norm": record.grad_norm}
            if step.grouping is not None and step.weights is not None:
                tensors["gram"] = step.grouping.gram
                tensors["weight"] = step.weights
            if step.weights is not None:
                for name in ("scale_mean", "contribution_norm", "scale_negative"):
                    value = getattr(step, name)
                    if value is not None:
                        tensors[name] = value
            if step.restarted is not None:
                tensors["restarted"] = step.restarted.view(len(record.slots), -1).any(1)
            moved = {k: _moved(v) for k, v in tensors.items()}
            if record.loss.device.type == "cpu":
                finite = torch.isfinite(record.loss) & torch.isfinite(record.grad_norm)
                self.suspect = self.suspect or not bool(finite.all())
            seconds = [slot.seconds for slot in record.slots]
            self.queue.append(_Queued(record, moved, seconds, memory_gib))

    @property
    def full(self) -> bool:
        """Whether it is time to drain."""
        return self.suspect or len(self.queue) >= DRAIN_STEPS * max(1, self.stacks)

    def drain(self) -> list[Failure]:
        """Write all queued steps into the runs' buffers; return the runs that failed."""
        if not self.queue:
            return []
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        stacks: dict[tuple[str, ...], list[_Queued]] = {}
        for item in self.queue:
            stacks.setdefault(tuple(s.name for s in item.record.slots), []).append(item)
        self.queue, self.suspect = [], False
        return [failure for items in stacks.values() for failure in _write(items)]


def _moved(value: Tensor) -> Tensor:
    """Return a value on the CPU as it is now: some are views of what a method changes later."""
    if value.device.type == "cpu":
        return value.detach().clone()
    return value.detach().to("cpu", non_blocking=True)


def _write(items: list[_Queued]) -> list[Failure]:
    """Write the queued steps of one stack, run by run."""
    slots = items[0].record.slots
    values = {
        name: np.stack([item.tensors[name].numpy() for item in items]) for name in items[0].tensors
    }
    grouping = None
    if "gram" in values:
        grouping = decide(values["gram"], slots[0].config.rule_settings)
    failures = []
    for i, slot in enumerate(slots):
        finite = np.isfinite(values["loss"][:, i]) & np.isfinite(values["grad_norm"][:, i])
        good = len(items) if finite.all() else int(np.argmin(finite))
        if slot.failure is None and good:
            columns = _step_columns(items[:good], values, i, slot)
            if grouping is not None:
                member = values["weight"][:good, i] > 0
                _add_grouping(columns, grouping, values, i, member, slot.method.soft)
                slot.writer.extend("sources", _source_columns(columns, grouping, values, i, slot))
                if "restarted" in values:
                    _restart_events(columns, grouping, values, i, slot)
            slot.writer.extend("steps", columns)
            slot.signs.add_steps(columns["loss"], columns["grad_norm"])
            slot.loss = float(values["loss"][good - 1, i])
        if good < len(items) and slot.failure is None:
            taken = values["weight"][good, i] > 0 if "weight" in values else None
            failures.append(_failure(slot, items[good].record, i, values, good, taken))
    return failures


def _step_columns(
    items: list[_Queued], values: Mapping[str, np.ndarray], i: int, slot: RunSlot
) -> dict[str, Any]:
    rates = np.array([item.record.rates[i] for item in items], dtype=np.float32)
    scaled = slot.method.has_scales
    grouped = slot.method.has_source_vectors
    count = len(items)
    return {
        "step": np.array([item.record.steps[i] for item in items], dtype=np.int64),
        "seconds": np.array([item.seconds[i] for item in items]),
        "loss": values["loss"][:count, i].astype(np.float32),
        "grad_norm": values["grad_norm"][:count, i].astype(np.float32),
        "lr_prompt": rates[:, 0],
        "lr_scale": rates[:, 1] if scaled and grouped else [None] * count,
        "lr_scale_target": rates[:, 2] if scaled else [None] * count,
        "examples": np.array([item.record.examples[i] for item in items], dtype=np.int32),
        "tokens": np.array([item.record.tokens[i] for item in items], dtype=np.int32),
        "step_ms": np.array([item.record.step_ms for item in items], dtype=np.float32),
        "device_mem_gib": np.array([item.memory_gib for item in items], dtype=np.float32),
    }


def _add_grouping(
    columns: dict[str, Any],
    grouping: Grouping[np.ndarray],
    values: Mapping[str, np.ndarray],
    i: int,
    member: np.ndarray,
    soft: bool,
) -> None:
    """Add what was decided to the step rows: `member` `[S n]` is what training used."""
    count = len(member)
    gram = values["gram"][:count, i]
    upper = np.triu_indices(gram.shape[-1])
    margin = grouping.consistency_margin[:count, i].astype(np.float32)
    columns["n_candidates"] = grouping.n_candidates[:count, i].astype(np.int32)
    if soft:
        columns["n_candidates"] = [None] * count
        margin = np.full(count, np.nan)
    consistency = consistency_of(gram, member, grouping.settings.measure)
    columns["group_size"] = member.sum(-1).astype(np.int32)
    columns["consistency"] = consistency.astype(np.float32)
    columns["consistency_margin"] = [None if np.isnan(x) else float(x) for x in margin]
    columns["gram"] = gram[:, upper[0], upper[1]].astype(np.float32)


def _source_columns(
    columns: Mapping[str, Any],
    grouping: Grouping[np.ndarray],
    values: Mapping[str, np.ndarray],
    i: int,
    slot: RunSlot,
) -> dict[str, Any]:
    """Build the rows of `sources`: step by step, sources in their own order."""
    count, names = len(columns["step"]), slot.config.sources
    rank = grouping.rank[:count, i]
    candidate = rank < grouping.n_candidates[:count, i, None]
    prefix = np.take_along_axis(grouping.consistency_by_prefix[:count, i], rank, axis=-1)
    prefix = prefix.astype(np.float32)
    weight = values["weight"][:count, i].astype(np.float32)
    soft = slot.method.soft
    return {
        "step": np.repeat(columns["step"], len(names)),
        "source": list(names) * count,
        "similarity": grouping.similarity[:count, i].astype(np.float32).ravel(),
        "rank": rank.astype(np.int32).ravel(),
        "candidate": [None] * candidate.size if soft else candidate.ravel(),
        "member": (weight > 0).ravel(),
        "consistency": [
            float(x) if c and not soft else None
            for x, c in zip(prefix.ravel(), candidate.ravel(), strict=True)
        ],
        "weight": weight.ravel(),
        "scale_mean": values["scale_mean"][:count, i].astype(np.float32).ravel(),
        "contribution_norm": values["contribution_norm"][:count, i].astype(np.float32).ravel(),
        "scale_negative": _shares(values, count, i, rank.size),
    }


def _shares(
    values: Mapping[str, np.ndarray], count: int, i: int, size: int
) -> np.ndarray | list[None]:
    """Return the share of negative scale entries of every row, or nulls where nothing scales."""
    if "scale_negative" not in values:
        return [None] * size
    return values["scale_negative"][:count, i].astype(np.float32).ravel()


def _restart_events(
    columns: Mapping[str, Any],
    grouping: Grouping[np.ndarray],
    values: Mapping[str, np.ndarray],
    i: int,
    slot: RunSlot,
) -> None:
    """Write an event for each step at which the run began again from another source's prompt."""
    count = len(columns["step"])
    for place in np.flatnonzero(values["restarted"][:count, i]):
        chosen = int(np.argmax(values["weight"][place, i]))
        source = slot.config.sources[chosen]
        cosine = float(grouping.similarity[place, i, chosen])
        before = slot.note.get("chosen_source", "another source")
        slot.note.update(chosen_source=source, restarts=slot.note.get("restarts", 0) + 1)
        slot.writer.extend(
            "events",
            {
                "step": [int(columns["step"][place])],
                "seconds": [float(columns["seconds"][place])],
                "kind": ["restarted"],
                "detail": [
                    f"Restarts from the prompt of {source} instead of {before} "
                    f"(cosine {cosine:.6f}); Adam starts again."
                ],
            },
        )


def _failure(
    slot: RunSlot,
    record: StackStep,
    i: int,
    values: Mapping[str, np.ndarray],
    place: int,
    member: np.ndarray | None,
) -> Failure:
    """Say at which step, in which batch and with which group the run left the finite numbers."""
    if member is None:
        group = "no sources"
    else:
        chosen = [n for n, m in zip(slot.config.sources, member, strict=True) if m]
        group = f"group {', '.join(chosen) or 'empty'}"
    step = record.steps[i]
    rows = ", ".join(str(int(r)) for r in record.rows[i][:16])
    sentence = (
        f"Loss {values['loss'][place, i]:g} and gradient norm {values['grad_norm'][place, i]:g} "
        f"at step {step} ({group}; training rows {rows}); the run ends here. Try a lower "
        "learning rate, or precision float32."
    )
    return Failure(slot, step, sentence)
