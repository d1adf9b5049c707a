"""The demo family: small English text-to-text tasks whose relatedness is known.

Each task is one latent skill in one domain under one answer convention, so which source
helps which target follows from the definition alone; `truth_table` states it and was fixed
before any method was run. `write_tasks` makes the files under data/demo. docs/demo.md.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dtvg.tasks.families import demo_world as world
from dtvg.tasks.spec import SplitPlan, TaskSpec

SEED = 2025
SPLITS = ("train", "validation", "test")
SHOTS = 16
"""Rows of a target that the demo trains on: transfer is for targets with little data."""
HELD_OUT_ROWS = 240
"""Rows of each validation and test split."""


@dataclass(frozen=True)
class DemoTask:
    """One task of the family: a skill, where it is used, and how the answer is put."""

    name: str
    title: str
    skill: str
    """`mood`, `giver`, `count` or `where`."""
    domain: str
    lead: str
    """Words before the text."""
    inverted: bool
    """Whether the answer is the opposite: `yes` for unkind, the taker instead of the giver."""
    train_rows: int
    role: str
    """`source` or `target`."""


FAMILY: tuple[DemoTask, ...] = (
    DemoTask("film-mood", "Is the film review kind?", "mood", "film", "review", False, 1200,
             "source"),
    DemoTask("meal-mood", "Did the guest like the meal?", "mood", "meal", "note", False, 1200,
             "source"),
    DemoTask("stay-gripe", "Does the guest complain about the stay?", "mood", "stay", "report",
             True, 1200, "source"),
    DemoTask("who-gave", "Who gave the present?", "giver", "gift", "story", False, 1200, "source"),
    DemoTask("who-sold", "Who sold it?", "giver", "sale", "text", False, 1200, "source"),
    DemoTask("who-borrowed", "Who borrowed it?", "giver", "loan", "story", True, 1200, "source"),
    DemoTask("count-things", "How many things are there?", "count", "", "list", False, 1200,
             "source"),
    DemoTask("where-things", "Where are the things?", "where", "", "list", False, 1200, "source"),
    DemoTask("trip-mood", "Did the traveller enjoy the trip?", "mood", "trip", "letter", False,
             48, "target"),
    DemoTask("who-sent", "Who sent the parcel?", "giver", "post", "letter", False, 48, "target"),
)  # fmt: skip

_MAKERS: dict[str, Callable[[Random, DemoTask], world.Sentence]] = {
    "mood": lambda rng, task: world.verdict(rng, task.domain),
    "giver": lambda rng, task: world.deal(rng, task.domain),
    "count": lambda rng, task: world.heap(rng),
    "where": lambda rng, task: world.heap(rng),
}
_LABELS = {"giver": world.PEOPLE, "count": world.NUMBERS, "where": world.PLACES}
_OPPOSITE = {
    "mood": "yes means the opposite",
    "giver": "the other person is the answer",
}


def labels_of(task: DemoTask) -> tuple[str, ...]:
    """Return the answer words of a task by class index."""
    return _LABELS.get(task.skill, ("no", "yes"))


def _spec(task: DemoTask) -> TaskSpec:
    return TaskSpec(
        name=task.name,
        title=task.title,
        family="demo",
        dataset="demo",
        config=None,
        folder=task.name,
        fields=(("text", "source"),),
        labels=labels_of(task),
        metrics=("accuracy",),
        split=SplitPlan(task.train_rows, test="test", rule="given"),
        label_column="target",
        max_target_tokens=4,
        paper="made for this workbench (docs/demo.md)",
        licence="Apache-2.0",
        reader="demo",
        short=task.name.replace("-", " ").capitalize(),
    )


TASKS: tuple[TaskSpec, ...] = tuple(_spec(task) for task in FAMILY)
SOURCES: tuple[str, ...] = tuple(task.name for task in FAMILY if task.role == "source")
TARGETS: tuple[str, ...] = tuple(task.name for task in FAMILY if task.role == "target")


@dataclass(frozen=True)
class Relation:
    """What one source is to one target by construction."""

    target: str
    source: str
    relation: str
    """`helpful`, `neutral` or `harmful`."""
    skills: str
    reason: str


def truth_table() -> tuple[Relation, ...]:
    """State every (target, source) pair's relation; it follows from skill and convention."""
    targets = [task for task in FAMILY if task.role == "target"]
    sources = [task for task in FAMILY if task.role == "source"]
    return tuple(_relation(target, source) for target in targets for source in sources)


