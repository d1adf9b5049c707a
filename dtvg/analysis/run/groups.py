"""How a run's group formed: membership, similarity, size, changes, combinations, transitions.

The membership timeline is exact (unbroken stretches, not sampled points); only curves are
thinned. arXiv 2503.18063, figures on grouping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dtvg.analysis.downsample import MAX_POINTS, bucket_edges, thin_index
from dtvg.analysis.run import segments
from dtvg.analysis.run.segments import breaks_of, group_name, zero_vectors
from dtvg.analysis.words import counted
from dtvg.config import RunConfig
from dtvg.errors import StoreError
from dtvg.store.holds import Stretch, history, stretches
from dtvg.store.reader import READERS, Run, configs_but, only_scores, read_grams, read_table
from dtvg.store.shares import noted_shares

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Singles = npt.NDArray[np.float32]

CHURN_BUCKETS = 300
"""Bars of the churn plot at most."""

SOURCE_COLUMNS = (
    "step",
    "source",
    "similarity",
    "rank",
    "candidate",
    "member",
    "consistency",
    "weight",
    "contribution_norm",
    "scale_negative",
)
STEP_COLUMNS = ("step", "n_candidates", "group_size", "consistency", "consistency_margin")


@dataclass(frozen=True, eq=False)
class Membership:
    """Which sources were in a run's group at each step: what seeds are compared by."""

    run: str
    method: str
    target: str
    seed: int
    sources: tuple[str, ...]
    """n names, in the order of the run's configuration."""
    steps: Ints
    member: Bools
    """`[S n]`."""


