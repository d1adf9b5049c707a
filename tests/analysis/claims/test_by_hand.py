"""Estimates and intervals recomputed from the stored files in another way."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from dtvg.analysis.claims import best_group, changing, harming, predicting, regret
from dtvg.analysis.claims.claim import ALL_TARGETS
from dtvg.analysis.claims.halves import halves
from dtvg.analysis.compare import limits
from dtvg.analysis.statistics import average_ranks, correlation
from dtvg.store.reader import Experiment, Run, read_grams, read_prompts, read_table
from tests.analysis.claims.conftest import ClaimsOf, Stores

Right = Mapping[tuple[str, int], np.ndarray]


def answers(experiment: Experiment, target: str = "lake") -> Right:
    """(method or subset, seed) → 1 where an answer was right, in order of the rows."""
    found = {}
    for run in experiment.runs:
        if run.target == target:
            rows = read_table(run, "predictions", ["row", "correct"]).to_pandas()
            hit = rows.sort_values("row")["correct"].to_numpy(dtype=float)
            name = "+".join(run.subset) if run.subset is not None else run.method
            found[("oracle " if run.subset is not None else "") + name, run.seed] = hit
    return found


def table_of(right: Right, name: str) -> np.ndarray:
    """`[S E]`."""
    seeds = sorted(s for n, s in right if n == name)
    return np.array([right[name, s] for s in seeds])


def interval(table: np.ndarray) -> tuple[float, float]:
    """The wider of Student's t over seeds and resampled seeds and examples, by plain loops."""
    seeds, count = table.shape
    limit = limits.at(seeds, count)
    level = 1 - 0.05 / (1.5 if limit.test == limits.STRICTER else 1)
    means = table.mean(axis=1)
    low, high = stats.t.interval(level, seeds - 1, means.mean(), stats.sem(means))
    rng = np.random.default_rng(99)
    drawn = []
    for _ in range(3000):
        rows = table[:, rng.integers(0, count, count)].mean(axis=1)
        drawn.append(rows[rng.integers(0, seeds, seeds)].mean())
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return min(low, ends[0]), max(high, ends[1])


def test_consistency_and_dynamic_groups(stores: Stores, claims_of: ClaimsOf) -> None:
    experiment = stores("true")
    info, right = claims_of(experiment.name), answers(experiment)
    own = table_of(right, "dtvg")
    apart = own - table_of(right, "dtvg-similarity_only")
    made = info["f"].summary
    assert made.estimate == pytest.approx(apart.mean(), abs=1e-12)
    assert (made.low, made.high) == pytest.approx(interval(apart), abs=0.006)
    best = [r for r in experiment.runs if r.method.startswith("single")]
    chosen = []
    for seed in range(5):
        mine = [r for r in best if r.seed == seed and r.result is not None]
        first = max(mine, key=lambda r: r.result.validation_score if r.result else 0)
        chosen.append(right[first.method, seed])
    others = [table_of(right, n) for n in ("dtvg-fixed", "all_sources", "none")]
    tables = [own - other for other in (np.array(chosen), *others)]
    assert info["d"].summary.estimate == pytest.approx(min(t.mean() for t in tables), abs=1e-12)
    assert info["d"].summary.low == pytest.approx(min(interval(t)[0] for t in tables), abs=0.006)


def test_the_best_group_is_chosen_on_one_half_and_scored_on_the_other(
    stores: Stores, claims_of: ClaimsOf
) -> None:
    experiment = stores("true")
    right = answers(experiment)
    names = sorted({n for n, _ in right if n.startswith("oracle")})
    sizes = {n: len([s for s in n[7:].split("+") if s]) for n in names}
    groups = [n for n in names if sizes[n] == 2]
    others = [n for n in names if sizes[n] != 2]
    choosing = halves(300, 0)
    scores: dict[str, list[float]] = {"groups": [], "others": []}
    for half in choosing:
        for seed in range(5):
            rest = [s for s in range(5) if s != seed]
            for kind, among in (("groups", groups), ("others", others)):
                means = {n: np.mean([right[n, s][half].mean() for s in rest]) for n in among}
                best = max(means, key=lambda n: means[n])
                scores[kind].append(float(right[best, seed][~half].mean()))
    lead = np.mean(scores["groups"]) - np.mean(scores["others"])
    info = claims_of(experiment.name)
    assert info["a"].summary.estimate == pytest.approx(lead, abs=1e-12)
    top = max(others, key=lambda n: table_of(right, n).mean())
    at_least = np.mean(scores["groups"]) - table_of(right, top).mean()
    parts = info["a"].parts.set_index("part")
    assert parts.loc[best_group.AT_LEAST, "estimate"] == pytest.approx(at_least, abs=1e-12)
    assert parts.loc[best_group.AT_LEAST, "low"] >= info["a"].summary.low


