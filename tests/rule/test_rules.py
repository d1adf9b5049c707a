"""A rule is one entry and its settings one class; nothing else knows a rule by name."""

from __future__ import annotations

import pickle
import re
import string
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from dtvg.analysis.run.explain import explain_grouping
from dtvg.errors import ConfigError
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.specs import METHODS, Dtvg
from dtvg.rule import rules
from dtvg.rule.decide import decide, decide_steps
from dtvg.rule.memory import has_memory, objective
from dtvg.rule.rules import RULE_NAMES, RULES, idle_settings
from dtvg.rule.types import RULE_VERSION, RuleSettings, Words

PACKAGE = Path(__file__).resolve().parents[2] / "dtvg"
PLACES = {
    "headline": {
        *("group", "n", "all", "their", "cut"),
        *("candidates", "size", "prefix", "consistency", "lead"),
    },
    "reason": {
        "group",
        "n",
        "all",
        "their",
        "cut",
        "place",
        "k",
        "consistency",
        "switched",
        "by_prefix",
        "size",
        "chosen",
    },
    "lead": {"margin"},
}


def grams(seed: int = 0, steps: int = 12, n: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n + 1, 6)) + 0.3 * rng.normal(size=(steps, n + 1, 6)).cumsum(0)
    return (vectors @ vectors.swapaxes(-1, -2) / 6).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"rule": "exakt"}, "Unknown grouping rule 'exakt'. Did you mean 'exact'"),
        ({"measur": "dot"}, "Unknown setting of the rule 'measur'. Did you mean 'measure'"),
        ({"measure": "cosin"}, "Unknown similarity measure 'cosin'. Did you mean 'cosine'"),
        (
            {"exact_over": "all"},
            "Unknown value of 'exact_over' 'all'.*: candidates, sources",
        ),
        ({"exact_similarity": "max"}, "Allowed: mean, sum"),
        ({"hysteresis_unit": "percent"}, "Allowed: absolute, relative"),
        ({"schedule": "randm"}, "Did you mean 'random'"),
        ({"version": 3}, "The rule has versions 1, 2; got 3"),
        ({"regroup_every": 0}, "'regroup_every' counts steps and has to be at least 1; got 0"),
        (
            {"hysteresis": -0.1},
            "'hysteresis' has to be 0 or more, or None to switch it off; got -0.1",
        ),
        (
            {"hysteresis": float("nan")},
            "'hysteresis' has to be 0 or more, or None to switch it off; got nan",
        ),
    ],
    ids=str,
)
def test_what_the_settings_do_not_allow_is_said_in_one_sentence(call: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decide(grams(), **call)
    with pytest.raises(ConfigError, match=message):
        decide_steps(grams(), np.arange(1, 13), **call)


def test_settings_can_be_given_by_name_as_one_object_or_as_both() -> None:
    settings = RuleSettings("exact", measure="cosine", exact_over="candidates")
    keywords = decide(grams(), rule="exact", measure="cosine", exact_over="candidates")
    for made in (
        decide(grams(), settings),
        decide(
            grams(),
            RuleSettings("exact"),
            **{k: v for k, v in asdict(settings).items() if k != "rule"},
        ),
    ):
        assert made.settings == keywords.settings == settings and made.rule == "exact"
        assert np.array_equal(made.member, keywords.member)
    assert decide(grams()).settings == RuleSettings()
    assert hash(settings) == hash(replace(settings))


def test_the_method_has_every_setting_of_the_rule_with_its_default_and_passes_each_on() -> None:
    default = asdict(RuleSettings())
    assert default.pop("version") == RULE_VERSION  # a run's own, no choice of its author
    assert {n: Dtvg.model_fields[n].default for n in default} == default
    assert Dtvg().grouping_settings() == RuleSettings()
    other = {
        "rule": "exact",
        "measure": "cosine",
        "threshold": 0.25,
        "consistency_weight": 0.5,
        "exact_over": "candidates",
        "exact_similarity": "sum",
        "regroup_every": 3,
        "hysteresis": 0.125,
        "hysteresis_unit": "relative",
        "schedule": "random",
    }
    assert not any(other[name] == default[name] for name in other)
    assert {*other, "init_only"} == set(default)
    made = asdict(Dtvg(**other).grouping_settings())
    assert made == {**other, "init_only": False, "version": RULE_VERSION}
    assert Dtvg(init_only=True).grouping_settings() == RuleSettings(init_only=True)


def test_the_configuration_takes_the_names_of_the_rules_from_their_list() -> None:
    assert get_args(Dtvg.model_fields["rule"].annotation) == RULE_NAMES
    assert [name for name in RULES if name not in RULE_NAMES] == ["nearest"]
    assert RULE_NAMES[0] == "greedy"
    text = Dtvg.model_fields["rule"].description or ""
    assert all(f"{name}: {RULES[name].summary}" in text for name in RULE_NAMES)
    for method in METHODS.values():
        assert method.model_construct().grouping_settings().rule in RULES


@pytest.mark.parametrize("more", [{"regroup_every": 2}, {"hysteresis": 0.0}], ids=str)
def test_settings_that_have_nothing_to_do_are_refused_in_a_configuration_only(more: dict) -> None:
    with pytest.raises(
        ValueError, match="rule 'fixed' keeps the first step's group for the whole run"
    ):
        Dtvg(rule="fixed", **more)
    decide_steps(grams(), np.arange(1, 13), "fixed", **more)
    assert idle_settings(RuleSettings("fixed")) == idle_settings(RuleSettings(**more)) == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rule": "random", "hysteresis": 0.1}, "rule 'random' prefers no group to another"),
        ({"init_only": True, "regroup_every": 2}, "with 'init_only' only the first step's group"),
        ({"init_only": True, "hysteresis": 0.0}, "with 'init_only' only the first step's group"),
        ({"init_only": True, "nonnegative_scale": True}, "no scale is trained"),
        ({"schedule": "random"}, "with regroup_every: 1 it has no effect"),
        (
            {"nonnegative_scale": True, "scale_activation": "relu"},
            "scales through relu are never negative",
        ),
    ],
    ids=str,
)
def test_a_control_that_would_control_nothing_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Dtvg(**settings)


