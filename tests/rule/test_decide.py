"""THE RULE: the published decisions, what is at the edge of it, and its messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dtvg.errors import ConfigError
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide, gram_matrix, merge

CASES = np.load(Path(__file__).parents[1] / "golden" / "grouping_cases.npz")
NUMBERS = range(int(CASES["n_cases"]))


def _case(number: int, name: str) -> np.ndarray:
    return CASES[f"{number}/{name}"]


INPUTS = ("target_vector", "source_vectors", "alpha_target", "alpha_source")


ZERO_TARGET = [n for n in NUMBERS if not CASES[f"{n}/target_vector"].any()]


def test_the_only_published_decision_that_version_2_changes_is_that_without_a_target() -> None:
    assert len(ZERO_TARGET) == 1
    for number in ZERO_TARGET:
        made = decide(gram_matrix(*(_case(number, name) for name in INPUTS)))
        assert not made.member.any() and made.n_candidates == 0


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("number", NUMBERS)
def test_the_published_decisions_come_out_again(number: int, convert, version: int) -> None:
    if version == 2 and number in ZERO_TARGET:
        return
    vectors = [convert(_case(number, name)) for name in INPUTS]
    made = decide(gram_matrix(*vectors), version=version)
    count = int(made.n_candidates)
    assert count == int(_case(number, "n_candidates"))
    assert np.allclose(made.similarity, _case(number, "similarity"), atol=1e-5)
    assert np.array_equal(np.asarray(made.order)[:count], _case(number, "rank")[:count])
    assert np.array_equal(np.asarray(made.member), _case(number, "member"))
    expected = _case(number, "consistency_by_prefix")
    assert np.allclose(np.asarray(made.consistency_by_prefix)[: len(expected)], expected, atol=1e-5)
    mixed = merge(convert(_case(number, "init")), *vectors, made.member)
    assert np.allclose(mixed, _case(number, "mixed_prompt"), atol=1e-5)


@pytest.mark.parametrize("number", NUMBERS)
def test_gradients_are_the_published_ones(number: int) -> None:
    init = torch.from_numpy(_case(number, "init"))
    prompt = (init + torch.from_numpy(_case(number, "target_vector"))).requires_grad_()
    own = torch.from_numpy(_case(number, "alpha_target")).requires_grad_()
    scale = torch.from_numpy(_case(number, "alpha_source")).requires_grad_()
    sources = torch.from_numpy(_case(number, "source_vectors"))
    vectors = (prompt - init, sources, own, scale)
    mixed = merge(init, *vectors, decide(gram_matrix(*vectors), version=1).member)
    (mixed * torch.from_numpy(_case(number, "loss_weight"))).sum().backward()
    for tensor, name in (
        (prompt, "grad_target_prompt"),
        (own, "grad_alpha_target"),
        (scale, "grad_alpha_source"),
    ):
        assert tensor.grad is not None
        assert np.allclose(tensor.grad, _case(number, name), atol=1e-4), name


def _gram(made: np.ndarray) -> np.ndarray:
    return (made @ made.T / made.shape[-1]).astype(np.float32)


def test_zero_similarity_counts_as_a_candidate_and_ties_stay_in_source_order() -> None:
    gram = np.eye(4, dtype=np.float32)
    made = decide(gram)
    assert made.n_candidates == 3
    assert made.order.tolist() == [0, 1, 2]
    assert made.member.tolist() == [True, False, False]


def test_without_candidates_or_sources_the_group_is_empty() -> None:
    gram = np.array([[1, -1, -2], [-1, 1, 0], [-2, 0, 1]], dtype=np.float32)
    assert not decide(gram).member.any()
    none = decide(np.ones((3, 1, 1), dtype=np.float32))
    assert none.member.shape == (3, 0) and none.n_candidates.tolist() == [0, 0, 0]
    assert np.isnan(none.consistency_margin).all()


def test_the_fixed_rule_takes_the_previous_group() -> None:
    rng = np.random.default_rng(1)
    first = decide(_gram(rng.normal(size=(5, 8))), "fixed")
    later = _gram(rng.normal(size=(5, 8)))
    assert np.array_equal(decide(later, "fixed", previous=first).member, first.member)
    assert np.array_equal(decide(later, "fixed").member, decide(later).member)


def test_consistency_of_the_group_is_the_prefix_value() -> None:
    gram = _gram(np.abs(np.random.default_rng(2).normal(size=(6, 8))))
    made = decide(gram)
    assert np.isclose(made.consistency, made.consistency_by_prefix[int(made.group_size) - 1])
    assert consistency_of(gram, np.eye(5, dtype=bool)[0]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decide(np.ones((3, 3), np.float32), "gredy"), "Did you mean 'greedy'"),
        (lambda: decide(np.ones((3, 2), np.float32)), r"shape \[..., m, m\]"),
        (lambda: decide(np.ones((23, 23), np.float32), "exact"), "at most 20 sources; got 22"),
    ],
)
def test_what_cannot_be_decided_is_said_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()
