"""Which rows train, select and test: planned from official sizes, seeded, never by the run.

Membership is decided by a hash of each row's content and the data seed, so it depends
neither on the order of a file nor on the run seed, and a larger `max_train_examples`
contains every smaller one. Files given for a split of somebody's own task are that split.
docs/tasks.md "Splits".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtvg.errors import DataError
from dtvg.tasks.spec import Example, TaskSpec

SMALL_TASK_ROWS = 10_000
"""Official training rows below which validation is halved."""
HELD_OUT_ROWS = 1_000
"""Training rows that become validation in larger tasks."""


@dataclass(frozen=True)
class Splits:
    """The three splits a run uses, and what a reader should know about them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[str, ...] = ()


def needs_test(spec: TaskSpec, split: str) -> bool:
    """Whether the official test split is read at all."""
    return split == "official" and spec.split.test is not None


def plan_splits(
    spec: TaskSpec,
    train: Sequence[Example],
    validation: Sequence[Example],
    test: Sequence[Example] | None,
    split: str = "plan",
    seed: int = 42,
) -> Splits:
    """Divide what was read into train, validation and test.

    Args:
        spec: the task; `spec.split.train_rows` is the official size that decides the rule.
        train, validation: the official splits as they are at hand.
        test: the labelled official test split where `split` is "official" and one exists.
        split: "plan" for the literature's rule, "official" for the official splits.
        seed: the data seed.

    Raises:
        DataError: if a split would be left without rows.
    """
    notes: list[str] = []
    if spec.dataset == "demo" or (split == "official" and test is not None):
        parts = (tuple(train), tuple(validation), tuple(test or ()))
    else:
        if split == "official":
            notes.append(f"{spec.name} has no labelled official test split; split by the plan")
        if spec.split.train_rows < SMALL_TASK_ROWS:
            first, second = divide(validation, len(validation) // 2, seed)
            parts = (tuple(train), first, second)
        else:
            wanted = min(HELD_OUT_ROWS, len(train) // 2)
            if wanted < HELD_OUT_ROWS:
                notes.append(
                    f"only {len(train)} training rows at hand: {wanted} of them, not "
                    f"{HELD_OUT_ROWS}, are validation"
                )
            held_out, rest = divide(train, wanted, seed)
            parts = (rest, held_out, tuple(validation))
    for rows, which in zip(parts, ("train", "validation", "test"), strict=True):
        if not rows:
            raise DataError(
                f"Task {spec.name} is left with no {which} rows ({len(train)} training and "
                f"{len(validation)} validation rows at hand); give it more rows."
            )
    return Splits(*parts, tuple(notes))


def divide(
    examples: Sequence[Example], count: int, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Draw `count` examples by seed; return them and the rest, both in the order given.

    Examples of one `group` stay together, so slightly more may be drawn where there are any.
    """
    order = draw_order(examples, seed)
    while 0 < count < len(order) and _same_group(examples, order[count - 1], order[count]):
        count += 1
    chosen = set(order[:count])
    return (
        tuple(e for i, e in enumerate(examples) if i in chosen),
        tuple(e for i, e in enumerate(examples) if i not in chosen),
    )


def draw_order(examples: Sequence[Example], seed: int) -> list[int]:
    """Return the positions of `examples` in the order in which `seed` draws them.

    The order depends on each example's content alone: rows with one source text (or one
    group) are drawn one after the other.
    """
    salt = hashlib.blake2b(f"{seed}".encode(), digest_size=16).digest()

    def key(index: int) -> tuple[bytes, str, str]:
        example = examples[index]
        unit = example.source if example.group is None else example.group
        digest = hashlib.blake2b(unit.encode(), digest_size=12, key=salt).digest()
        return digest, example.source, example.target

    return sorted(range(len(examples)), key=key)


def _same_group(examples: Sequence[Example], first: int, second: int) -> bool:
    group = examples[first].group
    return group is not None and group == examples[second].group


def leak_note(splits: Splits) -> str | None:
    """Describe train rows whose text also stands in validation or test, None if none does."""
    seen = {e.source for e in splits.validation} | {e.source for e in splits.test}
    rows = [number for number, e in enumerate(splits.train, start=1) if e.source in seen]
    if not rows:
        return None
    return (
        f"{len(rows)} of {len(splits.train)} train rows also stand in an evaluation split "
        f"(the first is train row {rows[0]})"
    )


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
