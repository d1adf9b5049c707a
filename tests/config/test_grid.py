"""Grids: every combination once, names that say what differs, mistakes in sentences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some

from dtvg.config import build_config
from dtvg.config.grid import Axis, expand, parse, settings
from dtvg.config.presets import demo
from dtvg.errors import ConfigError
from dtvg.names import is_name

BASE = build_config(
    {
        "name": "g",
        "sources": ["mnli", "qqp", "sst2"],
        "targets": ["rte"],
        "methods": ["none", "dtvg", {"name": "dtvg", "rule": "exact"}],
    }
).model_dump(mode="json")


def _made(**texts: str) -> list[dict[str, Any]]:
    axes = [parse(name.replace("__", "."), text, BASE) for name, text in texts.items()]
    return expand(BASE, axes)


def test_every_combination_stands_once_the_last_setting_fastest() -> None:
    made = _made(prompt__length="5, 10", optim__lr_scale="0.1, 1e-3")
    assert [(m["prompt"]["length"], m["optim"]["lr_scale"]) for m in made] == [
        (5, 0.1),
        (5, 0.001),
        (10, 0.1),
        (10, 0.001),
    ]
    assert [m["name"] for m in made][:2] == ["g-length5-lrscale0.1", "g-length5-lrscale0.001"]
    assert BASE["prompt"]["length"] == 100


def test_a_methods_setting_varies_in_every_row_of_it() -> None:
    made = _made(methods__dtvg__consistency_weight="0, 2")
    rows = [[m.get("consistency_weight") for m in point["methods"]] for point in made]
    assert rows == [[None, 0, 0], [None, 2, 2]]
    assert made[1]["name"] == "g-consistencyweight2"


@pytest.mark.parametrize(
    ("text", "lists"),
    [
        ("mnli+qqp, sst2", [["mnli", "qqp"], ["sst2"]]),
        ("[mnli, qqp], [sst2]", [["mnli", "qqp"], ["sst2"]]),
        ("each", [["mnli"], ["qqp"], ["sst2"]]),
        (
            "each left out",
            [["mnli", "qqp", "sst2"], ["qqp", "sst2"], ["mnli", "sst2"], ["mnli", "qqp"]],
        ),
    ],
)
def test_sources_are_lists(text: str, lists: list[list[str]]) -> None:
    assert [m["sources"] for m in _made(sources=text)] == lists


def test_the_name_says_which_source_is_left_out() -> None:
    names = [m["name"] for m in _made(sources="each left out")]
    assert names == ["g-all-sources", "g-without-mnli", "g-without-qqp", "g-without-sst2"]


def test_seeds_are_numbers() -> None:
    assert [m["seeds"] for m in _made(seeds="0, 1+2")] == [[0], [1, 2]]


@pytest.mark.parametrize(
    ("setting", "text", "sentence"),
    [
        ("optim.lr_scal", "1", "Did you mean 'optim.lr_scale'"),
        ("optim.lr_scale", " ", "has no values"),
        ("optim.lr_scale", "1, 1", "twice"),
        ("optim.lr_scale", "{", "not a list of values"),
        ("methods.ties.density", "0.1, 0.2", "but this method is not chosen"),
        ("prompt.length", ",".join(map(str, range(501))), "at most 500"),
    ],
)
def test_mistakes_are_sentences(setting: str, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        expand(BASE, [parse(setting, text, BASE)])


def test_every_setting_of_the_model_can_vary_but_the_name() -> None:
    known = settings()
    assert {"seeds", "prompt.length", "device.precision", "methods.ties.density"} <= set(known)
    assert not {"name", "notes", "methods"} & set(known)


@hypothesis_settings(max_examples=40)
@given(some.lists(some.lists(some.text(max_size=30), max_size=4), min_size=1, max_size=9))
def test_names_are_different_and_allowed_whatever_the_values(lists: list[list[str]]) -> None:
    unique = [v for i, v in enumerate(lists) if v not in lists[:i]]
    names = [m["name"] for m in expand(demo(), [Axis("sources", tuple(unique))])]
    assert len(set(names)) == len(unique)
    assert all(is_name(name) for name in names)
