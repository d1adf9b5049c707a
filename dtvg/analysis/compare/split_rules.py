"""By which rule the rows behind the scores were split, said beside them.

Runs record it (`extra.data` of their results); those of before were split by official size.
docs/tasks.md "Splits".
"""

from __future__ import annotations

from collections.abc import Sequence

from dtvg.analysis.words import counted
from dtvg.errors import ConfigError
from dtvg.store.reader import Run
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.splits import PLANNED, RULE_WORDS


def split_notes(runs: Sequence[Run]) -> list[str]:
    """Say how a target was split where the literature has a rule of its own, or runs differ.

    Args:
        runs: finished runs, of any targets.
    """
    rules: dict[str, dict[str, int]] = {}
    for run in runs:
        if run.result is not None and run.full_role.value != "mixture":
            rule = rule_of(run)
            counts = rules.setdefault(run.target, {})
            counts[rule] = counts.get(rule, 0) + 1
    return [note for target, counts in rules.items() for note in _about(target, counts)]


def rule_of(run: Run) -> str:
    """Return the split rule that a finished run recorded; `size` for runs of before."""
    told = (run.result.extra if run.result is not None else {}).get("data")
    rule = told.get("split") if isinstance(told, dict) else None
    return rule if isinstance(rule, str) and rule in RULE_WORDS else "size"


def _about(target: str, counts: dict[str, int]) -> list[str]:
    try:
        literature = find_task(target).split.rule
    except ConfigError:
        literature = "size"
    if len(counts) > 1:
        told = "; ".join(f"{counted(n, 'run')}: {RULE_WORDS[rule]}" for rule, n in counts.items())
        return [
            f"Runs of {target} were split by different rules, so their scores do not compare "
            f"({told})."
        ]
    (rule,) = counts
    if rule == literature and rule in ("halved", "official"):
        return [f"{target}: {RULE_WORDS[rule]}."]
    if literature in PLANNED and rule != literature and rule in PLANNED:
        return [
            f"{target}: {RULE_WORDS[rule]}. In the literature: {RULE_WORDS[literature]}; these "
            "scores do not compare with published ones."
        ]
    return []
