"""Task prompt vectors: arithmetic, the best pair by brute force, coefficients as people type."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from dtvg.config import build_config
from dtvg.errors import ConfigError
from dtvg.methods.base import find_method
from dtvg.methods.specs import METHODS, TpvSum
from dtvg.methods.tpv_sum import arithmetic, best_pair
from dtvg.testing.methods import random_inputs


def start(config: TpvSum, runs: int = 3, sources: int = 4):
    inputs = random_inputs(runs, sources)
    state = find_method(config).prepare(inputs)
    return inputs, state, state.parameters["prompt"].detach()


def test_the_sum_starts_from_all_vectors_on_top_of_the_initial_prompt() -> None:
    inputs, _, prompt = start(TpvSum(combine="sum"))
    assert torch.allclose(prompt, inputs.init + inputs.source_vectors.sum(1), atol=1e-12)


def test_the_best_pair_has_the_highest_cosine_with_the_target_of_all_pairs() -> None:
    inputs, state, prompt = start(TpvSum())
    for run in range(3):
        target = (inputs.target_prompt - inputs.init)[run].mean(0).numpy()
        pooled = inputs.source_vectors[run].mean(1).numpy()

        def cosine(pair: tuple[int, int], pooled=pooled, target=target) -> float:
            total = pooled[pair[0]] + pooled[pair[1]]
            return float(total @ target / np.linalg.norm(total) / np.linalg.norm(target))

        i, j = max(combinations(range(4), 2), key=cosine)
        expected = inputs.init[run] + inputs.source_vectors[run, i] + inputs.source_vectors[run, j]
        assert torch.allclose(prompt[run], expected, atol=1e-12)
        assert state.notes[run]["coefficients"] == {f"source{i}": 1.0, f"source{j}": 1.0}


def test_given_coefficients_and_the_target_s_own_vector_are_added_up() -> None:
    config = TpvSum(combine="given", coefficients="source2=-0.5, source0=2 target=0.25")
    inputs, state, prompt = start(config)
    own = inputs.target_prompt - inputs.init
    expected = inputs.init + 2 * inputs.source_vectors[:, 0] - 0.5 * inputs.source_vectors[:, 2]
    assert torch.allclose(prompt, expected + 0.25 * own, atol=1e-12)
    step = find_method(config).forward(state)
    assert step.weights[0].tolist() == [2.0, 0.0, -0.5, 0.0]
    lengths = inputs.source_vectors.flatten(2).norm(dim=-1)
    assert torch.allclose(step.contribution_norm[:, 2], 0.5 * lengths[:, 2])


def test_a_source_a_run_does_not_have_is_left_out() -> None:
    config = TpvSum(combine="given", coefficients={"source0": 1, "elsewhere": 3})
    inputs, _, prompt = start(config)
    assert torch.allclose(prompt, inputs.init + inputs.source_vectors[:, 0], atol=1e-12)


def test_ties_go_to_the_earlier_pair_and_one_source_is_its_own_best_sum() -> None:
    assert best_pair(np.zeros((4, 4), np.float32)) == (0, 1)
    assert best_pair(np.ones((2, 2), np.float32)) == (0,)
    made = arithmetic(torch.zeros(1, 2), torch.ones(3, 1, 2), torch.tensor([1.0, 2.0, -0.5]))
    assert made.tolist() == [[2.5, 2.5]]


def test_a_mapping_and_text_are_one_configuration_with_a_name_of_safe_letters() -> None:
    by_text = TpvSum(combine="given", coefficients=" mnli=1.0,qqp=-0.5 ")
    by_map = TpvSum.model_validate(
        {"name": "tpv_sum", "combine": "given", "coefficients": {"mnli": 1, "qqp": -0.5}}
    )
    assert by_text == by_map and hash(by_text) == hash(by_map)
    assert by_text.label == "tpv_sum-given-mnli1-qqp-0.5"
    assert TpvSum.model_validate(by_text.model_dump(mode="json")) == by_text


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"combine": "given"}, "go together"),
        ({"coefficients": "sst2=1"}, "go together"),
        ({"combine": "given", "coefficients": "sst2"}, "write mnli=1"),
        ({"combine": "given", "coefficients": "sst2=1, sst2=2"}, "two coefficients"),
        ({"combine": "given", "coefficients": "sst=1"}, "Did you mean 'sst2'"),
    ],
)
def test_coefficients_that_cannot_be_used_are_refused_in_a_sentence(entry, message) -> None:
    values = {"targets": ["rte"], "sources": ["sst2", "cola"]}
    with pytest.raises(ConfigError, match=message):
        build_config({**values, "methods": [{"name": "tpv_sum", **entry}]})
    assert METHODS["tpv_sum"] is TpvSum
