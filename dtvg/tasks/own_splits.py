"""Which rows of somebody's own task train, select and test.

Files given for a split are that split; what is not given is drawn from the others by the same
seeded rule as for the literature's tasks. Must not import torch or pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dtvg.errors import DataError
from dtvg.tasks.spec import Example, TaskSpec
from dtvg.tasks.splits import HELD_OUT_ROWS, Splits, divide, plan_splits


def plan_own(
    spec: TaskSpec,
    train: Sequence[Example],
    validation: Sequence[Example],
    test: Sequence[Example] | None,
    seed: int = 42,
) -> Splits:
    """Divide what was read of a described task.

    Args:
        spec: the task.
        train: always given.
        validation: empty where none is given; then up to a tenth of train, at most 1,000.
        test: None where none is given; then as METHOD.md's rule makes it from validation.
        seed: the data seed.

    Raises:
        DataError: if a split would be left without rows.
    """
    notes: list[str] = []
    parts: tuple[Sequence[Example], Sequence[Example], Sequence[Example]]
    if validation and test is None:
        rows = spec.split.train_rows or len(train)
        sized = replace(spec, split=replace(spec.split, train_rows=rows))
        return plan_splits(sized, train, validation, None, "plan", seed)
    if validation and test is not None:
        parts = (train, validation, test)
    else:
        share = min(HELD_OUT_ROWS, len(train) // 10)
        held_out, rest = divide(train, share if test is not None else 2 * share, seed)
        if test is None:
            first, second = divide(held_out, len(held_out) // 2, seed)
            parts = (rest, first, second)
        else:
            parts = (rest, held_out, test)
        what = "validation" if test is not None else "validation and test"
        notes.append(f"{len(held_out)} training rows are {what}, because no file is given for it")
    for rows_of, which in zip(parts, ("train", "validation", "test"), strict=True):
        if not rows_of:
            raise DataError(
                f"Task {spec.name} is left with no {which} rows ({len(train)} training and "
                f"{len(validation)} validation rows at hand); give it more rows."
            )
    return Splits(tuple(parts[0]), tuple(parts[1]), tuple(parts[2]), tuple(notes))
