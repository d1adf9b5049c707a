"""DTVG: at every step, rank the sources, decide the group, merge it into the target's prompt.

Trainable are the target's prompt `P_t`, its scale `α_t` and the sources' scales `α_s`; source
vectors are frozen and the grouping takes no gradient. Its rules are the paper's ablations.
arXiv 2503.18063, section 3.2.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtvg.methods.base import (
    HELD,
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    TransferMethod,
    placed,
    trainable,
)
from dtvg.rule.decide import decide, gram_matrix, merge
from dtvg.rule.memory import needs_step
from dtvg.rule.types import Grouping, RuleSettings

ACTIVATIONS = {
    "identity": lambda scale: scale,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "absolute value": torch.abs,
}


class Method(TransferMethod):
    """`dtvg`: see the module's first lines."""

    roles: ClassVar[dict[str, Role]] = {
        "prompt": "prompt",
        "scale_target": "scale_target",
        "scale_sources": "scale",
    }

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the target's Stage I prompt and scales of 1 (also before sigmoid, ReLU)."""
        vectors = inputs.source_vectors
        if getattr(self.config, "shuffled", False):
            vectors = shuffled(vectors, inputs.seeds)
        ones = torch.ones(vectors.shape[:-1], dtype=vectors.dtype, device=vectors.device)
        own = torch.ones(inputs.init.shape[:-1], dtype=vectors.dtype, device=vectors.device)
        runs, n = vectors.shape[:2]
        held = torch.zeros((runs, n), dtype=torch.int8, device=vectors.device)
        memory, frozen = {}, {}
        if needs_step(self.settings):
            memory = {
                "member": torch.zeros((runs, n), dtype=torch.bool, device=vectors.device),
                "decided": torch.zeros(runs, dtype=torch.int64, device=vectors.device),
            }
            seeds = inputs.seeds or (0,) * runs
            frozen = {"seed": torch.tensor(seeds, dtype=torch.int64, device=vectors.device)}
        return MethodState(
            {
                "prompt": trainable(inputs.target_prompt),
                "scale_target": trainable(own),
                "scale_sources": trainable(ones),
            },
            {
                "init": inputs.init,
                "source_vectors": vectors,
                "token_norms": vectors.square().sum(-1),
                **frozen,
            },
            {**memory, HELD: held},
        )

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Scale, pool, decide, merge: steps 1 to 6 of Stage II."""
        return self.compose(state, batch)

    def compose(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Compose as `forward` does, from `P_t` and the scales."""
        # one scale for all sources (merging methods) is spread over them
        activation = ACTIVATIONS[getattr(self.config, "scales_pass", "identity")]
        init, sources = state.frozen["init"], state.frozen["source_vectors"]
        vector = state.parameters["prompt"] - init
        scale_target = activation(state.parameters["scale_target"])
        scale_sources = activation(state.parameters["scale_sources"]).expand(sources.shape[:-1])
        gram = gram_matrix(vector, sources, scale_target, scale_sources)
        grouping, memory = self._decide(state, gram)
        used, more = self.weigh(state, grouping, batch)
        prompt = merge(init, vector, sources, scale_target, scale_sources, used)
        with torch.no_grad():
            weights = used.detach().to(prompt.dtype)
            squares = scale_sources.square() * state.frozen["token_norms"]
            norms = squares.sum(-1).sqrt() * weights
            means = scale_sources.mean(-1)
            negative = (scale_sources < 0).to(prompt.dtype).mean(-1)
        memory = {**memory, **more}
        return PromptStep(prompt, weights, grouping, means, norms, memory, scale_negative=negative)

    def weigh(
        self, state: MethodState, grouping: Grouping, batch: StepBatch | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `[R n]` weights of the sources' scaled vectors, and what to remember."""
        held = state.memory[HELD]
        return (grouping.member | (held > 0)) & (held >= 0), {}

    def _decide(self, state: MethodState, gram: Tensor) -> tuple[Grouping, dict[str, Tensor]]:
        """Decide for the coming step; rules with a memory find the last group in the state, rules
        that draw their seed and step."""
        if "decided" not in state.memory:
            return decide_on_device(gram, self.settings), {}
        step, seed = state.memory["decided"] + 1, state.frozen["seed"]
        grouping = decide_on_device(gram, self.settings, state.memory["member"], step, seed)
        return grouping, {"member": grouping.member, "decided": step}


def decide_on_device(
    gram: Float[Tensor, "... m m"],
    settings: RuleSettings | str = "greedy",
    previous: Bool[Tensor, "... n"] | None = None,
    step: Int[Tensor, " ..."] | None = None,
    seed: Int[Tensor, " ..."] | None = None,
) -> Grouping[Tensor]:
    """Decide where the Gram matrix lies; results are tensors there.

    On the CPU NumPy decides, so that a page replaying the log does exactly the same
    arithmetic; on a GPU torch does, and nothing waits for it.
    """
    if gram.device.type != "cpu":
        return decide(gram, settings, previous, step, 0 if seed is None else seed)
    made = decide(
        gram.numpy(),
        settings,
        previous=None if previous is None else previous.numpy(),
        step=None if step is None else step.numpy(),
        seed=0 if seed is None else seed.numpy(),
    )

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array))

    return Grouping(
        gram=gram,
        similarity=tensor(made.similarity),
        order=tensor(made.order),
        rank=tensor(made.rank),
        n_candidates=tensor(made.n_candidates),
        consistency_by_prefix=tensor(made.consistency_by_prefix),
        settings=made.settings,
        entry=made.entry,
        member=tensor(made.member),
        consistency_margin=tensor(made.consistency_margin),
        rule=made.rule,
        held=None if made.held is None else tensor(made.held),
        between=None if made.between is None else tensor(made.between),
        squares=tensor(made.squares),
        draws=None if made.draws is None else tensor(made.draws),
    )


def shuffled(vectors: Float[Tensor, "R n r d"], seeds: Sequence[int]) -> Float[Tensor, "R n r d"]:
    """Put the d entries of all of a run's source vectors into one random order.

    Norms and inner products between sources stay; what they have to do with the target goes.

    Args:
        vectors: of the sources.
        seeds: of each run, which draw its order.
    """
    salt, width = zlib.crc32(b"shuffled"), vectors.shape[-1]
    orders = [np.random.default_rng([seed, salt]).permutation(width) for seed in seeds]
    mixed = [
        row[..., placed(torch.from_numpy(o), row)] for row, o in zip(vectors, orders, strict=True)
    ]
    return torch.stack(mixed)
