"""The split rule stands beside the scores, and runs of different rules are told apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from dtvg.analysis.compare.split_rules import split_notes
from dtvg.store.reader import Run


def run(target: str, rule: str | None) -> Run:
    extra: dict[str, Any] = {} if rule is None else {"data": {"split": rule, "fingerprint": "x"}}
    result = SimpleNamespace(extra=extra)
    role = SimpleNamespace(value="headline")
    return cast(Run, SimpleNamespace(target=target, result=result, full_role=role))


def test_the_literatures_own_rule_is_said() -> None:
    assert split_notes([run("multirc", "halved"), run("rte", "size")]) == [
        "multirc: the validation split is halved into validation and test, as in ATTEMPT."
    ]
    assert split_notes([run("rte", None), run("cola", "size"), run("unknown-task", None)]) == []


def test_another_rule_than_the_literatures_is_said_with_what_follows() -> None:
    for rule in ("size", None):
        (note,) = split_notes([run("paws", rule)])
        assert note.startswith("paws: split by its official size. In the literature: official")
        assert note.endswith("do not compare with published ones.")


def test_runs_of_different_rules_do_not_compare() -> None:
    (note,) = split_notes([run("multirc", None), run("multirc", "halved")])
    assert "split by different rules, so their scores do not compare (1 run: split by" in note