def _relation(target: DemoTask, source: DemoTask) -> Relation:
    if source.skill != target.skill:
        reason = f"needs {source.skill}, the target needs {target.skill}"
        return Relation(target.name, source.name, "neutral", "", reason)
    shared = f"same skill ({target.skill}), {source.domain} instead of {target.domain}"
    if source.inverted != target.inverted:
        reason = f"{shared}, but {_OPPOSITE[target.skill]}"
        return Relation(target.name, source.name, "harmful", source.skill, reason)
    reason = f"{shared}, same meaning of the answer"
    return Relation(target.name, source.name, "helpful", source.skill, reason)


def draw(task: DemoTask, rng: Random) -> tuple[str, str]:
    """Draw one (source, target) pair of a task."""
    sentence = _MAKERS[task.skill](rng, task)
    text = f"{task.lead}: {sentence.text}"
    if task.skill == "mood":
        return text, "yes" if sentence.fact != task.inverted else "no"
    if task.skill == "where":
        return text, str(sentence.asides["where"])
    return text, str(sentence.asides["taker"] if task.inverted else sentence.fact)


def rows(task: DemoTask) -> dict[str, list[tuple[str, str]]]:
    """Make all rows of a task by split: distinct texts, classes equally often.

    A pure function of the task's definition and `SEED`.
    """
    rng = Random(f"{SEED} {task.name}")
    sizes = {
        "train": task.train_rows,
        "validation": HELD_OUT_ROWS,
        "test": HELD_OUT_ROWS,
    }
    seen: set[str] = set()
    return {split: _distinct(task, rng, size, seen) for split, size in sizes.items()}


def _distinct(task: DemoTask, rng: Random, size: int, seen: set[str]) -> list[tuple[str, str]]:
    """Draw `size` rows with texts not in `seen`, balanced over the labels."""
    labels = labels_of(task)
    left = {label: size // len(labels) + (i < size % len(labels)) for i, label in enumerate(labels)}
    drawn: list[tuple[str, str]] = []
    while len(drawn) < size:
        text, answer = draw(task, rng)
        if left[answer] and text not in seen:
            left[answer] -= 1
            seen.add(text)
            drawn.append((text, answer))
    return drawn


def all_texts() -> frozenset[str]:
    """Return every text of the family, so that pre-training can leave them out."""
    return frozenset(text for task in FAMILY for part in rows(task).values() for text, _ in part)


def digest(pairs: Iterable[tuple[str, str]]) -> str:
    """Return 16 hex digits over rows of text and answer, in order."""
    hashed = hashlib.sha256("".join(f"{s}\t{t}\n" for s, t in pairs).encode())
    return hashed.hexdigest()[:16]


def write_tasks(folder: Path) -> None:
    """Write tasks/<name>/<split>.parquet, truth.csv and experiment.yaml under `folder`."""
    for task in FAMILY:
        place = folder / "tasks" / task.name
        place.mkdir(parents=True, exist_ok=True)
        for split, pairs in rows(task).items():
            columns = {"source": [s for s, _ in pairs], "target": [t for _, t in pairs]}
            pq.write_table(pa.table(columns), place / f"{split}.parquet", compression="zstd")
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("target", "source", "relation", "skills", "reason"))
        writer.writerows(
            (r.target, r.source, r.relation, r.skills, r.reason) for r in truth_table()
        )
    text = yaml.safe_dump(experiment(), sort_keys=False, allow_unicode=True, width=100)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")


def experiment() -> dict[str, Any]:
    """Return the demo experiment as a mapping in the form of `ExperimentConfig`."""
    return {
        "name": "demo",
        "notes": "The embedded default: tasks of known relatedness on a tiny T5 (docs/demo.md).",
        "backbone": "demo",
        "sources": list(SOURCES),
        "targets": list(TARGETS),
        "methods": ["none", "target_only", "single", "spot", "all_sources", "dtvg"],
        "seeds": [0, 1, 2],
        "prompt": {"length": 10},
        "optim": {
            "stage1_steps": 200,
            "steps": 150,
            "batch_size": 8,
            "lr_stage1": 0.3,
            "lr_prompt": 0.2,
            "lr_scale_target": 0.2,
            "lr_scale": 0.2,
        },
        "data": {"few_shot": SHOTS, "max_source_tokens": 48},
        "evaluation": {"every": 50, "max_examples": 100},
    }
