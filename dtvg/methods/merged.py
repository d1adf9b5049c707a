"""Common ground of the merging methods: sources merged once, by a formula, before Stage II.

The merged vector `M = Σ_s M_s` replaces DTVG's group: `P_init + α_t ⊙ T_t + α ⊙ λ Σ_s M_s`,
where `M_s` is the part of source s. Scales train as in DTVG: one for the merged vector, or one
per source.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any

from torch import Tensor

from dtvg.methods.base import Inputs, MethodState, trainable
from dtvg.methods.dtvg import Method as Dtvg


class Merged(Dtvg):
    """Base of methods that say what each source adds to the merged vector."""

    config: Any

    @abstractmethod
    def parts(self, inputs: Inputs) -> Tensor:
        """Return `[R n r d]`: what each source adds to the merged vector, without λ."""

    def notes(self, inputs: Inputs, parts: Tensor) -> list[dict[str, Any]]:
        """Return facts for the result, one mapping per run, or nothing."""
        return []

    def prepare(self, inputs: Inputs) -> MethodState:
        """Merge once; start from the target's Stage I prompt and scales of 1."""
        parts = self.parts(inputs)
        notes = self.notes(inputs, parts)
        merged = dataclasses.replace(inputs, source_vectors=parts * self.config.coefficient)
        state = super().prepare(merged)
        if self.config.scale == "merged":
            shared = state.parameters["scale_sources"][:, :1]
            state.parameters["scale_sources"] = trainable(shared)
        return dataclasses.replace(state, notes=notes)
