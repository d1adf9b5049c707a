"""Runs that differ in settings: which do, how much of the score each accounts for, and slices.

The share that a setting accounts for is the adjusted correlation ratio (Kelley's epsilon squared):
one setting at a time, values with few runs each corrected for. Settings that were changed together
cannot be told apart by it, which is said. docs/overview.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dtvg.analysis.overview.table import RunRow, settings
from dtvg.analysis.words import counted

Score = Literal["test", "validation"]
MOST = 12
"""Settings that are shown, those that account for most first."""
LEVELS = 8
"""More values of a number than that are gathered into as many classes of equal size."""
FIELDS = ("method", "target", "seed")
"""What runs differ in beside their settings."""
IGNORED = ("logging.", "scale.", "device.", "notes", "prompt.given", "hypothesis",
           "rates_from", "versions")  # fmt: skip
"""Settings that change no number, or only where it is computed."""


@dataclass(frozen=True, eq=False)
class SettingsInfo:
    """What differs among runs, with their scores."""

    score: Score
    table: pd.DataFrame
    """`run`, `score` (percent), and a column for each setting that differs."""
    importance: pd.DataFrame
    """`setting, share, values, runs`: share of the scores' variance, 0..1; the largest first."""
    slices: pd.DataFrame
    """`setting, value, mean, low, high, runs`: scores in percent by value."""
    notes: tuple[str, ...]
    warning: str = ""
    """Why the shares must not be taken for effects of settings; empty: no reason."""


NOT_SET = "not set"
"""Shown for a setting without a value."""


def readable(names: Sequence[str]) -> dict[str, str]:
    """Return settings in words, e.g. `optim.lr_prompt` as "lr prompt", no two of them alike.

    Args:
        names: of settings, as in `SettingsInfo.table`.
    """
    words = {}
    for name in names:
        section, _, own = name.rpartition(".")
        own = own.replace("_", " ")
        own = section if own == "name" else f"{own} (of the method)" if section == "method" else own
        words[name] = own
    alike = {word for word, count in Counter(words.values()).items() if count > 1}
    return {n: f"{n.partition('.')[0]}: {w}" if w in alike else w for n, w in words.items()}


def _mixed(rows: Sequence[RunRow]) -> str:
    """Say where runs are of several backbones, or of experiments on other targets."""
    backbones = sorted({r.config.backbone.name for r in rows if r.config is not None})
    targets: dict[str, set[str]] = {}
    for row in rows:
        targets.setdefault(row.run.experiment, set()).add(row.run.target)
    if len(backbones) > 1:
        what = f"{len(backbones)} backbones ({', '.join(backbones)})"
    elif len({frozenset(found) for found in targets.values()}) > 1:
        what = f"{len(targets)} experiments on different targets"
    else:
        return ""
    return (
        f"These runs are of {what}. Their scores are of different tasks or models, so a setting "
        "that differs between them seems to account for what they differ in. Filter by one "
        "backbone or experiment to see what settings matter."
    )


def settings_info(rows: Iterable[RunRow], score: Score = "test") -> SettingsInfo:
    """Compare the settings and the scores of runs.

    Args:
        rows: runs; those without a score are left out.
        score: which.
    """
    every = [r for r in rows if r.run.problem is None]
    known = [r for r in every if _score(r, score) is not None]
    columns = _differing(known)
    table = pd.DataFrame({"run": [r.key for r in known]})
    table["score"] = [100 * float(_score(r, score) or 0.0) for r in known]
    for name, values in columns.items():
        table[name] = pd.Series(values, dtype=object)
    importance = _importance(table, list(columns))
    shown = list(importance["setting"].head(MOST))
    table = table[["run", "score", *shown]]
    notes = []
    if len(every) > len(known):
        without = counted(len(every) - len(known), "run")
        notes.append(f"Left out: {without} without a {score} score.")
    if len(importance) > MOST:
        more = len(importance) - MOST
        notes.append(f"Settings that differ too, account for less and are not shown: {more}.")
    notes += _tied(table, shown)
    head = importance.head(MOST).reset_index(drop=True)
    return SettingsInfo(score, table, head, _slices(table, shown), tuple(notes), _mixed(known))


def _score(row: RunRow, score: Score) -> float | None:
    value = row.run.test_score if score == "test" else row.run.score
    return value if value is not None and math.isfinite(value) else None


