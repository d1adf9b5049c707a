"""Which rows train, select and test: planned from official sizes, seeded, never by the run.

Membership is decided by a hash of each row's content and the data seed, so it depends
neither on the order of a file nor on the run seed, and a larger `max_train_examples`
contains every smaller one. Files given for a split of somebody's own task are that split.
docs/tasks.md "Splits".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal, get_args

from dtvg.errors import ConfigError, DataError
from dtvg.tasks.spec import Example, Rule, TaskSpec

SMALL_TASK_ROWS = 10_000
"""Official training rows below which validation is halved."""
HELD_OUT_ROWS = 1_000
"""Training rows that become validation in larger tasks."""
Rows = Sequence[Example]
Parts = tuple[Rows, Rows, Rows]
Planned = tuple[Parts, tuple[str, ...]]
"""Train, validation and test, and notes."""


@dataclass(frozen=True)
class Splits:
    """The three splits a run uses, and what a reader should know about them."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    rule: str = ""
    """The rule that was followed, one of `RULES`; empty: rows as they stand in their files."""


def reads_validation(spec: TaskSpec) -> bool:
    """Whether there is a validation split to read: always, but where own files name none."""
    return not spec.files or "validation" in dict(spec.files)


def reads_test(spec: TaskSpec, split: str) -> bool:
    """Whether a test split is read: one that is given, or on request a labelled official one."""
    if spec.split.rule in ("given", "official"):
        return True
    if spec.split.rule == "own":
        return "test" in dict(spec.files) if spec.files else spec.split.test is not None
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
        spec: the task; `spec.split` holds the rule and the official size.
        train, validation: the official splits as they are available; of somebody's own task
            validation may be empty.
        test: the test split, where `reads_test` says that one is read and it is at hand.
        split: "plan" for the task's rule, "official" for the official splits.
        seed: the data seed.

    Raises:
        DataError: if a split would be left without rows.
    """
    notes: tuple[str, ...] = ()
    rule: str = spec.split.rule
    if rule in PLANNED and split == "official":
        if test is not None:
            rule = "given"
        else:
            notes = (f"{spec.name} has no labelled official test split; split by the plan",)
    elif rule == "official" and test is None:
        rule, notes = "size", (without_test(spec),)
    parts, more = RULES[rule](spec, train, validation, test, seed)
    for rows, which in zip(parts, ("train", "validation", "test"), strict=True):
        if not rows:
            raise DataError(
                f"Task {spec.name} is left with no {which} rows ({len(train)} training and "
                f"{len(validation)} validation rows are available); give it more rows."
            )
    first, second, third = (tuple(rows) for rows in parts)
    return Splits(first, second, third, (*notes, *more), rule)


PublishedRule = Literal["size", "halved", "official"]
PLANNED: tuple[PublishedRule, ...] = get_args(PublishedRule)
"""Rules of published tasks, any of which `data.split_rules` can name."""
RULE_WORDS = {
    "size": "split by its official size",
    "halved": "the validation split is halved into validation and test, as in ATTEMPT",
    "official": "official train, validation and test splits, as in ATTEMPT",
    "given": "the three splits as they are given",
    "own": "the splits of its description",
}


def without_test(spec: TaskSpec) -> str:
    """Say that a task cannot follow the literature's rule, and what it does instead."""
    return (
        f"the official test split of {spec.name} is not at hand, so {spec.name} is split by its "
        "official size; published scores are on the official test split and do not compare"
    )


def with_rule(spec: TaskSpec, rules: Mapping[str, Rule]) -> TaskSpec:
    """Return the task under the rule that `data.split_rules` names for it.

    Raises:
        ConfigError: the task's splits are given, or it has no labelled official test split.
    """
    rule = rules.get(spec.name)
    if rule is None or rule == spec.split.rule:
        return spec
    key = f"data.split_rules.{spec.name}"
    if spec.split.rule not in PLANNED:
        raise ConfigError(
            f"'{key}': the splits of task {spec.name} are those of its files; leave this out."
        )
    if rule == "official" and spec.split.test is None:
        raise ConfigError(
            f"'{key}': task {spec.name} has no labelled official test split; choose size or halved."
        )
    return replace(spec, split=replace(spec.split, rule=rule))


