"""Adaptations are named after their paper wherever a method is named to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.cli import main
from dtvg.methods.specs import METHODS

ADAPTED = {"dmtg": "2407.05082", "moe": "2204.07689", "relational": "2104.13874"}
ADAPTED["primal_dual"] = "2004.01305"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_adaptations_say_after_what_and_no_other_method_does() -> None:
    assert {name for name, spec in METHODS.items() if spec.after} == set(ADAPTED)
    for name, number in ADAPTED.items():
        spec = METHODS[name]
        assert spec.after.endswith(f"({number})") and number in spec.paper
        assert spec.title == f"After {spec.after}"  # lists, forms and model cards show titles


def test_the_list_and_the_docs_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "list"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    text = DOCS.read_text(encoding="utf-8")
    for name in ADAPTED:
        assert f"After {METHODS[name].after}" in listed[name]
        assert f"after {METHODS[name].after}" in text.replace("After", "after")
