"""The task-relation matrix of a run over its evaluations, and how it met other runs in each round.

From the tables `relations` and `exchanges` alone; neither is there for methods that learn no such
matrix, or exchange nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.store.reader import Run, read_table

OWN = "target"
"""What a run's own task is called in its matrix."""
WAYS = ("met", "ahead", "ended", "stale", "skipped", "absent")
"""How another run was met, from what it just said to nothing at all."""


@dataclass(frozen=True, eq=False)
class RelationInfo:
    """A run's matrix; `[E]` evaluations, m tasks."""

    run: str
    target: str
    tasks: tuple[str, ...]
    """The target's own name first."""
    steps: npt.NDArray[np.int64]
    matrices: npt.NDArray[np.float64]
    """`[E m m]`: each row adds up to 1; NaN where a task was not heard of yet."""
    rounds: pd.DataFrame
    """`step, task, how, task_step, waited_s`: rounds of exchange; empty without."""

    @property
    def table(self) -> pd.DataFrame:
        """`step, task, other, relation`: what is plotted."""
        count, m = len(self.steps), len(self.tasks)
        names = np.array(self.tasks, dtype=object)
        return pd.DataFrame(
            {
                "step": np.repeat(self.steps, m * m),
                "task": np.tile(np.repeat(names, m), count),
                "other": np.tile(names, count * m),
                "relation": self.matrices.ravel(),
            }
        ).dropna()

    @property
    def summary(self) -> pd.DataFrame:
        """`task, <how>…, waited_s`: how often each other run was met in which way, and seconds
        waited in all; the run's own row counts the rounds it left out itself."""
        counts = self.rounds.groupby(["task", "how"]).size().unstack(fill_value=0)
        counts = counts.reindex(columns=[w for w in WAYS if w in counts])
        counts["waited_s"] = self.rounds.groupby("task")["waited_s"].sum().round(1)
        return counts.reset_index()


def relation_info(run: Run) -> RelationInfo | None:
    """Gather a run's relation matrices; None where it logs none.

    Args:
        run: any; only committed rows count.
    """
    rows = read_table(run, "relations").to_pandas()
    if rows.empty:
        return None
    target = run.target
    tasks = tuple(dict.fromkeys(rows["task"]))
    steps = np.unique(rows["step"].to_numpy())
    place = {name: i for i, name in enumerate(tasks)}
    matrices = np.full((len(steps), len(tasks), len(tasks)), np.nan)
    at = np.searchsorted(steps, rows["step"])
    first, second = (rows[column].map(place).to_numpy() for column in ("task", "other"))
    matrices[at, first, second] = rows["relation"]
    rounds = read_table(run, "exchanges").to_pandas()
    own = target if target not in tasks else f"{target} (target)"
    names = tuple(own if name == OWN else name for name in tasks)
    return RelationInfo(run.name, target, names, steps, matrices, rounds)
