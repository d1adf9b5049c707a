"""What a transfer method is: tensors to train and how they compose the prompt of a step.

Runs of one method are stacked on a leading `R` axis. A method object holds no tensors: its
state is an explicit, copyable `MethodState`, so that runs can be saved, resumed, forked and
dropped from a cohort by indexing. Only `forward` (and what to `prepare`) is up to a method.
"""

from __future__ import annotations

import dataclasses
import importlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtvg import versions
from dtvg.errors import ConfigError
from dtvg.methods.specs import MethodConfig
from dtvg.rule.types import RULE_VERSION, Grouping, RuleSettings
from dtvg.versions import Versions

Role = Literal["prompt", "scale", "scale_target", "gate"]
"""Which of the learning rates a parameter takes."""

ADAM_SINCE = "adam_since"
"""Name in `MethodState.memory`: `[R]` or `[R B]`, updates made before Adam was last reset."""
HELD = "held"
"""Name in `MethodState.memory`, of methods that can hold sources: `[R n]`, 1 for pinned sources,
-1 for banned ones, else 0."""


@dataclass(frozen=True)
class Inputs:
    """What the runs of a stack start from, stacked on `R`; all share one initial prompt each."""

    init: Float[Tensor, "R r d"]
    target_prompt: Float[Tensor, "R r d"]
    source_vectors: Float[Tensor, "R n r d"]
    mixture_prompt: Float[Tensor, "R r d"] | None = None
    chosen: Float[Tensor, "R n"] | None = None
    """1 for the sources chosen before training, for methods on given subsets."""
    source_names: tuple[tuple[str, ...], ...] = ()
    """Per run, in the order of `source_vectors`."""
    seeds: tuple[int, ...] = ()
    """Per run: the run seed, for methods that draw at random once."""
    candidates: Float[Tensor, "R B n"] | None = None
    """Subsets to be trained side by side, 1 for their sources, for methods that keep the best."""
    targets: tuple[str, ...] = ()
    """Per run: the task it is trained on, for methods that exchange among targets."""


@dataclass
class MethodState:
    """Everything of a stack that is not the optimiser's: trained, frozen, remembered.

    Every tensor has the leading axis `R`.
    """

    parameters: dict[str, Tensor]
    frozen: dict[str, Tensor]
    memory: dict[str, Tensor] = field(default_factory=dict)
    """Carried from step to step without a gradient, e.g. the group of rule `fixed`."""
    notes: list[dict[str, Any]] = field(default_factory=list)
    """Per run: facts for events and the result, e.g. which source a start came from."""

    def keep(self, rows: Sequence[int]) -> MethodState:
        """Return the state of the given runs only; parameters become new leaves."""
        return MethodState(
            {
                k: v.detach()[list(rows)].clone().requires_grad_()
                for k, v in self.parameters.items()
            },
            {k: v[list(rows)] for k, v in self.frozen.items()},
            {k: v[list(rows)] for k, v in self.memory.items()},
            [self.notes[i] for i in rows] if self.notes else [],
        )


@dataclass(frozen=True)
class Examples:
    """Inputs of a stack's examples as the frozen backbone embeds them, without a gradient.

    Examples of one run are neighbours, runs stand in the stack's order. What a method computes
    for an example must not depend on the others, nor on the padding.
    """

    embeddings: Float[Tensor, "b t d"]
    mask: Bool[Tensor, "b t"]
    counts: tuple[int, ...]
    """Examples of each run."""
    tasks: Int[Tensor, " b"] | None = None
    """Which task of a run's mixture an example belongs to; None: the only one."""

    @property
    def owner(self) -> Int[Tensor, " b"]:
        """Row of the stack that each example belongs to."""
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        return placed(torch.from_numpy(rows), self.mask)

    def pooled(self, way: Literal["max", "mean"]) -> Float[Tensor, "b d"]:
        """Return the maximum or mean over an example's tokens; zeros for an empty input."""
        mask = self.mask[..., None]
        if way == "mean":
            total = torch.where(mask, self.embeddings, 0.0).sum(1)
            return total / mask.sum(1).clamp(min=1)
        low = torch.finfo(self.embeddings.dtype).min
        highest = torch.where(mask, self.embeddings, low).amax(1)
        return torch.where(mask.any(1), highest, 0.0)

    def by_run(self, values: Float[Tensor, "b ..."]) -> Float[Tensor, "R c ..."]:
        """Lay out one row per example by run, filled up with zeros, so that runs are batched."""
        return by_run(values, self.counts)

    def flat(self, values: Float[Tensor, "R c ..."]) -> Float[Tensor, "b ..."]:
        """Undo `by_run`: one row per example."""
        return values.flatten(0, 1)[placed(_places(self.counts), values)]

    def mean(self, values: Float[Tensor, "b ..."]) -> Float[Tensor, "R ..."]:
        """Return each run's mean over its examples."""
        return run_means(values, self.counts)


