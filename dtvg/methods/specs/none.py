"""No transfer: the target alone, tuned on for the Stage II budget.

Its settings; the code is `dtvg.methods.none`. arXiv 2104.08691.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import Kind, MethodConfig, Subset


class NoTransfer(MethodConfig):
    """No transfer: the target's Stage I prompt is tuned on for the whole Stage II budget."""

    title = "No transfer"
    paper = "Lester et al. 2021, arXiv 2104.08691"
    summary = "Prompt tuning on the target alone, continued for the Stage II budget."
    kind = Kind.BASELINE
    reads = "nothing"
    trains_scales = False

    name: Literal["none"] = "none"

    @classmethod
    def always_merges(cls, sources: Subset) -> Subset | None:
        """No source."""
        return ()
