"""In which settings do runs or experiments differ? Flattened keys, only those that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dtvg.config import settings_path
from dtvg.store.reader import Experiment, Run, read_provenance

ABSENT = "–"
"""Shown where a configuration has no such setting (another method, an older version)."""
NOT_COMPARED = ("experiment", "name")
MADE_BY = "made by: "
OF_PARTS = ("versions.", "rates_from.")
"""Settings that only say how runs with the same task or rate differ."""
_PROVENANCE_SKIPPED = ("time", "argv", "config_sha256", "run_id", "prompt_bank")


@dataclass(frozen=True, eq=False)
class DiffInfo:
    """Settings side by side."""

    names: tuple[str, ...]
    """What is compared, in order: a column of the tables each."""
    table: pd.DataFrame
    """`setting` and a column per name: settings that differ, values as text."""
    same: pd.DataFrame
    """`setting, value`: settings equal in all."""
    notes: tuple[str, ...]


def flatten(values: Mapping[str, Any]) -> dict[str, str]:
    """Return nested mappings as dotted keys with values as text, e.g. `optim.steps` → "300"."""
    return {path: as_text(value) for path, value in settings_path.flat(values).items()}


def as_text(value: Any) -> str:
    """Return a setting as a person would write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {as_text(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(v) for v in value) or "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def run_diff(runs: Sequence[Run], made_by: bool = True) -> DiffInfo:
    """Compare the stored configurations of runs.

    Args:
        runs: two or more; those whose configuration cannot be read are named in the notes.
        made_by: also compare what made them (versions, device), as far as it was recorded.
    """
    several = len({r.path.parent for r in runs}) > 1
    values: dict[str, dict[str, str]] = {}
    unread = []
    for run in runs:
        name = f"{run.path.parent.name}/{run.name}" if several else run.name
        config = run.config
        if config is None:
            unread.append(name)
            continue
        flat = flatten(config.model_dump(mode="json"))
        if made_by:
            flat |= _provenance(run)
        values[name] = flat
    return _diff(values, unread)


def experiment_diff(experiments: Sequence[Experiment]) -> DiffInfo:
    """Compare the configurations of experiments: targets, methods, seeds and all settings."""
    values: dict[str, dict[str, str]] = {}
    unread = []
    for experiment in experiments:
        if experiment.config is None:
            unread.append(experiment.name)
            continue
        content = experiment.config.model_dump(mode="json", exclude={"methods"})
        flat = flatten(content)
        flat["methods"] = ", ".join(m.label for m in experiment.config.methods)
        values[experiment.name] = flat
    return _diff(values, unread)


def _provenance(run: Run) -> dict[str, str]:
    """What made a run, without what differs between any two (times, arguments)."""
    flat = flatten(read_provenance(run))
    return {
        MADE_BY + key: value
        for key, value in flat.items()
        if key.rpartition(".")[2] not in _PROVENANCE_SKIPPED
    }


def _diff(values: Mapping[str, Mapping[str, str]], unread: Sequence[str]) -> DiffInfo:
    """Split settings into those that differ and those that do not."""
    names = tuple(values)
    keys = dict.fromkeys(k for flat in values.values() for k in flat)
    differing, equal = [], []
    for key in keys:
        if key in NOT_COMPARED:
            continue
        row = [flat.get(key, ABSENT) for flat in values.values()]
        if key.startswith(OF_PARTS) and ABSENT in row:
            continue  # of a task or method that the other run does not have
        if len(set(row)) > 1:
            differing.append([key, *row])
        else:
            equal.append([key, row[0]])
    notes = []
    if unread:
        notes.append(f"The configuration of {', '.join(unread)} cannot be read.")
    if len(names) > 1 and not differing:
        notes.append("All their settings are equal.")
    return DiffInfo(
        names=names,
        table=pd.DataFrame(differing, columns=["setting", *names]),
        same=pd.DataFrame(equal, columns=["setting", "value"]),
        notes=tuple(notes),
    )
