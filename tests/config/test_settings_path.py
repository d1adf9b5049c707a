"""Paths into settings: a text means the same in the form, in an override and in a grid."""

from __future__ import annotations

import math
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dtvg.config import ExperimentConfig, RunConfig, build_config, settings_path, with_overrides
from dtvg.config import grid as grids
from dtvg.config.settings_path import Leaf, get, leaves, method_leaves, parse, put, write
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.ui import forms

BASE = build_config(
    {"name": "g", "sources": ["mnli", "qqp"], "targets": ["rte"], "methods": list(METHODS)}
).model_dump(mode="json")
LEAVES = [
    *(leaf for leaf in leaves(ExperimentConfig) if leaf.path != "methods"),
    *(leaf for name in METHODS for leaf in method_leaves(name)),
]


ON_ONE_LINE = some.characters(exclude_categories=["C", "Zl", "Zp"])


def _values(kind: Any) -> some.SearchStrategy[Any]:
    """Return values of a type, as they stand in YAML."""
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        keys, values = (_values(settings_path._plain(one)) for one in (key, value))
        return some.dictionaries(keys, values, max_size=3)
    if get_origin(kind) is tuple:
        return some.lists(_values(settings_path._plain(get_args(kind)[0])), max_size=4)
    if get_args(kind):
        return some.sampled_from([v for v in get_args(kind) if v is not type(None)])
    return {
        bool: some.booleans(),
        int: some.integers(),
        float: some.floats(allow_nan=False),
        str: some.text(ON_ONE_LINE, max_size=20),
    }[kind]


def _of(leaf: Leaf) -> some.SearchStrategy[Any]:
    made = _values(leaf.kind)
    return some.none() | made if leaf.optional else made


def _same(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path)
@given(data=some.data())
def test_what_was_put_is_got_and_what_was_written_is_read(leaf: Leaf, data: Any) -> None:
    value = data.draw(_of(leaf))
    before = get(BASE, leaf.path)
    assert _same(get(put(BASE, leaf.path, value), leaf.path), value)
    assert get(BASE, leaf.path) == before
    assert _same(parse(leaf, write(leaf, value)), value)
    assert _same(forms.read(leaf, forms.shown(leaf, value)), value)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path)
@given(data=some.data())
def test_form_override_and_grid_read_the_same_text_alike(leaf: Leaf, data: Any) -> None:
    value = data.draw(_of(leaf))
    text = write(leaf, value, among=True)
    typed = text if leaf.options is None else value
    assert _same(forms.read(leaf, typed), value)
    assert _same(get(with_overrides(BASE, [f"{leaf.path}={text}"]), leaf.path), value)
    if leaf.path not in ("name", "notes"):
        assert _same(list(grids.parse(leaf.path, text, BASE).values), [value])


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path)
def test_every_setting_explains_itself_and_has_a_default_it_can_read(leaf: Leaf) -> None:
    said = settings_path.explain(leaf.path, ExperimentConfig)
    assert said.startswith(f"'{leaf.path}' takes ") and said.endswith(leaf.description)
    assert leaf.description
    if not leaf.info.is_required():
        value = BASE if leaf.path.startswith("methods") else build_config(BASE).model_dump()
        plain = get(value, leaf.path)
        again = parse(leaf, write(leaf, plain))
        assert again == (list(plain) if isinstance(plain, tuple) else plain)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("optim.lr_prompt", "1e-3", 0.001),
        ("optim.steps", "1e3", 1000),
        ("optim.steps", "0.5", "0.5"),
        ("optim.steps", "9007199254740993", 9007199254740993),
        ("optim.steps", "", None),
        ("optim.patience", "null", None),
        ("seeds", "0-3, 7", [0, 1, 2, 3, 7]),
        ("seeds", "[0, 1]", [0, 1]),
        ("seeds", "4", [4]),
        ("seeds", "0 one", [0, "one"]),
        ("sources", "mnli+qqp", ["mnli", "qqp"]),
        ("sources", "", []),
        ("methods", "none dtvg", ["none", "dtvg"]),
        ("methods", "[{name: dtvg, rule: exact}]", [{"name": "dtvg", "rule": "exact"}]),
        ("allow_self", "yes", True),
        ("notes", "a: b, # c", "a: b, # c"),
        ("notes", "'7'", "7"),
        ("data.folder", "", None),
        ("data.label_words", "{rte: ['yes', 'no']}", {"rte": ["yes", "no"]}),
        ("data.label_words.rte", "yes no", ["yes", "no"]),
        ("data.label_words", "{rte: [", "{rte: ["),
        ("prompt.given.rte", "3f2", "3f2"),
        ("prompt.given", "", {}),
        ("optim.schedule", "cosine", "cosine"),
        ("methods.oracle.subset", "", None),
        ("methods.oracle.subset", "[]", []),
        ("methods.forkmerge.grid", "0.25 0.5", [0.25, 0.5]),
    ],
)
def test_a_text_is_read_by_the_settings_type(path: str, text: str, value: Any) -> None:
    leaf = settings_path.find(path, ExperimentConfig)
    assert leaf is not None
    assert _same(parse(leaf, text), value)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("prompt.given.my.task", "3f2", "3f2"),
        ("data.label_words.my.task", "yes no", ("yes", "no")),
        ("seeds_of.dtvg-lr0.1", "2", 2),
        ("logging.detail_of.dtvg-lr0.1", "scores", "scores"),
    ],
)
def test_an_entry_of_a_mapping_may_have_dots_in_its_name(path: str, text: str, value: Any) -> None:
    values = {**BASE, "sources": ["my.task"], "methods": [{"name": "dtvg", "lr": 0.1}]}
    for override in (
        [f"{path}={text}"],
        {path: parse(settings_path.find(path, ExperimentConfig), text)},
    ):
        config = build_config(with_overrides(values, override))
        assert get(config, path, model=ExperimentConfig) == value
    (point,) = grids.expand(values, [grids.parse(path, text, values)])
    assert get(build_config(point), path, model=ExperimentConfig) == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.1, 1e-2", [0.1, 0.01]),
        ("null, 0.5,", [None, 0.5]),
        (" ", []),
    ],
)
def test_values_are_apart_by_commas(text: str, values: list[Any]) -> None:
    leaf = settings_path.find("methods.dtvg.hysteresis", ExperimentConfig)
    assert settings_path.parse_several(leaf, text) == values


