"""How often verdicts err when there is no difference, and how often intervals hold the truth.

Simulated: two equally good methods; each seed of a method has its own skill, each example its
own difficulty, and both methods meet the same seeds and examples. Prints docs/verdicts.md's
table. Run: python -m benchmarks.verdicts
"""

from __future__ import annotations

import argparse

import numpy as np

from dtvg.analysis.statistics import ALPHA, bootstrap_p, mcnemar_p, sign_flip_p, t_interval


def simulate(
    seeds: int, examples: int, spread: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return right or not `[2 S E]` of two methods that are equal in the mean, and the truth."""
    difficulty = rng.normal(1.2, 1.0, examples)
    # each method finds other examples hard: what luck of the examples means for a difference
    taste = rng.normal(0, 0.5, (2, 1, examples))
    skill = rng.normal(0, spread, (2, seeds, 1))
    chance = 1 / (1 + np.exp(-(difficulty + taste + skill)))
    return (rng.random(chance.shape) < chance).astype(float), chance


def errors(seeds: int, examples: int, spread: float, trials: int, draws: int) -> list[float]:
    """Return rates of: p_seeds, p_both, their maximum and p_examples at most 5 %; intervals."""
    rng = np.random.default_rng([seeds, examples, round(100 * spread)])
    found = np.zeros(6)
    for _ in range(trials):
        right, _ = simulate(seeds, examples, spread, rng)
        d = right[0] - right[1]
        by_seed = d.mean(axis=1)
        weights = rng.multinomial(examples, np.full(examples, 1 / examples), draws) / examples
        chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
        both = np.einsum("bs,bs->b", weights @ d.T, chosen)
        p_seeds, p_both = sign_flip_p(by_seed), bootstrap_p(both)
        net = d.sum(axis=0)
        p_runs, _ = mcnemar_p(int((net > 0).sum()), int((net < 0).sum()))
        t = t_interval(by_seed)
        low, high = np.quantile(both, [ALPHA / 2, 1 - ALPHA / 2])
        limit = ALPHA + 1e-12
        found += [
            p_seeds <= limit,
            p_both <= limit,
            max(p_seeds, p_both) <= limit,
            p_runs <= limit,
            t.low <= 0 <= t.high,
            low <= 0 <= high,
        ]
    return list(found / trials)


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    given = parser.parse_args()
    names = "p_seeds  p_both  verdict  McNemar  t holds  both holds"
    print(f"{'seeds':>6}{'examples':>10}{'spread':>8}  {names}")
    for seeds in (3, 5, 8, 12):
        for examples, spread in ((100, 0.0), (100, 0.3), (500, 0.3)):
            rates = errors(seeds, examples, spread, given.trials, given.draws)
            shown = "  ".join(f"{100 * r:6.1f}" for r in rates)
            print(f"{seeds:>6}{examples:>10}{spread:>8}  {shown}", flush=True)


if __name__ == "__main__":
    main()
