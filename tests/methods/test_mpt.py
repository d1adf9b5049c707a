"""Multitask prompt tuning: the rank-one product, the fit, and what each source added."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dtvg.errors import ConfigError
from dtvg.methods.base import find_method
from dtvg.methods.mpt import best_shared, factorise, own_factors, parts, product, shares
from dtvg.methods.specs import Mpt
from dtvg.testing.methods import random_inputs


def _error(prompts, fit) -> float:
    total = 0.0
    for k in range(prompts.shape[0]):
        made = np.multiply(
            fit.shared.numpy(), np.outer(fit.rows[k].numpy(), fit.columns[k].numpy())
        )
        total += float(((prompts[k].numpy() - made) ** 2).sum())
    return total


def test_the_prompt_is_the_shared_one_times_an_outer_product() -> None:
    inputs = random_inputs(2, 3)
    method = find_method(Mpt(distil="prompts"))
    state = method.prepare(inputs)
    step = method.forward(state)
    names = ("shared", "rows", "columns")
    for run in range(2):
        shared, rows, columns = (state.parameters[n][run].detach().numpy() for n in names)
        assert np.allclose(step.prompt[run].detach().numpy(), shared * np.outer(rows, columns))


def test_prompts_of_rank_one_times_a_shared_one_are_found_exactly() -> None:
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.5

    given = product(drawn(4, 6)[None] - 1, drawn(3, 4), drawn(3, 6))
    fit = factorise(given, 400)
    assert torch.allclose(fit.made, given, atol=1e-6)
    rows, columns = own_factors(1.7 * given[1], fit.shared, 200)
    assert torch.allclose(product(fit.shared, rows, columns), 1.7 * given[1], atol=1e-6)


def test_the_error_never_rises_and_no_factor_can_be_better() -> None:
    inputs = random_inputs(1, 4)
    prompts = inputs.init[0] + inputs.source_vectors[0]
    errors = [_error(prompts, factorise(prompts, i)) for i in (1, 2, 5, 20, 100)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.99 * errors[0]
    fit = factorise(prompts, 20)
    again = best_shared(prompts, fit.rows, fit.columns)
    assert torch.allclose(again, fit.shared)
    for change in (1e-3, -1e-3):
        moved = type(fit)(fit.shared + change, fit.rows, fit.columns)
        assert _error(prompts, moved) > _error(prompts, fit)


def test_factors_keep_their_size() -> None:
    prompts = 100 * random_inputs(1, 4).source_vectors[0]
    fit = factorise(prompts, 20)
    assert torch.allclose(fit.rows.square().mean(-1).sqrt(), torch.ones(4).double())
    assert float(fit.columns.square().mean().sqrt()) == pytest.approx(1)


def test_the_shares_of_the_sources_add_up_to_one() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Mpt(distil="prompts"))
    step = method.forward(method.prepare(inputs))
    assert torch.allclose(step.weights.sum(-1), torch.ones(2).double())
    prompts = inputs.init[0] + inputs.source_vectors[0]
    fit = factorise(prompts, Mpt().iterations)
    scale = [torch.outer(u, v) for u, v in zip(fit.rows, fit.columns, strict=True)]
    squares = sum(w * w for w in scale)
    for k in range(4):
        added = scale[k] * prompts[k] / squares
        share = float((added * fit.shared).sum() / (fit.shared**2).sum())
        assert float(step.weights[0, k]) == pytest.approx(share)
        assert float(step.contribution_norm[0, k]) == pytest.approx(float(added.norm()))
    alike = prompts[:1].expand(3, -1, -1)
    assert shares(parts(factorise(alike, 5), alike)).tolist() == pytest.approx([1 / 3] * 3)


def test_where_the_target_starts() -> None:
    inputs = random_inputs(2, 3)
    near, mean = (find_method(Mpt(start=start, distil="prompts")) for start in ("fit", "mean"))
    fitted, averaged = near.prepare(inputs), mean.prepare(inputs)
    assert torch.equal(fitted.parameters["shared"], averaged.parameters["shared"])
    for run in range(2):
        fit = factorise(inputs.init[run] + inputs.source_vectors[run], Mpt().iterations)
        assert torch.allclose(averaged.parameters["rows"][run].detach(), fit.rows.mean(0))
        assert torch.allclose(averaged.parameters["columns"][run].detach(), fit.columns.mean(0))
        distance = [
            float((method.forward(state).prompt[run] - inputs.target_prompt[run]).detach().norm())
            for method, state in ((near, fitted), (mean, averaged))
        ]
        assert distance[0] < distance[1]
    errors = fitted.notes[0]["source_errors"]
    assert list(errors) == ["source0", "source1", "source2"] and all(
        0 < x < 1 for x in errors.values()
    )


def test_after_source_training_the_shared_prompt_is_taken_and_the_rest_fitted_to_it() -> None:
    inputs = random_inputs(2, 3)
    state = find_method(Mpt(start="mean")).prepare(inputs)
    assert inputs.mixture_prompt is not None
    assert torch.equal(state.parameters["shared"], inputs.mixture_prompt)
    for run in range(2):
        prompts = inputs.init[run] + inputs.source_vectors[run]
        pairs = [own_factors(p, inputs.mixture_prompt[run], 20) for p in prompts]
        rows = torch.stack([u for u, _ in pairs]).mean(0)
        assert torch.allclose(state.parameters["rows"][run].detach(), rows)
        assert torch.allclose(state.frozen["share"].sum(-1), torch.ones(2).double())


def test_without_source_training_its_absence_is_said() -> None:
    bare = dataclasses.replace(random_inputs(1, 2), mixture_prompt=None)
    with pytest.raises(ConfigError, match="set distil to 'prompts'"):
        find_method(Mpt()).prepare(bare)
