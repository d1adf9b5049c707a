"""The demo family's task specifications."""

from __future__ import annotations

from dtvg.tasks.spec import TaskSpec

TASKS: tuple[TaskSpec, ...] = ()