def placed(values: Tensor, like: Tensor) -> Tensor:
    """Copy a tensor of the CPU to where `like` lies, without waiting for a GPU."""
    if like.device.type == "cuda":
        return values.pin_memory().to(like.device, non_blocking=True)
    return values.to(like.device)


def _places(counts: Sequence[int]) -> Tensor:
    """Return where each example stands when every run has the room of the largest."""
    most = max(counts)
    return torch.from_numpy(
        np.concatenate([np.arange(count) + i * most for i, count in enumerate(counts)])
    )


def by_run(values: Float[Tensor, "b ..."], counts: Sequence[int]) -> Float[Tensor, "R c ..."]:
    """Lay out one row per example by run, filled up with zeros."""
    most, rest = max(counts), values.shape[1:]
    laid = values.new_zeros((len(counts) * most, *rest))
    laid = laid.index_copy(0, placed(_places(counts), values), values)
    return laid.view(len(counts), most, *rest)


def run_means(values: Float[Tensor, "b ..."], counts: Sequence[int]) -> Float[Tensor, "R ..."]:
    """Return each run's mean over its examples."""
    total = by_run(values, counts).sum(1)
    number = placed(torch.tensor(counts, dtype=values.dtype).clamp(min=1), values)
    return total / number.view(-1, *(1 for _ in values.shape[1:]))


@dataclass(frozen=True)
class StepBatch:
    """The coming update of a stack, handed to `forward` in training; None when only composing."""

    steps: tuple[int, ...]
    """Per run: number of the coming update, from 1."""
    totals: tuple[int, ...]
    """Per run: updates in all."""
    seeds: tuple[int, ...]
    """Per run: the run seed."""
    examples: Examples | None = None
    """Inputs of the whole step, for instance-wise methods."""

    def progress(self, like: Tensor) -> Float[Tensor, " R"]:
        """Return the share of updates done before this one, in [0, 1)."""
        done = [(step - 1) / total for step, total in zip(self.steps, self.totals, strict=True)]
        return placed(torch.tensor(done, dtype=like.dtype), like)

    def uniform(self, shape: Sequence[int], purpose: str, like: Tensor) -> Tensor:
        """Return numbers in [0, 1) `[R, *shape]`: a function of run seed, step and purpose only,
        so that a run draws the same alone, in any cohort and after a resume."""
        salt = zlib.crc32(purpose.encode())
        drawn = [
            np.random.default_rng([seed, step, salt]).random(tuple(shape))
            for seed, step in zip(self.seeds, self.steps, strict=True)
        ]
        return placed(torch.from_numpy(np.stack(drawn)).to(like.dtype), like)


