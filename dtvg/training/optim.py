"""AdamW, schedule and clipping for runs stacked on a leading axis, each with its own numbers.

Every tensor is `[R, ...]`; rates, decay and step count differ per run. Equal to
`torch.optim.AdamW` run by run (tested). A run whose loss or gradient is not finite keeps its
values: the update is masked on the device, nothing waits for it. docs/method.md "Settings of
the paper".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtvg.config import OptimConfig
from dtvg.methods.base import Role

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Rates:
    """Learning rates of a run at full height, by role, and its weight decay."""

    prompt: float
    scale: float
    scale_target: float
    weight_decay: float
    gate: float = 0.0

    def of(self, role: Role) -> float:
        """Return the rate of a parameter with this role."""
        return {
            "prompt": self.prompt,
            "scale": self.scale,
            "scale_target": self.scale_target,
            "gate": self.gate,
        }[role]


def rate_factor(step: int, total: int, config: OptimConfig) -> float:
    """Return the schedule's factor for update `step` (from 1) of `total`.

    Linear warm-up over min(`warmup_steps`, 6 % of the steps), then linear decay to 0 after the
    last step, or constant. No update is spent at rate 0: the first of w warm-up updates has
    1/(w + 1), the last update of all 1/(total − w).
    """
    warmup = min(config.warmup_steps, int(0.06 * total))
    if step <= warmup:
        return step / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    return max(0.0, (total - step + 1) / (total - warmup))


def clip_factor(
    gradients: Mapping[str, Tensor], limits: Float[Tensor, " R"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Return each run's gradient norm over all its parameters, and the factor that clips it.

    Args:
        gradients: `[R, ...]` per parameter.
        limits: largest allowed norm per run.
    """
    squares = torch.stack([g.flatten(1).square().sum(-1) for g in gradients.values()])
    norm = squares.sum(0).sqrt()
    return norm, (limits / (norm + 1e-6)).clamp(max=1.0)


@dataclass
class AdamState:
    """Both Adam moments of every parameter, `[R, ...]`."""

    first: dict[str, Tensor]
    second: dict[str, Tensor]

    @classmethod
    def zeros(cls, parameters: Mapping[str, Tensor]) -> AdamState:
        """Return moments of zero for these parameters."""
        return cls(
            {k: torch.zeros_like(v, requires_grad=False) for k, v in parameters.items()},
            {k: torch.zeros_like(v, requires_grad=False) for k, v in parameters.items()},
        )

    def keep(self, rows: Sequence[int]) -> AdamState:
        """Return the moments of the given runs only."""
        return AdamState(
            {k: v[list(rows)] for k, v in self.first.items()},
            {k: v[list(rows)] for k, v in self.second.items()},
        )


def adamw(
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    moments: AdamState,
    rates: Mapping[str, Float[Tensor, " R"]],
    decay: Float[Tensor, " R"],
    steps: Float[Tensor, " R"] | Float[Tensor, "R B"],
    finite: Bool[Tensor, " R"],
) -> tuple[dict[str, Tensor], AdamState]:
    """Return stacked parameters and moments after an update, run by run `torch.optim.AdamW`'s.

    Args:
        parameters: `[R, ...]` each.
        gradients: as clipped; same names.
        moments: before.
        rates: learning rate per run and parameter.
        decay: decoupled weight decay per run.
        steps: number of this update per run, from 1; or per run and branch, where parameters
            are `[R B ...]`.
        finite: runs to update; the others keep parameters and moments.
    """
    correction1 = 1 - torch.pow(torch.full_like(steps, BETA1), steps)
    correction2 = (1 - torch.pow(torch.full_like(steps, BETA2), steps)).sqrt()
    values: dict[str, Tensor] = {}
    after = AdamState({}, {})
    with torch.no_grad():
        for name, parameter in parameters.items():
            shape = (-1,) + (1,) * (parameter.dim() - 1)
            alive = finite.view(shape)
            gradient = torch.where(alive, gradients[name], 0.0)
            first = torch.lerp(moments.first[name], gradient, 1 - BETA1)
            second = moments.second[name] * BETA2 + gradient.square() * (1 - BETA2)
            rate = rates[name].to(parameter.dtype).view(shape)
            shrink = 1 - rate * decay.to(parameter.dtype).view(shape)
            number = tuple(steps.shape) + (1,) * (parameter.dim() - steps.dim())
            denominator = second.sqrt() / correction2.to(parameter.dtype).view(number) + EPS
            moved = (
                parameter * shrink
                - rate * (first / correction1.to(parameter.dtype).view(number)) / denominator
            )
            values[name] = torch.where(alive, moved, parameter)
            after.first[name] = torch.where(alive, first, moments.first[name])
            after.second[name] = torch.where(alive, second, moments.second[name])
    return values, after


def put(
    parameters: Mapping[str, Tensor],
    moments: AdamState,
    values: Mapping[str, Tensor],
    after: AdamState,
) -> None:
    """Write values and moments in place; allocates nothing."""
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
    moments.first.update(after.first)
    moments.second.update(after.second)
