"""The split rule: official sizes decide, the data seed draws, content alone is drawn on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtvg.errors import ConfigError, DataError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.reading import fingerprint_of
from dtvg.tasks.spec import Example, SplitPlan, TaskSpec
from dtvg.tasks.splits import divide, draw_order, leak_note, plan_splits, with_rule


def rows(count: int, stem: str) -> list[Example]:
    return [Example(f"{stem} {i}", str(i % 2), (str(i % 2),), i % 2) for i in range(count)]


def spec(official: int, test: str | None = None) -> TaskSpec:
    return replace(find_task("rte"), split=SplitPlan(official, test=test))


def texts(examples: Sequence[Example]) -> set[str]:
    return {e.source for e in examples}


def test_a_small_task_keeps_its_training_rows_and_halves_validation() -> None:
    train, validation = rows(30, "train"), rows(9, "validation")
    splits = plan_splits(spec(9_999), train, validation, None)
    assert splits.train == tuple(train)
    assert (len(splits.validation), len(splits.test)) == (4, 5)
    assert texts(splits.validation) | texts(splits.test) == texts(validation)
    assert not texts(splits.validation) & texts(splits.test)


def test_a_large_task_takes_1000_training_rows_and_tests_on_validation() -> None:
    train, validation = rows(2_500, "train"), rows(7, "validation")
    splits = plan_splits(spec(10_000), train, validation, None)
    assert len(splits.validation) == 1_000
    assert len(splits.train) == 1_500
    assert splits.test == tuple(validation)
    assert texts(splits.train) | texts(splits.validation) == texts(train)


def test_the_official_size_decides_not_what_is_at_hand() -> None:
    few, many = rows(40, "train"), rows(12_000, "train")
    assert len(plan_splits(spec(2_490), many, rows(8, "v"), None).train) == 12_000
    large = plan_splits(spec(67_349), few, rows(8, "v"), None)
    assert (len(large.train), len(large.validation), len(large.test)) == (20, 20, 8)
    assert "only 40 training rows are available" in large.notes[0]


def test_a_labelled_test_set_is_used_only_when_official_splits_are_asked_for() -> None:
    train, validation, test = rows(30, "train"), rows(8, "validation"), rows(5, "test")
    official = plan_splits(spec(3_668, "test"), train, validation, test, "official")
    assert (official.train, official.validation) == (tuple(train), tuple(validation))
    assert official.test == tuple(test)
    planned = plan_splits(spec(3_668, "test"), train, validation, None, "plan")
    assert len(planned.test) == 4


def test_official_without_a_labelled_test_set_falls_back_to_the_plan_and_says_so() -> None:
    splits = plan_splits(spec(2_490), rows(30, "t"), rows(8, "v"), None, "official")
    assert len(splits.test) == 4
    assert "no labelled official test split" in splits.notes[0]


def test_demo_splits_stay_as_they_are() -> None:
    demo = replace(spec(100), split=SplitPlan(100, rule="given"))
    train, validation, test = rows(30, "t"), rows(8, "v"), rows(5, "x")
    splits = plan_splits(demo, train, validation, test)
    assert (splits.train, splits.validation, splits.test) == tuple(
        map(tuple, (train, validation, test))
    )


def test_a_split_without_rows_is_refused_in_one_sentence() -> None:
    with pytest.raises(DataError, match=r"^Task rte is left with no validation rows .*\.$"):
        plan_splits(spec(100), rows(30, "t"), rows(1, "v"), None)


content = st.lists(st.text("abc", max_size=3), min_size=2, max_size=30)


@given(content, st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_membership_does_not_depend_on_the_order_of_the_file(
    words: list[str], seed: int, shuffler: random.Random
) -> None:
    examples = [Example(w, "0", ("0",)) for w in words]
    shuffled = list(examples)
    shuffler.shuffle(shuffled)
    for first, second in zip(
        divide(examples, len(words) // 2, seed),
        divide(shuffled, len(words) // 2, seed),
        strict=True,
    ):
        assert sorted(e.source for e in first) == sorted(e.source for e in second)


@given(content, st.integers(0, 30), st.integers(0, 99))
def test_the_two_parts_share_no_row_and_lose_none(words: list[str], count: int, seed: int) -> None:
    examples = [Example(f"{i} {w}", "0", ("0",)) for i, w in enumerate(words)]
    drawn, rest = divide(examples, min(count, len(examples)), seed)
    assert len(drawn) == min(count, len(examples))
    assert texts(drawn) | texts(rest) == texts(examples)
    assert not texts(drawn) & texts(rest)
    assert list(drawn) == [e for e in examples if e in drawn]


@given(st.integers(1, 40), st.integers(1, 40))
def test_rows_added_to_the_file_do_not_reorder_the_others(kept: int, added: int) -> None:
    examples = rows(kept + added, "row")
    before = [examples[i].source for i in draw_order(examples[:kept], 42)]
    after = [examples[i].source for i in draw_order(examples, 42) if i < kept]
    assert before == after


def test_another_seed_draws_other_rows() -> None:
    examples = rows(200, "row")
    assert texts(divide(examples, 100, 42)[0]) == texts(divide(examples, 100, 42)[0])
    assert texts(divide(examples, 100, 42)[0]) != texts(divide(examples, 100, 43)[0])


def test_rows_of_one_group_stay_together() -> None:
    examples = [replace(e, group=f"question {i // 5}") for i, e in enumerate(rows(50, "answer"))]
    drawn, rest = divide(examples, 12, 42)
    assert len(drawn) == 15
    assert not {e.group for e in drawn} & {e.group for e in rest}


def test_a_train_row_in_an_evaluation_split_is_reported_by_its_number() -> None:
    train = [*rows(3, "t"), Example("v 1", "1", ("1",), 1)]
    splits = plan_splits(spec(100), train, rows(4, "v"), None)
    assert leak_note(splits) == (
        "1 of 4 train rows also occur in an evaluation split (the first is train row 4)"
    )
    assert leak_note(plan_splits(spec(100), rows(3, "t"), rows(4, "v"), None)) is None


def test_multirc_and_scitail_halve_validation_whatever_their_size() -> None:
    for name in ("multirc", "scitail"):
        task = find_task(name)
        assert task.split.train_rows > 10_000 and task.split.rule == "halved"
        splits = plan_splits(task, rows(30, "t"), rows(8, "v"), None)
        assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 4, 4)
        assert splits.rule == "halved" and splits.notes == ()


def test_paws_takes_its_official_test_split_and_says_where_it_is_not_at_hand() -> None:
    task = find_task("paws")
    train, validation, test = rows(2_500, "t"), rows(8, "v"), rows(5, "x")
    there = plan_splits(task, train, validation, test)
    assert (there.train, there.validation) == (tuple(train), tuple(validation))
    assert there.test == tuple(test) and there.rule == "official" and not there.notes
    absent = plan_splits(task, train, validation, None)
    former = plan_splits(
        replace(task, split=replace(task.split, rule="size")), train, validation, None
    )
    assert (absent.train, absent.validation, absent.test, absent.rule) == (
        former.train,
        former.validation,
        former.test,
        "size",
    )
    assert fingerprint_of(task, absent) == fingerprint_of(task, former)
    assert fingerprint_of(task, there) != fingerprint_of(task, replace(there, rule="given"))
    assert "official test split of paws is not at hand" in absent.notes[0]


def test_a_setting_names_another_rule_where_the_task_can_follow_it() -> None:
    multirc = with_rule(find_task("multirc"), {"multirc": "size", "rte": "halved"})
    assert multirc.split.rule == "size" and find_task("multirc").split.rule == "halved"
    assert with_rule(find_task("cola"), {"rte": "halved"}) == find_task("cola")
    with pytest.raises(ConfigError, match=r"'data.split_rules.rte'.* no labelled official test"):
        with_rule(find_task("rte"), {"rte": "official"})
    demo = replace(spec(100), split=SplitPlan(100, rule="given"))
    with pytest.raises(ConfigError, match="are those of its files"):
        with_rule(demo, {"rte": "size"})
