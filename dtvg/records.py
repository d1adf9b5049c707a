"""What a run writes down: the log's columns with types and units, run states, events.

One table per kind of row; `store/` turns them into Parquet schemas and `docs/run_files.md` is
checked against them. Columns are only ever added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

SCHEMA_VERSION = 4
"""Stands in the metadata of every Parquet file; raised when a column is added (2: `subject` of
events; 3: `scale_negative`) or a table (4: `exchanges`, `relations`), or what a file carries beside
its rows changes (3: digests)."""
DIGESTS_SINCE = 3
"""From this version on every file carries a digest."""


class Column(NamedTuple):
    """One column of the log: its name, Arrow type, whether null is allowed, and meaning.

    `since` is the schema version that brought it; files of an earlier one read as null.
    """

    name: str
    type: str
    nullable: bool
    meaning: str
    since: int = 1


LOSS = "loss"
"""Metric of `evals`: Σ nll / Σ target tokens on validation, which decides between equal scores."""

STEPS: tuple[Column, ...] = (
    Column("step", "int64", False, "optimiser step, counted from 1; values are before update"),
    Column("seconds", "float64", False, "wall-clock seconds the run has trained so far"),
    Column("loss", "float32", False, "Σ nll / Σ target tokens over the run's whole step"),
    Column("grad_norm", "float32", False, "norm over all the run's parameters before clipping"),
    Column("lr_prompt", "float32", False, "learning rate of the prompt"),
    Column("lr_scale", "float32", True, "learning rate of the sources' scales"),
    Column("lr_scale_target", "float32", True, "learning rate of the target's scale"),
    Column("examples", "int32", False, "examples of this step"),
    Column("tokens", "int32", False, "input and target tokens of this step, without padding"),
    Column("step_ms", "float32", False, "milliseconds of the cohort's step"),
    Column("device_mem_gib", "float32", False, "peak device memory (CPU: resident memory), GiB"),
    Column("n_candidates", "int32", True, "sources with similarity at or above the threshold"),
    Column("group_size", "int32", True, "members of the group"),
    Column("consistency", "float32", True, "consistency of the actual group; 0 below two members"),
    Column("consistency_margin", "float32", True, "KC(k*) minus the best other KC(k)"),
    Column(
        "gram",
        "list<float32>",
        True,
        "Gram matrix ⟨v_i, v_j⟩/d: row-major upper triangle "
        "with diagonal, target first, m(m+1)/2 values",
    ),
)

SOURCES: tuple[Column, ...] = (
    Column("step", "int64", False, "optimiser step"),
    Column("source", "string", False, "source task"),
    Column("similarity", "float32", False, "target similarity TS(s)"),
    Column("rank", "int32", False, "0 = most similar"),
    Column("candidate", "bool", True, "similarity at or above the threshold; null: soft method"),
    Column("member", "bool", False, "in the group (soft methods: weight > 0)"),
    Column("consistency", "float32", True, "KC of the prefix that ends here; null: no candidate"),
    Column("weight", "float32", False, "weight of the source's scaled vector in the merge"),
    Column("scale_mean", "float32", True, "mean over tokens of the source's scale"),
    Column("contribution_norm", "float32", False, "Frobenius norm of what the source adds"),
    Column(
        "scale_negative",
        "float32",
        True,
        "share of the source's scale entries below 0; null: no scale",
        since=3,
    ),
)

EVALS: tuple[Column, ...] = (
    Column("step", "int64", False, "steps trained when evaluated; 0 = before the first"),
    Column("split", "string", False, "validation or test"),
    Column("task", "string", False, "task evaluated"),
    Column(
        "metric",
        "string",
        False,
        "metric name; 'score' is the mean of the task's metrics, 'loss' the loss on validation",
    ),
    Column("value", "float64", False, "0..1 (correlations -1..1; loss: nats per target token)"),
    Column("n_examples", "int32", False, "rows scored"),
    Column("seconds", "float32", False, "seconds the evaluation took"),
)

EVENTS: tuple[Column, ...] = (
    Column("step", "int64", False, "step at which it happened"),
    Column("seconds", "float64", False, "wall-clock seconds the run has trained so far"),
    Column(
        "kind",
        "string",
        False,
        "started, resumed, best, early_end, restarted, stopped, failed, ...",
    ),
    Column("detail", "string", False, "one sentence for people; nothing is read back from it"),
    Column(
        "subject",
        "string",
        True,
        "source that is pinned, banned, freed or weak; else null",
        since=2,
    ),
)

PREDICTIONS: tuple[Column, ...] = (
    Column("step", "int64", False, "steps trained when the answer was given"),
    Column("split", "string", False, "validation or test"),
    Column("task", "string", False, "task evaluated"),
    Column("row", "int64", False, "row within the task's split"),
    Column("fingerprint", "string", False, "of the example's input and answers, by content"),
    Column("target", "string", False, "the right answer"),
    Column("prediction", "string", False, "what was answered"),
    Column("correct", "bool", False, "whether it equals an accepted answer"),
    Column("value", "float64", False, "score of this example, 0..1"),
    Column("margin", "float32", True, "log-likelihood of the answered label minus the next best"),
)

EXCHANGES: tuple[Column, ...] = (
    Column("step", "int64", False, "steps trained when the round was held"),
    Column(
        "task",
        "string",
        False,
        "target whose run was met; the run's own where it leaves the round out itself",
    ),
    Column(
        "how",
        "string",
        False,
        "met (its offer of this step), stale (an older one), ahead (a newer one), ended (its last "
        "one), skipped (it leaves the round out), absent (never heard of)",
    ),
    Column("task_step", "int64", True, "step of the offer that was taken; null: none"),
    Column("waited_s", "float32", False, "seconds that the run waited for it"),
)

RELATIONS: tuple[Column, ...] = (
    Column("step", "int64", False, "steps trained when evaluated"),
    Column("task", "string", False, "task whose row it is; 'target' is the run's own"),
    Column("other", "string", False, "task of the column"),
    Column("relation", "float32", False, "entry of the relation matrix; rows add up to 1"),
    Column("dual", "float32", False, "dual that it comes from"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "steps": STEPS,
    "sources": SOURCES,
    "evals": EVALS,
    "events": EVENTS,
    "predictions": PREDICTIONS,
    "exchanges": EXCHANGES,
    "relations": RELATIONS,
}


class RunState(StrEnum):
    """What a run is doing, as far as its files and its process tell."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    """Its files say it is alive, but the lease of its experiment is proved free."""
    UNKNOWN = "unknown"
    """Its files say it is alive, and whether that is so cannot be told from here."""

    @property
    def alive(self) -> bool:
        """Whether a process is expected to be working on it."""
        return self in (RunState.RUNNING, RunState.STOPPING)

    @property
    def may_live(self) -> bool:
        """Whether a process may be working on it, so that it must not be moved or started."""
        return self.alive or self is RunState.UNKNOWN

    @property
    def resumable(self) -> bool:
        """Whether `runs resume` would go on with it."""
        return self in (RunState.WAITING, RunState.STOPPED, RunState.FAILED, RunState.LOST)


@dataclass(frozen=True)
class RunResult:
    """Content of `result.json`, written last: it exists if and only if the run finished."""

    best_step: int
    validation_score: float
    test_score: float | None
    metrics: dict[str, float]
    """Test metrics at the best step (validation metrics with `at_end: none`)."""
    steps: int
    seconds: float
    trained_parameters: int
    extra: dict[str, Any]
    """Method's own results, e.g. the chosen source."""
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """95 % bootstrap interval over the test examples of each of `metrics`; empty without a test."""
    at_best: int | None = None
    """Evaluations, the start's too, that reached the best validation score; None: not noted."""
    shares: dict[str, float] | None = None
    """Source → share of the logged steps in which it was in the group; empty where no group is
    logged, None: not noted."""
