"""Multitask prompt tuning: one shared prompt, times a rank-one matrix for each task.

`P*` comes from source training (see `mpt_sources`) or a fit to the sources' prompts; the
target trains `P = P* ∘ (u ⊗ vᵀ)`, shared prompt and its own rank-one matrix. A source's weight
is its share of a shared prompt. arXiv 2303.02861.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.errors import ConfigError
from dtvg.methods.base import (
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    TransferMethod,
    trainable,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.spot import pooled_gram


def product(
    shared: Float[Tensor, "*#batch r d"],
    rows: Float[Tensor, "*#batch r"],
    columns: Float[Tensor, "*#batch d"],
) -> Float[Tensor, "*#batch r d"]:
    """Return `P* ∘ (u ⊗ vᵀ)`; the leading axes are broadcast.

    Args:
        shared: P*.
        rows: u.
        columns: v.
    """
    return shared * rows[..., :, None] * columns[..., None, :]


def best_rows(
    prompts: Float[Tensor, "k r d"], shared: Float[Tensor, "r d"], columns: Float[Tensor, "k d"]
) -> Float[Tensor, "k r"]:
    """Return the u that minimise `‖P_k − P* ∘ (u ⊗ vᵀ)‖²` for given P* and v."""
    base = shared * columns[:, None, :]
    return (prompts * base).sum(-1) / base.square().sum(-1).clamp(min=1e-30)


def best_columns(
    prompts: Float[Tensor, "k r d"], shared: Float[Tensor, "r d"], rows: Float[Tensor, "k r"]
) -> Float[Tensor, "k d"]:
    """Return the v that minimise the same error for given P* and u."""
    base = shared * rows[:, :, None]
    return (prompts * base).sum(1) / base.square().sum(1).clamp(min=1e-30)


def best_shared(
    prompts: Float[Tensor, "k r d"], rows: Float[Tensor, "k r"], columns: Float[Tensor, "k d"]
) -> Float[Tensor, "r d"]:
    """Return the P* that minimises the same error for given u and v."""
    scale = rows[:, :, None] * columns[:, None, :]
    return (prompts * scale).sum(0) / scale.square().sum(0).clamp(min=1e-30)


@dataclass(frozen=True)
class Fit:
    """A shared prompt and rank-one matrices that stand for given prompts."""

    shared: Float[Tensor, "r d"]
    rows: Float[Tensor, "k r"]
    columns: Float[Tensor, "k d"]

    @property
    def made(self) -> Float[Tensor, "k r d"]:
        """The prompts as the factors give them."""
        return product(self.shared[None], self.rows, self.columns)


def factorise(prompts: Float[Tensor, "k r d"], iterations: int) -> Fit:
    """Fit a shared prompt times rank-one matrices to prompts by alternating least squares.

    Each update is the exact minimum over one factor, so the squared error never rises; it runs in
    float64 on the CPU, where it is the same in any cohort and after a resume. Factors of one
    product are scaled so that u and v have root mean square 1 (v: on average over the tasks).

    Args:
        prompts: of the source tasks.
        iterations: rounds over u, v and P*.
    """
    given = prompts.detach().double().cpu()
    count, length, width = given.shape
    rows, columns = given.new_ones(count, length), given.new_ones(count, width)
    shared = best_shared(given, rows, columns)
    for _ in range(iterations):
        rows = best_rows(given, shared, columns)
        columns = best_columns(given, shared, rows)
        size = rows.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-30)
        rows, columns = rows / size, columns * size
        columns = columns / columns.square().mean().sqrt().clamp(min=1e-30)
        shared = best_shared(given, rows, columns)
    return Fit(shared, rows, columns)


def own_factors(
    prompt: Float[Tensor, "r d"], shared: Float[Tensor, "r d"], iterations: int
) -> tuple[Float[Tensor, " r"], Float[Tensor, " d"]]:
    """Return the u and v with which a given shared prompt is nearest to a task's prompt."""
    given = prompt.detach().double().cpu()[None]
    columns = given.new_ones(1, given.shape[-1])
    rows = best_rows(given, shared, columns)
    for _ in range(iterations):
        columns = best_columns(given, shared, rows)
        rows = best_rows(given, shared, columns)
    size = rows.square().mean().sqrt().clamp(min=1e-30)
    return (rows / size)[0], (columns * size)[0]


