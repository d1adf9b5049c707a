"""Several examples in one row, one after the other: nearly no padding is computed.

A token sees only its own example, so an example's answer is what it is alone, up to rounding. Rows
are as long as their attention, whose cost grows with the square, is worth.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FEW = 16
"""Up to so many examples every number of rows is tried."""
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
LOOSE = 0.03
"""Difference of logits, of the largest, up to which packed rows count as the same; `LOOSE` of
half precision."""


@dataclass(frozen=True)
class Packing:
    """How examples are put into rows."""

    front: int
    """Tokens before each input: the prompt's length r."""
    reach: float
    """Length of a row at which attention costs as much as everything else."""


@dataclass(frozen=True)
class Rows:
    """Where the tokens of examples stand in rows; fill-up belongs to no example."""

    read: Int[Tensor, "m w"]
    """Place of each token in the padded examples, `[b s]` flattened; 0 for fill-up."""
    example: Int[Tensor, "m w"]
    """Which example it belongs to; −1 for fill-up."""
    position: Int[Tensor, "m w"]
    """Its place in the example."""

    def gather(self, padded: Float[Tensor, "b s d"]) -> Float[Tensor, "m w d"]:
        """Put padded examples into rows."""
        flat = padded.flatten(0, 1).index_select(0, self.read.flatten())
        return flat.view(*self.read.shape, padded.shape[-1])

    def sees(self, other: Rows) -> Bool[Tensor, "m 1 w v"]:
        """Return which of another sequence's tokens each token may see: those of its example.

        Fill-up sees fill-up, or everything where the other has none, so that no softmax is empty.
        """
        same = self.example[:, :, None] == other.example[:, None, :]
        empty = (self.example < 0)[:, :, None]
        return (same | empty)[:, None]

    def looks_back(self) -> Bool[Tensor, "m 1 w w"]:
        """Return which tokens each token may see: those of its example up to itself."""
        width = self.example.shape[1]
        earlier = torch.ones(width, width, dtype=torch.bool, device=self.example.device).tril()
        same = self.example[:, :, None] == self.example[:, None, :]
        return (same & earlier)[:, None]


@dataclass(frozen=True)
class Packed:
    """Rows of a batch, and where in them its answers are predicted."""

    read: Rows
    """What is read: inputs, or inputs and answers."""
    answers: Int[Tensor, "b u"]
    """Place in the flattened rows from which each answer token is predicted; 0 for padding."""
    written: Rows | None = None
    """What a decoder of its own reads, in the same rows."""

    def at_answers(self, values: Float[Tensor, "m w x"]) -> Float[Tensor, "b u x"]:
        """Pick what predicts each answer token."""
        flat = values.flatten(0, 1).index_select(0, self.answers.flatten())
        return flat.view(*self.answers.shape, values.shape[-1])


def layout(widths: Sequence[int], reach: float) -> list[list[int]]:
    """Return which examples stand in which row, for the least cost `m · w · (1 + w / reach)`.

    Args:
        widths: tokens of each example, prompt included.
        reach: see `Packing`.
    """
    order = np.argsort(-np.asarray(widths), kind="stable").tolist()
    total, widest = int(sum(widths)), int(widths[order[0]])
    if len(widths) <= FEW:
        counts = list(range(1, len(widths) + 1))
    else:
        longest = [widest * 1.25**power for power in range(12)]
        counts = sorted({min(len(widths), int(np.ceil(total / w))) for w in longest})

    def cost(rows: list[list[int]]) -> float:
        width = max(sum(widths[i] for i in row) for row in rows)
        return len(rows) * width * (1 + width / reach)

    return min((_balanced(widths, order, count) for count in counts), key=cost)


def _balanced(widths: Sequence[int], order: Sequence[int], count: int) -> list[list[int]]:
    """Put the longest example that is left into the shortest row, until none is left."""
    rows: list[list[int]] = [[] for _ in range(count)]
    filled = [(0, row) for row in range(count)]
    for example in order:
        length, row = heapq.heappop(filled)
        rows[row].append(example)
        heapq.heappush(filled, (length + widths[example], row))
    return [row for row in rows if row]


def laid_out(
    rows: Sequence[Sequence[int]], widths: Sequence[int], stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return `read`, `example` and `position` of `Rows`, stacked `[3 m w]`, and `[b]` starts.

    Args:
        rows: which examples stand in which row.
        widths: tokens of each example.
        stride: s, the width that the examples are padded to, at the right.
    """
    longest = max(sum(widths[i] for i in row) for row in rows)
    places = np.zeros((3, len(rows), longest), dtype=np.int64)
    places[1] = -1
    starts = np.zeros(len(widths), dtype=np.int64)
    for number, row in enumerate(rows):
        at = 0
        for example in row:
            width = widths[example]
            inside, here = np.arange(width), slice(at, at + width)
            places[0, number, here] = example * stride + inside
            places[1, number, here] = example
            places[2, number, here] = inside
            starts[example] = number * longest + at
            at += width
    return places, starts


def answer_places(first: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Return `[b u]` places of each example's answer tokens, the first ones given."""
    inside = np.arange(max(counts))
    return np.where(inside < np.asarray(counts)[:, None], first[:, None] + inside, 0)


def alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether packed rows give the logits that each example has alone, up to rounding."""
    largest = wanted.abs().max()
    return bool((found - wanted).abs().max() <= TOLERANCE.get(wanted.dtype, LOOSE) * largest)


def pieces(widths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Cut examples, longest first, into micro-batches of at most `budget` tokens.

    Args:
        widths: tokens of each example, prompt included.
        budget: one example always fits.
    """
    order = np.argsort(-np.asarray(widths), kind="stable")
    found: list[list[int]] = []
    held = budget + 1
    for example in order.tolist():
        if held + widths[example] > budget:
            found.append([])
            held = 0
        found[-1].append(example)
        held += int(widths[example])
    return [np.asarray(piece) for piece in found]