@dataclass(frozen=True)
class PromptStep:
    """What a method hands to the backbone at a step, and what the log says about it."""

    prompt: Float[Tensor, "p r d"] | Float[Tensor, "R B r d"]
    """One per run (p = R), or of an instance-wise method one per example (p = b). In training
    maybe one per branch, `[R B r d]`: then every parameter is `[R B ...]`, each branch sees the
    run's whole batch and is clipped and updated by itself."""
    weights: Float[Tensor, "p n"] | None = None
    """Weight of each source's scaled vector; None where there are no source vectors."""
    grouping: Grouping | None = None
    """Always one per run."""
    scale_mean: Float[Tensor, "p n"] | None = None
    contribution_norm: Float[Tensor, "p n"] | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)
    """What the next step will find in `MethodState.memory`."""
    restarted: Bool[Tensor, " R"] | Bool[Tensor, "R B"] | None = None
    """Runs, or branches, whose parameters are put to `restart` before the update, with fresh Adam
    moments."""
    restart: dict[str, Tensor] = field(default_factory=dict)
    """`[R, ...]` by name of the parameter; `prompt` must already be composed from these."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """What the method's `penalty` needs of this step, with its gradient."""
    teachers: Float[Tensor, "b r d"] | None = None
    """Prompts whose logits and hidden states each example's are drawn to."""
    teaching: float = 0.0
    """Weight of that in the loss."""
    scale_negative: Float[Tensor, "p n"] | None = None
    """Share of the entries of each source's scale that are below 0."""
    beside: tuple[tuple[int, ...], ...] = ()
    """Per branch, places of the sources on whose data it trains as well: a batch of each, whose
    mean loss is added to the target's. Empty: every branch trains on the target's data only."""
    counted: int | None = None
    """How many branches, the first ones, the logged loss and gradient norm are the mean of; None:
    all of them."""


@dataclass(frozen=True)
class Finding:
    """What a method has learned about a run's sources so far, for its events and its result."""

    kind: str
    """Of the event."""
    detail: str
    """One sentence."""
    note: dict[str, Any]
    """Plain values that the result keeps, the newest of a key."""
    rows: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Table of the log → columns to be added there, but for `step`."""


class Search(ABC):
    """What one run searches for between two steps, e.g. how its branches are merged.

    Candidates are proposed, scored on the target's validation rows and judged, in turns until it
    is done; then it is applied. Runs that search at the same step are scored together.
    """

    examples: int
    """Validation rows that decide; never more than an evaluation takes."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether nothing is left to try."""

    @abstractmethod
    def propose(self) -> Float[Tensor, "c r d"]:
        """Return the prompts to be scored next."""

    @abstractmethod
    def judge(self, scores: Sequence[float]) -> None:
        """Take the scores of what was proposed, 0..1."""

    @abstractmethod
    def apply(self, state: MethodState, moments: Sequence[dict[str, Tensor]]) -> None:
        """Change the run's own row of a stack to what was found, in place.

        Args:
            state: of the stack.
            moments: both of Adam, by name of the parameter.
        """

    @abstractmethod
    def finding(self, sources: Sequence[str]) -> Finding:
        """Return what the run's events and result say of it.

        Args:
            sources: the run's.
        """


class TransferMethod(ABC):
    """One transfer method; see the module's first lines.

    Args:
        config: the method's frozen configuration; all runs of a stack share it.
    """

    roles: ClassVar[dict[str, Role]] = {}
    """Learning rate of each trained tensor, by its name in `MethodState.parameters`."""
    searches_at: ClassVar[Literal["any_step", "evaluations"]] = "any_step"
    """When `search` is asked: before every step, or only where the run is evaluated next."""
    versions: Versions | None = None
    """What the runs were recorded with; None: everything as it is today."""

    def __init__(self, config: MethodConfig) -> None:
        self.config = config

    @property
    def version(self) -> int:
        """The version of this method that the runs are trained with."""
        if self.versions is None:
            return self.config.version
        return versions.number(self.versions, f"method.{self.config.name}")

    @property
    def settings(self) -> RuleSettings:
        """How sources are ranked and grouped, in the version the runs are trained with."""
        version = RULE_VERSION
        if self.versions is not None:
            version = versions.number(self.versions, "rule")
        return dataclasses.replace(self.config.grouping_settings(), version=version)

    @abstractmethod
    def prepare(self, inputs: Inputs) -> MethodState:
        """Build the state the runs start from; parameters require gradients."""

    @abstractmethod
    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Compose the prompt of every run of the stack.

        Args:
            state: not changed.
            batch: the coming update; None to compose for evaluation, without chance or restarts.
        """

    def penalty(self, state: MethodState, step: PromptStep) -> Float[Tensor, " R"] | None:
        """Return a term added to each run's loss, or None."""
        return None

    def observe(
        self,
        state: MethodState,
        gradient: Float[Tensor, "p r d"] | Float[Tensor, "R B r d"],
        batch: StepBatch,
    ) -> dict[str, Tensor]:
        """Return what to remember of a step's gradient, by name in `MethodState.memory`.

        Args:
            state: before the step's update; not changed.
            gradient: of each run's loss by the prompts of its step, shaped as these.
            batch: the update.
        """
        return {}

    def findings(self, state: MethodState, names: tuple[tuple[str, ...], ...]) -> list[Finding]:
        """Return what each run has learned about its sources, or nothing; asked at evaluations.

        Args:
            state: not changed.
            names: each run's sources.
        """
        return []

    def search(self, state: MethodState, row: int, step: int, total: int) -> Search | None:
        """Return what a run searches for before its next step; None where nothing is due.

        Args:
            state: not changed before the search is applied.
            row: the run's in the stack.
            step: updates made.
            total: updates in all.
        """
        return None

    def opening(self, note: Mapping[str, Any]) -> str:
        """Return a sentence about what a run starts from, for its events; empty: nothing to say.

        Args:
            note: the run's, as `prepare` gave it.
        """
        return ""


