"""Margins against brute force: one similarity is changed by them and the rule is asked again."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtvg.rule.decide import decide
from dtvg.rule.margins import exact_switch
from dtvg.rule.rules import RULES
from dtvg.rule.types import RuleSettings
from tests.rule_cases import (
    CASES,
    CHOICES,
    ask,
    check_margins,
    check_switches,
    clear,
    values_compared,
)

FEW = settings(max_examples=10)
SIZES = st.integers(1, 5)
SEEDS = st.integers(0, 2**32 - 1)
EXACT = [
    c for c in CHOICES if c["rule"] == "exact" and not c.keys() & {"hysteresis", "regroup_every"}
]
NOT_COMPARING = (
    "all_sources",
    "empty",
    "similarity_only",
    "nearest",
    "random",
    "largest",
    "farthest",
)
every_choice = pytest.mark.parametrize("choice", CHOICES, ids=str)


def test_every_rule_and_every_setting_of_the_rule_is_tried_here() -> None:
    assert set(CASES) == set(RULES), "a rule needs its cases in tests/rule_cases.py"
    for name, default in asdict(RuleSettings()).items():
        assert any(choice.get(name, default) != default for choice in CHOICES), name


@every_choice
@given(SEEDS, SIZES)
@FEW
def test_the_group_stays_just_before_the_similarity_margin_and_changes_just_beyond(
    choice: dict, seed: int, n: int
) -> None:
    asked = ask(seed, n, choice)
    assume(clear(asked))
    margin = np.asarray(asked.grouping.similarity_margin)
    if "hysteresis" in choice and asked.previous is not None:
        assert np.isnan(margin).all()
    else:
        check_margins(asked, margin)


@pytest.mark.parametrize("choice", EXACT, ids=str)
@given(SEEDS, SIZES)
@FEW
def test_under_exact_a_source_moves_just_beyond_its_own_change_and_no_sooner(
    choice: dict, seed: int, n: int
) -> None:
    asked = ask(seed, n, choice)
    assume(clear(asked))
    check_switches(asked, exact_switch(asked.grouping))


def test_under_exact_a_larger_change_than_the_margin_moves_the_source() -> None:
    gram = np.zeros((3, 3))
    gram[0, 1:] = gram[1:, 0] = 1.0, 0.5
    gram[1, 2] = gram[2, 1] = 0.4
    made = decide(gram, "exact")  # both: 0.75 + 0.4; amber alone: 1; birch alone: 0.5
    assert made.member.tolist() == [True, True]
    # amber at 1.3 stands alone, at −0.3 birch is as good alone; birch at 0.2 leaves
    assert made.similarity_margin.tolist() == pytest.approx([0.3, 0.3])
    assert exact_switch(made).tolist() == pytest.approx([-1.3, -0.3])


@every_choice
@given(SEEDS, SIZES)
@FEW
def test_the_consistency_margin_is_the_lead_over_the_second_best(
    choice: dict, seed: int, n: int
) -> None:
    asked = ask(seed, n, choice)
    assume(clear(asked))
    made, rule = asked.grouping, choice["rule"]
    values = sorted(values_compared(asked), reverse=True)
    if rule in NOT_COMPARING or len(values) < 2:
        assert np.isnan(made.consistency_margin)
    else:
        assert made.consistency_margin == pytest.approx(values[0] - values[1], abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_margins_of_many_matrices_and_on_torch_are_those_of_each_alone(rule: str) -> None:
    grams = np.stack([ask(seed, 4, {"rule": rule}).grouping.gram for seed in range(6)])
    together = decide(grams.reshape(2, 3, 5, 5), rule).similarity_margin
    on_torch = decide(torch.from_numpy(grams), rule).similarity_margin
    for i, gram in enumerate(grams):
        alone = decide(gram, rule).similarity_margin
        assert np.allclose(together.reshape(6, 4)[i], alone, atol=1e-12)
        assert np.allclose(np.asarray(on_torch[i]), alone, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_without_sources_there_are_no_margins(rule: str) -> None:
    made = decide(np.ones((1, 1), dtype=np.float32), rule)
    assert made.similarity_margin.shape == (0,)
    assert np.isnan(made.consistency_margin)
