"""DMTG: learn by Gumbel-softmax which sources share the target's group, then keep the group.

Each source has logits over K groups; the first is the target's. A relaxed sample weights the
source's scaled vector, the temperature falls, and after `learn_share` of the steps the most
likely assignment is kept: grouping and prompt are learned in one run. arXiv 2407.05082.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.methods.base import Inputs, MethodState, Role, StepBatch, trainable
from dtvg.methods.dtvg import Method as Dtvg
from dtvg.rule.types import Grouping


def relaxed_assignment(
    logits: Float[Tensor, "*batch n k"],
    noise: Float[Tensor, "*batch n k"],
    temperature: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch n k"]:
    """Return `softmax((logits + gumbel) / temperature)` over the groups.

    Args:
        logits: of each source for each group.
        noise: standard Gumbel numbers.
        temperature: one per run; near 0 the rows become one-hot.
    """
    return torch.softmax((logits + noise) / temperature[..., None, None], dim=-1)


def most_likely(logits: Float[Tensor, "*batch n k"]) -> Float[Tensor, "*batch n k"]:
    """Return the one-hot mode of each row, the first on ties, without a gradient."""
    best = logits.detach().argmax(-1, keepdim=True)
    return torch.zeros_like(logits).scatter(-1, best, 1.0).detach()


def straight_through(soft: Float[Tensor, "*batch n k"]) -> Float[Tensor, "*batch n k"]:
    """Return one-hot rows whose gradient is that of the relaxed ones."""
    return most_likely(soft) + (soft - soft.detach())


def temperature(done: Tensor, start: float, end: float) -> Tensor:
    """Fall exponentially from `start` (done = 0) to `end` (done = 1 and beyond)."""
    return start * (end / start) ** done.clamp(0, 1)


def gumbel(uniform: Tensor) -> Tensor:
    """Turn uniform numbers in [0, 1) into standard Gumbel numbers, finite at both ends."""
    tiny = torch.finfo(uniform.dtype).tiny
    inner = -torch.log(uniform.clamp(min=tiny))
    return -torch.log(inner.clamp(min=torch.finfo(uniform.dtype).eps))


class Method(Dtvg):
    """`dmtg`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {**Dtvg.roles, "logits": "gate"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as DTVG does, every group equally likely for every source."""
        state = super().prepare(inputs)
        runs, n = inputs.source_vectors.shape[:2]
        logits = inputs.init.new_zeros((runs, n, self.config.groups))
        state.parameters["logits"] = trainable(logits)
        state.memory["member"] = torch.zeros((runs, n), dtype=torch.bool, device=logits.device)
        state.memory["fixed"] = torch.zeros(runs, dtype=torch.bool, device=logits.device)
        return state

    def weigh(
        self, state: MethodState, grouping: Grouping, batch: StepBatch | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weight of the target's group for each source: a relaxed sample while the
        grouping is learned, then (and in evaluation) 1 or 0 for the most likely group."""
        logits, fixed = state.parameters["logits"], state.memory["fixed"]
        likely = most_likely(logits)[..., 0]
        member = torch.where(fixed[:, None], state.memory["member"], likely > 0)
        if batch is None:
            return member.to(logits.dtype), {}
        done = batch.progress(logits)
        learning = ~fixed & (done < self.config.learn_share)
        config = self.config
        share = done / max(config.learn_share, 1e-9)
        heat = temperature(share, config.temperature_start, config.temperature_end)
        noise = gumbel(batch.uniform(logits.shape[1:], "dmtg", logits))
        sample = relaxed_assignment(logits, noise, heat)
        if config.sample == "hard":
            sample = straight_through(sample)
        used = torch.where(learning[:, None], sample[..., 0], member.to(logits.dtype))
        return used, {"member": member, "fixed": fixed | ~learning}