def test_regret_and_random_groups_of_the_same_size(stores: Stores, claims_of: ClaimsOf) -> None:
    experiment = stores("true")
    right, info = answers(experiment), claims_of(experiment.name)
    table = []
    for run in (r for r in experiment.runs if r.method == "dtvg"):
        sizes = read_table(run, "steps", ["group_size"]).column("group_size").to_pylist()
        mean = np.zeros(300)
        for size in sizes:
            of_size = [
                hit for (n, s), hit in right.items()
                if n.startswith("oracle") and s == run.seed
                and len([x for x in n[7:].split("+") if x]) == size
            ]  # fmt: skip
            mean += np.mean(of_size, axis=0) / len(sizes)
        table.append(right["dtvg", run.seed] - mean)
    made = info["g"].summary
    assert made.estimate == pytest.approx(np.mean(table), abs=1e-12)
    assert (made.low, made.high) == pytest.approx(interval(np.array(table)), abs=0.006)
    parts = info["g"].parts.set_index("part")["estimate"]
    room = parts[regret.ROOM] - parts[regret.REGRET]
    assert parts[regret.LEAD] == pytest.approx(room, abs=1e-12)


def test_points_lost_below_no_transfer(stores: Stores, claims_of: ClaimsOf) -> None:
    experiment = stores("true")
    right, info = answers(experiment), claims_of(experiment.name)
    choosing = halves(300, 0)

    def lost(name: str) -> float:
        found = []
        for seed in range(5):
            apart = right[name, seed] - right["none", seed]
            found += [-apart[~h].mean() if apart[h].mean() < 0 else 0.0 for h in choosing]
        return float(np.mean(found))

    singles = [lost(n) for n in ("single-amber", "single-birch", "single-cedar")]
    others = np.mean([np.mean(singles), lost("all_sources")])
    parts = info["e"].parts.set_index("part")["estimate"]
    assert parts[harming.OTHERS] == pytest.approx(others, abs=1e-12)
    assert info["e"].summary.estimate == pytest.approx(others - lost("dtvg"), abs=1e-12)


def test_change_of_the_ranking_beyond_noise(stores: Stores, claims_of: ClaimsOf) -> None:
    experiment = stores("true")
    forgotten, added = [], []
    rng = np.random.default_rng(5)
    for run in (r for r in experiment.runs if r.method == "dtvg"):
        similarity = read_grams(run)[1][:, 0, 1:].astype(float)
        means = similarity.reshape(12, 5, 3).mean(axis=1)
        moved = [_turned(means[0], m) for m in means[1:]]
        near = [_turned(a, b) for a, b in zip(means, means[1:], strict=False)]
        forgotten.append(np.mean(moved) - np.mean(near))
        moves, drawn = np.diff(means, axis=0), []
        for _ in range(100):
            path = means[0] + np.cumsum(moves * rng.choice([-1, 1], (11, 1)), axis=0)
            drawn.append(np.mean([_turned(means[0], m) for m in path]))
        added.append(np.mean(moved) - np.mean(drawn))
    claim = claims_of(experiment.name)["b"]
    parts = claim.parts.set_index("part")
    row = parts.loc[f"{changing.RANKING}, beyond {changing.FORGOTTEN}"]
    assert row["estimate"] == pytest.approx(np.mean(forgotten), abs=1e-9)
    ends = stats.t.interval(0.95, 4, np.mean(forgotten), stats.sem(forgotten))
    assert (row["low"], row["high"]) == pytest.approx(ends, abs=1e-9)
    row = parts.loc[f"{changing.RANKING}, beyond {changing.ADDED}"]
    assert row["estimate"] == pytest.approx(np.mean(added), abs=0.02)
    both = (np.mean(forgotten) + row["estimate"]) / 2
    assert claim.summary.estimate == pytest.approx(both, abs=1e-9)


