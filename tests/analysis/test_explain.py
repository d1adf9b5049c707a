"""Every sentence of Explain, word for word, and its verb, sign and number by deciding again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtvg.analysis.run.explain import ExplainInfo, digits, explain_grouping
from dtvg.rule.decide import decide
from dtvg.rule.rules import RULES
from tests.analysis.rule_words import wanted_change, wanted_headline, wanted_reason
from tests.rule_cases import CHOICES, NAMES, ask, check_margins, check_switches, clear

SIMILARITY = (0.5, 0.25, 0.125, -0.25)
PAIRS = {(0, 1): 0.5, (0, 2): -0.25, (1, 2): 0.0, (0, 3): 0.25, (1, 3): 1.0, (2, 3): -0.5}


def gram_of(similarity: Any = SIMILARITY, pairs: Any = PAIRS) -> np.ndarray:
    """A Gram matrix of numbers that float32 holds exactly; amber is the most similar."""
    n = len(similarity)
    gram = np.eye(n + 1, dtype=np.float32)
    gram[0, 1:] = gram[1:, 0] = similarity
    for (i, j), value in pairs.items():
        if max(i, j) < n:
            gram[1 + i, 1 + j] = gram[1 + j, 1 + i] = value
    return gram


def explained(gram: np.ndarray, rule: str = "greedy", step: int = 1, **choice: Any) -> ExplainInfo:
    made = decide(gram, rule, step=step, **choice)
    choice.pop("previous", None)
    return explain_grouping(made, NAMES[: len(gram) - 1], step=step)


def members(*names: str) -> np.ndarray:
    return np.array([name in names for name in NAMES[:4]])


# ---- word for word, numbers worked out by hand -------------------------------------------------


def test_greedy_says_the_prefix_and_what_would_change_it() -> None:
    # KC(1) = 0, KC(2) = 0.5, KC(3) = (0.5 − 0.25 + 0) / 3 = 0.083; dune is no candidate
    info = explained(gram_of())
    assert info.headline == (
        "3 of 4 sources reach the cut at 0; consistency is highest for the first 2 of them "
        "(0.5, 0.417 ahead of the next): amber, birch."
    )
    # amber below cedar, birch below cedar, cedar above birch: all three, as two have 0 or less
    # dune above cedar: amber, birch, dune have (0.5 + 0.25 + 1) / 3 = 0.583
    assert info.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 4), and consistency is highest for the first 2: "
        "0.5, without it 0. It would leave if its similarity were lower by 0.5. A change of 0.375 "
        "would already alter the rest of the group.",
        "birch is in: similarity 0.25 (rank 2 of 4), and consistency is highest for the first 2: "
        "0.5, without it 0. It would leave if its similarity were lower by 0.25. A change of 0.125 "
        "would already alter the rest of the group.",
        "cedar is out: similarity 0.125 (rank 3 of 4) reaches the cut at 0, but the first 3 "
        "together have consistency 0.0833, the first 2 have 0.5. It would join if its similarity "
        "were higher by 0.125.",
        "dune is out: similarity −0.25 (rank 4 of 4) lies below the cut at 0. It would join if "
        "its similarity were higher by 0.375.",
    )
    assert info.n_candidates == 3 and info.chosen_prefix == 2 and info.group_size == 2


def test_greedy_names_the_cut_it_was_given() -> None:
    info = explained(gram_of(), threshold=0.2)
    assert info.headline.startswith("2 of 4 sources reach the cut at 0.2; ")
    assert "(0.5, 0.5 ahead of the next): amber, birch." in info.headline
    assert info.sentences[2].startswith(
        "cedar is out: similarity 0.125 (rank 3 of 4) lies below the cut at 0.2."
    )
    info = explained(gram_of(), threshold=float("-inf"))
    assert info.headline.startswith("4 of 4 sources reach the cut at −∞; ")


def test_greedy_with_one_candidate_or_none_or_a_tie() -> None:
    alone = explained(gram_of((0.5, -0.25)))
    assert alone.headline == "Only amber reaches the cut at 0, so it alone is the group."
    assert alone.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 2); it is the only one to reach the cut at 0. "
        "It would leave if its similarity were lower by 0.5.",
        "birch is out: similarity −0.25 (rank 2 of 2) lies below the cut at 0. It would join if "
        "its similarity were higher by 0.25.",
    )
    nobody = explained(gram_of((-0.5, -0.25)))
    assert nobody.headline == "No source reaches the cut at 0, so the group is empty."
    assert nobody.sentences[0] == (
        "amber is out: similarity −0.5 (rank 2 of 2) lies below the cut at 0. It would join if "
        "its similarity were higher by 0.5."
    )
    tied = explained(gram_of((0.5, 0.25), {(0, 1): 0.0}))
    lead = "for the first of them (0, tied, so the fewest sources are taken): amber."
    assert lead in tied.headline
    assert explained(gram_of((), {})).headline == nobody.headline


def test_greedy_with_a_group_of_one_says_that_no_longer_prefix_is_consistent() -> None:
    info = explained(gram_of((0.5, 0.25), {(0, 1): -0.25}))
    assert info.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 2); it is the most similar, and no longer prefix "
        "has a positive consistency. It would leave if its similarity were lower by 0.25.",
        "birch is out: similarity 0.25 (rank 2 of 2) reaches the cut at 0, but the first 2 "
        "together have consistency −0.25, the first alone has 0. It would join if its similarity "
        "were higher by 0.25.",
    )


def test_a_change_that_moves_the_source_may_come_after_one_that_moves_others() -> None:
    # cedar opposes both: in second place it leaves amber alone, in first place it stands alone
    info = explained(gram_of((0.5, 0.25, 0.125), {(0, 1): 0.5, (0, 2): -1.0, (1, 2): -1.0}))
    assert info.sentences[2] == (
        "cedar is out: similarity 0.125 (rank 3 of 3) reaches the cut at 0, but the first 3 "
        "together have consistency −0.5, the first 2 have 0.5. It would join if its similarity "
        "were higher by 0.375. A change of 0.125 would already alter the rest of the group."
    )


def test_a_source_that_no_change_moves_and_one_that_the_slightest_does() -> None:
    # without a cut: amber in last place makes all three the group, 0.333 against 0.25
    pairs = {(0, 1): 0.5, (0, 2): 0.25, (1, 2): 0.25}
    info = explained(gram_of((0.5, 0.25, 0.125), pairs), threshold=float("-inf"))
    assert info.sentences[0] == (
        "amber is in: similarity 0.5 (rank 1 of 3), and consistency is highest for the first 2: "
        "0.5, without it 0. No change of its similarity alone would make it leave, but one of "
        "0.375 would alter the rest of the group."
    )
    only = explained(gram_of((0.5,), {}), "exact")
    assert only.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 1); the group's consistency is 0, without it 0. "
        "No change of its similarity alone would make it leave.",
    )
    equal = explained(gram_of((0.25, 0.25), {(0, 1): -0.25}))
    assert equal.sentences[1].endswith(
        "the first alone has 0. The slightest change of its similarity could make it join."
    )


def test_similarity_only_says_the_cut_alone() -> None:
    info = explained(gram_of(), "similarity_only", threshold=0.2)
    assert info.headline == "Every source with a similarity of at least 0.2 is in: amber, birch."
    assert info.sentences[1:3] == (
        "birch is in: similarity 0.25 (rank 2 of 4) reaches the cut at 0.2. It would leave if its "
        "similarity were lower by 0.05.",
        "cedar is out: similarity 0.125 (rank 3 of 4) lies below the cut at 0.2. It would join if "
        "its similarity were higher by 0.075.",
    )
    nobody = explained(gram_of(), "similarity_only", threshold=2.0)
    assert nobody.headline == "Every source with a similarity of at least 2 is in: none is."


def test_exact_says_its_lead_and_what_would_change_it() -> None:
    # both 0.375 + 0.5 = 0.875, amber alone 0.5, birch alone 0.25
    info = explained(gram_of((0.5, 0.25)), "exact")
    assert info.headline == (
        "Best subset by similarity and consistency, 0.375 ahead of the second best subset: "
        "amber, birch."
    )
    assert info.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 2); the group's consistency is 0.5, without it 0. "
        "It would leave if its similarity were lower by 1.25. A change of 0.75 would already alter "
        "the rest of the group.",
        "birch is in: similarity 0.25 (rank 2 of 2); the group's consistency is 0.5, without it 0. "
        "It would leave if its similarity were lower by 0.75.",
    )
    nobody = explained(gram_of((-0.5,), {}), "exact", exact_over="candidates")
    assert nobody.headline == "Best subset by similarity and consistency: no source."


def test_consistency_only_says_no_change_of_a_similarity() -> None:
    info = explained(gram_of(), "consistency_only")
    assert info.headline == (
        "Best subset by consistency, 0.5 ahead of the second best of the pairs and the empty "
        "group: birch, dune."
    )
    assert info.sentences[2:] == (
        "cedar is out: similarity 0.125 (rank 3 of 4); the group's consistency is 1, with it "
        "0.167.",
        "dune is in: similarity −0.25 (rank 4 of 4); the group's consistency is 1, without it 0.",
    )
    opposed = explained(gram_of((0.5, 0.25), {(0, 1): -0.25}), "consistency_only")
    assert opposed.headline == (
        "Best subset by consistency, 0.25 ahead of the second best of the pairs and the empty "
        "group: no source."
    )


def test_nearest_says_which_source_is_the_most_similar() -> None:
    info = explained(gram_of((0.5, 0.25)), "nearest")
    assert info.headline == "The most similar source alone is taken: amber."
    assert info.sentences == (
        "amber is in: similarity 0.5 (rank 1 of 2); it is the most similar. It would leave if its "
        "similarity were lower by 0.25.",
        "birch is out: similarity 0.25 (rank 2 of 2); another source is more similar. It would "
        "join if its similarity were higher by 0.25.",
    )


def test_rules_and_methods_that_do_not_choose_say_so() -> None:
    everybody = explained(gram_of(), "all_sources")
    assert everybody.headline == (
        "The method merges all 4 sources at every step, whatever their similarity."
    )
    assert everybody.sentences[3] == (
        "dune is in: similarity −0.25 (rank 4 of 4), but this method does not choose."
    )
    assert explained(gram_of((0.5,)), "all_sources").headline == (
        "The method merges its only source at every step, whatever its similarity."
    )
    nobody = explained(gram_of(), "empty")
    assert nobody.headline == (
        "The method merges no source at every step, whatever their similarity."
    )
    assert nobody.sentences[0] == (
        "amber is out: similarity 0.5 (rank 1 of 4), but this method does not choose."
    )
    made = replace(decide(gram_of(), "all_sources"), rule="soft", member=members("amber", "dune"))
    soft = explain_grouping(made, NAMES[:4])
    assert soft.headline == (
        "The method weighs sources instead of choosing them; sources with a weight: amber, dune."
    )
    assert soft.sentences[1] == (
        "birch is out: similarity 0.25 (rank 2 of 4), but this method weighs sources instead of "
        "choosing them."
    )
    weightless = explain_grouping(replace(made, member=members()), NAMES[:4])
    assert weightless.headline.endswith("sources with a weight: none.")


@pytest.mark.parametrize("step", [1, 7])
def test_fixed_says_that_only_the_first_step_counts(step: int) -> None:
    before = None if step == 1 else members("cedar")
    info = explained(gram_of(), "fixed", step, previous=before)
    group = "amber, birch" if step == 1 else "cedar"
    assert info.headline == f"The group of the first step is kept for the whole run: {group}."
    state = "is in" if step == 7 else "is out"
    assert info.sentences[2] == (
        f"cedar {state}: similarity 0.125 (rank 3 of 4) now, but only the first step's group "
        "counts."
    )
    assert info.memory == "fixed"
    empty = explained(gram_of(), "fixed", 7, previous=members())
    assert empty.headline == "The group of the first step is kept for the whole run: no source."


def test_between_two_regroupings_no_similarity_matters() -> None:
    info = explained(gram_of(), step=3, previous=members("cedar"), regroup_every=4)
    assert info.headline == (
        "The group of the previous step is kept (between two regroupings): cedar."
    )
    assert info.sentences[0] == (
        "amber is out: similarity 0.5 (rank 1 of 4) now, but the group of the previous step is "
        "kept. No similarity can change that at this step."
    )
    anew = explained(gram_of(), step=5, previous=members("cedar"), regroup_every=4)
    assert anew.sentences == explained(gram_of()).sentences and not anew.held


def test_hysteresis_says_why_the_group_is_kept_and_that_its_distance_is_not_defined() -> None:
    undefined = " With hysteresis, its distance from a change is not defined."
    info = explained(gram_of(), step=3, previous=members("amber"), hysteresis=0.6)
    assert info.headline == (
        "The group of the previous step is kept (no other is better by more than the hysteresis): "
        "amber."
    )
    assert info.sentences[1] == (
        "birch is out: similarity 0.25 (rank 2 of 4) now, but the group of the previous step is "
        "kept." + undefined
    )
    anew = explained(gram_of(), step=3, previous=members("amber"), hysteresis=0.4)
    assert not anew.held and anew.headline == explained(gram_of()).headline
    assert anew.sentences[3] == (
        "dune is out: similarity −0.25 (rank 4 of 4) lies below the cut at 0." + undefined
    )
    first = explained(gram_of(), step=1, hysteresis=0.4)
    assert first.sentences == explained(gram_of()).sentences


def test_with_both_memories_the_one_that_keeps_the_group_is_named() -> None:
    both = {"previous": members("cedar", "dune"), "hysteresis": 0.1, "regroup_every": 4}
    between = explained(gram_of(), step=3, **both)
    assert between.memory == "regroup_every" and np.isinf(between.similarity_margin).all()
    assert "(between two regroupings): cedar, dune." in between.headline
    assert between.sentences[0].endswith(" No similarity can change that at this step.")
    near = explained(gram_of(), step=5, **{**both, "previous": members("amber"), "hysteresis": 1.0})
    assert near.memory == "hysteresis" and "more than the hysteresis): amber." in near.headline


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.12345, "0.123"),
        (-1.5, "−1.5"),
        (1234.5, "1.23e+03"),
        (-1e-7, "−1e−07"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (float("nan"), "none"),
    ],
)
def test_numbers_have_three_digits_and_a_real_minus(value: float, text: str) -> None:
    assert digits(value) == text


# ---- every rule on drawn matrices: the sentence is built from numbers found by deciding again --


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=15)
def test_every_sentence_says_what_deciding_again_finds(choice: dict, seed: int, n: int) -> None:
    asked = ask(seed, n, choice)
    assume(clear(asked))
    info = explain_grouping(asked.grouping, NAMES[:n], step=asked.step)
    assert info.headline == wanted_headline(asked)
    if choice["rule"] != "fixed" and not asked.compares:
        check_switches(asked, info.switch_change)
        check_margins(asked, info.similarity_margin)
    for s in range(n):
        state = "is in" if asked.grouping.member[s] else "is out"
        numbers = info.switch_change[s], info.similarity_margin[s]
        wanted = wanted_reason(asked, s) + wanted_change(asked, s, *numbers)
        assert info.sentences[s] == f"{NAMES[s]} {state}: {wanted}"


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=10)
def test_every_number_of_the_tables_is_the_plain_one(choice: dict, seed: int, n: int) -> None:
    asked = ask(seed, n, choice)
    assume(clear(asked))
    info = explain_grouping(asked.grouping, NAMES[:n], target="lake", step=asked.step)
    ranked, group = asked.ranked, set(np.flatnonzero(asked.grouping.member).tolist())
    candidates = [s for s in ranked if asked.similarity[s] >= asked.threshold]
    table, prefix = info.table, info.prefix_table
    assert table["source"].tolist() == [NAMES[s] for s in ranked]
    assert table["rank"].tolist() == list(range(1, n + 1))
    assert np.allclose(table["similarity"], asked.similarity[ranked])
    assert table["candidate"].tolist() == [s in candidates for s in ranked]
    assert table["member"].tolist() == [s in group for s in ranked]
    assert table["why"].tolist() == [info.sentences[s] for s in ranked]
    by_prefix = [asked.consistency(ranked[: k + 1]) for k in range(len(candidates))]
    beyond = [np.nan] * (n - len(candidates))
    assert np.allclose(table["consistency"], by_prefix + beyond, equal_nan=True)
    switched = [asked.consistency(group ^ {s}) for s in ranked]
    assert np.allclose(table["consistency_switched"], switched)
    for name in ("similarity_margin", "switch_change"):
        assert np.array_equal(table[name], getattr(info, name)[ranked], equal_nan=True)
    assert prefix["k"].tolist() == list(range(1, len(candidates) + 1))
    assert prefix["source"].tolist() == [NAMES[s] for s in candidates]
    assert np.allclose(prefix["consistency"], by_prefix)
    is_prefix = group == set(ranked[: len(group)]) and len(group) <= len(candidates)
    named = is_prefix and choice["rule"] in ("greedy", "fixed", "similarity_only")
    assert info.chosen_prefix == (len(group) if named else None)
    marked = prefix["k"][prefix["chosen"]].tolist()
    assert marked == ([len(group)] if named and group else [])
    assert info.group_size == len(group) and info.n_candidates == len(candidates)
    assert info.consistency == pytest.approx(asked.consistency(group))
    gram = info.gram_table
    assert gram.columns.tolist() == ["", "lake (target)", *NAMES[:n]]
    assert gram[""].tolist() == ["lake (target)", *NAMES[:n]]
    assert np.allclose(gram["lake (target)"][1:], asked.similarity)
    for i in range(n):
        assert np.allclose(gram[NAMES[i]][1:], asked.inner[i])


@pytest.mark.parametrize("rule", RULES)
def test_without_sources_there_is_a_headline_and_nothing_else(rule: str) -> None:
    info = explained(np.ones((1, 1), dtype=np.float32), rule)
    assert (
        info.headline
        == {
            "greedy": "No source reaches the cut at 0, so the group is empty.",
            "similarity_only": "Every source with a similarity of at least 0 is in: none is.",
            "consistency_only": "Best subset by consistency: no source.",
            "exact": "Best subset by similarity and consistency: no source.",
            "all_sources": "The method merges all 0 sources at every step, "
            "whatever their similarity.",
            "fixed": "The group of the first step is kept for the whole run: no source.",
            "empty": "The method merges no source at every step, whatever their similarity.",
            "random": "As many sources as greedy would take (0), drawn at random: no source.",
            "largest": "As many sources as greedy would take (0), those with the longest vectors: "
            "no source.",
            "farthest": "As many sources as greedy would take (0), the least similar ones: "
            "no source.",
            "nearest": "The most similar source alone is taken: no source.",
        }[rule]
    )
    assert info.sentences == () and info.table.empty and info.prefix_table.empty
