"""Contract kit for transfer methods: what every method must satisfy, shipped for extensions.

Subclass `MethodContract` in a test module and give `config`; pytest runs every law on it.
Imports torch; must not import streamlit or plotly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from dtvg.methods.base import Inputs, MethodState, StepBatch, find_method
from dtvg.methods.specs import MethodConfig


def random_inputs(runs: int, sources: int, length: int = 4, width: int = 6) -> Inputs:
    """Return seeded float64 inputs with sources both similar and opposed to the target."""
    generator = torch.Generator().manual_seed(runs * 100 + sources)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    init, own = normal(runs, length, width), normal(runs, length, width)
    signs = torch.tensor([1.0, 1.0, -1.0, 0.5])[:sources, None, None].double()
    vectors = normal(runs, sources, length, width) + signs * own[:, None]
    names = tuple(tuple(f"source{i}" for i in range(sources)) for _ in range(runs))
    seeds = tuple(range(runs))
    mixture = init + normal(runs, length, width)
    chosen = torch.ones(runs, sources, dtype=torch.float64)
    chosen[:, 1::2] = 0.0
    return Inputs(init, init + own, vectors, mixture, chosen, names, seeds)


def pick(inputs: Inputs, row: int) -> Inputs:
    """Return one run's inputs, still with a leading axis."""
    mixture, chosen = inputs.mixture_prompt, inputs.chosen
    return Inputs(
        inputs.init[row : row + 1],
        inputs.target_prompt[row : row + 1],
        inputs.source_vectors[row : row + 1],
        None if mixture is None else mixture[row : row + 1],
        None if chosen is None else chosen[row : row + 1],
        inputs.source_names[row : row + 1],
        inputs.seeds[row : row + 1],
    )


class MethodContract:
    """Laws of a transfer method; subclasses set `config`, and `sources` if not 4."""

    config: MethodConfig
    sources = 4

    def _made(self, runs: int = 3) -> tuple[Inputs, MethodState]:
        inputs = random_inputs(runs, self.sources)
        return inputs, find_method(self.config).prepare(inputs)

    @staticmethod
    def _coming(rows: Sequence[int] = (0, 1, 2), step: int = 2) -> StepBatch:
        return StepBatch(tuple(step for _ in rows), tuple(9 for _ in rows), tuple(rows))

    def test_every_tensor_of_the_state_has_the_leading_run_axis(self) -> None:
        _, state = self._made()
        for tensors in (state.parameters, state.frozen, state.memory):
            assert all(t.shape[0] == 3 for t in tensors.values())
        assert all(p.requires_grad and p.is_leaf for p in state.parameters.values())
        assert not any(t.requires_grad for t in state.frozen.values())

    def test_every_parameter_has_a_learning_rate(self) -> None:
        _, state = self._made()
        assert set(find_method(self.config).roles) == set(state.parameters)
        scaled = {"scale", "scale_target"} & set(find_method(self.config).roles.values())
        assert bool(scaled) == self.config.trains_scales

    def test_the_prompt_has_its_shape_and_reaches_every_parameter(self) -> None:
        inputs, state = self._made()
        step = find_method(self.config).forward(state, self._coming())
        assert (step.prompt.shape[0], *step.prompt.shape[-2:]) == inputs.init.shape
        assert find_method(self.config).forward(state).prompt.shape == inputs.init.shape
        found = torch.autograd.grad(step.prompt.sum(), list(state.parameters.values()))
        assert all(torch.isfinite(g).all() for g in found)

    def test_a_run_in_a_stack_has_the_prompt_it_has_alone(self) -> None:
        inputs, state = self._made()
        step = find_method(self.config).forward(state, self._coming())
        for row in range(3):
            alone_state = find_method(self.config).prepare(pick(inputs, row))
            alone = find_method(self.config).forward(alone_state, self._coming([row]))
            assert torch.allclose(alone.prompt[0], step.prompt[row], atol=1e-12)
            if step.weights is not None and alone.weights is not None:
                assert torch.equal(alone.weights[0], step.weights[row])

    def test_forward_is_a_pure_function_of_the_state(self) -> None:
        _, state = self._made()
        kept = copy.deepcopy({**state.parameters, **state.frozen, **state.memory})
        for batch in (None, self._coming()):
            first = find_method(self.config).forward(state, batch)
            again = find_method(self.config).forward(state, batch)
            assert torch.equal(first.prompt, again.prompt)
        now = {**state.parameters, **state.frozen, **state.memory}
        assert all(torch.equal(kept[name], tensor) for name, tensor in now.items())

    def test_keeping_some_runs_keeps_their_prompts(self) -> None:
        _, state = self._made()
        whole = find_method(self.config).forward(state)
        kept = find_method(self.config).forward(state.keep([2, 0]))
        assert torch.equal(kept.prompt, whole.prompt[[2, 0]])

    def test_what_is_logged_about_sources_has_their_axis(self) -> None:
        _, state = self._made()
        step = find_method(self.config).forward(state)
        if not self.config.logs_sources:
            assert step.weights is None and step.grouping is None
            return
        for value in (step.weights, step.scale_mean, step.contribution_norm):
            assert value is not None and value.shape == (3, self.sources)
        assert step.grouping is not None
        assert step.grouping.gram.shape == (3, self.sources + 1, self.sources + 1)
        assert step.grouping.gram.dtype == torch.float32