def fit_to(prompts: Float[Tensor, "k r d"], shared: Float[Tensor, "r d"], iterations: int) -> Fit:
    """Return the rank-one matrices with which a given shared prompt is nearest to prompts."""
    wide = shared.detach().double().cpu()
    found = [own_factors(prompt, wide, iterations) for prompt in prompts]
    return Fit(wide, torch.stack([u for u, _ in found]), torch.stack([v for _, v in found]))


def parts(fit: Fit, prompts: Float[Tensor, "k r d"]) -> Float[Tensor, "k r d"]:
    """Return what each source adds to the shared prompt nearest to all: `W_k ∘ P_k / Σ_j W_j²`."""
    scale = fit.rows[:, :, None] * fit.columns[:, None, :]
    return scale * prompts.detach().double().cpu() / scale.square().sum(0).clamp(min=1e-30)


def shares(added: Float[Tensor, "k r d"]) -> Float[Tensor, " k"]:
    """Return each part's share of their sum: its inner product with it; shares add up to 1."""
    whole = added.sum(0)
    return (added * whole).sum((-2, -1)) / whole.square().sum().clamp(min=1e-30)


class Method(TransferMethod):
    """`mpt`: see the module's first lines."""

    config: Any
    roles: ClassVar[dict[str, Role]] = {"shared": "prompt", "rows": "gate", "columns": "gate"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Fit the sources' prompts, then start the target's own rank-one matrix."""
        prompts = inputs.init[:, None] + inputs.source_vectors
        learned = inputs.mixture_prompt if self.config.distil == "backbone" else None
        if self.config.distil == "backbone" and learned is None:
            raise ConfigError(
                "Method 'mpt' with distil 'backbone' starts from a prompt trained on the mixture "
                "of the sources, but none was given; let the experiment train it first, or set "
                "distil to 'prompts'."
            )
        made = [
            self._start(prompts[i], target, None if learned is None else learned[i])
            for i, target in enumerate(inputs.target_prompt)
        ]
        stacked = {
            name: torch.stack([start[name] for start, _ in made]).to(prompts)
            for name in ("shared", "rows", "columns", "share", "norms")
        }
        trained = {name: trainable(stacked[name]) for name in ("shared", "rows", "columns")}
        frozen = {
            "init": inputs.init,
            "share": stacked["share"],
            "pooled_sources": prompts.mean(-2),
            "part_norms": stacked["norms"],
        }
        notes = [
            {
                "source_errors": {
                    name: round(float(x), 6) for name, x in zip(names, errors, strict=True)
                }
            }
            for names, (_, errors) in zip(inputs.source_names, made, strict=True)
        ]
        return MethodState(trained, frozen, notes=notes)

    def _start(
        self,
        prompts: Float[Tensor, "n r d"],
        target: Float[Tensor, "r d"],
        learned: Float[Tensor, "r d"] | None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return one run's start, and how far the fit is from each source, relative."""
        rounds = self.config.iterations
        fit = factorise(prompts, rounds) if learned is None else fit_to(prompts, learned, rounds)
        given = prompts.detach().double().cpu()
        if self.config.start == "fit":
            rows, columns = own_factors(target, fit.shared, self.config.iterations)
        else:
            rows, columns = fit.rows.mean(0), fit.columns.mean(0)
        added = parts(fit, prompts)
        start = {
            "shared": fit.shared,
            "rows": rows,
            "columns": columns,
            "share": shares(added),
            "norms": added.flatten(1).norm(dim=-1),
        }
        size = given.flatten(1).norm(dim=-1).clamp(min=1e-30)
        return start, (fit.made - given).flatten(1).norm(dim=-1) / size

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Multiply; the log shows what the shared prompt was made of and how sources rank now."""
        names = ("shared", "rows", "columns")
        prompt = product(*(state.parameters[name] for name in names))
        share = state.frozen["share"]
        gram = pooled_gram(prompt, state.frozen["pooled_sources"])
        grouping = decide_on_device(gram, self.settings)
        norms = state.frozen["part_norms"]
        return PromptStep(prompt, share, grouping, torch.ones_like(share), norms)