@dataclass(frozen=True, eq=False)
class GroupInfo(Membership):
    """Everything the groups page shows of one run; arrays are `[S]` or `[S n]` over steps."""

    similarity_of: str
    """What similarity compares, as an axis title."""
    threshold: float
    """The cut: smallest similarity of a candidate; not finite where there is none."""
    similarity: Singles
    rank: npt.NDArray[np.int32]
    candidate: Bools
    """False throughout for soft methods, which know no candidates."""
    weight: Singles
    """Weight of the source's scaled vector (or prompt) in the merge; 0 or 1 for groups."""
    contribution: Singles
    """Frobenius norm of what the source adds to the prompt."""
    negative: Singles
    """Share of the source's scale entries below 0, where it is subtracted; NaN: not logged."""
    consistency_by_source: Singles
    """`[S n]`: consistency of the prefix that ends at the source; NaN: no candidate."""
    group_size: Ints
    n_candidates: Ints
    """−1 where the method knows no candidates."""
    consistency: Singles
    """`[S]`: of the actual group."""
    consistency_margin: Singles
    """`[S]`: KC(k*) minus the best other KC(k); NaN with fewer than two candidates."""
    churn: Ints
    """`[S]`: sources that entered or left against the step before."""
    settling_step: int | None
    """First step of the group that was never changed again in these steps."""
    notes: tuple[str, ...]
    """What a reader must know about these numbers, one sentence each."""
    timeline: pd.DataFrame
    """Membership: one row per source and unbroken interval (or bucket, see `exact`)."""
    exact: bool
    """Whether every row of `timeline` is an exact interval."""
    held: tuple[Stretch, ...] = ()
    """What was pinned or banned by hand, and when."""

    @property
    def table(self) -> pd.DataFrame:
        """The membership timeline, as plotted."""
        return self.timeline

    @cached_property
    def events(self) -> pd.DataFrame:
        """Every change of the group: `step, source, event (start|enter|leave), similarity`."""
        return segments.changes(self.steps, self.sources, self.member, self.similarity)

    @cached_property
    def combinations(self) -> pd.DataFrame:
        """Which groups occurred and how long, most frequent first."""
        return segments.combinations(self.steps, self.sources, self.member)

    @cached_property
    def strip(self) -> pd.DataFrame:
        """When each of the ten most frequent groups was in force: `members, first, last,
        steps, share` (share below 1: buckets, where the group changed too often)."""
        return segments.strip(self.steps, self.sources, self.member)[0]

    @cached_property
    def similarity_table(self) -> pd.DataFrame:
        """Similarity curves as plotted: `source, step, similarity, rank, member`, thinned."""
        rows, codes = _thinned(self.similarity)
        return pd.DataFrame(
            {
                "source": segments.named(codes, self.sources),
                "step": self.steps[rows],
                "similarity": self.similarity[rows, codes],
                "rank": self.rank[rows, codes],
                "member": self.member[rows, codes],
            }
        )

    @property
    def weighs(self) -> bool:
        """Whether any source was ever taken by a weight other than 0 and 1."""
        return bool(((self.weight != 0) & (self.weight != 1)).any())

    @cached_property
    def weight_table(self) -> pd.DataFrame:
        """Weights as plotted: `source, step, weight, contribution`, thinned by both, and the
        `negative` share of the scale's entries."""
        both = np.stack([self.weight, self.contribution], axis=-1)
        rows, codes = _thinned(both)
        return pd.DataFrame(
            {
                "source": segments.named(codes, self.sources),
                "step": self.steps[rows],
                "weight": self.weight[rows, codes],
                "contribution": self.contribution[rows, codes],
                "negative": self.negative[rows, codes],
            }
        )

    @property
    def negative_share(self) -> float:
        """Share of the members' scale entries below 0, over all steps; NaN: not logged, or no
        member."""
        return _mean(self.negative[self.member])

    @cached_property
    def size_table(self) -> pd.DataFrame:
        """Group size as plotted: `step, group_size, n_candidates, consistency,
        consistency_margin`, thinned so that extremes of size and candidates stay."""
        both = np.stack([self.group_size, self.n_candidates], axis=1)
        kept = thin_index(both, MAX_POINTS)
        return pd.DataFrame(
            {
                "step": self.steps[kept],
                "group_size": self.group_size[kept],
                "n_candidates": pd.array(self.n_candidates[kept], dtype="Int64").copy(),
                "consistency": self.consistency[kept],
                "consistency_margin": self.consistency_margin[kept],
            }
        ).assign(n_candidates=lambda t: t["n_candidates"].mask(t["n_candidates"] < 0))

    @cached_property
    def churn_table(self) -> pd.DataFrame:
        """Changes counted in buckets of steps: `first, last, changes, per_step`."""
        if not len(self.steps):
            return pd.DataFrame({"first": [], "last": [], "changes": [], "per_step": []})
        edges = bucket_edges(len(self.steps), CHURN_BUCKETS)
        count = np.add.reduceat(self.churn, edges[:-1])
        return pd.DataFrame(
            {
                "first": self.steps[edges[:-1]],
                "last": self.steps[edges[1:] - 1],
                "changes": count,
                "per_step": count / np.diff(edges),
            }
        )

    @cached_property
    def source_table(self) -> pd.DataFrame:
        """One row per source: share of steps in the group, entries, similarity, last state."""
        rows = range(len(self.sources))
        started = segments.find_segments(self.steps, self.member)
        empty = not len(self.steps)
        last = self.member[-1] if not empty else np.zeros(len(self.sources), dtype=bool)
        return pd.DataFrame(
            {
                "source": self.sources,
                "share": [_mean(self.member[:, s]) for s in rows],
                "stretches": np.bincount(started.source, minlength=len(self.sources)),
                "first_in": _first_steps(self.steps, self.member),
                "in_group_now": last,
                "similarity_mean": [_mean(self.similarity[:, s]) for s in rows],
                "similarity_last": self.similarity[-1] if not empty else np.nan,
                "candidate_share": [_mean(self.candidate[:, s]) for s in rows],
                "rank_mean": [_mean(self.rank[:, s]) + (0 if empty else 1) for s in rows],
                "negative_share": [_mean(self.negative[self.member[:, s], s]) for s in rows],
            }
        )


