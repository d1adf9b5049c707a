"""Which examples a step sees, as a pure function, and how they are cut into micro-batches.

A batch depends on (target fingerprint, data seed, run seed, batch size, step) and nothing
else: no loader state, the same rows alone or in any cohort, for every method.
docs/architecture.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import overload

import numpy as np

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.packing import Packing, filled_count, filled_size, pieces
from dtvg.config import DataConfig
from dtvg.errors import ConfigError
from dtvg.tasks.reading import load_task
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.training.tokens import EncodedRows, place_for


@dataclass(frozen=True)
class TokenisedTask:
    """A task's splits as token ids, beside the texts that scoring needs."""

    spec: TaskSpec
    fingerprint: str
    train: Sequence[Encoded]
    texts: dict[str, Sequence[Example]]
    """Evaluation splits by name."""
    encoded: dict[str, Sequence[Encoded]]
    rule: str = ""
    """The split rule that was followed."""


_CACHE: dict[tuple[str, str, str, int, tuple[str, ...], int], TokenisedTask] = {}


def tokenise(name: str, backbone: Backbone, config: DataConfig) -> TokenisedTask:
    """Read and tokenise a task once per process, and once per machine where nothing changes.

    Raises:
        ConfigError, DataError: as `load_task`; the backbone was loaded for another template.
    """
    if config.template != backbone.template:
        raise ConfigError(
            f"data.template is {config.template}, but backbone '{backbone.name}' was loaded for "
            f"{backbone.template} inputs; load it with template='{config.template}'."
        )
    data = load_task(name, config)
    chat = backbone.chat
    fingerprint = data.fingerprint if chat is None else chat.fingerprint(data.fingerprint)
    model, told = backbone.name + backbone.revision, data.spec
    own = (tuple(told.metrics), told.max_target_tokens)  # of a task that a person describes
    key = (name, fingerprint, model, config.max_source_tokens, *own)
    if key not in _CACHE:
        spec = with_room(data.spec, backbone)
        limits = (config.max_source_tokens, spec.max_target_tokens)

        def encoded(split: str) -> EncodedRows:
            place = place_for(fingerprint, split, backbone, limits)
            return EncodedRows(data.split(split), backbone, *limits, place)

        texts: dict[str, Sequence[Example]] = {"validation": data.validation, "test": data.test}
        rows: dict[str, Sequence[Encoded]] = {split: encoded(split) for split in texts}
        _CACHE[key] = TokenisedTask(spec, fingerprint, encoded("train"), texts, rows, data.rule)
    return _CACHE[key]


def with_room(spec: TaskSpec, backbone: Backbone) -> TaskSpec:
    """Return the task with answers long enough for its longest label word and the end mark."""
    if not spec.labels:
        return spec
    longest = max(len(word) for word in backbone.speech.answers(spec.labels)) + 1
    return replace(spec, max_target_tokens=max(spec.max_target_tokens, longest))


