"""One run as a whole: its settings and which of them are unusual, what made it, its result, files.

Reads files only. docs/run_files.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtvg.analysis.compare.confdiff import as_text
from dtvg.analysis.compare.references import Reference, guessing, of_no_transfer
from dtvg.analysis.words import in_percent
from dtvg.config import RunConfig, settings_path
from dtvg.config.settings_path import Leaf
from dtvg.store.layout import CohortDir
from dtvg.store.reader import Run, read_provenance, read_table
from dtvg.store.usage import Usage, read_usage

IDENTITY = ("experiment", "name", "role", "sources", "target", "seed", "method")
"""Fields of a configuration that say which run it is; they have no usual value."""
SCORE = "score"
NOT_SETTINGS = (*IDENTITY, "versions", "rates_from")
FILES = {
    "config.yaml": "Every setting",
    "provenance.json": "What made it: packages, hardware, command",
    "status.json": "State and progress",
    "result.json": "Scores at the best step",
    "digests.json": "Checksums of rows and result",
    "tags.json": "Tags and a note",
    "initial.safetensors": "Prompts before the first step",
    "best.safetensors": "Prompts of the best step",
    "final.safetensors": "Prompts after the last step",
}
"""What a file of a run is, by its name."""
TABLE_FILES = {
    "steps": "Log: loss, rates and Gram matrix of each step",
    "sources": "Log: similarity, rank and membership of each source",
    "evals": "Log: evaluations",
    "events": "Log: events",
    "predictions": "Log: answers to single examples",
    "exchanges": "Log: rounds of exchange with other runs",
    "relations": "Log: task-relation matrix",
    "mirrors": "How far a tracker has come",
}


@dataclass(frozen=True, eq=False)
class AboutInfo:
    """Everything the run page says of a run besides its curves and groups."""

    run: Run
    settings: pd.DataFrame
    """`setting, value, usual, differs, meaning`: those that differ from the usual come first."""
    provenance: pd.DataFrame
    """`what, value`."""
    versions: pd.DataFrame
    """`part, version` of what the run is made with."""
    reference: Reference
    """What the test score is measured by."""
    events: pd.DataFrame
    """`step, seconds, kind, detail, subject`."""

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Metrics at the best step: `metric, value, low, high`; empty before the result.

        A score that is its only metric does not stand there twice.
        """
        result = self.run.result
        found = [] if result is None else list(result.metrics.items())
        if len(found) == 2:
            found = [(name, value) for name, value in found if name != SCORE]
        bounds = {} if result is None else result.intervals
        nothing = [np.nan, np.nan]
        rows = [(name, value, *bounds.get(name, nothing)) for name, value in found]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])

    @property
    def unusual(self) -> pd.DataFrame:
        """The settings that differ from the usual."""
        return self.settings[self.settings["differs"]]

    @cached_property
    def sentence(self) -> str:
        """The result in a sentence, with what it is measured by."""
        return _sentence(self.run, self.reference)


def about(run: Run, everyone: Sequence[Run] = ()) -> AboutInfo:
    """Gather what there is to say about a run.

    Args:
        run: from `dtvg.store.reader`.
        everyone: all runs of its experiment, among them those without transfer.
    """
    config = run.config
    split = "test" if run.test_score is not None else "validation"
    return AboutInfo(
        run=run,
        settings=_settings(config),
        provenance=_provenance(run),
        versions=_versions(config),
        reference=Reference(guessing(run, split), *of_no_transfer(everyone, run.target)),
        events=read_table(run, "events").to_pandas(),
    )


def _settings(config: RunConfig | None) -> pd.DataFrame:
    """Return every setting with its usual value; those that differ first, else in their order."""
    columns = ["setting", "value", "usual", "differs", "meaning"]
    if config is None:
        return pd.DataFrame(columns=columns)
    values = config.model_dump(mode="json")
    leaves = [
        leaf
        for leaf in settings_path.leaves(RunConfig)
        if leaf.path.partition(".")[0] not in NOT_SETTINGS
    ]
    leaves += settings_path.method_leaves(config.method.name, "method")
    rows = [_setting(leaf, values) for leaf in leaves]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("differs", ascending=False, kind="stable", ignore_index=True)


def _setting(leaf: Leaf, values: dict[str, Any]) -> tuple[str, str, str, bool, str]:
    required = leaf.info.is_required()
    value = as_text(settings_path.get(values, leaf.path))
    usual = "" if required else as_text(_plain(leaf.default))
    return leaf.path, value, usual, not required and value != usual, leaf.description


