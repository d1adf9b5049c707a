"""Who helped whom, and is the rule right? Membership beside the measured gain of each source.

Membership is each run's share of steps with the source in the group; the gain is the score of a
`single` run minus that of `none`, paired by seed, as in the claims. docs/compare.md
"Who helped: groups beside gains".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from dtvg.analysis.claims.blocks import NONE, Block, blocks_of
from dtvg.analysis.claims.predicting import FEWEST_SOURCES, WHOLE, measure, orders_of
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.statistics import ALPHA, average_ranks, correlation
from dtvg.analysis.words import listed
from dtvg.store.reader import Run, read_table

Floats = npt.NDArray[np.float64]

START, MEAN, SHARE = "similarity_start", "similarity", "share"
TITLES = {
    START: "similarity at the start",
    MEAN: "mean similarity while training",
    SHARE: "share of steps in the group",
}
"""Quantities that are set against the gain, in the order they are drawn."""
FEWEST = 3
"""Sources without which a rank correlation is not told."""
MEMBERSHIP = [
    "target",
    "method",
    "seed",
    "source",
    "share",
    "similarity",
    "experiment",
    "run",
    "agreement",
    "alike",
]
GAINS = ["target", "source", "gain", "low", "high", "n_seeds"]
POINTS = ["target", "source", "gain", "n_seeds", START, MEAN, SHARE]
CORRELATIONS = ["target", "quantity", "rho", "p", "n_sources"]


@dataclass(frozen=True, eq=False)
class HelpedInfo:
    """Membership, gains and how far they go together; shares and scores 0..1."""

    targets: tuple[str, ...]
    membership: pd.DataFrame
    """`MEMBERSHIP`, a row per run that grouped sources and source; share and mean similarity over
    the run's recorded steps; `agreement`: Spearman's correlation, over sources, of the method's
    mean share with the gain (NaN: not measured); `alike`: mean over pairs of its seeds of
    Σ min / Σ max of their shares (NaN: one seed). Targets in order, methods by agreement, then by
    alikeness."""
    gains: pd.DataFrame
    """`GAINS`, a row per target and source with a `single` run, highest gain first: mean over
    seeds, lowest and highest seed."""
    points: pd.DataFrame
    """`POINTS`, a row per target and source with a gain: means over the seeds of `subject`; of
    similarity at the start as in claim (c)."""
    correlations: pd.DataFrame
    """`CORRELATIONS`: Spearman's of each quantity with the gain over the sources of a target; p:
    two-sided, from all orders of up to 7 sources, else of random ones."""
    subject: str
    """The method whose shares and similarities `points` holds; empty: none grouped."""
    notes: tuple[str, ...]

    def order(self, target: str) -> tuple[str, ...]:
        """Return the sources of a target, highest gain first, those without one by mean share."""
        gains = self.gains[self.gains["target"] == target]["source"].tolist()
        mine = self.membership[self.membership["target"] == target]
        shares = mine.groupby("source", sort=False)["share"].mean().sort_values(ascending=False)
        return tuple(dict.fromkeys([*gains, *shares.index]))

    def sentences(self) -> tuple[str, ...]:
        """Say of each target whether what the rule sees goes with what helps."""
        return tuple(
            _sentence(
                target,
                self.correlations[self.correlations["target"] == target],
                self.points[self.points["target"] == target],
            )
            for target in self.targets
        )


def helped_info(runs: Sequence[Run]) -> HelpedInfo:
    """Gather membership and gains.

    Args:
        runs: of one or several experiments, of any state; those that kept only scores count for
            the gains alone.
    """
    blocks = blocks_of(runs)
    gains = pd.concat([_gains(block) for block in blocks], ignore_index=True) if blocks else None
    gains = pd.DataFrame(columns=GAINS) if gains is None else gains
    found = [row for block in blocks for row in _membership(block)]
    membership = _agreeing(pd.DataFrame(found, columns=MEMBERSHIP[:-2]), gains)
    labels = membership["method"].unique().tolist()
    subject = SUBJECT if SUBJECT in labels else next(iter(labels), "")
    points = _points(blocks, membership[membership["method"] == subject], gains)
    return HelpedInfo(
        targets=tuple(block.name for block in blocks),
        membership=membership,
        gains=gains,
        points=points,
        correlations=_correlations(points),
        subject=subject,
        notes=(
            *_notes(runs, gains, membership),
            *(block.unread.note for block in blocks if block.unread.note),
        ),
    )


def _gains(block: Block) -> pd.DataFrame:
    """Return what each single source gained over no transfer, paired by seed."""
    none, rows = block.of(NONE), []
    for source, alone in block.singles.items():
        seeds = sorted(set(none) & set(alone))
        each = [(alone[s].test_score or 0.0) - (none[s].test_score or 0.0) for s in seeds]
        if each:
            row = [block.name, source, float(np.mean(each)), min(each), max(each), len(each)]
            rows.append(row)
    table = pd.DataFrame(rows, columns=GAINS)
    return table.sort_values("gain", ascending=False, kind="stable", ignore_index=True)


def _membership(block: Block) -> list[list[object]]:
    """Return a row per run that chose a group and source."""
    rows: list[list[object]] = []
    columns = ["source", "member", "similarity"]
    for run in block.runs:
        if not _chooses(run):
            continue
        name = block.label_of(run)
        table = block.unread.tried(run, lambda one: read_table(one, "sources", columns))
        if table is None or not table.num_rows:
            continue
        table = table.set_column(1, "member", pc.cast(table.column("member"), "float64"))
        mean = table.group_by("source").aggregate([("member", "mean"), ("similarity", "mean")])
        place = {s: i for i, s in enumerate(mean.column("source").to_pylist())}
        share, alike = mean.column("member_mean"), mean.column("similarity_mean")
        for source in run.sources:
            if source in place:
                at = place[source]
                numbers = [share[at].as_py(), alike[at].as_py()]
                folder = run.path.parent.name
                rows.append([block.name, name, run.seed, source, *numbers, folder, run.name])
    return rows


def _chooses(run: Run) -> bool:
    """Whether a run's log holds groups that a rule chose."""
    config = run.config
    return config is not None and config.logs_sources and config.method.can_hold


