"""What if? Another rule, cut, measure or λ, or a source left out, decided from the log.

The logged Gram matrices decide again, step by step, without the model. The replay shows what
another rule would have chosen on THIS run's vectors; a run trained under that rule would have
moved its vectors differently.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.run import segments
from dtvg.analysis.statistics import jaccard
from dtvg.config import RunConfig
from dtvg.errors import DataError, unknown
from dtvg.rule.decide import decide_steps
from dtvg.rule.memory import has_memory, needs_every_step
from dtvg.rule.rules import RULE_NAMES, rule_of
from dtvg.rule.subsets import MAX_EXACT_SOURCES
from dtvg.rule.types import RuleSettings
from dtvg.store.reader import Run, no_configuration, only_scores, read_grams, read_table

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]

OWN_VECTORS = (
    "Decided from this run's own vectors. A run trained with these settings would have moved "
    "them differently."
)
_SUBSET_ROWS = 2_000_000
"""Subset values held at once while replaying rule `exact`."""
_SUBSET_WORK = 20_000_000
"""Subset values computed in one replay at most; beyond, only every k-th step is replayed."""


@dataclass(frozen=True, eq=False)
class ReplayInfo:
    """Logged and replayed groups side by side; arrays `[S]` or `[S n]`."""

    run: str
    target: str
    settings: RuleSettings
    """What the replay decided with."""
    left_out: tuple[str, ...]
    sources: tuple[str, ...]
    """Sources replayed: the run's without those left out."""
    steps: Ints
    similarity: Singles
    """As the replay measured it."""
    logged: Bools
    replayed: Bools
    n_candidates: Ints
    consistency: Singles
    """`[S]`: of the replayed group."""
    notes: tuple[str, ...]
    logged_timeline: pd.DataFrame
    replayed_timeline: pd.DataFrame
    exact: bool
    """Whether both timelines hold exact intervals."""

    @property
    def same(self) -> npt.NDArray[np.bool_]:
        """`[S]`: whether both groups are the same."""
        return np.asarray((self.logged == self.replayed).all(axis=1))

    @property
    def agreement(self) -> float:
        """Share of steps with the same group; NaN without steps."""
        return float(self.same.mean()) if len(self.steps) else float("nan")

    @property
    def mean_jaccard(self) -> float:
        """Mean over steps of |A ∩ B| / |A ∪ B|; NaN without steps."""
        overlap = jaccard(self.logged, self.replayed)
        return float(overlap.mean()) if len(self.steps) else float("nan")

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per source: share of steps in the group, logged and replayed."""
        filled = len(self.steps) > 0
        mean = (lambda m: m.mean(axis=0)) if filled else (lambda m: np.full(m.shape[1], np.nan))
        return pd.DataFrame(
            {
                "source": self.sources,
                "logged_share": mean(self.logged),
                "replayed_share": mean(self.replayed),
                "same_share": mean(self.logged == self.replayed),
            }
        ).assign(change=lambda t: t["replayed_share"] - t["logged_share"])

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Both timelines in one table; `which` is logged or replayed."""
        both = {"logged": self.logged_timeline, "replayed": self.replayed_timeline}
        frames = [frame.assign(which=which) for which, frame in both.items()]
        return pd.concat(frames, ignore_index=True)

    @cached_property
    def combinations(self) -> pd.DataFrame:
        """Which groups the replay chose and how long."""
        return segments.combinations(self.steps, self.sources, self.replayed)


def replay(
    run: Run,
    *,
    leave_out: Sequence[str] = (),
    first: int | None = None,
    last: int | None = None,
    every: int | None = None,
    log: Log | None = None,
    **settings: Any,
) -> ReplayInfo:
    """Decide a run's groups again from its logged Gram matrices.

    Args:
        run: from `dtvg.store.reader`.
        leave_out: sources to replay without.
        first: first step to show; None from the start.
        last: last step to show; None to the newest.
        every: replay only every N steps; None for as many as is quick.
        log: what is read of the run, where it is replayed several times; None: read for this.
        **settings: fields of `RuleSettings` that differ from the run's own.

    Raises:
        DataError: nothing to group, an unknown setting, or an unknown source.
        ConfigError: a setting `decide` refuses.
    """
    config = _checked(run, leave_out, settings)
    used = RuleSettings.of(config.rule_settings, **settings)
    kept = [i for i, s in enumerate(config.sources) if s not in set(leave_out)]
    rows = np.array([0, *(i + 1 for i in kept)])
    if used.rule not in RULE_NAMES:
        raise DataError(unknown("grouping rule", used.rule, RULE_NAMES))
    if has_memory(used):
        every = _unthinned(run, used, len(kept), last, every)
    elif every is None:
        every = _affordable(run, used, len(kept), first, last)
    log = log or Log(run)
    steps, decided = _decide_all(log, rows, used, first, last, every, config.seed)
    logged = log.membership(config.sources, steps, first, last)[:, kept]
    sources = tuple(config.sources[i] for i in kept)
    return _info(run, used, tuple(leave_out), sources, steps, logged, decided, every)


