"""SPoT: start from the source prompt most similar to the target's.

Its settings; the code is `dtvg.methods.spot`. arXiv 2110.07904.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import PLAIN


class Spot(MethodConfig):
    """Start from the source prompt with the highest cosine to the target's, then tune."""

    title = "SPoT"
    paper = "Vu et al. 2022, arXiv 2110.07904"
    summary = "Prompt tuning started from the most similar source prompt."
    kind = Kind.BASELINE
    reads = "prompts"
    weights = "given"
    rates = "stage_one"
    own = PLAIN
    trains_scales = False

    name: Literal["spot"] = "spot"

    @property
    def continues_target(self) -> bool:
        """It goes on from a source's prompt."""
        return False
