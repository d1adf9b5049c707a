"""How often verdicts err between equally good methods, and how often they show a difference.

Simulated right and wrong answers: each seed of a method has its own skill, each example its own
difficulty, each method finds other examples hard; all methods meet the same examples. The tests
are those of `dtvg.analysis`, over many trials at once. Writes the limits that verdicts read
(`dtvg/analysis/compare/error_rates.csv`) and the tables of docs/verdicts.md.

    python -m benchmarks.verdicts            # about a quarter of an hour on one core
    python -m benchmarks.verdicts --print    # the tables of the file there is
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from dtvg.analysis.compare import limits
from dtvg.analysis.statistics import (
    ALPHA,
    EXACT_DISCORDANT,
    JOINT_SEEDS,
    crossed_effects,
    joint_sign_flips,
    student_p,
)

SEEDS, EXAMPLES, SPREADS = (3, 4, 5, 6, 8, 12, 20), (50, 100, 500, 1000), (0, 0.1, 0.3)
FAMILY_CELLS = [(s, e, 0.1) for s in (3, 5, 6, 8, 12) for e in (100, 500)] + [(8, 500, 0.3)]
FAMILY = 8
"""Baselines of a family, all against one subject."""
POINTS = 0.06
"""Difference in accuracy that the power is about."""
EASY, HARD, TASTE = 1.2, 1.0, 0.5
"""Log-odds of a right answer: mean, spread over examples, spread over examples by method."""
CHUNK = 8_000_000
"""Answers simulated at once."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "verdicts.md"
EVERY_PATTERN = 12
"""Seeds up to which sign flips are simulated: 2^12 patterns a trial."""
LEVEL = ALPHA + 1e-12


@cache
def shift_for(points: float, spread: float) -> float:
    """Return by how much log-odds must rise for so much more accuracy, by quadrature."""
    from scipy.optimize import brentq

    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    wide = np.sqrt(HARD**2 + TASTE**2 + spread**2)

    def accuracy(shift: float) -> float:
        return float(weights @ (1 / (1 + np.exp(-(EASY + shift + wide * nodes)))) / weights.sum())

    if points == 0:
        return 0.0
    return float(brentq(lambda x: accuracy(x) - accuracy(0) - points, 0, 5))


def simulate(
    seeds: int,
    examples: int,
    spread: float,
    trials: int,
    rng: np.random.Generator,
    shift: float = 0.0,
    baselines: int = 1,
) -> np.ndarray:
    """Return differences right minus right `[T m S E]` of a subject and its baselines.

    Args:
        seeds: S.
        examples: E.
        spread: standard deviation of a seed's skill, in log-odds.
        trials: T.
        rng: draws everything.
        shift: by how much the subject is better than all baselines, in log-odds.
        baselines: m.
    """
    shape = (trials, 1 + baselines, seeds, examples)

    def normal(scale: float, *size: int) -> np.ndarray:
        return np.float32(scale) * rng.standard_normal(size, dtype=np.float32)

    odds = EASY + normal(HARD, trials, 1, 1, examples)
    odds = odds + normal(TASTE, trials, shape[1], 1, examples)
    odds = odds + normal(spread, trials, shape[1], seeds, 1)
    odds[:, 0] += np.float32(shift)
    noise = rng.random(shape, dtype=np.float32)
    right = noise * (1 + np.exp(-odds)) < 1
    return right[:, :1].astype(np.float32) - right[:, 1:].astype(np.float32)