def uniform_start(
    seeds: Sequence[int], shape: Sequence[int], bound: float, purpose: str, like: Tensor
) -> Tensor:
    """Return numbers in [−bound, bound) `[R, *shape]` to start learned weights from.

    Args:
        seeds: per run; a run draws the same alone and in any cohort.
        shape: of one run.
        bound: largest size.
        purpose: tells draws of one run apart.
        like: gives type and device.
    """
    salt = zlib.crc32(purpose.encode())
    drawn = [np.random.default_rng([seed, salt]).random(tuple(shape)) for seed in seeds]
    return torch.from_numpy((2 * np.stack(drawn) - 1) * bound).to(like.dtype).to(like.device)


def trainable(tensor: Tensor) -> Tensor:
    """Return a fresh leaf with the same values that requires a gradient."""
    return tensor.detach().clone().requires_grad_()


def find_method(config: MethodConfig, recorded: Versions | None = None) -> TransferMethod:
    """Return the code of a configuration: class `Method` of the module of the same name.

    Args:
        config: the method's settings.
        recorded: versions that the runs were made with; None: today's.

    Raises:
        ConfigError: the module of another package's method cannot be imported.
    """
    if recorded is not None:
        config = config.as_of(versions.number(recorded, f"method.{config.name}"))
    name = config.module
    try:
        made = importlib.import_module(name).Method
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The code of method '{config.name}' is the class Method of '{name}', which cannot be "
            f"imported ({error}); repair or reinstall its package."
        ) from None
    method: TransferMethod = made(config)
    method.versions = recorded
    return method


class InstanceWise(TransferMethod):
    """Methods that compose another prompt for every example; only `mix` is abstract.

    An evaluation composes from parameters and frozen tensors alone, so `memory` must not matter.
    """

    @abstractmethod
    def mix(
        self, state: MethodState, examples: Examples, batch: StepBatch | None = None
    ) -> PromptStep:
        """Compose one prompt per example.

        Args:
            state: not changed.
            examples: of all runs of the stack.
            batch: the coming update; None to compose without chance.
        """

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Compose for the examples of the coming update.

        Raises:
            ConfigError: without examples there is no prompt.
        """
        if batch is None or batch.examples is None:
            raise ConfigError(
                f"Method '{self.config.name}' composes a prompt for each example, so it needs "
                "the examples."
            )
        return self.mix(state, batch.examples, batch)


class PlainPrompt(TransferMethod):
    """Methods that train nothing but a soft prompt; they differ in where it starts."""

    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt"}

    def start(self, inputs: Inputs) -> tuple[Float[Tensor, "R r d"], list[dict[str, Any]]]:
        """Return the prompts to start from and a note per run."""
        return inputs.target_prompt, []

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start the prompt; the initial prompt is kept for its vector."""
        prompt, notes = self.start(inputs)
        return MethodState({"prompt": trainable(prompt)}, {"init": inputs.init}, notes=notes)

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """The prompt itself."""
        return PromptStep(state.parameters["prompt"].clone())
