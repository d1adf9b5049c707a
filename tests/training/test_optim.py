"""Stacked AdamW, clipping and schedule against torch's own, run by run."""

from __future__ import annotations

import pytest
import torch

from dtvg.config import OptimConfig
from dtvg.training.optim import AdamState, clip_factor, rate_factor
from tests.training.factory import updated


def test_stacked_adamw_equals_torch_adamw_for_each_run_with_its_own_rate_decay_and_step() -> None:
    torch.manual_seed(0)
    runs = 3
    rates = torch.tensor([0.3, 1e-3, 1e-2], dtype=torch.float64)
    decay = torch.tensor([1e-5, 0.0, 0.1], dtype=torch.float64)
    size = torch.tensor([1.0, 1e-8, 1e-4], dtype=torch.float64)  # of gradients; ε is 1e-8
    start = torch.randn(runs, 4, 5, dtype=torch.float64)
    stacked = {"prompt": start.clone(), "scale": start[..., 0].clone()}
    moments = AdamState.zeros(stacked)
    alone = []
    for i in range(runs):
        tensors = [start[i].clone().requires_grad_(), start[i, :, 0].clone().requires_grad_()]
        optimiser = torch.optim.AdamW(
            tensors, lr=float(rates[i]), weight_decay=float(decay[i]), betas=(0.9, 0.999), eps=1e-8
        )
        alone.append((tensors, optimiser))
    for step in range(1, 30):
        gradients = {
            k: torch.randn_like(v) * size.view(-1, *[1] * (v.dim() - 1)) for k, v in stacked.items()
        }
        for i, (tensors, optimiser) in enumerate(alone):
            tensors[0].grad, tensors[1].grad = gradients["prompt"][i], gradients["scale"][i]
            optimiser.step()
        updated(
            stacked,
            gradients,
            moments,
            {k: rates for k in stacked},
            decay,
            torch.full((runs,), float(step), dtype=torch.float64),
            torch.ones(runs, dtype=torch.bool),
        )
    for i, (tensors, _) in enumerate(alone):
        assert torch.allclose(stacked["prompt"][i], tensors[0], rtol=0, atol=1e-12)
        assert torch.allclose(stacked["scale"][i], tensors[1], rtol=0, atol=1e-12)


def test_a_run_that_is_not_finite_keeps_its_values_and_the_others_move() -> None:
    start = {"prompt": torch.ones(2, 3)}
    moments = AdamState.zeros(start)
    gradient = {"prompt": torch.tensor([[1.0, 1, 1], [float("nan"), 1, 1]])}
    updated(
        start,
        gradient,
        moments,
        {"prompt": torch.tensor([0.1, 0.1])},
        torch.zeros(2),
        torch.ones(2),
        torch.tensor([True, False]),
    )
    assert torch.equal(start["prompt"][1], torch.ones(3))
    assert bool((start["prompt"][0] < 1).all())
    assert torch.equal(moments.first["prompt"][1], torch.zeros(3))


def test_clipping_is_joint_over_a_runs_parameters_and_apart_between_runs() -> None:
    gradients = {"a": torch.tensor([[3.0, 0], [0.3, 0]]), "b": torch.tensor([[4.0], [0.4]])}
    norm, factor = clip_factor(gradients, torch.tensor([1.0, 1.0]))
    assert norm.tolist() == pytest.approx([5.0, 0.5])
    assert factor.tolist() == pytest.approx([0.2, 1.0], rel=1e-5)


@pytest.mark.parametrize(("total", "warmup"), [(300, 18), (30_000, 500), (5, 0)])
def test_the_schedule_warms_up_at_most_six_percent_and_ends_just_above_zero(
    total: int, warmup: int
) -> None:
    factors = [rate_factor(step, total, OptimConfig()) for step in range(1, total + 1)]
    assert max(factors) == 1.0 and factors[warmup] == 1.0
    assert all(a < b for a, b in zip(factors[:warmup], factors[1 : warmup + 1], strict=True))
    assert all(a > b for a, b in zip(factors[warmup:], factors[warmup + 1 :], strict=False))
    assert factors[-1] == pytest.approx(1 / (total - warmup))
    assert min(factors) > 0
    assert rate_factor(total, total, OptimConfig(schedule="constant")) == 1.0
