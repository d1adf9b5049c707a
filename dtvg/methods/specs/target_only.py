"""Target only: the target's vector with its learned scale, no sources.

Its settings; the code is `dtvg.methods.target_only`. arXiv 2503.18063, ablations.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import Kind, MethodConfig


class TargetOnly(MethodConfig):
    """The target's own vector with its learned scale; no sources (paper, ablation)."""

    title = "Target only"
    paper = "DTVG ablation, arXiv 2503.18063"
    summary = "The target's vector with its per-token scale, no sources."
    kind = Kind.BASELINE
    reads = "nothing"
    candidate = False

    name: Literal["target_only"] = "target_only"