def _as_given(
    spec: TaskSpec, train: Rows, validation: Rows, test: Rows | None, seed: int
) -> Planned:
    """Take the three splits as they stand."""
    return (train, validation, test or ()), ()


def _halved(spec: TaskSpec, train: Rows, validation: Rows, test: Rows | None, seed: int) -> Planned:
    """Halve the validation split."""
    first, second = divide(validation, len(validation) // 2, seed)
    return (train, first, second), ()


def _by_size(
    spec: TaskSpec, train: Rows, validation: Rows, test: Rows | None, seed: int
) -> Planned:
    """Halve the validation split of a small task; hold out training rows of a large one."""
    if spec.split.train_rows < SMALL_TASK_ROWS:
        return _halved(spec, train, validation, test, seed)
    wanted = min(HELD_OUT_ROWS, len(train) // 2)
    notes: tuple[str, ...] = ()
    if wanted < HELD_OUT_ROWS:
        notes = (
            f"only {len(train)} training rows are available: {wanted} of them, not "
            f"{HELD_OUT_ROWS}, are validation",
        )
    held_out, rest = divide(train, wanted, seed)
    return (rest, held_out, validation), notes


def _own(spec: TaskSpec, train: Rows, validation: Rows, test: Rows | None, seed: int) -> Planned:
    """Take what is given of somebody's own task, and draw the rest.

    Without a test split it is made from validation as for a published task; without a validation
    split up to a tenth of the training rows, at most 1,000, becomes it (and as many the test
    split, where that is missing too).
    """
    if validation and test is None:
        rows = spec.split.train_rows or len(train)
        sized = replace(spec, split=replace(spec.split, train_rows=rows))
        return _by_size(sized, train, validation, None, seed)
    if validation:
        return (train, validation, test or ()), ()
    share = min(HELD_OUT_ROWS, len(train) // 10)
    held_out, rest = divide(train, share if test is not None else 2 * share, seed)
    if test is not None:
        parts: Parts = (rest, held_out, test)
    else:
        first, second = divide(held_out, len(held_out) // 2, seed)
        parts = (rest, first, second)
    what = "validation" if test is not None else "validation and test"
    note = f"{len(held_out)} training rows are {what}, because no file is given for it"
    return parts, (note,)


RULES: Mapping[str, Callable[[TaskSpec, Rows, Rows, Rows | None, int], Planned]] = {
    "size": _by_size,
    "halved": _halved,
    "official": _as_given,
    "given": _as_given,
    "own": _own,
}
"""By `SplitPlan.rule`: (task, what there is of train, validation and test, data seed) → the
three splits, and what a reader should know about them."""


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


def spread_order(examples: Sequence[Example], seed: int) -> list[int]:
    """Return the positions of `examples` so that the first k are of as many groups as can be.

    Groups come in the order of `draw_order`: first one row of each, then a second one of each
    that has one, and so on; which row of a group comes first is drawn by the seed too. Rows
    without a group stay as `draw_order` has them.
    """
    salt = hashlib.blake2b(f"{seed} rows".encode(), digest_size=16).digest()

    def place(index: int) -> bytes:
        text = f"{examples[index].source}\x1f{examples[index].target}"
        return hashlib.blake2b(text.encode(), digest_size=12, key=salt).digest()

    members: dict[str | int, list[int]] = {}
    for index in draw_order(examples, seed):
        group = examples[index].group
        members.setdefault(index if group is None else group, []).append(index)
    rounds = zip_longest(*(sorted(rows, key=place) for rows in members.values()))
    return [index for drawn in rounds for index in drawn if index is not None]


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
        f"{len(rows)} of {len(splits.train)} train rows also occur in an evaluation split "
        f"(the first is train row {rows[0]})"
    )