def group_info(run: Run, first: int | None = None, last: int | None = None) -> GroupInfo:
    """Read how a run's group formed.

    Args:
        run: from `dtvg.store.reader`.
        first: first step to read; None from the start.
        last: last step to read; None to the newest committed step.

    Returns:
        The Info; with no rows and a note where the run has nothing to group.

    Raises:
        StoreError: if the rows are not n per step (`runs verify` says more).
    """
    rows = read_table(run, "sources", list(SOURCE_COLUMNS), first, last)
    sources, steps, order = _layout(rows, _configured_sources(run), run.name)
    shape = (len(steps), len(sources))
    columns = {name: _matrix(rows, name, order, shape) for name in SOURCE_COLUMNS[2:]}
    member = columns["member"].astype(bool)
    similarity = columns["similarity"].astype(np.float32)
    by_step = read_table(run, "steps", list(STEP_COLUMNS), first, last)
    extra = _aligned(by_step, steps)
    table, exact = segments.timeline(steps, sources, member, similarity)
    return GroupInfo(
        run=run.name,
        method=run.method,
        target=run.target,
        seed=run.seed,
        sources=sources,
        similarity_of=_similarity_of(run),
        threshold=_threshold(run),
        steps=steps,
        similarity=similarity,
        rank=columns["rank"].astype(np.int32),
        candidate=columns["candidate"].astype(bool),
        member=member,
        weight=columns["weight"].astype(np.float32),
        contribution=columns["contribution_norm"].astype(np.float32),
        negative=columns["scale_negative"].astype(np.float32),
        consistency_by_source=columns["consistency"].astype(np.float32),
        group_size=member.sum(axis=1),
        n_candidates=np.nan_to_num(extra["n_candidates"], nan=-1).astype(np.int64),
        consistency=extra["consistency"].astype(np.float32),
        consistency_margin=extra["consistency_margin"].astype(np.float32),
        churn=segments.churn(steps, member),
        settling_step=segments.settling_step(steps, member),
        notes=(*_notes(run, steps, table, exact), *_zero_vectors(run, steps, sources, columns)),
        timeline=table,
        exact=exact,
        held=tuple(stretches(history(run))),
    )


@dataclass(frozen=True, eq=False)
class ShareInfo:
    """How often each source was in a run's group: what a glance at many runs needs."""

    method: str
    sources: tuple[str, ...]
    shares: npt.NDArray[np.float64]
    """`[n]`: share of the logged steps; NaN where none is logged."""


def share_info(run: Run) -> ShareInfo:
    """Read the shares of `GroupInfo.source_table`: as noted when the run ended, or from its log,
    which is a fifth of the work of `group_info`.

    Raises:
        StoreError: if the rows are not n per step.
    """
    noted = noted_shares(run)
    if noted:
        return ShareInfo(run.method, tuple(noted), np.array(list(noted.values())))
    rows = read_table(run, "sources", ["step", "source", "member"])
    sources, steps, order = _layout(rows, _configured_sources(run), run.name)
    member = _matrix(rows, "member", order, (len(steps), len(sources)))
    return ShareInfo(run.method, sources, np.array([_mean(column) for column in member.T]))


def membership_of(run: Run, config: RunConfig | None) -> Membership:
    """Read the membership in `group_info` alone, which is a fifth of the work.

    Args:
        run: whose.
        config: its own or another seed's; None where it cannot be read.

    Raises:
        StoreError: if the rows are not n per step.
    """
    rows = read_table(run, "sources", ["step", "source", "member"])
    configured = () if config is None else tuple(config.sources)
    sources, steps, order = _layout(rows, configured, run.name)
    member = _matrix(rows, "member", order, (len(steps), len(sources))).astype(bool)
    return Membership(run.name, run.method, run.target, run.seed, sources, steps, member)


def memberships(runs: Sequence[Run]) -> list[Membership]:
    """Return `membership_of` each run, read several at a time; seeds share their settings."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(membership_of, runs, configs_but(runs, ("name", "seed"))))


def shares_of(runs: Sequence[Run]) -> list[ShareInfo]:
    """Return `share_info` of each run, read several at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(share_info, runs))