class Log:
    """What replays of one run read of it, each thing once."""

    def __init__(self, run: Run) -> None:
        """Read nothing yet."""
        self._run = run
        self.grams = functools.cache(functools.partial(read_grams, run))
        self._rows = functools.cache(self._read_rows)

    def membership(
        self, sources: tuple[str, ...], steps: Ints, first: int | None, last: int | None
    ) -> Bools:
        """Return the logged membership `[S n]` at `steps`."""
        member = np.zeros((len(steps), len(sources)), dtype=bool)
        if not len(steps):
            return member
        at, names, indices, values = self._rows(first, last)
        place = np.array([sources.index(name) for name in names])
        row = np.minimum(np.searchsorted(steps, at), len(steps) - 1)
        wanted = steps[row] == at
        member[row[wanted], place[indices][wanted]] = values[wanted]
        return member

    def _read_rows(
        self, first: int | None, last: int | None
    ) -> tuple[Ints, list[str], Ints, Bools]:
        """Return step, names with the place of each row's source among them, and membership."""
        rows = read_table(self._run, "sources", ["step", "source", "member"], first, last)
        coded = rows.column("source").combine_chunks().dictionary_encode()
        indices = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        names = coded.dictionary.to_pylist()
        return rows.column("step").to_numpy(), names, indices, rows.column("member").to_numpy()


def _checked(run: Run, leave_out: Sequence[str], settings: Mapping[str, Any]) -> RunConfig:
    """Return the run's configuration, or say why there is nothing to replay."""
    config = run.config
    if config is not None and config.logging.detail == "scores":
        raise DataError(only_scores(run.name))
    if config is None:
        raise DataError(no_configuration(run.name))
    if not config.method.has_source_vectors:
        raise DataError(
            f"Run '{run.name}' logs no Gram matrices (method '{run.method}'), so nothing can be "
            "replayed; choose a run of 'dtvg', 'all_sources' or 'single'."
        )
    for name in settings:
        if name not in RuleSettings.names():
            raise DataError(unknown("setting of the rule", name, RuleSettings.names()))
    for source in leave_out:
        if source not in config.sources:
            raise DataError(unknown("source", source, config.sources))
    return config


def _affordable(
    run: Run, settings: RuleSettings, n: int, first: int | None, last: int | None
) -> int:
    """Return 1, or the stride that keeps the number of subsets in bounds where all are compared."""
    if not rule_of(settings).searches_subsets or n > MAX_EXACT_SOURCES:
        return 1
    steps = read_table(run, "steps", ["step"], first, last).num_rows
    return max(1, int(-(-steps * 2**n // _SUBSET_WORK)))


@dataclass(frozen=True)
class _Decided:
    """What the replay decided, `[S]` or `[S n]`."""

    member: Bools
    similarity: Singles
    n_candidates: Ints
    consistency: Singles


def _unthinned(
    run: Run, settings: RuleSettings, n: int, last: int | None, every: int | None
) -> int:
    """Return 1: a rule with a memory needs every step from the first on.

    Raises:
        DataError: if steps were to be left out, or are too many for rule `exact`.
    """
    if needs_every_step(settings) and run.config is not None and run.config.logging.gaps:
        raise DataError(
            f"Run '{run.name}' has a thinned log, and this rule needs the group of the step "
            "before; replay a run with full detail, or a rule without a memory."
        )
    needed = _affordable(run, settings, n, None, last)
    if max(every or 1, needed) > 1:
        raise DataError(
            "A rule with a memory (fixed, init_only, regroup_every, hysteresis) is replayed step "
            f"by step from the first one, and here only one in {max(every or 1, needed)} would be "
            "decided; replay it with every=1 and, for rule 'exact', up to an earlier last step."
        )
    return 1


def _decide_all(
    log: Log,
    rows: Ints,
    settings: RuleSettings,
    first: int | None,
    last: int | None,
    every: int,
    seed: int,
) -> tuple[Ints, _Decided]:
    """Decide every step of the range; rules with a memory start at the run's first step."""
    n = len(rows) - 1
    start = None if has_memory(settings) else first
    steps, grams = log.grams(start, last, every)
    if len(grams):
        grams = grams[:, rows[:, None], rows]
    else:
        grams = np.zeros((0, n + 1, n + 1), dtype=np.float32)
    chunk = 4096
    if rule_of(settings).searches_subsets:
        chunk = max(1, min(chunk, _SUBSET_ROWS // 2 ** min(n, MAX_EXACT_SOURCES)))
    made = decide_steps(grams, steps, settings, chunk, seed)
    shown = np.flatnonzero(steps >= (first or 0))
    return steps[shown], _Decided(
        made.member[shown],
        made.similarity.astype(np.float32)[shown],
        made.n_candidates.astype(np.int64)[shown],
        made.consistency.astype(np.float32)[shown],
    )


def _info(
    run: Run,
    settings: RuleSettings,
    left_out: tuple[str, ...],
    sources: tuple[str, ...],
    steps: Ints,
    logged: Bools,
    decided: _Decided,
    every: int,
) -> ReplayInfo:
    """Put the replay together with its timelines and notes."""
    position = steps if every == 1 else np.arange(len(steps), dtype=np.int64)
    timelines = []
    for member in (logged, decided.member):
        table, exact = segments.timeline(position, sources, member, decided.similarity)
        if every > 1 and len(table):
            table["first"] = steps[table["first"].to_numpy()]
            table["last"] = steps[table["last"].to_numpy()]
        timelines.append((table, exact))
    sampled = (f"Only one step in {every} is replayed.",) if every > 1 else ()
    return ReplayInfo(
        run=run.name,
        target=run.target,
        settings=settings,
        left_out=left_out,
        sources=sources,
        steps=steps,
        similarity=decided.similarity,
        logged=logged,
        replayed=decided.member,
        n_candidates=decided.n_candidates,
        consistency=decided.consistency,
        notes=(OWN_VECTORS, *sampled),
        logged_timeline=timelines[0][0],
        replayed_timeline=timelines[1][0],
        exact=timelines[0][1] and timelines[1][1] and every == 1,
    )
