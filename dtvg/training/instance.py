"""Prompts of instance-wise methods: one for every example, in training and when scored.

A step's inputs are embedded once with the frozen backbone's own table; an evaluation composes
batch by batch, so that memory stays bounded. arXiv 2205.11961.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.examples import padded
from dtvg.methods.base import (
    Examples,
    InstanceWise,
    MethodState,
    PromptStep,
    StepBatch,
    run_means,
)
from dtvg.training.batches import Joined, cut
from dtvg.training.devices import send
from dtvg.training.state import RunSlot, Stack

PARAMETER = "parameter."
"""How a trained tensor is called in a run's files, before its name."""


@torch.no_grad()
def embed_inputs(
    backbone: Backbone,
    sources: Sequence[np.ndarray],
    counts: Sequence[int],
    dtype: torch.dtype,
    tasks: np.ndarray | None = None,
) -> Examples:
    """Look up the embeddings of inputs (never of answers), padded at the right.

    Args:
        backbone: the frozen model.
        sources: token ids of each input, runs one after the other.
        counts: inputs of each run.
        dtype: of the methods' tensors.
        tasks: of a mixture: which task each input belongs to.
    """
    ids, mask = padded(sources, backbone.pad_id)
    if ids.shape[1] == 0:
        ids = ids.new_full((len(sources), 1), backbone.pad_id)
        mask = mask.new_zeros(len(sources), 1)
    device = backbone.device
    embedded = backbone.embed(send(ids.numpy(), device)).to(dtype)
    whose = None if tasks is None else send(tasks, device)
    return Examples(embedded, send(mask.numpy(), device), tuple(counts), whose)


def compose(
    backbone: Backbone,
    stack: Stack,
    coming: StepBatch,
    parts: Sequence[tuple[np.ndarray, list[Encoded]]],
) -> PromptStep:
    """Compose a stack's prompts for the coming update: one per run, or one per example.

    Args:
        backbone: embeds the inputs where the method reads them.
        stack: not changed.
        coming: the update.
        parts: each run's rows and examples.
    """
    if not isinstance(stack.method, InstanceWise):
        return stack.method.forward(stack.state, coming)
    dtype = next(iter(stack.state.parameters.values())).dtype
    inputs = [one.source for _, part in parts for one in part]
    counts = [len(part) for _, part in parts]
    tasks = [tasks_of(slot, rows) for slot, (rows, _) in zip(stack.slots, parts, strict=True)]
    examples = embed_inputs(backbone, inputs, counts, dtype, np.concatenate(tasks))
    return stack.method.forward(stack.state, replace(coming, examples=examples))


def tasks_of(slot: RunSlot, rows: np.ndarray) -> np.ndarray:
    """Return which of a run's tasks each of its training rows comes from."""
    train = slot.data.train
    return train.tasks_of(rows) if isinstance(train, Joined) else np.zeros_like(rows)


def averaged(step: PromptStep, counts: Sequence[int]) -> PromptStep:
    """Return what the log shows of an instance-wise step: each run's means over its examples."""

    def mean(values: Tensor | None) -> Tensor | None:
        return None if values is None else run_means(values.detach(), counts)

    return replace(
        step,
        prompt=run_means(step.prompt.detach(), counts),
        weights=mean(step.weights),
        scale_mean=mean(step.scale_mean),
        contribution_norm=mean(step.contribution_norm),
        scale_negative=mean(step.scale_negative),
        terms={},
        teachers=None,
    )


@dataclass(frozen=True)
class Composer:
    """One run's instance-wise method with its tensors, ready to compose for any inputs."""

    method: InstanceWise
    state: MethodState
    """Of one run: leading axis 1."""
    task: int = 0
    """Which of the run's tasks is asked."""

    @property
    def length(self) -> int:
        """Prompt length r."""
        return int(self.state.frozen["init"].shape[1])

    @property
    def identity(self) -> bytes:
        """Digest of everything the prompts depend on, beside the input."""
        about = f"{self.method.config!r}/{self.task}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        for tensors in (self.state.parameters, self.state.frozen):
            for name, tensor in sorted(tensors.items()):
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()

    @torch.no_grad()
    def prompts(self, backbone: Backbone, sources: Sequence[np.ndarray]) -> Float[Tensor, "b r d"]:
        """Compose a prompt for each input."""
        dtype = next(iter(self.state.parameters.values())).dtype
        tasks = np.full(len(sources), self.task)
        examples = embed_inputs(backbone, sources, [len(sources)], dtype, tasks)
        return self.method.mix(self.state, examples).prompt

    def mean_prompt(
        self, backbone: Backbone, sources: Sequence[np.ndarray], budget: int
    ) -> Float[Tensor, "r d"]:
        """Return the mean prompt over inputs, composed in batches of `budget` padded tokens."""
        total = torch.zeros_like(self.state.frozen["init"][0])
        for piece in cut([len(source) for source in sources], self.length, budget):
            total += self.prompts(backbone, [sources[i] for i in piece]).sum(0)
        return total / max(1, len(sources))


def composer_of(
    stack: Stack, slot: RunSlot, tensors: Mapping[str, Tensor] | None = None
) -> Composer | None:
    """Return a run's composer, or None where one prompt serves all examples.

    Args:
        stack: holds the run.
        slot: the run.
        tensors: parameters to compose with, by `parameter.<name>`; None: as they are now.
    """
    if not isinstance(stack.method, InstanceWise):
        return None
    state = stack.state.keep([stack.slots.index(slot)])
    return Composer(stack.method, with_parameters(state, tensors or {}))


def with_parameters(state: MethodState, tensors: Mapping[str, Tensor]) -> MethodState:
    """Return one run's state with trained tensors from its files, and no gradients."""
    own = {
        name: tensors[PARAMETER + name].to(value)[None] if PARAMETER + name in tensors else value
        for name, value in state.parameters.items()
    }
    return replace(state, parameters={name: value.detach() for name, value in own.items()})