def _configured_sources(run: Run) -> tuple[str, ...]:
    return tuple(run.config.sources) if run.config is not None else ()


def _similarity_of(run: Run) -> str:
    if run.config is None:
        return "similarity"
    if run.config.method.ranks_prompts:
        return "cosine of the prompts"
    cosine = run.config.rule_settings.measure == "cosine"
    return "similarity to the target" + (" (cosine)" if cosine else "")


def _threshold(run: Run) -> float:
    if run.config is None:
        return 0.0
    if run.config.method.soft:
        return float("nan")
    return run.config.rule_settings.threshold


def _notes(run: Run, steps: Ints, table: pd.DataFrame, exact: bool) -> tuple[str, ...]:
    if run.config is not None and run.config.logging.detail == "scores":
        return (only_scores(run.name),)
    if not len(steps):
        return (f"Method '{run.method}' groups no sources, or no step is committed yet.",)
    thinned: tuple[str, ...] = ()
    if run.config is not None and run.config.logging.gaps:
        every = run.config.logging.thin_every
        thinned = (
            f"This run keeps a thinned log: step 1 and every {every}th step. Numbers of steps "
            "count those kept, and changes between two of them are not seen.",
        )
    if exact:
        return thinned
    sentence = (
        f"The group changed too often for exact intervals: {len(table):,} buckets are shown, "
        "each with the share of its steps in which the source was in the group."
    )
    return (*thinned, sentence)


def _zero_vectors(
    run: Run, steps: Ints, sources: tuple[str, ...], columns: Mapping[str, npt.NDArray[Any]]
) -> tuple[str, ...]:
    """Say where the target's vector is zero, and which candidate's vector is."""
    if not len(steps) or run.config is None or not run.config.method.can_hold:
        return ()
    candidate = columns["candidate"].astype(bool)
    found = []
    _, grams = read_grams(run, int(steps[-1]), int(steps[-1]))
    lost = (
        candidate[-1] & (np.diagonal(grams[-1])[1:] == 0) if len(grams) else candidate[-1] & False
    )
    names = [s for s, zero in zip(sources, lost, strict=True) if zero]
    if names:
        found.append(zero_vectors(names))
    idle = (columns["similarity"] == 0).all(axis=1) & ~candidate.any(axis=1)
    if idle.any():
        found.append(
            f"At {counted(int(idle.sum()), 'step')} the target's vector was zero (first at step "
            f"{int(steps[idle.argmax()]):,}), so no source was a candidate."
        )
    return tuple(found)