def test_a_rule_has_a_memory_if_it_never_regroups_or_a_setting_gives_it_one() -> None:
    assert {name for name in RULES if has_memory(RuleSettings(name))} == {"fixed"}
    assert has_memory(RuleSettings(regroup_every=2)) and has_memory(RuleSettings(hysteresis=0.0))


@pytest.mark.parametrize("rule", RULES)
def test_a_grouping_can_be_pickled_copied_with_changes_and_moved_to_torch(rule: str) -> None:
    made = decide(grams(), rule, hysteresis=0.1)
    again = pickle.loads(pickle.dumps(made))
    assert again.settings == made.settings and again.rule == rule
    assert np.array_equal(again.similarity_margin, made.similarity_margin, equal_nan=True)
    assert np.array_equal(objective(again, made.member), objective(made, made.member))
    assert made == made and made != again
    none = replace(made, member=np.zeros_like(made.member))
    assert (none.group_size == 0).all() and (none.consistency == 0).all()
    tensors = decide_on_device(torch.from_numpy(grams()), made.settings)
    for field in fields(made):
        ours, theirs = getattr(tensors, field.name), getattr(made, field.name)
        assert type(ours) is torch.Tensor or ours == theirs
        if isinstance(ours, torch.Tensor):
            assert np.array_equal(ours.numpy(), theirs, equal_nan=ours.is_floating_point())


@pytest.mark.parametrize("rule", RULES)
def test_the_words_of_a_rule_have_only_places_that_are_filled_in(rule: str) -> None:
    words, kinds = RULES[rule].words, {"lead": "lead", "tied": "lead"}
    headlines = {"headline", "without_candidates", "only_candidate"}
    for field in fields(Words):
        text = getattr(words, field.name)
        if isinstance(text, str):
            kind = "headline" if field.name in headlines else kinds.get(field.name, "reason")
            places = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert places <= PLACES[kind], field.name


def test_a_new_rule_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least similar source alone: decided, kept by hysteresis, and explained."""
    farthest = rules.Rule(
        name="farthest",
        summary="the least similar source",
        choose=lambda ranking: (
            ranking.rank == ranking.rank.shape[-1] - 1,
            np.full(ranking.rank.shape[:-1], np.nan),
        ),
        objective=lambda ranking, member: -(ranking.similarity * member).sum(-1),
        margin=rules.no_margin,
        words=Words("The last of {n} is {group}.", "{place}: the last.", "{place}: not the last."),
    )
    monkeypatch.setitem(RULES, "farthest", farthest)
    for gram in grams():
        made = decide(gram, "farthest")
        assert np.flatnonzero(made.member).tolist() == [int(made.similarity.argmin())]
        info = explain_grouping(made, ("a", "b", "c", "d"))
        name = "abcd"[int(made.similarity.argmin())]
        assert info.headline == f"The last of 4 is {name}."
        assert info.sentences["abcd".index(name)].endswith("(rank 4 of 4): the last.")
        assert info.chosen_prefix is None
    kept = decide_steps(grams(steps=80), np.arange(1, 81), "farthest", hysteresis=0.3).member
    fresh = decide(grams(steps=80), "farthest").member
    changes = [int((m[1:] != m[:-1]).any(-1).sum()) for m in (kept, fresh)]
    assert 0 < changes[0] < changes[1]


def test_outside_its_package_no_code_asks_for_a_rule_by_name() -> None:
    names = "|".join(RULES)
    asked = re.compile(rf"""rule["')\]]*\s*(==|!=|in\b|not in\b).*["']({names})["']""")
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "rule":
            found = [line for line in path.read_text("utf-8").splitlines() if asked.search(line)]
            assert not found, (path, found)