def test_a_change_of_the_ranking_has_no_interval_beyond_what_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def walks(block: SimpleNamespace) -> list[changing.Walk]:
        moved = {"lake": (0.1, 0.9), "moor": (0.2, 0.7)}[block.name]
        still = dict.fromkeys(changing.MEASURES, np.full(3, 0.05))
        drawn = dict.fromkeys(changing.MEASURES, np.full((10, 3), 0.05))
        grid = np.array([0.3, 0.6, 1.0])
        seen = [dict.fromkeys(changing.MEASURES, np.full(3, x)) for x in moved]
        return [changing.Walk(s, grid, one, still, drawn) for s, one in enumerate(seen)]

    monkeypatch.setattr(changing, "_walks", walks)
    blocks = [SimpleNamespace(name="lake"), SimpleNamespace(name="moor")]
    claim = changing.claim(blocks, 0.01)  # type: ignore[arg-type]
    assert (claim.summary.low, claim.summary.high) == (-1, 1)
    assert "(−100.0 … +100.0)" in claim.numbers
    ends = claim.parts[["low", "high", "low_corrected", "high_corrected"]]
    assert ends.abs().max(axis=None) <= 1 and len(ends) == 18


def test_a_correlation_has_no_interval_beyond_what_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, place = np.random.default_rng(0), (0, 1)

    def measure(block: SimpleNamespace) -> tuple[predicting.Measured, str]:
        drawn = (rng.normal(size=(2, 5)) for _ in range(3))
        return predicting.Measured(block.name, tuple("abcde"), place, *drawn), ""

    monkeypatch.setattr(predicting, "measure", measure)
    blocks = [SimpleNamespace(name="lake"), SimpleNamespace(name="moor")]
    claim = predicting.claim(blocks, 0.1)  # type: ignore[arg-type]
    whole = claim.parts[claim.parts["target"] == ALL_TARGETS].set_index("part")
    ends = whole[["low", "high", "low_corrected", "high_corrected"]].abs()
    for name, most in {"vectors − prompts": 2, "vectors": 1, "prompts": 1}.items():
        assert ends.loc[name].max() == most


def _turned(before: np.ndarray, after: np.ndarray) -> float:
    first, second = (stats.rankdata(x) for x in (before, after))
    return float(1 - np.corrcoef(first, second)[0, 1]) / 2


def test_correlations_with_the_gain_and_all_orders_of_the_sources(
    stores: Stores, claims_of: ClaimsOf
) -> None:
    experiment = stores("vectors")
    scores = {(r.method, r.seed): r.test_score or 0.0 for r in experiment.runs}
    names = [m for m in dict.fromkeys(m for m, _ in scores) if m != "none"]
    gains = np.array([[scores[m, s] - scores["none", s] for m in names] for s in range(4)])
    first = {m: next(r for r in experiment.runs if r.method == m) for m in names}
    vectors, prompts = np.array([_start(first[m]) for m in names]).T
    apart = [_difference(vectors, prompts, g) for g in gains]
    chance = [
        abs(np.mean([_difference(vectors, prompts, g[list(order)]) for g in gains]))
        for order in list(permutations(range(6)))[::6]
    ]
    made = claims_of(experiment.name)["c"].summary
    assert made.estimate == pytest.approx(np.mean(apart), abs=1e-9)
    assert made.estimate - made.low == pytest.approx(np.quantile(chance, 0.95), abs=0.15)
    assert made.high == 2.0


