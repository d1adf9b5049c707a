"""CUDA graphs of a micro-batch: recorded once for each shape, then replayed as one launch.

A step of a small backbone is thousands of short kernels, which the host launches more slowly than a
GPU computes them. Micro-batches are filled up to a few shapes, so that each is recorded once, and a
shape is always computed by the same code, whether it is recorded already or not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones.examples import TokenBatch

log = logging.getLogger(__name__)

SEEN = 2
"""How often a shape comes before it is recorded: a rare one is not worth it, and what a first call
makes must be there."""
SHAPES, UNUSED = 128, 1000
"""Shapes that are recorded at most. Another one takes the place of that unused for longest, where
it was not among so many passes, and is launched kernel by kernel otherwise."""
Loss = Callable[[Tensor, TokenBatch], tuple[Tensor, Tensor]]
"""Prompts and examples → `[b]` summed loss and tokens, as `Backbone.loss`."""
Found = tuple[Float[Tensor, " b"], Float[Tensor, "b r d"]]
"""Loss of each example, and the weighted sum's gradient by the prompts."""
Record = Callable[[Callable[[], Found]], tuple[Any, Found]]
"""Records what is called; returns something to `replay`, and where results will lie."""


@dataclass(frozen=True)
class Given:
    """What a pass reads."""

    prompt: Float[Tensor, "b r d"]
    batch: TokenBatch
    weight: Float[Tensor, " b"]


@dataclass(frozen=True)
class Recorded:
    """A graph, where it reads and where it writes."""

    graph: Any
    reads: Given
    writes: Found


class Passes:
    """Forward and backward through a backbone, each shape as a graph of its own.

    Graphs share their memory: what one computes is read before the next is replayed.
    """

    def __init__(
        self, loss: Loss, record: Record | None = None, device: torch.device | None = None
    ) -> None:
        """Start without any graph.

        Args:
            loss: of prompts and examples; asks the device for nothing.
            record: None: CUDA records.
            device: the GPU that CUDA records on; None: the current one.
        """
        self._loss, self._device = loss, device
        self._record = self._on_cuda if record is None else record
        self._recorded: dict[tuple[object, ...], Recorded] = {}
        self._seen: dict[tuple[object, ...], int] = {}
        self._pool: Any = None
        self._stream: Any = None
        self.records = True
        """Whether shapes are still recorded; not after one could not be."""
        self.replayed = 0
        """Passes that were replayed."""
        self._passed = 0
        self._used: dict[tuple[object, ...], int] = {}

    def __call__(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch, weight: Float[Tensor, " b"]
    ) -> Found:
        """Return each example's loss, and the gradient of their weighted sum by the prompts.

        Args:
            prompt: one per example; needs no gradient.
            batch: the examples, filled up to one of few shapes.
            weight: of each example's loss; 0 for fill-up.

        Raises:
            torch.OutOfMemoryError or RuntimeError: out of memory, also while a shape is recorded.
        """
        given = Given(prompt, batch, weight)
        shape = _shape(given)
        self._passed += 1
        known = self._recorded.get(shape)
        if known is None and self._is_due(shape):
            known = self._recording(shape, given)
        if known is None:
            return self._pass(given)
        for place, values in zip(_tensors(known.reads), _tensors(given), strict=True):
            place.copy_(values)
        known.graph.replay()
        self.replayed += 1
        self._used[shape] = self._passed
        nll, gradient = known.writes
        return nll.clone(), gradient.clone()

    def forget(self) -> None:
        """Give back the memory of all graphs; shapes are recorded anew when they come again."""
        self._recorded.clear()
        self._used.clear()
        self._seen.clear()
        self._pool = None

    def __len__(self) -> int:
        """Return how many shapes are recorded."""
        return len(self._recorded)

    def _is_due(self, shape: tuple[object, ...]) -> bool:
        if not self.records:
            return False
        self._seen[shape] = self._seen.get(shape, 0) + 1
        return self._seen[shape] >= SEEN and self._has_room()

    def _has_room(self) -> bool:
        """Whether another shape can be recorded; one of a cohort that is over makes room."""
        if len(self._recorded) < SHAPES:
            return True
        oldest = min(self._used, key=lambda shape: self._used[shape])
        if self._passed - self._used[oldest] <= UNUSED:
            return False
        del self._recorded[oldest], self._used[oldest]
        return True

    def _pass(self, given: Given) -> Found:
        prompt = given.prompt.detach().requires_grad_()
        nll = self._loss(prompt, given.batch)[0].to(prompt.dtype)
        (gradient,) = torch.autograd.grad((nll * given.weight).sum(), prompt)
        return nll.detach(), gradient

    def _recording(self, shape: tuple[object, ...], given: Given) -> Recorded | None:
        """Record a shape; None where this model cannot be recorded, which is said once."""
        reads = _copied(given)
        try:
            graph, writes = self._record(lambda: self._pass(reads))
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
                raise  # the driver, which makes the graph, says so in an error of its own
            self.records = False
            log.warning("steps are launched kernel by kernel: %s", str(error).partition("\n")[0])
            return None
        self._recorded[shape] = Recorded(graph, reads, writes)
        return self._recorded[shape]

    def _on_cuda(self, call: Callable[[], Found]) -> tuple[Any, Found]:
        # a stream belongs to one GPU: through another's nothing would be recorded
        on = nullcontext() if self._device is None else torch.cuda.device(self._device)
        # the outer stream is gone back to also where recording fails
        with on, torch.cuda.stream(torch.cuda.current_stream()):
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._stream = self._stream or torch.cuda.Stream()
            graph = torch.cuda.CUDAGraph()
            # other threads, which write the log, may go on meanwhile
            options: Any = {"pool": self._pool, "capture_error_mode": "thread_local"}
            with torch.cuda.graph(graph, stream=self._stream, **options):
                writes = call()
        return graph, writes


def _tensors(value: Any) -> list[Tensor]:
    """Return every tensor in a value, in the order of its fields."""
    if isinstance(value, Tensor):
        return [value]
    if not is_dataclass(value):
        return []
    return [t for field in fields(value) for t in _tensors(getattr(value, field.name))]


def _shape(value: Any) -> tuple[object, ...]:
    """Return the sizes of every tensor in a value, and what else a graph depends on."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if not is_dataclass(value):
        return (value,)
    return tuple(_shape(getattr(value, field.name)) for field in fields(value))


def _copied(value: Any) -> Any:
    """Return a value with every tensor copied."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{f.name: _copied(getattr(value, f.name)) for f in fields(value)})
