"""A claim with its number, interval, verdict and words; the same for all seven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dtvg.analysis.claims.effects import Part, Summary, summed
from dtvg.analysis.statistics import ALPHA
from dtvg.analysis.words import in_percent

SUPPORTED, CONTRADICTED, CANNOT_TELL = "supported", "contradicted", "cannot tell"
VERDICTS = (SUPPORTED, CONTRADICTED, CANNOT_TELL)
POINTS, CORRELATION = "points", "correlation"
ALL_TARGETS = "all targets"
PART_COLUMNS = [
    "part",
    "target",
    "n_targets",
    "n_seeds",
    "n_examples",
    "estimate",
    "low",
    "high",
    "low_corrected",
    "high_corrected",
    "between",
]


@dataclass(frozen=True)
class Wording:
    """What a claim says, before any number."""

    key: str
    """a to g."""
    title: str
    statement: str
    """The paper's claim in one sentence."""
    estimand: str
    """Which number stands for it."""
    unit: str
    """`POINTS` (of a share or score) or `CORRELATION`."""


@dataclass(frozen=True, eq=False)
class Claim:
    """One claim of the paper on given runs; estimates are shares 0..1 or correlations."""

    wording: Wording
    summary: Summary
    margin: float
    """Effects below it do not matter; in the unit of the estimate."""
    verdict: str
    """One of `VERDICTS`."""
    found: str
    """The numbers in a sentence."""
    takes: str
    """What a verdict would take; empty where there is one."""
    missing: tuple[str, ...]
    """Runs or answers that are lacking."""
    parts: pd.DataFrame
    """`PART_COLUMNS`: every comparison, over all targets and on each; `low, high` 95 %,
    `low_corrected, high_corrected` at the level of the claim's comparisons."""
    evidence: pd.DataFrame
    """What the figure shows."""
    notes: tuple[str, ...]
    """What is assumed."""

    @property
    def key(self) -> str:
        """A to g, small."""
        return self.wording.key

    @property
    def scale(self) -> float:
        """Factor from the estimate to what is printed."""
        return 100.0 if self.wording.unit == POINTS else 1.0

    @property
    def numbers(self) -> str:
        """Estimate and interval as printed; empty where there is none."""
        return numbers(self.summary, self.wording.unit)


def numbers(summary: Summary, unit: str) -> str:
    """Return an estimate with its interval, e.g. `+2.1 points (+0.4 … +3.8)`."""
    if not summary.known:
        return ""
    value = shown(summary.estimate, unit)
    said = f"{value} points" if unit == POINTS else value
    if np.isnan(summary.low) and np.isnan(summary.high):
        return said
    low = "−∞" if np.isnan(summary.low) else shown(summary.low, unit)
    high = "∞" if np.isnan(summary.high) else shown(summary.high, unit)
    return f"{said} ({low} … {high})"


def shown(value: float, unit: str) -> str:
    """Return one number with its sign, a minus as it is printed."""
    text = in_percent(value, 1, "+") if unit == POINTS else f"{value:+.2f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def judged(summary: Summary, margin: float) -> str:
    """Return the verdict that an interval gives.

    Supported where it lies above 0; contradicted where it lies below the margin: then an effect
    that matters can be excluded. Where it does both, there is an effect, and it is supported.
    """
    if np.isfinite(summary.low) and summary.low > 0:
        return SUPPORTED
    if np.isfinite(summary.high) and summary.high < margin:
        return CONTRADICTED
    return CANNOT_TELL


def where(summary: Summary) -> str:
    """Say what a summary rests on, e.g. `3 targets, 5 seeds, 600 test examples`."""
    told = [_count(summary.n_targets, "target"), _count(summary.n_seeds, "seed")]
    if summary.n_examples:
        told.append(_count(summary.n_examples, "test example"))
    return ", ".join(told)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def what_it_takes(wording: Wording, summary: Summary, verdict: str, missing: Sequence[str]) -> str:
    """Say what would give a verdict; empty where there is one."""
    if verdict != CANNOT_TELL:
        return ""
    told = [f"It needs {'; '.join(missing)}." if missing else ""]
    if summary.known and summary.problem:
        told.append(f"These runs give no interval ({summary.problem}).")
    if summary.known and summary.needs:
        told.append(f"{summary.needs.capitalize()} would show a difference as large as this one.")
    elif summary.known and not summary.problem and not missing:
        told.append(
            "The difference seen is too small to be shown with any reasonable number of seeds; "
            "more targets and more test examples narrow the interval."
        )
    if summary.n_targets == 1 and not summary.problem:
        told.append("One target says nothing about others.")
    return " ".join(filter(None, told))


def within(summary: Summary, reach: float) -> Summary:
    """Return a summary whose interval ends where the quantity does.

    Args:
        summary: its interval may go beyond what is possible, e.g. with two targets.
        reach: the quantity lies between -reach and reach.
    """
    low = float(np.maximum(summary.low, -reach))
    return replace(summary, low=low, high=float(np.minimum(summary.high, reach)))


def parts_table(parts: Sequence[Part]) -> pd.DataFrame:
    """Put the comparisons of a claim in rows: over all targets, then on each.

    Args:
        parts: those without any target are left out.
    """
    count = max(1, sum(part.there for part in parts))
    rows = []
    for part in parts:
        if not part.there:
            continue
        groups = [(ALL_TARGETS, list(part.effects))] if len(part.effects) > 1 else []
        groups += [(one.target, [one]) for one in part.effects]
        for target, effects in groups:
            plain = within(summed(effects), part.reach)
            strict = within(summed(effects, 1 - ALPHA / count), part.reach)
            rows.append(
                [
                    part.name,
                    target,
                    plain.n_targets,
                    plain.n_seeds,
                    plain.n_examples,
                    plain.estimate,
                    plain.low,
                    plain.high,
                    strict.low,
                    strict.high,
                    plain.between,
                ]
            )
    return pd.DataFrame(rows, columns=PART_COLUMNS)


def missing_everywhere(lacks: Sequence[str]) -> tuple[str, ...]:
    """Return what is lacking, each thing once."""
    return tuple(dict.fromkeys(filter(None, lacks)))
