"""Several examples in one row, one after the other: nearly no padding is computed.

A token sees only its own example, so an example's answer is what it is alone, up to rounding. Rows
are as long as their attention, whose cost grows with the square, is worth.
"""

from __future__ import annotations

import bisect
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


STEP = 64
"""Rows that are filled up have a multiple of so many tokens."""


@dataclass(frozen=True)
class Packing:
    """How examples are put into rows."""

    front: int
    """Tokens before each input: the prompt's length r."""
    reach: float
    """Length of a row at which attention costs as much as everything else."""
    filled: bool = False
    """Whether everything is filled up to few shapes; see `graphs`."""
    runs: tuple[int, ...] | None = None
    """Which run each example is of. Of filled rows each holds examples of one run only, so that
    what is no number in one run is none in no other; None: all are of one."""


@dataclass(frozen=True)
class Rows:
    """Where the tokens of examples stand in rows; fill-up belongs to no example."""

    read: Int[Tensor, "m w"]
    """Place of each token in the padded examples, `[b s]` flattened; of fill-up, the first of its
    row, so that what is no number in one row is in no other."""
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
    """Place in the flattened rows from which each answer token is predicted; of padding, the
    first."""
    written: Rows | None = None
    """What a decoder of its own reads, in the same rows."""
    bounds: Int[Tensor, " n"] | None = None
    """Where the examples of the only row start and end, int32; None: masks tell."""
    longest: int = 0
    """Tokens of an example between bounds at most."""

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


def filled_layout(
    widths: Sequence[int], runs: Sequence[int] | np.ndarray
) -> tuple[list[list[int]], int]:
    """Return which examples stand in which row, each row of one run, and how long rows are.

    An example goes into the fullest row of its run that it fits into, longest first.

    Args:
        widths: tokens of each example, prompt included.
        runs: which run each is of.
    """
    whole = int(np.bincount(runs, widths).max())  # nothing is gained beyond all of a run
    long = max(*widths, min(whole, 2 * sum(widths) // len(widths)), 1)
    width = -(-long // STEP) * STEP
    order = sorted(range(len(widths)), key=lambda i: (runs[i], -widths[i]))
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []
    run = None
    for example in order:
        if runs[example] != run:
            run, free = runs[example], []
        need = widths[example]
        at = bisect.bisect_left(free, (need, -1))
        left, row = free.pop(at) if at < len(free) else (width, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(example)
        bisect.insort(free, (left - need, row))
    return rows, width


def filled_size(widths: Sequence[int], runs: Sequence[int] | np.ndarray) -> int:
    """Return how many tokens rows hold, fill-up included; arguments as of `filled_layout`."""
    rows, width = filled_layout(widths, runs)
    return filled_count(len(rows)) * width


def filled_width(tokens: int) -> int:
    """Return how long a padded row is filled up to."""
    step = 16 if tokens <= 128 else 32
    return -(-tokens // step) * step


def filled_answers(lengths: Sequence[int]) -> int:
    """Return how many tokens answers are filled up to: a power of two."""
    return 1 << (max(*lengths, 1) - 1).bit_length()


def filled_tokens(count: int) -> int:
    """Return how many tokens a single row is filled up to: a thirty-second to a sixteenth more."""
    step = max(STEP, 1 << max(0, (count - 1).bit_length() - 5))
    return -(-count // step) * step


def filled_bounds(widths: Sequence[int], count: int, tokens: int, longest: int) -> np.ndarray:
    """Return `[n]` starts and ends of the examples of a single row, int32.

    Those of fill-up follow, none longer than `longest`; n depends on the other arguments alone.

    Args:
        widths: tokens of each example.
        count: examples that are filled up to.
        tokens: of the row, with its fill-up.
        longest: tokens of an example at most.
    """
    ends = np.cumsum([0, *widths])
    spare = count - len(widths) + 1 + -(-tokens // 8 // longest) + -(-STEP // longest)
    rest = np.minimum(ends[-1] + longest * np.arange(1, spare + 1), tokens)
    return np.concatenate([ends, rest]).astype(np.int32)


def filled_count(count: int) -> int:
    """Return how many a number is filled up to: a sixteenth to an eighth more, few beyond 16."""
    step = 1 if count <= 16 else 1 << ((count - 1).bit_length() - 4)
    return -(-count // step) * step


def laid_out(
    rows: Sequence[Sequence[int]],
    widths: Sequence[int],
    stride: int,
    filled: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return `read`, `example` and `position` of `Rows`, stacked `[3 m w]`, and `[b]` starts.

    Args:
        rows: which examples stand in which row.
        widths: tokens of each example.
        stride: s, the width that the examples are padded to, at the right.
        filled: rows and tokens a row that are filled up to; None: as many as there are.
    """
    count, longest = filled or (
        len(rows),
        max(sum(widths[i] for i in row) for row in rows),
    )
    places = np.zeros((3, count, longest), dtype=np.int64)
    places[1] = -1
    starts = np.zeros(len(widths), dtype=np.int64)
    for number, row in enumerate(rows):
        at = 0
        places[0, number] = row[0] * stride  # fill-up repeats a token of the row
        for example in row:
            width = widths[example]
            inside, here = np.arange(width), slice(at, at + width)
            places[0, number, here] = example * stride + inside
            places[1, number, here] = example
            places[2, number, here] = inside
            starts[example] = number * longest + at
            at += width
    return places, starts


def answer_places(first: np.ndarray, counts: Sequence[int], width: int | None = None) -> np.ndarray:
    """Return `[b u]` places of each example's answer tokens, the first ones given; u at least
    `width`. Padding has the first: what is no number in one example is read by no other."""
    inside = np.arange(max(*counts, width or 0, 1))
    return first[:, None] + np.where(inside < np.asarray(counts)[:, None], inside, 0)


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
