"""Surrogate: every cut of the coefficients is trained, and the best on validation is kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtvg.config import build_config
from dtvg.methods.base import StepBatch, find_method
from dtvg.methods.specs import Oracle, Surrogate
from dtvg.testing.methods import random_inputs

SOURCES = ("a", "b", "c")
SUBSETS = [(), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), SOURCES]
CUTS = torch.tensor([[0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]]).double()


def chosen(config: Surrogate):
    """`b` helps most, `a` a little, `c` harms."""
    scores = [0.5 + 0.02 * ("a" in s) + 0.1 * ("b" in s) - 0.1 * ("c" in s) for s in SUBSETS]
    return config.choose(SOURCES, [config.of(s) for s in SUBSETS], scores)


def test_the_cuts_are_nested_from_the_highest_coefficient_on() -> None:
    choice = chosen(Surrogate())
    assert np.array_equal(np.array(choice.candidates), CUTS.numpy() > 0)
    assert choice.chosen == (True, True, False)
    assert "b, a, c" in choice.sentence


@pytest.mark.parametrize(
    "config", [Surrogate(cut="threshold"), Surrogate(threshold=0.05), Surrogate().as_of(1)]
)
def test_a_given_threshold_and_version_1_search_nothing(config: Surrogate) -> None:
    choice = chosen(config)
    assert not choice.candidates
    assert choice.chosen == (config.threshold == 0.0, True, False)
    assert config.needs(SOURCES, "t").branches == ()


def test_a_run_of_version_1_finds_its_trials_by_the_names_they_have() -> None:
    now = Surrogate(samples=4)
    assert now.as_of(1).label == now.label
    names = [trial.label for trial in now.needs(SOURCES, "t").trials]
    assert [trial.label for trial in now.as_of(1).needs(SOURCES, "t").trials] == names


def test_the_run_that_chooses_has_a_branch_for_every_cut() -> None:
    assert len(Surrogate().needs(SOURCES, "t").branches) == 4
    assert Surrogate(subset=("a",)).needs(SOURCES, "t").branches == ()


def _prepared():
    inputs = random_inputs(2, 3)
    both = torch.stack([CUTS, CUTS[:, [2, 0, 1]]])
    given = dataclasses.replace(inputs, candidates=both, chosen=both[:, 2])
    method = find_method(Surrogate())
    state = method.prepare(given)
    with torch.no_grad():
        for value in state.parameters.values():
            value.add_(0.1 * torch.randn_like(value))
    return inputs, both, method, state


def test_a_branch_composes_and_learns_as_a_run_on_its_subset() -> None:
    inputs, both, method, state = _prepared()
    step = method.forward(state, StepBatch((2, 2), (9, 9), (0, 1)))
    assert step.prompt.shape == (2, 4, 4, 6)
    weight = torch.randn_like(step.prompt)
    names = list(state.parameters)
    slopes = torch.autograd.grad((step.prompt * weight).sum(), list(state.parameters.values()))
    alone = find_method(Oracle(subset=("source0",)))
    for branch in range(4):
        own = alone.prepare(dataclasses.replace(inputs, chosen=both[:, branch]))
        with torch.no_grad():
            for name, value in own.parameters.items():
                value.copy_(state.parameters[name][:, branch])
        made = alone.forward(own).prompt
        assert torch.allclose(step.prompt[:, branch], made, atol=1e-12)
        expected = torch.autograd.grad(
            (made * weight[:, branch]).sum(), [own.parameters[name] for name in names]
        )
        for mine, theirs in zip(slopes, expected, strict=True):
            assert torch.allclose(mine[:, branch], theirs, atol=1e-12)


def test_the_scored_branch_is_the_best_so_far_and_is_what_the_log_shows() -> None:
    _, both, method, state = _prepared()
    first = method.forward(state)
    assert first.weights.tolist() == both[:, 2].tolist()  # at first the positive coefficients
    for step, scores, kept in (
        (0, (0.5, 0.7, 0.7, 0.6), 1),  # fewer sources on ties
        (5, (0.1, 0.2, 0.3, 0.7), 1),  # not better than before
        (10, (0.1, 0.2, 0.3, 0.8), 3),
    ):
        search = method.search(state, 1, step, 10)
        assert search is not None and len(search.propose()) == 4 and not search.done
        search.judge(scores)
        assert search.done
        search.apply(state, ())
        assert method.search(state, 1, step, 10) is None, "asked twice at one step"
        now = method.forward(state)
        assert torch.equal(now.weights[1], both[1, kept])
        assert torch.allclose(now.prompt[1], method.branches(state)[1, kept])
        assert torch.equal(now.weights[0], both[0, 2]), "the other run's row"
        names = [n for n, w in zip(SOURCES, both[1, kept], strict=True) if w]
        assert search.finding(SOURCES).note == {"subset": names}


def test_a_file_that_names_a_threshold_keeps_it() -> None:
    values = {
        "name": "x",
        "sources": ["sst2", "cola"],
        "targets": ["rte"],
        "methods": ["surrogate", {"name": "surrogate", "threshold": 0.01}],
    }
    searched, given = build_config(values).methods
    assert searched.searches and not given.searches
