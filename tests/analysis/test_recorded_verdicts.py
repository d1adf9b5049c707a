"""A recorded experiment's verdicts from its files alone: pandas and scipy, no code of ours.

The experiment is the frozen one of three seeds (`golden/frozen/examples`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dtvg import api

FROZEN = Path(__file__).resolve().parents[1] / "golden" / "frozen"
PLACE = FROZEN / "examples" / "demo-recorded"
TARGETS, SEEDS = ("trip-mood", "who-sent"), (0, 1, 2)
TESTED = ("none", "spot", "all_sources")
REFERENCE = {"target_only", "single (best by validation)", "single (mean)"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return api.open_experiment(PLACE).verdicts().set_index(["baseline", "target"])


def answers(method: str, target: str) -> np.ndarray:
    """Right or not `[S E]` at the best step, in the order of the examples' content."""
    rows = []
    for seed in SEEDS:
        folder = PLACE / f"{target}.{method}.s{seed}"
        result = json.loads((folder / "result.json").read_text())
        frame = pd.concat(pd.read_parquet(p) for p in (folder / "predictions").glob("part-*"))
        frame = frame[(frame["split"] == "test") & (frame["step"] == result["best_step"])]
        frame = frame.sort_values(["fingerprint", "row"])
        rows.append(frame["correct"].to_numpy(dtype=float))
        assert rows[-1].mean() == pytest.approx(result["test_score"])
    return np.array(rows)


def differences(baseline: str, target: str) -> list[np.ndarray]:
    """Subject minus baseline, one `[S E]` a target."""
    targets = TARGETS if target == "average" else (target,)
    return [answers("dtvg", t) - answers(baseline, t) for t in targets]


def resampled(parts: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Two-sided p and mean differences, seeds and examples drawn anew."""
    rng = np.random.default_rng(2024)
    found = []
    for _ in range(4_000):
        seeds = rng.integers(0, len(SEEDS), len(SEEDS))
        drawn = [d[seeds][:, rng.integers(0, d.shape[1], d.shape[1])].mean() for d in parts]
        found.append(np.mean(drawn))
    values = np.array(found)
    return min(1.0, 2 * min((values <= 0).mean(), (values >= 0).mean())), values


def holm_by_hand(p: list[float]) -> list[float]:
    order = np.argsort(p, kind="stable")
    found, least = [0.0] * len(p), 0.0
    for place, at in enumerate(order):
        least = max(least, min(1.0, (len(p) - place) * p[at]))
        found[at] = least
    return found


@pytest.mark.parametrize("family", [("average",), TARGETS])
def test_the_verdicts_of_the_recorded_example_as_by_hand(
    table: pd.DataFrame, family: tuple[str, ...]
) -> None:
    cells = [(baseline, target) for target in family for baseline in TESTED]
    level = 1 - 0.05 / len(cells)
    wanted = []
    for baseline, target in cells:
        parts = differences(baseline, target)
        d = np.mean([part.mean(axis=1) for part in parts], axis=0)
        row = table.loc[(baseline, target)]
        equal = np.ptp(d) < 1e-12
        t = (1.0 if abs(d.mean()) < 1e-12 else 0.25) if equal else stats.ttest_1samp(d, 0).pvalue
        both, values = resampled(parts)
        assert row["difference"] == pytest.approx(d.mean())
        assert row["p_student"] == pytest.approx(t)
        assert row["p_both"] == pytest.approx(both, abs=0.03)
        assert row["p"] == pytest.approx(max(t, row["p_both"]))
        half = stats.t.ppf((1 + level) / 2, 2) * stats.sem(d)
        ends = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        low, high = min(d.mean() - half, ends[0], 0), max(d.mean() + half, ends[1], 0)
        got = [row["low_corrected"], row["high_corrected"]]
        assert got == pytest.approx([low, high], abs=0.01)
        most = 100 * max(-row["low_corrected"], row["high_corrected"])
        wanted.append(max(t, row["p_both"]))
        assert row["verdict"] == "undecided" and row["family"] == "exploratory"
        said = float(row["statement"].removeprefix("differs by less than "))
        assert most - 1e-9 <= said < most + 0.1
    got = [table.loc[cell, "p_corrected"] for cell in cells]
    assert got == pytest.approx(holm_by_hand(wanted))


def test_crossed_effects_of_the_recorded_example_as_by_hand(table: pd.DataFrame) -> None:
    (d,) = differences("all_sources", "trip-mood")
    seeds, n = d.shape
    rows, columns = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    squares = [
        n * ((rows - d.mean()) ** 2).sum() / (seeds - 1),
        seeds * ((columns - d.mean()) ** 2).sum() / (n - 1),
        ((d - rows - columns + d.mean()) ** 2).sum() / ((seeds - 1) * (n - 1)),
    ]
    parts = np.array([squares[0], squares[1], -squares[2]]) / d.size
    freedom = np.array([seeds - 1, n - 1, (seeds - 1) * (n - 1)])
    variance = max(parts.sum(), parts[0], parts[1])
    df = variance**2 / (parts**2 / freedom).sum()
    p = 2 * stats.t.sf(abs(d.mean()) / np.sqrt(variance), df)
    assert table.loc[("all_sources", "trip-mood"), "p_crossed"] == pytest.approx(p)


def test_what_nobody_would_choose_is_not_in_the_family(table: pd.DataFrame) -> None:
    reference = table[table["family"] == "reference"]
    assert set(reference.index.get_level_values("baseline")) == REFERENCE
    assert reference["p_corrected"].isna().all()
