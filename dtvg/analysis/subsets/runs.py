"""Which subset of the sources a run was trained on, and what it scored: one row per such run.

Some methods always merge the same sources (none, one, all of them) and say so in their spec; a
run that judges a subset names it itself. docs/methods.md.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dtvg.methods.specs import METHODS, Role
from dtvg.methods.specs.trials import OF_SUBSET
from dtvg.store.reader import Run

Subset = frozenset[str]
COLUMNS = ["experiment", "target", "method", "role", "subset", "seed", "validation", "test", "run"]


def subset_of(run: Run) -> Subset | None:
    """Return the sources a run always merges; None where its method decides for itself."""
    if run.subset is not None:
        return frozenset(run.subset)
    spec = METHODS.get(run.method_name)
    merged = None if spec is None else spec.always_merges(run.sources)
    return None if merged is None else frozenset(merged)


def search_of(run: Run) -> str:
    """Return the label of the search that a run on a subset is of, or that chose its sources."""
    return run.method.partition(OF_SUBSET)[0]


def of_search(runs: Iterable[Run], method: str) -> list[Run]:
    """Return the runs of one search, as `subset_table` names it.

    Args:
        runs: of any kind and state.
        method: label of the search, or name of a method that searches once.
    """
    held = list(runs)
    return [r for r in held if search_of(r) == method] or [
        r for r in held if r.method_name == method
    ]


def in_order(table: pd.DataFrame) -> list[str]:
    """Return the methods that search subsets, an exhaustive search first, then the plain ones.

    Of several variants of a search the one at its defaults comes first.

    Args:
        table: from `subset_table`; ties keep its order.
    """
    found = {m: Role(r) for m, r in zip(table["method"], table["role"], strict=True)}
    listed = list(METHODS)
    searched = [m for m, role in found.items() if role.on_subset]
    plain = [m for m, role in found.items() if not role.on_subset]
    return [
        *sorted(searched, key=lambda m: (found[m] is not Role.SUBSET, m not in METHODS)),
        *sorted(plain, key=listed.index),
    ]


def searched(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose runs judge a subset."""
    return table[table["role"].map(lambda role: Role(role).on_subset).astype(bool)]


def subset_table(runs: Iterable[Run]) -> pd.DataFrame:
    """Gather finished runs that were trained on one subset throughout.

    Args:
        runs: of any kind and state. Of a method that always merges the same sources one variant
            counts in an experiment: the one at its defaults, else the first that has rates of its
            own alone. The others are left out, since they differ in more than the subset.

    Returns:
        Columns `COLUMNS`: one row per run, `subset` a frozenset, scores 0..1; `method` its name, of
        several variants of a search their labels, so that none is mixed with another.
    """
    runs, rows = list(runs), []
    labels: dict[str, set[str]] = {}
    for run in runs:
        if run.subset is not None:
            labels.setdefault(run.method_name, set()).add(search_of(run))
    read = _rows_read(runs)
    for run in runs:
        if run.result is None or run.role != "transfer":
            continue
        subset = subset_of(run)
        counts = run.subset is not None or (run.path.parent, run.method) in read
        if subset is not None and counts:
            scores = (run.result.validation_score, run.result.test_score)
            rows.append(
                (
                    run.experiment,
                    run.target,
                    search_of(run) if len(labels.get(run.method_name, ())) > 1 else run.method_name,
                    run.full_role.value,
                    subset,
                    run.seed,
                    *scores,
                    run.name,
                )
            )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"validation": float, "test": float})


def _rows_read(runs: Iterable[Run]) -> set[tuple[Path, str]]:
    """Return (experiment's folder, label) of the rows that count of methods that always merge the
    same sources: of all that a method has one configuration is read."""
    variants: dict[tuple[Path, str], str | None] = {}
    methods: dict[tuple[Path, str], tuple[str, str]] = {}
    first: dict[tuple[str, str], str] = {}
    for run in runs:
        row, method = (run.path.parent, run.method), (run.experiment, run.method_name)
        plain = run.role == "transfer" and run.subset is None and subset_of(run) is not None
        if not plain or row in variants:
            continue
        variant = variants[row] = _variant(run)
        methods[row] = method
        if variant is not None:
            first[method] = first.get(method, variant) if variant else ""
    return {row for row, one in variants.items() if one is not None and one == first[methods[row]]}


def _variant(run: Run) -> str | None:
    """Return the rates in a run's label; empty: none, None: it has other settings of its own."""
    plain = _default_labels(run.method_name, run.sources)
    if run.method in plain:
        return ""
    config = run.config
    bare = "" if config is None else config.method.without_rates().label
    return run.method.removeprefix(bare) if bare in plain else None


@functools.lru_cache(maxsize=1024)
def _default_labels(method_name: str, sources: tuple[str, ...]) -> frozenset[str]:
    """Return the labels of a method's runs on these sources where nothing is set."""
    plain = METHODS[method_name].model_validate({"name": method_name})
    return frozenset(made.label for made in plain.expand(sources))


def effect(scores: Mapping[Subset, float], sources: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return what each source adds: its effect and the number of pairs of subsets behind it.

    Args:
        scores: subset → score of one seed.
        sources: all sources.

    Returns:
        Source → (effect, pairs); NaN and 0 where the subsets do not tell.
    """
    found = {}
    for source, (weights, pairs) in contrasts(list(scores), sources).items():
        value = sum(w * scores[s] for s, w in weights.items()) if weights else float("nan")
        found[source] = (float(value), pairs)
    return found


def contrasts(
    subsets: Sequence[Subset], sources: Sequence[str]
) -> dict[str, tuple[dict[Subset, float], int]]:
    """Return the weighted sum of scores that is each source's effect, and its pairs of subsets.

    The effect is the mean difference over all pairs of subsets that differ in the source alone.
    Where subsets are only a sample and the design allows it, it is the coefficient of a
    least-squares fit of the score on the sources; on all 2^n subsets both are the same.

    Args:
        subsets: those that have a score.
        sources: all sources.

    Returns:
        Source → (subset → weight, pairs); no weights where the subsets do not tell.
    """
    there, found = set(subsets), {}
    fitted = None if len(subsets) >= 2 ** len(sources) else _fit(subsets, sources)
    for place, source in enumerate(sources):
        pairs = [(s, s - {source}) for s in subsets if source in s and s - {source} in there]
        weights: dict[Subset, float] = {}
        if fitted is not None:
            weights = dict(zip(subsets, map(float, fitted[place]), strict=True))
        else:
            for with_it, without in pairs:
                weights[with_it] = weights.get(with_it, 0.0) + 1 / len(pairs)
                weights[without] = weights.get(without, 0.0) - 1 / len(pairs)
        found[source] = (weights, len(pairs))
    return found


def _fit(subsets: Sequence[Subset], sources: Sequence[str]) -> np.ndarray | None:
    """Weights `[n S]` of scores in a linear fit's coefficients; None where it is not determined."""
    design = np.array([[1.0, *(float(s in subset) for s in sources)] for subset in subsets])
    if len(subsets) < len(sources) + 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    return np.asarray(np.linalg.pinv(design)[1:], dtype=np.float64)


def name_of(subset: Iterable[str], order: Sequence[str]) -> str:
    """Return a subset as text, sources in the experiment's order."""
    held = set(subset)
    return " + ".join(s for s in order if s in held) or "no source"