class Joined(Sequence[Encoded]):
    """Rows of several tasks one after the other."""

    def __init__(self, parts: Sequence[Sequence[Encoded]]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def tasks_of(self, rows: np.ndarray) -> np.ndarray:
        """Return which part each row comes from."""
        return np.searchsorted(self._ends, rows, side="right")

    @overload
    def __getitem__(self, row: int) -> Encoded: ...
    @overload
    def __getitem__(self, row: slice) -> list[Encoded]: ...
    def __getitem__(self, row: int | slice) -> Encoded | list[Encoded]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        part = int(np.searchsorted(self._ends, row, side="right"))
        return self._parts[part][int(row) - int(self._ends[part - 1] if part else 0)]


def join(tasks: Sequence[TokenisedTask]) -> tuple[str, Sequence[Encoded]]:
    """Return fingerprint and training rows of an examples-proportional mixture of tasks."""
    text = "+".join(task.fingerprint for task in tasks)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return digest, Joined([task.train for task in tasks])


@lru_cache(maxsize=256)
def _epoch(fingerprint: str, data_seed: int, run_seed: int, rows: int, epoch: int) -> np.ndarray:
    text = f"{fingerprint}/{data_seed}/{run_seed}/{epoch}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).permutation(rows)


def batch_rows(
    fingerprint: str, data_seed: int, run_seed: int, batch_size: int, step: int, rows: int
) -> np.ndarray:
    """Return the training rows of a step: consecutive pieces of one shuffled epoch after another.

    Args:
        fingerprint: of the target's data.
        data_seed: the experiment's data seed.
        run_seed: the run's seed.
        batch_size: examples a step.
        step: from 1.
        rows: training rows there are.

    Returns:
        `[batch_size]` row numbers; an epoch's end is carried over, so small data repeats.
    """
    places = np.arange((step - 1) * batch_size, step * batch_size)
    chosen = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(places // rows):
        inside = places // rows == epoch
        order = _epoch(fingerprint, data_seed, run_seed, rows, int(epoch))
        chosen[inside] = order[places[inside] % rows]
    return chosen


FEW = 48
"""Up to so many examples of a step stand several in a row. Of more, many have the same length, so
that cutting them by length leaves little padding, and short rows have the cheaper attention."""
PIECE = 2048
"""Tokens of a packed micro-batch at most: what a layer computes of more does not stay in a
processor's cache. Both measured (docs/log.md, 2026-11-27)."""


@dataclass(frozen=True)
class Cutting:
    """How the examples of a step become micro-batches; see `training.engine`."""

    apart: int | None = None
    """What one more micro-batch costs, in padded tokens; see `cut`."""
    reach: float | None = None
    """Of `Packing`; None: examples are padded."""
    filled: bool = False
    """Whether micro-batches are filled up to few shapes, to be recorded; see `backbones.graphs`."""

    def pieces(
        self,
        lengths: Sequence[int],
        prompt_length: int,
        budget: int,
        runs: Sequence[int] | np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """Return which examples share a micro-batch.

        Args:
            lengths: tokens of each example without prompt.
            prompt_length: r, added to each.
            budget: tokens a micro-batch may hold, padding included; one example always fits.
            runs: which run each example is of; None: all are of one.
        """
        if self.reach is None:
            return cut(lengths, prompt_length, budget, self.apart)
        if self.filled:
            return filling([length + prompt_length for length in lengths], budget, runs)
        return pieces([length + prompt_length for length in lengths], min(budget, PIECE))

    def of(self, examples: int) -> Cutting:
        """Return how a step of so many examples is cut."""
        return self if examples <= FEW or self.filled else Cutting(self.apart)

    def packing(self, prompt_length: int, runs: Sequence[int] = ()) -> Packing | None:
        """Return how a micro-batch's examples are put into rows; None: each has its own.

        Args:
            prompt_length: r.
            runs: which run each example is of.
        """
        if self.filled:
            return Packing(prompt_length, self.reach or 0.0, True, tuple(runs) or None)
        return None if self.reach is None else Packing(prompt_length, self.reach)

    def filling(self, examples: int) -> int:
        """Return how many rows a micro-batch of so many examples is filled up with."""
        return filled_count(examples) - examples if self.filled else 0


def filling(
    widths: Sequence[int], budget: int, runs: Sequence[int] | np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut examples in their order, so that runs stay together, into equal micro-batches.

    One whose rows, filled up, hold more than the budget is halved, as where a long example makes
    the rows of all runs long.

    Args:
        widths: tokens of each example, prompt included.
        budget: tokens a micro-batch may hold; one example always fits.
        runs: which run each example is of; None: all are of one.
    """
    count = max(1, -(-sum(widths) // budget))
    ends = np.cumsum(widths)
    parts = np.minimum((ends - 1) * count // max(1, int(ends[-1])), count - 1)
    left = [np.flatnonzero(parts == part) for part in reversed(range(count))]
    sizes = np.asarray(widths)
    owners = np.zeros(len(widths), dtype=np.int64) if runs is None else np.asarray(runs)
    found: list[np.ndarray] = []
    while left:
        piece = left.pop()
        if len(piece) > 1 and filled_size(sizes[piece].tolist(), owners[piece]) > budget:
            left += reversed(np.array_split(piece, 2))
        elif len(piece):
            found.append(piece)
    return found


MANY, NEARLY = 64, 8
"""Of more examples than MANY, lengths are told apart in steps of NEARLY tokens only."""


def cut(
    lengths: Sequence[int], prompt_length: int, budget: int, apart: int | None = None
) -> list[np.ndarray]:
    """Cut examples, sorted by length, into micro-batches of at most `budget` padded tokens.

    Args:
        lengths: tokens of each example without prompt.
        prompt_length: r, added to each.
        budget: padded tokens a micro-batch may hold; one example always fits.
        apart: padded tokens that one more micro-batch costs as much as: examples of similar length
            are cut off from longer ones where that saves more padding. None: filled to the budget.

    Returns:
        Index arrays, longest examples first (so that memory peaks at once).
    """
    widths = np.asarray(lengths) + prompt_length
    order = np.argsort(-widths, kind="stable")
    parts = [order] if apart is None else _alike(widths[order], order, budget, apart)
    pieces: list[np.ndarray] = []
    for part in parts:
        start = 0
        while start < len(part):
            count = max(1, budget // int(widths[part[start]]))
            pieces.append(part[start : start + count])
            start += count
    return pieces


def _alike(widths: np.ndarray, order: np.ndarray, budget: int, apart: int) -> list[np.ndarray]:
    """Split examples, longest first, where Σ (rows × widest + apart) over the parts is least.

    Args:
        widths: `[b]` padded tokens of each, falling.
        order: `[b]` what is split.
        budget: a part larger than it counts as the micro-batches it will be cut into.
        apart: what a micro-batch costs beside its tokens.
    """
    if not len(order):
        return []
    # equal lengths stay together, of many examples also nearly equal ones
    levels = widths if len(widths) <= MANY else -(-widths // NEARLY)
    starts = np.flatnonzero(np.diff(levels, prepend=levels[0] + 1))
    ends = np.append(starts[1:], len(widths))
    least, before = np.zeros(len(starts) + 1), np.zeros(len(starts), dtype=np.int64)
    for last, end in enumerate(ends):
        firsts = starts[: last + 1]
        tokens = (end - firsts) * widths[firsts]
        cost = least[: last + 1] + tokens + apart * np.ceil(tokens / budget)
        before[last] = np.argmin(cost)
        least[last + 1] = cost[before[last]]
    bounds, last = [len(order)], len(starts)
    while last:
        last = int(before[last - 1])
        bounds.append(int(starts[last]))
    bounds.reverse()
    return [order[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
