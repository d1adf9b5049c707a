"""`methods list` names every method with its paper."""

from __future__ import annotations

import pytest

from dtvg.cli import main
from dtvg.methods.specs import METHODS
from dtvg.rule.rules import RULE_NAMES


def _lines(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    assert main(["methods", "list", *more]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_line_begins_with_the_name_and_ends_with_the_paper(capsys) -> None:
    for line, (name, spec) in zip(_lines(capsys), METHODS.items(), strict=True):
        assert line.split()[0] == name and line.endswith(spec.paper) and spec.title in line


def test_names_alone_are_for_scripts_and_long_lines_say_what_a_method_does(capsys) -> None:
    assert _lines(capsys, "--names") == list(METHODS)
    assert all(
        spec.summary in line
        for line, spec in zip(_lines(capsys, "--long"), METHODS.values(), strict=True)
    )


def test_long_lines_name_the_settings_and_the_controls_of_dtvg(capsys) -> None:
    line = next(line for line in _lines(capsys, "--long") if line.split()[0] == "dtvg")
    for rule in RULE_NAMES:
        assert rule in line
    for switch in ("shuffled", "schedule (regular, random)", "init_only", "nonnegative_scale"):
        assert switch in line
