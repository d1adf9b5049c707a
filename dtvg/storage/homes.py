"""Which runs train in which cohort, and which entries of the bank an experiment made or used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dtvg.store.bank import PromptBank
from dtvg.store.cohorts import shown_cohorts
from dtvg.store.files import read_json
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.store.recovery import has_rows


def homes_of(experiment: ExperimentDir) -> dict[str, list[RunDir]]:
    """Return the folders of the runs of each cohort that was begun, by its id.

    Raises:
        StoreError: a commit is damaged.
    """
    shown = shown_cohorts(experiment)
    return {id_: [experiment.run(name) for name in names] for id_, names in shown.items()}


def homeless(experiment: ExperimentDir, homes: Mapping[str, Sequence[RunDir]]) -> list[RunDir]:
    """Return the runs that hold something and are in no cohort, as those that came from elsewhere.

    Args:
        experiment: whose.
        homes: as of `homes_of`.
    """
    housed = {run.name for runs in homes.values() for run in runs}
    others = (run for run in experiment.runs() if run.name not in housed)
    return [run for run in others if run.result_path.exists() or has_rows(run)]


def prompts_of(experiment: ExperimentDir, bank: PromptBank) -> dict[str, Path]:
    """Return the folders of the prompts in the bank that an experiment made, by name."""
    found: dict[str, Path] = {}
    for run in experiment.runs():
        result = read_json(run.result_path) or {}
        status = read_json(run.status_path) or {}
        key = (result.get("extra") or {}).get("identity")
        folder = bank.root / f"{status.get('target')}-{key}"
        if key and (folder / "prompt.json").exists():
            found[folder.name] = folder
    return found
