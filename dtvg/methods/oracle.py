"""Oracle: the vectors of one given subset of sources are merged at every step.

`Oracle.expand` makes a run for every subset; together they show the best subset there was. The
Gram matrix of all sources is logged, so that any rule can be replayed beside it.
docs/methods.md.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from dtvg.methods.base import Inputs, MethodState, StepBatch
from dtvg.methods.dtvg import Method as Dtvg
from dtvg.rule.types import Grouping


class Method(Dtvg):
    """`oracle`: DTVG with a group given from outside."""

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start as DTVG does; keep which sources were chosen."""
        state = super().prepare(inputs)
        chosen = inputs.chosen
        if chosen is None:
            chosen = inputs.init.new_zeros(inputs.source_vectors.shape[:2])
        return dataclasses.replace(state, frozen={**state.frozen, "chosen": chosen})

    def weigh(
        self, state: MethodState, grouping: Grouping, batch: StepBatch | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return 1 for the chosen sources, 0 for the others."""
        return state.frozen["chosen"], {}
