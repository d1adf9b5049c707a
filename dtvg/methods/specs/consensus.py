"""Consensus merging: entries that few sources use are dropped.

Its settings; the code is `dtvg.methods.consensus`. arXiv 2405.07813.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind
from dtvg.methods.specs.merged import MergingConfig


class Consensus(MergingConfig):
    """Source vectors without the entries that fewer than k of them use, added up."""

    title = "Consensus merging"
    paper = "Localizing Task Information (TALL masks), arXiv 2405.07813"
    summary = "Entries that fewer than k sources use are dropped from the sum of their vectors."
    kind = Kind.MERGING

    name: Literal["consensus"] = "consensus"
    min_sources: int = Field(
        2,
        ge=1,
        le=10**9,
        description="k: entries that fewer sources use are dropped; 2 as in the paper.",
    )
    mask_threshold: float | None = Field(
        None,
        ge=0,
        le=1e6,
        description="λ of the masks |T_s| ≥ λ·|ΣT − T_s|; empty: chosen for each source from 0.2, "
        "0.3, ..., 0.6.",
    )
