"""SPoT's ranking while tuning: cosines of mean-pooled prompts, by the prompt as it is now."""

from __future__ import annotations

import numpy as np
import torch

from dtvg.methods.base import find_method
from dtvg.methods.specs import METHODS
from dtvg.testing.methods import random_inputs


def cosines_by_hand(prompt: torch.Tensor, inputs, run: int) -> list[float]:
    own = prompt[run].mean(0).numpy()
    found = []
    for vector in inputs.source_vectors[run]:
        source = (inputs.init[run] + vector).mean(0).numpy()
        found.append(float(own @ source / np.linalg.norm(own) / np.linalg.norm(source)))
    return found


def test_the_ranking_follows_the_prompt_while_the_chosen_source_stays() -> None:
    inputs = random_inputs(3, 4)
    method = find_method(METHODS["spot"]())
    state = method.prepare(inputs)
    chosen = method.forward(state).weights.argmax(-1)
    with torch.no_grad():
        state.parameters["prompt"].copy_(torch.randn_like(state.parameters["prompt"]))
    step = method.forward(state)
    for run in range(3):
        cosines = cosines_by_hand(state.parameters["prompt"].detach(), inputs, run)
        assert np.allclose(step.grouping.similarity[run], cosines, atol=1e-6)
        order = sorted(range(4), key=lambda i: -cosines[i])
        assert step.grouping.order[run].tolist() == order
    assert torch.equal(step.weights.argmax(-1), chosen) and (step.weights.sum(-1) == 1).all()
    assert torch.equal(step.prompt, state.parameters["prompt"])


def test_at_the_start_the_chosen_source_is_the_nearest_and_adds_its_vector() -> None:
    inputs = random_inputs(3, 4)
    method = find_method(METHODS["spot"]())
    step = method.forward(method.prepare(inputs))
    chosen = step.weights.argmax(-1)
    assert torch.equal(step.grouping.order[:, 0], chosen)
    lengths = inputs.source_vectors.flatten(2).norm(dim=-1)
    rows = torch.arange(3)
    assert torch.allclose(step.contribution_norm[rows, chosen], lengths[rows, chosen])
    assert (step.contribution_norm > 0).sum() == 3


def test_the_logged_gram_matrix_is_that_of_mean_pooled_prompts_over_d() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(METHODS["spot"]())
    state = method.prepare(inputs)
    gram = method.forward(state).grouping.gram
    for run in range(2):
        sources = [inputs.init[run] + vector for vector in inputs.source_vectors[run]]
        prompts = [state.parameters["prompt"][run].detach(), *sources]
        pooled = np.stack([prompt.mean(0).numpy() for prompt in prompts])
        assert np.allclose(gram[run], pooled @ pooled.T / pooled.shape[1], atol=1e-6)