def _layout(
    rows: pa.Table, configured: Sequence[str], name: str
) -> tuple[tuple[str, ...], Ints, Ints | None]:
    """Return source names, steps `[S]`, and the row order that makes rows step by step."""
    step = rows.column("step").to_numpy().astype(np.int64)
    coded = rows.column("source").combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    seen = coded.dictionary.to_pylist()
    sources = tuple(configured) if set(seen) <= set(configured) else tuple(seen)
    n = len(sources)
    if not len(step) or not n:
        return sources, np.empty(0, dtype=np.int64), None
    place = np.array([sources.index(s) for s in seen])
    number = place[coded.indices.to_numpy(zero_copy_only=False)]
    order = None
    expected = np.tile(np.arange(n), len(step) // n)
    if len(step) % n or (number != expected).any() or (np.diff(step) < 0).any():
        order = np.lexsort((number, step))
        step, number = step[order], number[order]
    if len(step) % n or (step.reshape(-1, n) != step[::n, None]).any():
        raise StoreError(
            f"The source rows of run '{name}' are not {n} per step (sources {', '.join(sources)}); "
            f"`dtvg runs verify {name}` says what is wrong."
        )
    return sources, step[::n].copy(), order


def _matrix(
    rows: pa.Table, name: str, order: Ints | None, shape: tuple[int, int]
) -> npt.NDArray[Any]:
    """Return one column as `[S n]`; nulls become NaN (False in truth values)."""
    column = rows.column(name)
    if pa.types.is_boolean(column.type):
        column = column.fill_null(False)
    values = column.to_numpy()
    if order is not None:
        values = values[order]
    return np.asarray(values).reshape(shape)


def _aligned(by_step: pa.Table, steps: Ints) -> dict[str, npt.NDArray[np.float64]]:
    """Return the step columns at exactly `steps` as float64; NaN where null or absent."""
    at = by_step.column("step").to_numpy()
    found = np.searchsorted(at, steps)
    known = found < len(at)
    known[known] = at[found[known]] == steps[known]
    aligned = {}
    for name in STEP_COLUMNS[1:]:
        values = by_step.column(name).to_numpy().astype(np.float64)
        column = np.full(len(steps), np.nan)
        column[known] = values[found[known]]
        aligned[name] = column
    return aligned


def _thinned(values: Singles) -> tuple[Ints, Ints]:
    """Return rows and sources of the points kept of `[S n]` or `[S n k]`, source by source."""
    kept = [thin_index(values[:, s], MAX_POINTS) for s in range(values.shape[1])]
    rows = np.concatenate([*kept, np.empty(0, dtype=np.int64)]).astype(np.int64)
    return rows, np.repeat(np.arange(len(kept)), [len(k) for k in kept])


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _first_steps(steps: Ints, member: Bools) -> list[int | None]:
    """Return the first step each source was in the group; None where it never was."""
    return [int(steps[column.argmax()]) if column.any() else None for column in member.T]


MOST = 9
"""Groups named in a flow; the rest share "(other)"."""
OTHER = "(other)"


@dataclass(frozen=True, eq=False)
class TransitionInfo:
    """From which group to which, and who was in together."""

    run: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    """Names by steps in force, most first; `(other)` last where there are more."""
    table: pd.DataFrame
    """`from, to, times, first, last`: changes of the group; `(other)` to `(other)` is left out."""
    together: npt.NDArray[np.float64]
    """`[n n]`: share of the steps with both sources in; the diagonal: with the source in."""

    @property
    def together_table(self) -> pd.DataFrame:
        """`source, other, share, given_source`: co-membership, also as a share of the source's
        own steps (NaN where it was never in)."""
        n = len(self.sources)
        rows, columns = np.divmod(np.arange(n * n), n)
        own = np.diag(self.together)[rows]
        share = self.together.ravel()
        given = np.divide(share, own, out=np.full(len(share), np.nan), where=own > 0)
        return pd.DataFrame(
            {
                "source": [self.sources[i] for i in rows],
                "other": [self.sources[j] for j in columns],
                "share": share,
                "given_source": given,
            }
        )


def transition_info(info: GroupInfo, most: int = MOST) -> TransitionInfo:
    """Count the changes from group to group, and co-membership.

    Args:
        info: a run's groups.
        most: groups with a name of their own.
    """
    names = info.combinations["members"].tolist()
    shown = names if len(names) <= most + 1 else [*names[:most], OTHER]
    place = {name: min(i, len(shown) - 1) for i, name in enumerate(names)}
    steps, member = info.steps, info.member
    inside = member.astype(np.float64)
    together = inside.T @ inside / max(len(steps), 1)
    changed = np.flatnonzero((member[1:] != member[:-1]).any(axis=1) & ~breaks_of(steps)[1:])
    codes = np.array([place[group_name(g, info.sources)] for g in member[changed]], dtype=int)
    after = np.array([place[group_name(g, info.sources)] for g in member[changed + 1]], dtype=int)
    frame = pd.DataFrame({"from": codes, "to": after, "step": steps[changed + 1]})
    frame = frame[frame["from"] != frame["to"]]
    table = (
        frame.groupby(["from", "to"], as_index=False)
        .agg(times=("step", "size"), first=("step", "min"), last=("step", "max"))
        .sort_values(["times", "first"], ascending=[False, True], ignore_index=True)
    )
    for column in ("from", "to"):
        table[column] = [shown[i] for i in table[column]]
    return TransitionInfo(info.run, info.sources, tuple(shown), table, together)