@pytest.mark.parametrize("text", ["[1", "1]", "{", "'a, b", "1, , 2", "]1["])
def test_values_without_an_end_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a list of values"):
        settings_path.parse_several(None, text)


def test_a_method_is_reached_by_name_in_every_row_or_by_row() -> None:
    rows = {"methods": ["none", "dtvg", {"name": "dtvg", "rule": "exact"}]}
    made = put(rows, "methods.dtvg.threshold", 2.0)
    assert made["methods"][1:] == [
        {"name": "dtvg", "threshold": 2.0},
        {"name": "dtvg", "rule": "exact", "threshold": 2.0},
    ]
    assert get(put(rows, "methods.2.rule", "greedy"), "methods.2.rule") == "greedy"
    with pytest.raises(ConfigError, match="'ties', but this method is not chosen"):
        put(rows, "methods.ties.density", 0.1)


def test_a_way_through_a_value_that_is_no_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="Override 'optim.steps.x=3': 'steps' is not a group"):
        with_overrides(BASE, ["optim.steps.x=3"])
    assert put({"backbone": "a/b"}, "backbone.revision", "main") == {
        "backbone": {"name": "a/b", "revision": "main"}
    }


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("optim.steps", "'optim.steps' takes a whole number, at least 1 and at most 100,000,000 ("),
        ("optim.patience", "or null (null where none is given). End a run"),
        ("notes", "'notes' takes text (empty where none is given)."),
        ("stage_one", "Unknown key 'stage_one'. Allowed: "),  # not 'targets'
        ("optim.schedule", "takes one of linear, constant (linear"),
        ("methods.dare.drop", "takes a number, at least 0 and below 1 (0.5"),
        ("device", "'device' is a group of settings: name, precision, "),
        ("optim.lr_promt", "Unknown key 'optim.lr_promt'. Did you mean 'lr_prompt'?"),
        ("optm.steps", "Unknown key 'optm.steps'."),
        ("methods.dtvg.treshold", "Did you mean 'threshold'?"),
        ("methods.dtgv.rule", "Unknown method 'dtgv'. Did you mean 'dtvg'?"),
    ],
)
def test_a_path_is_explained_or_the_nearest_is_named(path: str, sentence: str) -> None:
    assert sentence in settings_path.explain(path, ExperimentConfig)


def test_a_configuration_is_read_by_path_like_its_values() -> None:
    run = build_config(BASE).runs()[0]
    for leaf in leaves(RunConfig):
        assert get(run, leaf.path) is not Ellipsis
    assert get(run, "optim.steps") == 30_000
    assert get(run, "optim.nothing") is None and get(run, "optim.fingerprint") is None
    assert get(None, "optim.steps") is None


def test_differences_name_the_settings_even_where_a_mapping_was_empty() -> None:
    one = build_config(BASE)
    other = build_config({**BASE, "prompt": {"given": {"rte": "x"}}, "seeds": [9]})
    assert list(settings_path.differences(one, other, ExperimentConfig)) == [
        "prompt.given",
        "seeds",
    ]


def test_bounds_are_those_of_the_model() -> None:
    leaf = settings_path.find("methods.dare.drop", ExperimentConfig)
    assert leaf is not None and leaf.bounds == {"ge": 0, "lt": 1}
    assert math.isclose(leaf.default, 0.5)
