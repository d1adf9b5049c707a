"""Every rule with its settings on drawn Gram matrices, and deciding again by brute force.

`again` changes one source's similarity in the Gram matrix and asks the rule again, with the same
memory; nothing here uses a margin. Plain loops stand in for rank and consistency.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from dtvg.rule.decide import decide
from dtvg.rule.memory import may_regroup
from dtvg.rule.types import Grouping, RuleSettings

NAMES = ("amber", "birch", "cedar", "dune", "elm")
TINY = 1e-7
"""How far beyond or before a margin the rule is asked again; nothing drawn is nearer to a tie."""
FUZZY = 3e-5
"""The same for `exact` with ties: its margins hold up to the precision of its values."""

CASES: dict[str, list[dict[str, Any]]] = {
    "greedy": [
        {},
        {"threshold": 0.2},
        {"threshold": -0.3},
        {"threshold": float("-inf")},
        {"measure": "cosine", "threshold": 0.1},
        {"regroup_every": 3},
        {"hysteresis": 0.1},
        {"hysteresis": 0.3, "hysteresis_unit": "relative"},
        {"hysteresis": 0.1, "regroup_every": 3},
        {"regroup_every": 3, "schedule": "random"},
        {"init_only": True},
        {"version": 1},
        {"version": 1, "measure": "cosine", "threshold": 0.1},
        {"version": 1, "hysteresis": 0.1},
    ],
    "similarity_only": [
        {},
        {"threshold": 0.2},
        {"measure": "cosine"},
        {"hysteresis": 0.1},
        {"version": 1},
    ],
    "consistency_only": [{}, {"measure": "cosine"}, {"regroup_every": 3}, {"version": 1}],
    "exact": [
        {},
        {"measure": "cosine"},
        {"consistency_weight": 0.3},
        {"exact_similarity": "sum"},
        {"exact_over": "candidates"},
        {"exact_over": "candidates", "exact_similarity": "sum", "threshold": 0.1},
        {"regroup_every": 3, "exact_over": "candidates"},
        {"hysteresis": 0.1},
        {"version": 1},
        {"version": 1, "exact_over": "candidates", "threshold": 0.1},
    ],
    "all_sources": [{}, {"regroup_every": 3}],
    "fixed": [{}, {"threshold": 0.2}, {"version": 1}],
    "empty": [{}],
    "random": [
        {},
        {"threshold": 0.2},
        {"measure": "cosine"},
        {"regroup_every": 3},
        {"regroup_every": 3, "schedule": "random"},
        {"version": 1},
    ],
    "largest": [{}, {"measure": "cosine"}, {"hysteresis": 0.1}, {"version": 1}],
    "farthest": [{}, {"threshold": -0.3}, {"regroup_every": 3}, {"hysteresis": 0.1}],
    "nearest": [
        {},
        {"threshold": float("-inf"), "measure": "cosine"},
        {"threshold": float("-inf"), "regroup_every": 3},
        {"version": 1},
    ],
}
"""Settings by rule. A rule that `decide` knows and this table lacks fails a test."""
CHOICES = [{"rule": rule, **settings} for rule, cases in CASES.items() for settings in cases]


@dataclass(frozen=True)
class Asked:
    """One decision and what it was asked with."""

    grouping: Grouping
    choice: dict[str, Any]
    previous: np.ndarray | None
    step: int
    seed: int

    @property
    def similarity(self) -> np.ndarray:
        """`[n]`, from the Gram matrix directly."""
        gram = np.asarray(self.grouping.gram, dtype=np.float64)
        return gram[0, 1:] / self.unit

    @property
    def unit(self) -> np.ndarray:
        """`[n]`: what one unit of similarity is in the Gram matrix."""
        gram = np.asarray(self.grouping.gram, dtype=np.float64)
        norm = np.sqrt(np.diagonal(gram))
        return (
            norm[0] * norm[1:] if self.choice.get("measure") == "cosine" else np.ones(len(gram) - 1)
        )

    @property
    def inner(self) -> np.ndarray:
        """`[n n]`: inner products (or cosines) of the sources."""
        gram = np.asarray(self.grouping.gram, dtype=np.float64)[1:, 1:]
        norm = np.sqrt(np.diagonal(gram))
        return gram / np.outer(norm, norm) if self.choice.get("measure") == "cosine" else gram

    @property
    def threshold(self) -> float:
        """Smallest similarity of a candidate."""
        return float(self.choice.get("threshold", 0.0))

    @property
    def ranked(self) -> list[int]:
        """Sources, most similar first."""
        return sorted(range(len(self.similarity)), key=lambda s: -self.similarity[s])

    @property
    def held(self) -> bool:
        """Whether the group is the step before's."""
        return self.grouping.held is not None and bool(self.grouping.held)

    @property
    def between(self) -> bool:
        """Whether the step lies between two regroupings."""
        settings = RuleSettings(**self.choice)
        return self.step > 1 and not may_regroup(settings, self.step, self.seed)

    @property
    def edge(self) -> float:
        """How far beyond or before a margin the rule is asked again."""
        fuzzy = self.choice["rule"] == "exact" and self.choice.get("version", 2) > 1
        return FUZZY if fuzzy else TINY

    @property
    def greedy_size(self) -> int:
        """How many sources the paper's rule would take, by plain loops."""
        candidates = [s for s in self.ranked if self.similarity[s] >= self.threshold]
        values = [self.consistency(candidates[:k]) for k in range(1, len(candidates) + 1)]
        return values.index(max(values)) + 1 if values else 0

    @property
    def compares(self) -> bool:
        """Whether hysteresis compares two groups at this step."""
        return "hysteresis" in self.choice and self.previous is not None and not self.between

    def consistency(self, group: Any) -> float:
        """Mean over pairs of a group, by a loop."""
        pairs = list(combinations(sorted(group), 2))
        return sum(self.inner[i, j] for i, j in pairs) / len(pairs) if pairs else 0.0

    def again(self, s: int, values: Any) -> np.ndarray:
        """Members `[G n]` with TS(s) set to each of the values, everything else as it was."""
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        gram = np.asarray(self.grouping.gram, dtype=np.float64)
        grams = np.repeat(gram[None], len(values), axis=0)
        grams[:, 0, 1 + s] = grams[:, 1 + s, 0] = values * self.unit[s]
        made = decide(grams, previous=self.previous, step=self.step, seed=self.seed, **self.choice)
        return np.asarray(made.member)

    def scan(self, s: int) -> np.ndarray:
        """Values to try for TS(s): between any two other similarities, a grid, and far away."""
        edges = np.append(np.delete(self.similarity, s), max(self.threshold, -1e3))
        edges = np.sort(edges)
        far = 100.0 * (1.0 + np.abs(np.asarray(self.grouping.gram)).max())
        grid = np.linspace(-4.0, 4.0, 41) + self.similarity[s]
        return np.concatenate([(edges[1:] + edges[:-1]) / 2, grid, [-far, far]])


