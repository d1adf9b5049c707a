"""Every rule on one run's own vectors: how often each would have taken the same group.

Stands on `replay`; long runs are decided at evenly spaced steps, where a rule needs no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtvg.analysis.run.replay import Log, replay
from dtvg.config import RunConfig
from dtvg.errors import ConfigError, DataError
from dtvg.rule.memory import has_memory
from dtvg.rule.rules import RULE_NAMES, RULES
from dtvg.rule.types import RuleSettings
from dtvg.store.reader import Run, read_table

STEPS = 1000
"""Steps decided again by a rule without a memory, at most."""
COLUMNS = [
    "rule",
    "of this run",
    "same group",
    "overlap",
    "mean size",
    "most often",
    "what it does",
]


def all_rules(
    run: Run, leave_out: Sequence[str] = (), **settings: Any
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Replay a run under every rule.

    Args:
        run: from `dtvg.store.reader`.
        leave_out: sources to replay without.
        **settings: of `RuleSettings`, e.g. another cut, for all rules; a rule that a setting
            does not concern is decided without it.

    Returns:
        `COLUMNS`, the run's own rule first, the most alike next; and what a reader must know.

    Raises:
        DataError: the run has nothing to group.
    """
    own = run.config.rule_settings.rule if run.config is not None else ""
    steps = read_table(run, "steps", ["step"]).num_rows
    every, log = max(1, -(-steps // STEPS)), Log(run)
    rows, refused, sampled = [], [], False
    for name in RULE_NAMES:
        used = {**settings, "rule": name}
        memory = _remembers(run.config, used)
        try:
            info = replay(run, leave_out=leave_out, every=1 if memory else every, log=log, **used)
        except ConfigError as error:
            refused.append(f"{name}: {error}")
            continue
        except DataError as error:
            if not memory:
                raise
            refused.append(f"{name}: {error}")
            continue
        sampled = sampled or (every > 1 and not memory)
        groups = info.combinations
        size = float(info.replayed.sum(axis=1).mean()) if len(info.steps) else float("nan")
        most = str(groups["members"].iloc[0]) if len(groups) else ""
        what = RULES[name].summary
        rows.append((name, name == own, info.agreement, info.mean_jaccard, size, most, what))
    table = pd.DataFrame(rows, columns=COLUMNS)
    alike = np.where(table["of this run"], 2.0, table["same group"].fillna(0.0))
    table = table.iloc[np.argsort(-alike, kind="stable")].reset_index(drop=True)
    notes = [f"Only one step in {every} is decided again in this table."] if sampled else []
    return table, (*notes, *refused)


def _remembers(config: RunConfig | None, settings: dict[str, Any]) -> bool:
    """Whether a rule needs the group of an earlier step."""
    if config is None:
        return False
    return has_memory(RuleSettings.of(config.rule_settings, **settings))
