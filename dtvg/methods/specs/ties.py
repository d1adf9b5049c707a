"""TIES: trim, elect a sign per entry, average the entries that agree.

Its settings; the code is `dtvg.methods.ties`. arXiv 2306.01708.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind
from dtvg.methods.specs.merged import MergingConfig


class Ties(MergingConfig):
    """Trim, elect sign, and average the entries that agree."""

    title = "TIES merging"
    paper = "TIES-Merging, arXiv 2306.01708"
    summary = "Each source's largest entries, one sign per entry, mean of those that agree."
    kind = Kind.MERGING

    name: Literal["ties"] = "ties"
    density: float = Field(
        0.2, gt=0, le=1, description="Share of each source's entries kept; the paper keeps 20 %."
    )
