"""The explicit, copyable state of a cohort: runs, stacked tensors, and how both are saved.

A `RunSlot` is one run's bookkeeping in plain numbers; a `Stack` holds the tensors of all runs
with the same method on a leading `R` axis. Saving writes every run under its own name, so that
any set of runs can be rebuilt into a new cohort.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.base import Encoded
from dtvg.config import RunConfig
from dtvg.methods.base import Inputs, MethodState, TransferMethod, find_method
from dtvg.methods.specs import MethodConfig
from dtvg.store.health import Signs
from dtvg.training.batches import TokenisedTask
from dtvg.training.optim import AdamState, Rates
from dtvg.versions import OF_DATA

if TYPE_CHECKING:
    from dtvg.store.writer import RunWriter
    from dtvg.training.few_shot import Drawn


@dataclass(frozen=True)
class RunData:
    """What a run trains and is scored on."""

    fingerprint: str
    train: Sequence[Encoded]
    tasks: tuple[TokenisedTask, ...]
    """Evaluated tasks: the target, or every source of a mixture."""
    drawn: Drawn | None = None
    """Rows of a few-shot target."""
    beside: tuple[TokenisedTask, ...] = ()
    """The sources, in their order, where branches train on their data as well."""


@dataclass
class RunSlot:
    """One run's bookkeeping: configuration, data, progress and best score so far."""

    config: RunConfig
    data: RunData
    writer: RunWriter
    inputs: dict[str, np.ndarray]
    """One run's `Inputs`, by name: `init`, `target_prompt`, `source_vectors` and maybe more."""
    step: int = 0
    seconds: float = 0.0
    evaluated: int = -1
    """Last step evaluated on validation; −1 before the first."""
    best_step: int = -1
    best_score: float = float("-inf")
    best_loss: float | None = None
    """Validation loss at the best step; None where it is not asked for."""
    since_best: int = 0
    score: float | None = None
    test_score: float | None = None
    loss: float | None = None
    result: dict[str, Any] | None = None
    """Set when the run is over; the commit that holds it precedes `result.json`."""
    failure: str | None = None
    note: dict[str, Any] = field(default_factory=dict)
    start: dict[str, str] = field(default_factory=dict)
    """What it began with: `prompt.<task>` → identity of a prompt that it took from the bank,
    `rows.<task>` → fingerprint of the rows of a source that it trains on as well,
    `backbone.<name>` → what identifies the backbone's files, `scoring.<task>` → what identifies
    how the description of one's own task has it scored."""
    signs: Signs = field(default_factory=Signs)
    """Whether training does anything."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Tensors at the best step: mixed prompt and parameters."""

    SAVED = (
        "step",
        "seconds",
        "evaluated",
        "best_step",
        "best_score",
        "best_loss",
        "since_best",
        "score",
        "loss",
        "result",
        "failure",
        "note",
        "start",
    )

    @property
    def name(self) -> str:
        """The run's name within its experiment."""
        return self.config.name

    @property
    def method(self) -> MethodConfig:
        """The method as the run was made with it."""
        return self.config.trained

    @property
    def rates(self) -> Rates:
        """Learning rates at full height and weight decay."""
        optim = self.config.optim
        if self.config.role != "transfer" or self.method.rates == "stage_one":
            return Rates(optim.lr_stage1, 0.0, 0.0, optim.weight_decay_stage1)
        return Rates(
            optim.lr_prompt,
            optim.lr_scale,
            optim.lr_scale_target,
            optim.weight_decay,
            optim.lr_gate,
        )

    @property
    def breaks_ties(self) -> bool:
        """As the run's configuration says."""
        return self.config.breaks_ties

    @property
    def counts(self) -> bool:
        """Whether the step it is at can be the best: any but a start that is left out."""
        return self.step > 0 or self.config.evaluation.count_start or not self.breaks_ties

    def would_be_best(self, score: float, loss: float | None) -> bool:
        """Whether an evaluation makes its step the best so far.

        The higher score wins, then the lower loss, then the later step; the start only where it
        counts. Runs of version 1, and Stage I, keep the earlier step.
        """
        if not self.counts:
            return False
        if score != self.best_score or not self.breaks_ties:
            return score > self.best_score
        lower = _or_worst(loss)
        return lower <= _or_worst(self.best_loss)

    def meta(self) -> dict[str, Any]:
        """Return the plain numbers a commit keeps, as they are now: they are written later."""
        kept = {key: copy.deepcopy(getattr(self, key)) for key in self.SAVED}
        return {**kept, "signs": self.signs.to_json()}

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Take over the numbers of a commit."""
        for key in self.SAVED:
            if key in meta:  # a commit of before may lack what came later
                setattr(self, key, meta[key])
        self.signs = Signs.from_json(meta.get("signs") or {})


def _or_worst(loss: float | None) -> float:
    """Return a loss that can be compared; none, or no number, is the worst."""
    return float("inf") if loss is None or math.isnan(loss) else loss


@dataclass
class Stack:
    """Runs of one method with equal shapes: their tensors share a leading axis."""

    method: TransferMethod
    slots: list[RunSlot]
    state: MethodState
    moments: AdamState
    ended: Tensor | None = None
    """`[R]` bool on the device: runs with a non-finite step, which nothing changes any more until
    the row of that step has been read."""

    def keep(self, names: set[str]) -> Stack:
        """Return the stack without the runs not named."""
        rows = [i for i, slot in enumerate(self.slots) if slot.name in names]
        return Stack(
            self.method,
            [self.slots[i] for i in rows],
            self.state.keep(rows),
            self.moments.keep(rows),
            None if self.ended is None else self.ended[rows],
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return every run's own tensors by `<run>/<kind>/<name>`, copied off the graph."""
        saved: dict[str, Tensor] = {}
        parts = {
            "parameter": self.state.parameters,
            "first": self.moments.first,
            "second": self.moments.second,
            "memory": self.state.memory,
        }
        for kind, tensors in parts.items():
            for name, tensor in tensors.items():
                copied = tensor.detach().clone()
                for i, slot in enumerate(self.slots):
                    saved[f"{slot.name}/{kind}/{name}"] = copied[i]
        for slot in self.slots:
            for name, tensor in slot.best.items():
                saved[f"{slot.name}/best/{name}"] = tensor
        return saved

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Take over the runs' tensors from a commit; runs it does not hold stay as prepared."""
        parts = {
            "parameter": self.state.parameters,
            "first": self.moments.first,
            "second": self.moments.second,
            "memory": self.state.memory,
        }
        with torch.no_grad():
            for i, slot in enumerate(self.slots):
                for kind, tensors in parts.items():
                    for name, tensor in tensors.items():
                        key = f"{slot.name}/{kind}/{name}"
                        if key in saved:
                            value = torch.from_numpy(np.array(saved[key]))
                            tensor[i].copy_(value.reshape(tensor[i].shape))
                slot.best = best_of(slot.name, saved)


