"""Which subset of the sources a run was trained on, and what it scored: one row per such run.

`none` is the empty set, `single` one source, `all_sources` all of them; a method with a field
`subset` (oracle, surrogate trials) says so itself. docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from dtvg.store.reader import Run

Subset = frozenset[str]
PLAIN = ("none", "single", "all_sources")
"""Methods whose name says which subset they train on."""
COLUMNS = ["experiment", "target", "method", "subset", "seed", "validation", "test", "run"]


def subset_of(run: Run) -> Subset | None:
    """Return the sources a run always merges; None where its method decides for itself."""
    if run.method_name == "none":
        return frozenset()
    if run.method_name in ("single", "all_sources"):
        return frozenset(run.sources)
    return None if run.subset is None else frozenset(run.subset)


def subset_table(runs: Iterable[Run]) -> pd.DataFrame:
    """Gather finished runs that were trained on one subset throughout.

    Args:
        runs: of any kind and state. Variants of `none`, `single` and `all_sources` (settings
            not at their default) are left out, since they differ in more than the subset.

    Returns:
        Columns `COLUMNS`: one row per run, `subset` a frozenset, scores 0..1.
    """
    rows = []
    for run in runs:
        if run.result is None or run.role != "transfer" or _is_variant(run):
            continue
        subset = subset_of(run)
        if subset is not None:
            scores = (run.result.validation_score, run.result.test_score)
            rows.append(
                (run.experiment, run.target, run.method_name, subset, run.seed, *scores, run.name)
            )
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"validation": float, "test": float})


def _is_variant(run: Run) -> bool:
    """Whether one of the plain methods ran with settings of its own."""
    if run.method_name == "single":
        return run.method != "-".join(("single", *run.sources))
    return run.method_name in PLAIN and run.method != run.method_name


def effect(scores: Mapping[Subset, float], sources: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return what each source adds: its effect and the number of pairs of subsets behind it.

    The effect is the mean difference over all pairs of subsets that differ in the source alone.
    Where subsets are only a sample and the design allows it, it is the coefficient of a
    least-squares fit of the score on the sources; on all 2^n subsets both are the same.

    Args:
        scores: subset → score of one seed.
        sources: all sources.

    Returns:
        Source → (effect, pairs); NaN and 0 where the subsets do not tell.
    """
    found = {}
    fitted = None if len(scores) >= 2 ** len(sources) else _fit(scores, sources)
    for place, source in enumerate(sources):
        pairs = [
            value - scores[subset - {source}]
            for subset, value in scores.items()
            if source in subset and subset - {source} in scores
        ]
        value = float(np.mean(pairs)) if pairs else float("nan")
        if fitted is not None:
            value = float(fitted[place])
        found[source] = (value, len(pairs))
    return found


def _fit(scores: Mapping[Subset, float], sources: Sequence[str]) -> np.ndarray | None:
    """Coefficients of a linear fit; None where the subsets do not determine it."""
    design = np.array([[1.0, *(float(s in subset) for s in sources)] for subset in scores])
    if len(scores) < len(sources) + 2 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    solution = np.linalg.lstsq(design, np.array(list(scores.values())), rcond=None)[0]
    return np.asarray(solution[1:], dtype=np.float64)


def name_of(subset: Iterable[str], order: Sequence[str]) -> str:
    """Return a subset as text, sources in the experiment's order."""
    held = set(subset)
    return " + ".join(s for s in order if s in held) or "no source"
