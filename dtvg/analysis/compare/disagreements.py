"""Where do two runs, or two methods, answer differently? Example by example.

Rows of `predictions` are matched by the fingerprint of the example's content, so that runs of
different experiments can be set against each other. docs/run_files.md "predictions".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis.statistics import mcnemar_p
from dtvg.analysis.unread import Unread
from dtvg.analysis.words import counted
from dtvg.store.reader import Run, read_table

BOTH, ONLY_A, ONLY_B, NEITHER = "both right", "only A right", "only B right", "both wrong"
KINDS = (BOTH, ONLY_A, ONLY_B, NEITHER)
_COLUMNS = ["step", "row", "fingerprint", "target", "prediction", "correct", "value", "margin"]


@dataclass(frozen=True, eq=False)
class DisagreementInfo:
    """Answers of A and B on the same examples, over one or several pairs of runs."""

    a: str
    b: str
    split: str
    counts: pd.DataFrame
    """`seed, examples` and a column per kind; one row per pair of runs, last row the sum."""
    examples: pd.DataFrame
    """`seed, row, fingerprint, kind, target, answer_a, answer_b, value_a, value_b, margin_a,
    margin_b`: one row per example and pair, those on which they differ first."""
    p: float
    """McNemar's test on examples pooled over the pairs: one pair only, else NaN, since the same
    example under several seeds is not several examples."""
    test: str
    """Which form of the test."""
    notes: tuple[str, ...]

    def of(self, kind: str | None) -> pd.DataFrame:
        """Return the examples of one kind; None: all."""
        if kind is None:
            return self.examples
        return self.examples[self.examples["kind"] == kind].reset_index(drop=True)


def disagreement_info(
    pairs: Sequence[tuple[Run, Run]], a: str, b: str, split: str = "test"
) -> DisagreementInfo:
    """Set the answers of two sides against each other.

    Args:
        pairs: runs of A and B, one pair per seed.
        a: name of the one side.
        b: name of the other.
        split: `test` or `validation`; answers at the best step count.
    """
    frames, notes, unread = [], [], Unread()
    for first, second in pairs:
        mine, other = (unread.tried(r, lambda run: answers(run, split)) for r in (first, second))
        if mine is None or other is None:
            continue
        silent = [r.name for r, t in ((first, mine), (second, other)) if not len(t)]
        if silent:
            notes.append(
                f"{' and '.join(silent)} stored no answers on {split} "
                "(evaluation.keep_predictions; runs of older versions have none)."
            )
            continue
        joined = _join(mine, other, first.seed)
        lost = len(mine) + len(other) - 2 * len(joined)
        if lost:
            was, are = ("was", "is") if lost == 1 else ("were", "are")
            notes.append(
                f"{first.name} and {second.name}: {counted(lost, 'example')} {was} answered by "
                f"only one of them and {are} left out."
            )
        frames.append(joined)
    notes += filter(None, (unread.note,))
    examples = _empty() if not frames else pd.concat(frames, ignore_index=True)
    examples = examples.sort_values(
        ["kind", "row", "seed"],
        key=lambda c: c.map({ONLY_A: 0, ONLY_B: 1, NEITHER: 2, BOTH: 3}) if c.name == "kind" else c,
        ignore_index=True,
        kind="stable",
    )
    counts = _counts(examples)
    p, test = float("nan"), ""
    if len(frames) == 1 and len(examples):
        p, test = mcnemar_p(int(counts[ONLY_A].iloc[-1]), int(counts[ONLY_B].iloc[-1]))
    return DisagreementInfo(a, b, split, counts, examples, p, test, tuple(dict.fromkeys(notes)))


def pair_runs(first: Sequence[Run], second: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pair two sides by seed; two lone runs are a pair whatever their seeds.

    Args:
        first: runs of the one side on one target, one per seed.
        second: of the other.
    """
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    by_seed = {run.seed: run for run in second}
    return [(run, by_seed[run.seed]) for run in first if run.seed in by_seed]


def answers(run: Run, split: str) -> pd.DataFrame:
    """Return a run's answers at its best step (the newest where it has not finished)."""
    table = read_table(run, "predictions", [*_COLUMNS, "split", "task"]).to_pandas()
    table = table[(table["split"] == split) & (table["task"] == run.target)]
    if not len(table):
        return table
    best = run.result.best_step if run.result is not None else None
    step = best if best is not None and (table["step"] == best).any() else table["step"].max()
    return table[table["step"] == step].reset_index(drop=True)


def _join(mine: pd.DataFrame, other: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Match by content; the same text several times in a split is matched in order."""
    keys = ["fingerprint", "occurrence"]
    sides = [
        t.sort_values("row", kind="stable").assign(
            occurrence=lambda f: f.groupby("fingerprint").cumcount()
        )
        for t in (mine, other)
    ]
    both = sides[0].merge(sides[1], on=keys, suffixes=("_a", "_b"), validate="one_to_one")
    right_a, right_b = both["correct_a"].astype(bool), both["correct_b"].astype(bool)
    kinds = np.select(
        [right_a & right_b, right_a & ~right_b, ~right_a & right_b], KINDS[:3], NEITHER
    )
    return pd.DataFrame(
        {
            "seed": seed,
            "row": both["row_a"],
            "fingerprint": both["fingerprint"],
            "kind": kinds,
            "target": both["target_a"],
            "answer_a": both["prediction_a"],
            "answer_b": both["prediction_b"],
            "value_a": both["value_a"],
            "value_b": both["value_b"],
            "margin_a": both["margin_a"],
            "margin_b": both["margin_b"],
        }
    )


def _empty() -> pd.DataFrame:
    columns = ["seed", "row", "fingerprint", "kind", "target", "answer_a", "answer_b"]
    return pd.DataFrame(columns=[*columns, "value_a", "value_b", "margin_a", "margin_b"])


def _counts(examples: pd.DataFrame) -> pd.DataFrame:
    """Kinds per pair, and their sum where there are several pairs."""
    rows = []
    for seed, of_seed in examples.groupby("seed", sort=True):
        kinds = of_seed["kind"].value_counts()
        rows.append([str(seed), len(of_seed), *(int(kinds.get(k, 0)) for k in KINDS)])
    if len(rows) > 1:
        rows.append(["all", *np.array([r[1:] for r in rows]).sum(axis=0).tolist()])
    return pd.DataFrame(rows, columns=["seed", "examples", *KINDS])