def best_of(name: str, saved: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return a run's tensors at its best step from a commit; empty where it holds none."""
    prefix = f"{name}/best/"
    return {
        key.removeprefix(prefix): torch.from_numpy(np.array(value))
        for key, value in saved.items()
        if key.startswith(prefix)
    }


def stack_key(slot: RunSlot) -> tuple[Any, ...]:
    """Return what runs must share to be stacked: method settings and shapes."""
    method = slot.method.stackable().without_rates()
    shapes = tuple(sorted((k, v.shape) for k, v in slot.inputs.items()))
    recorded = slot.config.versions or {}
    made_with = [item for item in recorded.items() if item[0].partition(".")[0] not in OF_DATA]
    return (slot.config.role == "transfer", method, shapes, tuple(sorted(made_with)))


def build_stacks(slots: Sequence[RunSlot], device: torch.device, dtype: torch.dtype) -> list[Stack]:
    """Stack runs by method and shapes, in the order the runs are given, and prepare them.

    Args:
        slots: the cohort's runs.
        device: where tensors live.
        dtype: of prompts and scales: float32, or float64 with a float64 backbone.
    """
    groups: dict[tuple[Any, ...], list[RunSlot]] = {}
    for slot in slots:
        groups.setdefault(stack_key(slot), []).append(slot)
    stacks = []
    for members in groups.values():
        method = find_method(members[0].config.method, members[0].config.versions)
        gathered = {
            key: torch.as_tensor(
                np.stack([slot.inputs[key] for slot in members]), dtype=dtype, device=device
            )
            for key in members[0].inputs
        }
        names = tuple(slot.config.sources for slot in members)
        seeds = tuple(slot.config.seed for slot in members)
        targets = tuple(slot.config.target for slot in members)
        inputs = Inputs(**gathered, source_names=names, seeds=seeds, targets=targets)
        state = method.prepare(inputs)
        for i, note in enumerate(state.notes):
            members[i].note = {**note, **members[i].note}
        state = dataclasses.replace(state, notes=[])
        stacks.append(Stack(method, list(members), state, AdamState.zeros(state.parameters)))
    return stacks
