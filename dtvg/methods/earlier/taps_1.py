"""TAPS, version 1: starts at the target's Stage I prompt with all gates open.

The paper starts at the shared weights, without a change. Kept only for runs that began so.
"""

from __future__ import annotations

from torch import Tensor

from dtvg.methods.base import Inputs
from dtvg.methods.taps import Method as Taps


class Method(Taps):
    """`taps`, version 1: see the module's first lines."""

    def start(self, inputs: Inputs, base: Tensor) -> Tensor:
        """Return the target's Stage I prompt."""
        return inputs.target_prompt