def _agreeing(membership: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """Add how far a method agrees with the gains and with itself, and sort by it."""
    gained = gains.set_index(["target", "source"])["gain"]
    parts = []
    for place, (_, of_target) in enumerate(membership.groupby("target", sort=False)):
        for _, mine in of_target.groupby("method", sort=False):
            shares = mine.pivot_table(index="seed", columns="source", values="share", sort=False)
            keys = [(mine["target"].iloc[0], s) for s in shares.columns]
            gain = gained.reindex(pd.MultiIndex.from_tuples(keys)).to_numpy(dtype=np.float64)
            rho = _rank_correlation(shares.mean().to_numpy(), gain)[0]
            values = shares.to_numpy(dtype=np.float64)
            parts.append(mine.assign(agreement=rho, alike=_alike(values), place=place))
    if not parts:
        return pd.DataFrame(columns=MEMBERSHIP)
    table = pd.concat(parts)
    table = table.sort_values(
        ["place", "agreement", "alike", "method", "seed"],
        ascending=[True, False, False, True, True],
        kind="stable",
        ignore_index=True,
    )
    return table[MEMBERSHIP]


def _alike(shares: Floats) -> float:
    """Return the mean over pairs of rows of Σ min / Σ max; NaN with one row."""
    one, other = np.triu_indices(len(shares), k=1)
    if not len(one):
        return float("nan")
    least = np.minimum(shares[one], shares[other]).sum(axis=1)
    most = np.maximum(shares[one], shares[other]).sum(axis=1)
    return float(np.divide(least, most, out=np.ones(len(one)), where=most > 0).mean())


def _rank_correlation(x: Floats, gain: Floats) -> tuple[float, float, int]:
    """Return Spearman's correlation, its two-sided p over orders, and the number of sources.

    NaN with too few sources, or where one of both does not vary.
    """
    known = np.isfinite(x) & np.isfinite(gain)
    n = int(known.sum())
    first, second = average_ranks(x[known]), average_ranks(gain[known])
    if n < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan"), float("nan"), n
    every = correlation(first, second[orders_of(n)])  # the first as it is
    p = float((np.abs(every) >= abs(every[0]) - 1e-12).mean())
    return float(every[0]), p, n


def _points(blocks: Sequence[Block], mine: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """Return the gain of each source beside its similarities and its share."""
    means = mine.groupby(["target", "source"], sort=False)[[MEAN, SHARE]].mean().reset_index()
    table = gains.merge(means, on=["target", "source"], how="left")
    rows = []
    for block in blocks:
        one = measure(block)[0] if len(block.singles) >= FEWEST_SOURCES else None
        if one is not None:
            start = one.vectors.mean(axis=0)
            rows += [[block.name, s, v] for s, v in zip(one.sources, start, strict=True)]
    starts = pd.DataFrame(rows, columns=["target", "source", START])
    return table.merge(starts, on=["target", "source"], how="left")[POINTS]


def _correlations(points: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for target, mine in points.groupby("target", sort=False):
        gain = mine["gain"].to_numpy(dtype=np.float64)
        for quantity in TITLES:
            found = _rank_correlation(mine[quantity].to_numpy(dtype=np.float64), gain)
            rows.append([target, quantity, *found])
    return pd.DataFrame(rows, columns=CORRELATIONS)


def why_undefined(points: pd.DataFrame, quantity: str) -> str:
    """Say why a quantity has no rank correlation with the gain; empty: it may have one.

    Args:
        points: rows of `HelpedInfo.points` of one target.
        quantity: one of `TITLES`.
    """
    pairs = points[[quantity, "gain"]].astype(float).dropna()
    values = pairs[quantity]
    if not len(pairs):
        return "not measured"
    if len(pairs) < FEWEST:
        return f"fewer than {FEWEST} sources"
    if values.nunique() == 1:
        return "zero for every source" if (values == 0).all() else "the same for every source"
    return "every source gains the same" if pairs["gain"].nunique() == 1 else ""


def _undefined(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Name the quantities without a correlation, with the reason."""
    lacking = [str(q) for q in rows.loc[rows["rho"].isna(), "quantity"]]
    told = [f"{TITLES[q]} has no ρ ({why_undefined(points, q)})" for q in lacking]
    return f" {'; '.join(told).capitalize()}." if told else ""


def _sentence(target: str, rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """Say what the correlations of one target show."""
    known = rows.dropna(subset=["rho"])
    if len(points) >= FEWEST and points[[MEAN, SHARE]].isna().all(axis=None):
        return f"{target}: cannot be told; no run that decides its group has a log of it."
    if not len(known):
        return (
            f"{target}: cannot be told; this needs runs of `none` and of `single` with at least "
            f"{FEWEST} sources whose gains and groups differ."
        )
    said = ", ".join(
        f"{TITLES[str(row['quantity'])]} ρ = {row['rho']:+.2f} (p {_p(row['p'])})"
        for row in known.to_dict("records")
    ).replace("-", "−")
    sure = known[known["p"] < ALPHA]
    answer = "No order here is told from chance"
    if len(sure):
        right = [TITLES[q] for q in sure.loc[sure["rho"] > 0, "quantity"]]
        wrong = [TITLES[q] for q in sure.loc[sure["rho"] < 0, "quantity"]]
        sides = ((right, "with"), (wrong, "against"))
        answer = " and ".join(
            f"{listed(names)} go{'es' * (len(names) == 1)} {how} the gain"
            for names, how in sides
            if names
        )
        answer = answer[0].upper() + answer[1:]
    count = int(known["n_sources"].max())
    return f"{target}, {count} sources: {said}. {answer}.{_undefined(rows, points)}"


def _p(p: float) -> str:
    """Write a p; none is so small that it is 0."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _notes(runs: Sequence[Run], gains: pd.DataFrame, membership: pd.DataFrame) -> tuple[str, ...]:
    """Say what the numbers rest on, and what is left out."""
    notes = []
    chose = [r for r in runs if r.role == "transfer" and r.problem is None and r.config is not None]
    blind = [
        r
        for r in chose
        if r.config is not None and r.config.method.can_hold and r.config.logging.detail == "scores"
    ]
    if blind:
        notes.append(
            f"Runs without groups here, since they kept only scores (`logging.detail: scores`): "
            f"{len(blind)}."
        )
    gaps = {r.config.logging.thin_every for r in chose if r.config and r.config.logging.gaps}
    if gaps and len(membership):
        every = " or ".join(f"{k}th" for k in sorted(gaps))
        notes.append(
            f"Some runs kept a thinned log: their shares are of step 1 and every {every} step."
        )
    if len(gains):
        least, most = int(gains["n_seeds"].min()), int(gains["n_seeds"].max())
        told = f"{least}" if least == most else f"{least} to {most}"
        notes.append(
            f"Gain: test score of `single` minus `none`, mean of {told} seed"
            f"{'' if most == 1 else 's'}. A gain of one seed is mostly chance; Transfer gives "
            "verdicts."
        )
        notes.append(
            "A gain is of a source alone; a good group may leave out a source that adds nothing "
            f"beside the others. p: over all orders of up to {WHOLE} sources, else random ones; "
            "targets are not corrected for their number."
        )
    return tuple(notes)