def _differing(rows: Sequence[RunRow]) -> dict[str, list[Any]]:
    """Return the values of everything that is not the same in all runs, run by run.

    An experiment hands most of its sections to all runs as they are, so each section is read once.
    """
    found: dict[str, list[Any]] = {}
    for name in FIELDS:
        values = [row.run.method if name == "method" else getattr(row.run, name) for row in rows]
        if len(set(values)) > 1:
            found[name] = values
    configs = [row.config for row in rows]
    by_section: dict[str, list[str]] = {}
    for name in settings():
        if not name.startswith(IGNORED):
            by_section.setdefault(name.partition(".")[0], []).append(name)
    for section, names in by_section.items():
        parts = [getattr(config, section, None) for config in configs]
        first = {id(part): place for place, part in enumerate(parts)}
        if len(first) == 1:
            continue
        for name in names:
            known = {key: _read(rows[place], parts[place], name) for key, place in first.items()}
            if len(set(known.values())) > 1:
                found[name] = [known[id(part)] for part in parts]
    return found


def _read(row: RunRow, part: Any, name: str) -> Any:
    """Return a setting as something that can be counted."""
    _, _, rest = name.partition(".")
    if not rest:
        return _plain(part)
    return _plain(row.value(name) if "." in rest else getattr(part, rest, None))


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else str(value)


def classes_of(values: pd.Series) -> pd.Series:
    """Return a setting's values as classes, as text: numbers with many values by quantiles, each
    class named by its smallest and its largest value."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > LEVELS:
        numbers = numbers.astype(float)
        part = pd.qcut(numbers, LEVELS, labels=False, duplicates="drop")
        ends = numbers.groupby(part).agg(["min", "max"])
        return part.map({at: _range(low, high) for at, low, high in ends.itertuples()})
    codes, known = pd.factorize(values, use_na_sentinel=False)
    return pd.Series(np.array([written(one) for one in known], dtype=object)[codes], values.index)


def _range(low: float, high: float) -> str:
    """Return the values of a class, e.g. `0 to 2`; whole numbers with all their digits."""
    first, last = (
        f"{v:.0f}" if v.is_integer() and abs(v) < 1e15 else f"{v:.4g}" for v in (low, high)
    )
    return first if low == high else f"{first} to {last}"


def written(value: Any) -> str:
    """Return a setting's value as one of several: `not set` where there is none, a list as
    `a+b`."""
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_SET
    return f"{value:g}" if isinstance(value, float) else str(value)


def _importance(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return the share of variance by setting, the largest first."""
    scores = table["score"].to_numpy(dtype=float)
    found = []
    for name in names:
        groups = classes_of(table[name])
        share = epsilon_squared(scores, groups.to_numpy())
        found.append((name, share, int(groups.nunique()), len(scores)))
    made = pd.DataFrame(found, columns=["setting", "share", "values", "runs"])
    return made.sort_values("share", ascending=False, kind="stable", na_position="last")


def epsilon_squared(scores: np.ndarray, groups: np.ndarray) -> float:
    """Return the adjusted share of variance between groups, 0..1 (Kelley 1935).

    NaN where nothing varies, or where every run has a value of its own.
    """
    codes, which = np.unique(groups, return_inverse=True)
    n, k = len(scores), len(codes)
    total = float(((scores - scores.mean()) ** 2).sum()) if n else 0.0
    if n <= k or total <= 1e-12:
        return float("nan")
    sizes = np.bincount(which)
    means = np.bincount(which, weights=scores) / sizes
    within = float(((scores - means[which]) ** 2).sum())
    return max(0.0, 1.0 - (within / (n - k)) / (total / (n - 1)))


def _tied(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Name settings that always change together."""
    by_pattern: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        codes = pd.factorize(classes_of(table[name]))[0]
        by_pattern.setdefault(tuple(codes), []).append(name)
    return [
        f"{', '.join(tied)} were always changed together, so they cannot be told apart."
        for tied in by_pattern.values()
        if len(tied) > 1
    ]


def _slices(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return mean and range of the score by setting and value, numbers in their order."""
    found: list[Mapping[str, Any]] = []
    for name in names:
        groups = classes_of(table[name])
        order = _first_number(table[name], groups)
        by_value = table["score"].groupby(groups)
        for value in sorted(by_value.groups, key=lambda v: order[str(v)]):
            part = by_value.get_group(value)
            found.append(
                {
                    "setting": name,
                    "value": str(value),
                    "mean": float(part.mean()),
                    "low": float(part.min()),
                    "high": float(part.max()),
                    "runs": len(part),
                }
            )
    return pd.DataFrame(found, columns=["setting", "value", "mean", "low", "high", "runs"])


def _first_number(values: pd.Series, groups: pd.Series) -> dict[str, tuple[bool, float, str]]:
    """Return what puts classes in order: their smallest number, else their text."""
    numbers = pd.to_numeric(values, errors="coerce")
    least = numbers.groupby(groups).min()
    return {
        str(g): (bool(np.isnan(low)), 0.0 if np.isnan(low) else float(low), str(g))
        for g, low in least.items()
    }