def resampled_p(d: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return p `[T m]` of seeds and examples resampled, as `bootstrap_p` of each comparison."""
    trials, m, seeds, examples = d.shape
    even = np.full(examples, 1 / examples)
    weights = (rng.multinomial(examples, even, draws) / examples).astype(np.float32)
    chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws).astype(np.float32) / seeds
    sums = (weights @ d.reshape(-1, examples).T).reshape(draws, trials * m, seeds)
    both = np.einsum("bcs,bs->bc", sums, chosen)
    slack = 1e-6
    tail = np.minimum((both <= slack).sum(axis=0), (both >= -slack).sum(axis=0))
    return np.minimum(1, 2 * (1 + tail) / (draws + 1)).reshape(trials, m)


def mcnemar_p(net: np.ndarray) -> np.ndarray:
    """Return McNemar's p of net counts `[T E]`, exact below 25 discordant ones, else mid-p."""
    from scipy.special import bdtr

    first, second = (net > 0).sum(axis=1), (net < 0).sum(axis=1)
    n, fewer = first + second, np.minimum(first, second)
    p = 2 * bdtr(fewer, np.maximum(n, 1), 0.5)
    point = bdtr(fewer, np.maximum(n, 1), 0.5)
    point = point - np.where(fewer > 0, bdtr(np.maximum(fewer - 1, 0), np.maximum(n, 1), 0.5), 0)
    return np.where(n == 0, 1, np.minimum(1, np.where(n >= EXACT_DISCORDANT, p - point, p)))


def tested(d: np.ndarray, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return p `[T]` of every test for single comparisons `[T 1 S E]`."""
    by_seed = d.mean(axis=3, dtype=np.float64)
    every = d.shape[2] <= EVERY_PATTERN
    flips = joint_sign_flips(by_seed)[:, 0] if every else np.ones(len(d))
    found = {
        "student": student_p(by_seed)[:, 0],
        "both": resampled_p(d, draws, rng)[:, 0],
        "flips": flips,
        "crossed": np.nan_to_num(crossed_effects([d[:, 0].astype(np.float64)]).p, nan=1.0),
        "on_runs": mcnemar_p(d[:, 0].sum(axis=1)),
    }
    found["verdict"] = np.fmax(found["student"], found["both"])
    found["strict"] = limits.PENALTY * found["verdict"]
    found["former"] = np.fmax(found["flips"], found["both"])
    return found


def family_tested(d: np.ndarray, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return corrected p `[T m]`: as verdicts are, by Holm, and of Student's t alone by Holm."""
    from dtvg.analysis.compare.families import corrected

    seeds = d.shape[2]
    by_seed = d.mean(axis=3, dtype=np.float64)
    student, both = student_p(by_seed), resampled_p(d, draws, rng)
    joint = joint_sign_flips(by_seed) if seeds >= JOINT_SEEDS else np.full(student.shape, np.nan)
    factor = limits.at(seeds, d.shape[3]).factor
    p = np.fmax(student, both) * factor
    rows = range(len(d))
    return {
        "corrected": np.array([corrected(p[i], both[i], joint[i]) for i in rows]),
        "holm": np.array([corrected(p[i], both[i], np.nan * p[i]) for i in rows]),
        "student": np.array([corrected(student[i], 0 * p[i], np.nan * p[i]) for i in rows]),
    }


def rates(
    cell: tuple[int, int, float],
    trials: int,
    draws: int,
    points: float = 0.0,
    test: Callable[..., dict[str, np.ndarray]] = tested,
    baselines: int = 1,
    start: int = 0,
) -> dict[str, float]:
    """Return how often each test gives p ≤ 5 % (in a family: at least once), 0..1."""
    seeds, examples, spread = cell
    hits: dict[str, float] = {}
    shift = shift_for(points, spread)
    for at, count in enumerate(_chunks(trials, (1 + baselines) * seeds * examples)):
        # a chunk's own numbers: more trials go on where fewer ended
        key = [seeds, examples, round(100 * spread), baselines, start + at, round(1000 * points)]
        rng = np.random.default_rng(key)
        d = simulate(seeds, examples, spread, count, rng, shift, baselines)
        for name, p in test(d, draws, rng).items():
            shown = p <= LEVEL
            if p.ndim > 1:
                hits[f"{name}_mean"] = hits.get(f"{name}_mean", 0) + shown.mean(axis=1).sum()
                shown = shown.any(axis=1)
            hits[name] = hits.get(name, 0) + float(shown.sum())
    return {name: found / trials for name, found in hits.items()}


def _chunks(trials: int, answers: int) -> Iterator[int]:
    """Return trials by the chunk: at most 250, fewer where one is large."""
    size = int(max(1, min(250, CHUNK // answers)))
    for first in range(0, trials, size):
        yield min(size, trials - first)


def upper(rate: float, trials: int) -> float:
    """Return the upper end of the exact 95 % interval of a rate (Clopper and Pearson)."""
    from scipy.special import betaincinv

    hits = round(rate * trials)
    return 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 0.975))


def singles(trials: int, draws: int, more: int) -> pd.DataFrame:
    """Return one row a cell: error of every test, its upper bound, power, which test is used.

    Cells that 2,000 trials leave near the limit get more of them.
    """
    made = []
    for cell in ((s, e, w) for s in SEEDS for e in EXAMPLES for w in SPREADS):
        error, done = rates(cell, trials, draws), trials
        if more and ALPHA < upper(error["verdict"], trials) <= ALPHA + 0.008:
            again = rates(cell, more, draws, start=10_000)
            done = trials + more
            error = {k: (v * trials + again[k] * more) / done for k, v in error.items()}
        power = rates(cell, trials, draws, POINTS)
        row: dict[str, float | str] = {
            **dict(zip(("seeds", "examples", "spread"), cell, strict=True)),
            "trials": done,
        }
        for name in ("student", "both", "crossed", "verdict", "strict"):
            row |= {name: error[name], f"{name}_high": upper(error[name], done)}
        if cell[0] > EVERY_PATTERN:
            error["former"] = power["former"] = float("nan")
        row |= {name: error[name] for name in ("former", "on_runs")}
        row |= {
            f"power_{name}": power[name]
            for name in ("student", "crossed", "verdict", "strict", "former")
        }
        row["test"] = limits.named(row["verdict_high"], row["strict_high"])
        made.append(row)
        print(
            "  ".join(f"{k}={v:.4g}" if k != "test" else str(v) for k, v in row.items()), flush=True
        )
    return pd.DataFrame(made)


def families(trials: int, draws: int) -> pd.DataFrame:
    """Return the family-wise error of eight comparisons, and the power of each."""
    made = []
    for cell in FAMILY_CELLS:
        error = rates(cell, trials, draws, 0.0, family_tested, FAMILY)
        power = rates(cell, trials, draws, POINTS, family_tested, FAMILY)
        row = dict(zip(("seeds", "examples", "spread"), cell, strict=True))
        row |= {k: error[k] for k in ("student", "holm", "corrected")}
        row |= {"corrected_high": upper(error["corrected"], trials)}
        row |= {f"power_{k}": power[f"{k}_mean"] for k in ("student", "holm", "corrected")}
        made.append(row)
        print(row, flush=True)
    return pd.DataFrame(made)


# -- tables of the documentation -----------------------------------------------------------


def percent(value: float) -> str:
    """Return a rate as the tables print it."""
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def table_of(frame: pd.DataFrame, columns: dict[str, str]) -> str:
    """Return a table of Markdown; rates in percent."""
    whole = ("seeds", "examples", "trials")
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in frame.to_dict("records"):
        cells = [
            f"{row[c]:,.0f}" if c in whole else f"{row[c]:g}" if c == "spread"
            else str(row[c]) if c == "test" else percent(row[c])
            for c in columns
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


SINGLE_COLUMNS = {
    "seeds": "seeds",
    "examples": "examples",
    "spread": "spread",
    "trials": "trials",
    "student": "t alone",
    "both": "both alone",
    "crossed": "crossed",
    "verdict": "**t and both**",
    "verdict_high": "at most",
    "strict": "stricter",
    "strict_high": "at most",
    "test": "used",
    "power_verdict": "power: t and both",
    "power_strict": "stricter",
    "power_crossed": "crossed",
    "power_former": "sign flips and both",
    "on_runs": "McNemar",
}
FAMILY_COLUMNS = {
    "seeds": "seeds",
    "examples": "examples",
    "spread": "spread",
    "student": "t alone, Holm",
    "holm": "t and both, Holm",
    "corrected": "**verdict**",
    "corrected_high": "at most",
    "power_student": "power: t alone",
    "power_holm": "Holm",
    "power_corrected": "verdict",
}


def tables() -> dict[str, str]:
    """Return the tables of docs/verdicts.md by the name of their place."""
    return {
        "errors": table_of(limits.table(), SINGLE_COLUMNS),
        "families": table_of(pd.read_csv(limits.FAMILIES), FAMILY_COLUMNS),
    }


def written(text: str) -> str:
    """Return the page with its tables renewed."""
    for name, made in tables().items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{made}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Simulate, then write the limits and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--more", type=int, default=4000, help="trials of cells near the limit")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--print", action="store_true", help="simulate nothing")
    parser.add_argument("--families", action="store_true", help="simulate families only")
    given = parser.parse_args()
    if not given.print:
        if not given.families:
            singles(given.trials, given.draws, given.more).round(5).to_csv(limits.FILE, index=False)
            limits.table.cache_clear()
        families(given.trials, given.draws).round(5).to_csv(limits.FAMILIES, index=False)
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
