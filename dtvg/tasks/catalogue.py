"""Every task by its name: those of the package family by family, then a person's own.

Imports the families and the reader of descriptions; nothing that either of them needs may
import this module. docs/tasks.md "All tasks".
"""

from __future__ import annotations

from dtvg.errors import ConfigError, unknown
from dtvg.tasks import own
from dtvg.tasks.families import demo, glue, mrqa, nlg, others, superglue
from dtvg.tasks.spec import TaskSpec

FAMILIES = (demo, glue, superglue, mrqa, others, nlg)
"""Modules with `TASKS`, in the order in which lists show them."""


def shipped_tasks() -> dict[str, TaskSpec]:
    """Return the tasks that come with the package by name, family by family."""
    return {spec.name: spec for family in FAMILIES for spec in family.TASKS}


def described_tasks() -> tuple[dict[str, TaskSpec], dict[str, str]]:
    """Return the tasks described in YAML, and what is wrong with descriptions, by name."""
    return own.described(shipped_tasks())


def all_tasks() -> dict[str, TaskSpec]:
    """Return every known task by name: those of the package, then a person's own."""
    return shipped_tasks() | described_tasks()[0]


def find_task(name: str) -> TaskSpec:
    """Return the task called `name`.

    Raises:
        ConfigError: naming the nearest task and all of them, or what is wrong with the
            description of that name.
    """
    tasks = all_tasks()
    if name not in tasks:
        problem = described_tasks()[1].get(name)
        if problem:
            raise ConfigError(problem)
        raise ConfigError(unknown("task", name, tasks, "`dtvg tasks list` shows them."))
    return tasks[name]
