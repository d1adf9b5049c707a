"""Contract kit for transfer methods: what every method must satisfy, shipped for extensions.

Subclass `MethodContract` in a test module and give `config`; pytest runs every law on it.
Imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from dtvg.methods.base import (
    Examples,
    Inputs,
    InstanceWise,
    MethodState,
    PromptStep,
    StepBatch,
    find_method,
)
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


EXAMPLES = (3, 1, 2)
"""Examples of the first three runs, for methods that read them."""


def random_examples(rows: Sequence[int], width: int = 6) -> Examples:
    """Return seeded float64 inputs of the runs: of a run always the same, whatever the padding."""
    made = []
    for row in rows:
        for i in range(EXAMPLES[row]):
            generator = torch.Generator().manual_seed(1000 * row + i)
            made.append(torch.randn(2 + row + i, width, generator=generator, dtype=torch.float64))
    longest = max(len(one) for one in made)
    embeddings = torch.full((len(made), longest, width), 99.0, dtype=torch.float64)
    mask = torch.zeros((len(made), longest), dtype=torch.bool)
    for i, one in enumerate(made):
        embeddings[i, : len(one)], mask[i, : len(one)] = one, True
    return Examples(embeddings, mask, tuple(EXAMPLES[row] for row in rows))


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
        None if inputs.candidates is None else inputs.candidates[row : row + 1],
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
        seen = random_examples(rows)
        return StepBatch(tuple(step for _ in rows), tuple(9 for _ in rows), tuple(rows), seen)

    @property
    def _per_example(self) -> bool:
        return isinstance(find_method(self.config), InstanceWise)

    def _composed(self, state: MethodState, rows: Sequence[int] = (0, 1, 2)) -> PromptStep:
        """Compose without chance, as an evaluation does."""
        method = find_method(self.config)
        if isinstance(method, InstanceWise):
            return method.mix(state, random_examples(rows))
        return method.forward(state)

    def _rows(self, row: int) -> slice:
        """Where a run's prompts stand among those of three runs."""
        if not self._per_example:
            return slice(row, row + 1)
        counts = [EXAMPLES[i] for i in range(row + 1)]
        return slice(sum(counts[:-1]), sum(counts))

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
        assert bool(scaled) == self.config.has_scales
        assert set(find_method(self.config).roles.values()) <= set(self.config.rated)

    def test_the_prompt_has_its_shape_and_reaches_every_parameter(self) -> None:
        inputs, state = self._made()
        step = find_method(self.config).forward(state, self._coming())
        each = sum(EXAMPLES) if self._per_example else len(inputs.init)
        assert (step.prompt.shape[0], *step.prompt.shape[-2:]) == (each, *inputs.init.shape[1:])
        assert self._composed(state).prompt.shape == (each, *inputs.init.shape[1:])
        found = torch.autograd.grad(step.prompt.sum(), list(state.parameters.values()))
        assert all(torch.isfinite(g).all() for g in found)

    def test_a_run_in_a_stack_has_the_prompt_it_has_alone(self) -> None:
        inputs, state = self._made()
        step = find_method(self.config).forward(state, self._coming())
        for row in range(3):
            alone_state = find_method(self.config).prepare(pick(inputs, row))
            alone = find_method(self.config).forward(alone_state, self._coming([row]))
            mine = self._rows(row)
            assert torch.allclose(alone.prompt, step.prompt[mine], atol=1e-12)
            if step.weights is not None and alone.weights is not None:
                assert torch.allclose(alone.weights, step.weights[mine], rtol=0, atol=1e-14)
                assert torch.equal(alone.weights > 0, step.weights[mine] > 0)

    def test_forward_is_a_pure_function_of_the_state(self) -> None:
        _, state = self._made()
        kept = copy.deepcopy({**state.parameters, **state.frozen, **state.memory})
        method = find_method(self.config)
        assert torch.equal(self._composed(state).prompt, self._composed(state).prompt)
        first, again = (method.forward(state, self._coming()) for _ in range(2))
        assert torch.equal(first.prompt, again.prompt)
        now = {**state.parameters, **state.frozen, **state.memory}
        assert all(torch.equal(kept[name], tensor) for name, tensor in now.items())

    def test_keeping_some_runs_keeps_their_prompts(self) -> None:
        _, state = self._made()
        whole = self._composed(state).prompt
        kept = self._composed(state.keep([2, 0]), (2, 0)).prompt
        expected = torch.cat([whole[self._rows(row)] for row in (2, 0)])
        assert torch.allclose(kept, expected, rtol=0, atol=1e-14)

    def test_what_is_logged_about_sources_has_their_axis(self) -> None:
        _, state = self._made()
        step = self._composed(state)
        if not self.config.logs_sources:
            assert step.weights is None and step.grouping is None
            return
        for value in (step.weights, step.scale_mean, step.contribution_norm):
            assert value is not None and value.shape == (len(step.prompt), self.sources)
        assert step.grouping is not None
        assert step.grouping.gram.shape == (3, self.sources + 1, self.sources + 1)
        assert step.grouping.gram.dtype == torch.float32