def _start(run: Run) -> tuple[float, float]:
    tensors = read_prompts(run, "initial")
    init, target = (tensors[n].mean(axis=0) for n in ("init", "target_prompt"))
    moved = tensors["source_vectors"][0].mean(axis=0)
    there = init + moved
    cosine = target @ there / np.linalg.norm(target) / np.linalg.norm(there)
    return float((target - init) @ moved / 16), float(cosine)


def _difference(vectors: np.ndarray, prompts: np.ndarray, gains: np.ndarray) -> float:
    return float(
        stats.spearmanr(vectors, gains).statistic - stats.spearmanr(prompts, gains).statistic
    )


def test_targets_as_random_effects_by_paule_and_mandel_with_hartung_and_knapp(
    stores: Stores,
    claims_of: ClaimsOf,
) -> None:
    experiment = stores("several")
    effects, variances = [], []
    for target in dict.fromkeys(r.target for r in experiment.runs):
        right = answers(experiment, target)
        table = table_of(right, "dtvg") - table_of(right, "dtvg-similarity_only")
        effects.append(table.mean())
        variances.append(_crossed(table))
    y, v = np.array(effects), np.array(variances)
    low, high = 0.0, 1.0
    for _ in range(200):  # the variance between targets at which Q is its freedom
        between = (low + high) / 2
        w = 1 / (v + between)
        q = (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
        low, high = (between, high) if q > len(y) - 1 else (low, between)
    w = 1 / (v + between)
    mean = (w * y).sum() / w.sum()
    knapp = np.sqrt((w * (y - mean) ** 2).sum() / (len(y) - 1) / w.sum())
    half = stats.t.ppf(0.975, len(y) - 1) * max(knapp, np.sqrt(1 / w.sum()))
    made = claims_of(experiment.name)["f"].summary
    assert made.estimate == pytest.approx(mean, abs=1e-4)
    assert (made.low, made.high) == pytest.approx((mean - half, mean + half), abs=1e-3)
    parts = claims_of(experiment.name)["f"].parts
    alone = parts[parts["target"] != ALL_TARGETS]["estimate"]
    assert list(alone) == pytest.approx(effects)


def _crossed(table: np.ndarray) -> float:
    """Variance of the mean with seeds and examples as crossed random effects."""
    s, e = table.shape
    whole = table.mean()
    of_seeds = e * ((table.mean(axis=1) - whole) ** 2).sum() / (s - 1)
    of_rows = s * ((table.mean(axis=0) - whole) ** 2).sum() / (e - 1)
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + whole
    residual = (rest**2).sum() / ((s - 1) * (e - 1))
    return float(max(of_seeds + of_rows - residual, of_seeds, of_rows)) / (s * e)


@pytest.mark.parametrize("sources", [2, 6, 9, 21])
def test_changes_of_a_walk_are_rank_correlations_by_the_plain_formula(sources: int) -> None:
    """To the last digit, ties and drawn runs included."""
    rng = np.random.default_rng(sources)
    similarity = np.round(rng.normal(size=(200, sources)).cumsum(axis=0))
    made = changing.walk(similarity, seed=4, draws=20)
    assert made is not None
    edges = changing.block_edges(200)
    places = np.add.reduceat(similarity, edges[:-1]) / np.diff(edges)[:, None]
    signs = np.random.default_rng([3, 4]).choice([-1.0, 1.0], size=(20, len(places) - 1, 1))
    drawn = places[0] + (signs * np.diff(places, axis=0)).cumsum(axis=1)
    for start, later, found in (
        (places[0], places[1:], made.seen),
        (places[:-1], places[1:], made.neighbours),
        (places[0], drawn, made.drawn),
    ):
        rho = correlation(average_ranks(start), average_ranks(later))
        same = (average_ranks(start) == average_ranks(later)).all(axis=-1)
        assert np.array_equal(found[changing.RANKING], np.where(same, 0, (1 - rho) / 2))
        apart = ((later >= 0) != (start >= 0)).mean(axis=-1)
        assert np.array_equal(found[changing.SIGNS], apart)
        other = later.argmax(axis=-1) != start.argmax(axis=-1)
        assert np.array_equal(found[changing.TOP], other)
