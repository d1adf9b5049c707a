"""Which compared runs trained nothing, and which of their sources had learned nothing.

docs/run_files.md "Health".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dtvg.analysis.compare.scores import Sheet
from dtvg.store.health import KINDS, health_of, weak_sources
from dtvg.store.reader import Run

COLUMNS = ["method", "target", "seed", "mark", "sentence"]
SOURCE_COLUMNS = ["target", "seed", "source", "health", "runs"]
NAMED = 4
"""Rows that a sentence names at most."""


@dataclass(frozen=True, eq=False)
class HealthInfo:
    """What is wrong with runs and their sources."""

    table: pd.DataFrame
    """`COLUMNS`: a row per mark of a run."""
    sources: pd.DataFrame
    """`SOURCE_COLUMNS`: sources that had learned nothing, and how many runs had them."""
    notes: tuple[str, ...]
    """The same in sentences."""


def health_info(sheet: Sheet) -> HealthInfo:
    """Gather the marks of the runs behind a sheet."""
    runs: dict[str, tuple[str, Run]] = {}
    for (row, _), seeds in sheet.behind.items():
        if not sheet.kinds[row].summary:
            for run in (run for behind in seeds.values() for run in behind):
                runs.setdefault(str(run.path), (row, run))
    marked = [
        (row, run.target, run.seed, mark.kind, mark.sentence)
        for row, run in runs.values()
        for mark in health_of(run)
    ]
    table = pd.DataFrame(marked, columns=COLUMNS)
    sources = _sources([run for _, run in runs.values() if run.role == "transfer"])
    return HealthInfo(table, sources, (*_notes(table, len(runs)), *_source_notes(sources)))


def _sources(runs: Sequence[Run]) -> pd.DataFrame:
    found: dict[tuple[str, int, str, str], int] = {}
    for run in runs:
        for source, state in weak_sources(run).items():
            place = (run.target, run.seed, source, state)
            found[place] = found.get(place, 0) + 1
    return pd.DataFrame([(*k, n) for k, n in found.items()], columns=SOURCE_COLUMNS)


def _notes(table: pd.DataFrame, runs: int) -> list[str]:
    said = []
    for kind in KINDS:
        rows = table[table["mark"] == kind]
        if not len(rows):
            continue
        cells = rows.groupby(["method", "target"], sort=False)["seed"]
        named = [
            f"{method} on {target} (seed{'' if len(seeds) == 1 else 's'} "
            f"{', '.join(map(str, sorted(seeds)))})"
            for (method, target), seeds in cells
        ]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        said.append(
            f"{kind.capitalize()}: {len(rows)} of {runs} runs, {'; '.join(named[:NAMED])}{more}."
        )
    return said


def _source_notes(table: pd.DataFrame) -> list[str]:
    if not len(table):
        return []
    parts = []
    for (source, state), rows in table.groupby(["source", "health"], sort=False):
        seeds = sorted(set(rows["seed"]))
        many = f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"
        parts.append(f"{source} ({state}, {many})")
    return [f"Sources that learned nothing, and still count as candidates: {'; '.join(parts)}."]
