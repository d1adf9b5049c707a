"""ATTEMPT: attention, prompt and gradient computed directly from the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch

from dtvg.errors import ConfigError
from dtvg.methods.base import find_method
from dtvg.methods.specs import Attempt
from dtvg.testing.methods import EXAMPLES, random_examples, random_inputs


def _direct(inputs, state, examples, run: int, row: int, temperature: float, own: bool):
    """One example's attention and prompt, token by token, with plain torch modules."""
    width = inputs.init.shape[-1]
    prompts = [inputs.init[run] + vector for vector in inputs.source_vectors[run]]
    prompts.append(state.parameters["prompt"][run])
    embedded = examples.embeddings[row][examples.mask[row]]
    highest = torch.stack([embedded[:, j].max() for j in range(width)])
    logits = []
    for j, prompt in enumerate(prompts):
        network = j if own else 0
        down = highest @ state.parameters["down"][run, network]
        up = (down / (1 + torch.exp(-down))) @ state.parameters["up"][run, network]
        spread = ((up - up.mean()) ** 2).mean()
        normed = (up - up.mean()) / torch.sqrt(spread + 1e-5)
        gain, shift = (state.parameters[k][run, network] for k in ("gain", "shift"))
        pooled = torch.stack([prompt[:, i].max() for i in range(width)])
        logits.append((pooled @ (normed * gain + shift) / (temperature * width)).detach())
    raised = [math.e ** float(x) for x in logits]
    weights = [x / sum(raised) for x in raised]
    prompt = prompts[-1] + sum(w * p for w, p in zip(weights, prompts, strict=True))
    return weights, prompt


@pytest.mark.parametrize("attention", ["shared", "own"])
@pytest.mark.parametrize("temperature", [math.e, 0.05])
def test_attention_and_prompt_equal_the_papers_formula(attention: str, temperature: float) -> None:
    inputs, examples = random_inputs(3, 4), random_examples((0, 1, 2))
    config = Attempt(attention=attention, temperature=temperature, projection=5)
    method = find_method(config)
    state = method.prepare(inputs)
    with torch.no_grad():
        for name in ("gain", "shift"):
            state.parameters[name] += 0.3 * torch.randn_like(state.parameters[name])
    step = method.mix(state, examples)
    assert float(step.weights.std()) > 1e-4
    row = 0
    for run in range(3):
        for _ in range(EXAMPLES[run]):
            weights, prompt = _direct(
                inputs, state, examples, run, row, temperature, attention == "own"
            )
            assert torch.allclose(step.weights[row], torch.tensor(weights[:-1]).double())
            assert torch.allclose(step.prompt[row], prompt)
            lengths = (inputs.init[run] + inputs.source_vectors[run]).flatten(1).norm(dim=-1)
            expected = lengths * torch.tensor(weights[:-1])
            assert torch.allclose(step.contribution_norm[row], expected)
            row += 1


def test_padding_is_never_pooled() -> None:
    examples = random_examples((0, 1, 2))
    shortest = int(examples.mask.sum(1).argmin())
    assert float(examples.embeddings[shortest].max()) == 99.0
    assert float(examples.pooled("max").max()) < 10
    kept = examples.embeddings[shortest][examples.mask[shortest]]
    assert torch.allclose(examples.pooled("mean")[shortest], kept.mean(0))


def test_the_attention_network_is_a_function_of_the_run_seed() -> None:
    inputs = random_inputs(3, 2)
    down = find_method(Attempt()).prepare(inputs).parameters["down"]
    assert not torch.equal(down[0], down[1])
    assert float(down.detach().abs().max()) <= 6**-0.5


def test_without_examples_there_is_no_prompt() -> None:
    method = find_method(Attempt())
    with pytest.raises(ConfigError, match="each example"):
        method.forward(method.prepare(random_inputs(1, 2)))


def test_parameters_are_counted_as_they_are_trained() -> None:
    for config in (Attempt(projection=7), Attempt(attention="own")):
        state = find_method(config).prepare(random_inputs(1, 3))
        gates = sum(v.numel() for k, v in state.parameters.items() if k != "prompt")
        assert config.gate_count(4, 6, 3) == gates
