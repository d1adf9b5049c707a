"""The figures of one decision show the names, ranks, marks and numbers of its Info."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtvg.analysis.run.explain import explain_grouping
from dtvg.figures.explain import gram_figure, prefix_figure, ranking_figure
from dtvg.rule.decide import decide
from dtvg.store.holds import Stretch
from tests.rule_cases import NAMES, Asked, ask, clear


def drawn(seed: int, n: int, **choice) -> tuple[Asked, object]:
    asked = ask(seed, n, {"rule": "greedy", **choice})
    assume(clear(asked))
    return asked, explain_grouping(asked.grouping, NAMES[:n], run="one", target="lake")


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=8)
def test_the_ranking_is_drawn_most_similar_first_with_members_filled(seed: int, n: int) -> None:
    asked, info = drawn(seed, n, threshold=0.2)
    figure = ranking_figure(info)
    (bars,) = figure.data
    ranked = asked.ranked
    assert list(bars.y) == [NAMES[s] for s in ranked]
    assert np.allclose(bars.x, asked.similarity[ranked])
    inside = [bool(asked.grouping.member[s]) for s in ranked]
    assert [row[0] for row in bars.customdata] == list(range(1, n + 1))
    assert [row[1] for row in bars.customdata] == [
        "in the group" if m else "not in the group" for m in inside
    ]
    filled = [a == b for a, b in zip(bars.marker.color, bars.marker.line.color, strict=True)]
    assert filled == inside
    assert [shape.x0 for shape in figure.layout.shapes] == [0, 0.2]
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.xaxis.title.text == "similarity to the target"
    assert "⟨v_t, v_s⟩ / d" in bars.hovertemplate


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=8)
def test_the_chosen_prefix_is_marked_at_its_own_place(seed: int, n: int) -> None:
    asked, info = drawn(seed, n)
    figure = prefix_figure(info)
    candidates = [s for s in asked.ranked if asked.similarity[s] >= 0]
    if not candidates:
        assert "No source reaches the cut" in figure.layout.annotations[0].text
        return
    (bars,) = figure.data
    assert list(bars.x) == [f"{k}<br>+ {NAMES[s]}" for k, s in enumerate(candidates, 1)]
    expected = [asked.consistency(candidates[:k]) for k in range(1, len(candidates) + 1)]
    assert np.allclose(np.asarray(bars.y), expected)
    best = int(np.argmax(expected))
    (mark,) = figure.layout.annotations
    assert mark.text == f"k* = {best + 1}" and mark.x == best
    full = [c == bars.marker.line.color for c in bars.marker.color]
    assert full == [k == best for k in range(len(candidates))]
    assert figure.layout.xaxis.title.text == "first k candidates by similarity"


@pytest.mark.parametrize("measure", ["dot", "cosine"])
def test_the_gram_matrix_stands_under_its_names_target_first(measure: str) -> None:
    asked = ask(5, 3, {"rule": "greedy", "measure": measure})
    info = explain_grouping(asked.grouping, NAMES[:3], target="lake")
    (heat,) = gram_figure(info).data
    assert list(heat.x) == list(heat.y) == ["lake (target)", *NAMES[:3]]
    assert np.allclose(np.asarray(heat.z)[1:, 1:], asked.inner)
    assert np.allclose(np.asarray(heat.z)[0, 1:], asked.similarity)
    assert np.allclose(np.asarray(heat.z)[1:, 0], asked.similarity)


def test_without_candidates_the_prefix_figure_is_a_sentence() -> None:
    info = explain_grouping(decide(-np.ones((2, 2), dtype=np.float32)), ("amber",))
    (said,) = prefix_figure(info).layout.annotations
    assert said.text == "No source reaches the cut at this step, so the group is empty."


def test_a_group_without_candidates_is_called_empty_only_where_it_is() -> None:
    none = decide(-np.ones((2, 2), dtype=np.float32))
    pinned = replace(explain_grouping(none, ("amber",)), by_hand=(Stretch("amber", "pin", 1, 9),))
    kept = decide(
        -np.ones((2, 2), dtype=np.float32), previous=np.array([True]), step=3, regroup_every=5
    )
    for info in (pinned, explain_grouping(kept, ("amber",), step=3)):
        (said,) = prefix_figure(info).layout.annotations
        assert said.text == "No source reaches the cut at this step."
