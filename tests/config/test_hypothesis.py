"""The declared comparison in the configuration: read, checked, and part of no run."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dtvg.config import RunConfig, build_config, check
from dtvg.config.reading import read_yaml, with_overrides
from dtvg.errors import ConfigError

TEXT = """
sources: [mnli, qqp]
targets: [rte, cb]
methods: [none, single, {name: dtvg, threshold: 0.1}, dtvg]
hypothesis: {better: dtvg, than: none, on: average, margin: 1}
"""


def values(**hypothesis: Any) -> dict[str, Any]:
    return {**read_yaml(TEXT, "text"), "hypothesis": hypothesis}


def test_yaml_with_a_bare_on_is_read_and_written_back() -> None:
    config = build_config(yaml.safe_load(TEXT))  # YAML reads `on` as true
    told = config.hypothesis
    assert (told.better, told.than, told.on, told.margin) == ("dtvg", "none", "average", 1.0)
    assert build_config(yaml.safe_load(config.to_yaml())) == config
    changed = build_config(with_overrides(read_yaml(TEXT, "text"), ["hypothesis.on=cb"]))
    assert changed.hypothesis.on == "cb" and changed.hypothesis.better == "dtvg"


def test_it_is_part_of_no_runs_fingerprint() -> None:
    with_it, without = build_config(read_yaml(TEXT, "text")), build_config(values())
    assert not without.hypothesis.declared and "hypothesis" not in RunConfig.model_fields
    assert [r.fingerprint() for r in with_it.runs()] == [r.fingerprint() for r in without.runs()]
    assert with_it.stage_one("rte", 0).fingerprint() == without.stage_one("rte", 0).fingerprint()
    assert build_config({**values(), "hypothesis": None}).hypothesis == without.hypothesis


@pytest.mark.parametrize(
    ("told", "place", "said"),
    [
        ({"better": "dtgv", "than": "none"}, "better", "Did you mean 'dtvg'"),
        ({"better": "dtvg"}, "than", "Unknown method of this experiment ''"),
        ({"better": "dtvg", "than": "spot"}, "than", "Unknown method"),
        ({"better": "single", "than": "none"}, "better", "stands for single-mnli, single-qqp"),
        ({"better": "dtvg", "than": "dtvg"}, "than", "itself"),
        ({"better": "dtvg", "than": "none", "on": "qqp"}, "on", "Allowed: average, cb, rte"),
        ({"better": "dtvg", "than": "none", "margin": -1}, "margin", "greater than or equal to 0"),
        ({"better": "dtvg", "then": "none"}, "then", "Unknown key"),
    ],
)
def test_methods_and_target_must_be_there(told: dict[str, Any], place: str, said: str) -> None:
    problems = check(values(**told)).problems
    assert [p.setting for p in problems] == [f"hypothesis.{place}"]
    assert said in problems[0].sentence
    with pytest.raises(ConfigError):
        build_config(values(**told))


def test_a_label_is_taken_where_a_name_stands_for_several() -> None:
    config = build_config(values(better="single-mnli", than="none", on="rte"))
    assert config.row_of("single-mnli") == "single-mnli"