def _plain(value: Any) -> Any:
    """Return a default as JSON would hold it."""
    return value.value if hasattr(value, "value") else value


def _versions(config: RunConfig | None) -> pd.DataFrame:
    found = {} if config is None or config.versions is None else config.versions
    rows = [(part, str(version)) for part, version in found.items()]
    return pd.DataFrame(rows, columns=["part", "version"])


def _provenance(run: Run) -> pd.DataFrame:
    """Return what made a run, row by row."""
    flat = settings_path.flat(read_provenance(run))
    facts = {
        "device": run.device,
        "host": run.host,
        "job": run.job,
        "cohort": run.cohort,
        **{name.replace("_", " "): value for name, value in flat.items()},
    }
    rows = [(name, as_text(value)) for name, value in facts.items() if value not in (None, "")]
    return pd.DataFrame(rows, columns=["what", "value"])


def _sentence(run: Run, reference: Reference) -> str:
    """Say the result, and how it compares with no transfer and with guessing."""
    if run.result is None:
        return "It has no result yet; the newest scores stand in the curve below."
    split = "test" if run.test_score is not None else "validation"
    score = run.result.validation_score if run.test_score is None else run.test_score
    bounds = run.result.intervals.get("score")
    sure = f" (95 % interval {_percent(bounds[0])} to {_percent(bounds[1])})" if bounds else ""
    said = f"**{_percent(score)}** on {split} at step {run.result.best_step:,}{sure}."
    if reference.no_transfer is not None and run.test_score is not None:
        difference = score - reference.no_transfer
        if not reference.method or run.method != reference.method:
            which = "" if reference.method in ("", "none") else f"`{reference.method}`, "
            # a method's name keeps its hyphens
            points = in_percent(difference, 1, "+").replace("-", "−")
            said += (
                f" Without transfer ({which}mean over its seeds) it is "
                f"{_percent(reference.no_transfer)}: {points} points."
            )
    if reference.guessing is not None:
        said += f" Always giving the commonest answer scores {_percent(reference.guessing)}."
    return said


def _percent(value: float) -> str:
    return f"{in_percent(value)} %"


def files_of(run: Run) -> pd.DataFrame:
    """Return a run's files: `file, what, bytes`; hidden and half-written ones are left out."""
    found = []
    for path in sorted(p for p in run.path.rglob("*") if p.is_file()):
        inside = path.relative_to(run.path)
        if any(part.startswith(".") for part in inside.parts):
            continue
        try:
            size = path.stat().st_size
        except OSError:  # merged into another one just now
            continue
        what = FILES.get(path.name) or TABLE_FILES.get(inside.parts[0], "")
        found.append((inside.as_posix(), what, size))
    return pd.DataFrame(found, columns=["file", "what", "bytes"])


def file_path(run: Run, name: str) -> Path | None:
    """Return the path of one of a run's files; None for what is none of them."""
    known = set(files_of(run)["file"])
    return run.path / name if name in known else None


@dataclass(frozen=True, eq=False)
class UsageInfo:
    """Processor, memory and GPU over the time a run trained."""

    table: pd.DataFrame
    """`minutes, step, cores, machine, memory_gib, machine_gib, gpu, gpu_gib`."""
    together: int
    """Runs that trained in the same process."""


def usage_of(run: Run) -> UsageInfo:
    """Return what the process used while a run trained; no rows where nothing was noted."""
    cohort = CohortDir(run.path.parent / "cohorts" / (run.cohort or "none"))
    lines = _while_training(read_usage(cohort), run.name)
    columns = ["minutes", "step", "cores", "machine", "memory_gib", "machine_gib", "gpu", "gpu_gib"]
    rows = [
        (
            (line.time - lines[0].time) / 60,
            line.steps[run.name],
            *(getattr(line, name) for name in columns[2:]),
        )
        for line in lines
    ]
    table = pd.DataFrame(rows, columns=columns).astype({name: float for name in columns[2:]})
    return UsageInfo(table, max((len(line.steps) for line in lines), default=0))


def _while_training(lines: Sequence[Usage], name: str) -> list[Usage]:
    """Return the lines up to the one in which a run reached its last step."""
    mine = [line for line in lines if name in line.steps]
    if not mine:
        return []
    last = max(line.steps[name] for line in mine)
    at = next(i for i, line in enumerate(mine) if line.steps[name] == last)
    return mine[: at + 1]