def clear(asked: Asked) -> bool:
    """Whether nothing of the decision is near a tie."""
    values = np.sort(np.append(asked.similarity, max(asked.threshold, -1e3)))
    front = [asked.consistency(asked.ranked[:k]) for k in range(1, len(asked.similarity) + 1)]
    wide = np.diff(values).min() > 1e-3 and np.abs(asked.similarity).min() > 1e-3
    return bool(wide and (len(front) < 2 or np.diff(np.sort(front)).min() > 1e-4))


def ask(seed: int, n: int, choice: dict[str, Any]) -> Asked:
    """Draw vectors and decide; with a memory, after another group and at a step that is drawn."""
    rng = np.random.default_rng([seed, n])
    vectors = rng.normal(size=(n + 1, 6)) + rng.uniform(-0.5, 1.0) * rng.normal(size=6)
    gram = (vectors @ vectors.T / 6).astype(np.float32)
    keys = {"regroup_every", "hysteresis", "init_only"}
    remembers = choice["rule"] == "fixed" or bool(keys & choice.keys())
    step = int(rng.integers(1, 6))
    if not remembers or step == 1:
        return Asked(decide(gram, step=step, seed=seed, **choice), choice, None, step, seed)
    nearby = vectors + 0.2 * rng.normal(size=vectors.shape)
    last = decide((nearby @ nearby.T / 6).astype(np.float32), **choice)
    previous = np.asarray(last.member)
    made = decide(gram, previous=previous, step=step, seed=seed, **choice)
    return Asked(made, choice, previous, step, seed)


def values_compared(asked: Asked) -> list[float]:
    """What the rule compares at this step, each choice's value by plain loops."""
    n, choice = len(asked.similarity), asked.choice
    candidates = [s for s in asked.ranked if asked.similarity[s] >= asked.threshold]
    if choice["rule"] in ("greedy", "fixed"):
        return [asked.consistency(candidates[:k]) for k in range(1, len(candidates) + 1)]
    if choice["rule"] == "consistency_only":
        return [0.0, *(asked.consistency(pair) for pair in combinations(range(n), 2))]
    over = candidates if choice.get("exact_over") == "candidates" else range(n)
    values = []
    for size in range(1, n + 1):
        for group in combinations(over, size):
            near = sum(asked.similarity[s] for s in group)
            near = near if choice.get("exact_similarity") == "sum" else near / size
            weight = choice.get("consistency_weight", 1.0)
            values.append(near + weight * asked.consistency(group))
    return values


def check_margins(asked: Asked, margins: np.ndarray) -> None:
    """Check every similarity margin: the group stays just before it and changes just beyond."""
    base, edge = np.asarray(asked.grouping.member), asked.edge
    for s, margin in enumerate(margins):
        own, by = asked.similarity[s], (margin if np.isfinite(margin) else 0.0)
        before = own + (by - edge) * np.linspace(-1, 1, 11)
        beyond = np.array([own - by - edge, own + by + edge])
        values = np.concatenate([beyond, before, asked.scan(s)])
        changed = (asked.again(s, values) != base).any(axis=-1)
        if np.isinf(margin):
            assert not changed.any(), (s, values[changed])
            continue
        assert margin >= 0
        assert not changed[np.abs(values - own) < margin - edge / 2].any(), (s, margin)
        assert changed[:2].any(), (s, margin)


def check_switches(asked: Asked, change: np.ndarray) -> None:
    """Check every signed change: its source moves just beyond it, that way, and no sooner."""
    base, edge = np.asarray(asked.grouping.member), asked.edge
    for s, signed in enumerate(change):
        own, by = asked.similarity[s], (0.0 if np.isnan(signed) else signed)
        before = own + (abs(by) - edge) * np.linspace(-1, 1, 11)
        values = np.concatenate([[own + by + np.copysign(edge, by)], before, asked.scan(s)])
        moved = asked.again(s, values)[:, s] != base[s]
        if np.isnan(signed):
            assert not moved.any(), (s, values[moved])
            continue
        assert not moved[np.abs(values - own) < abs(by) - edge / 2].any(), (s, by)
        assert moved[0], (s, by)
