"""DARE: entries dropped at random and the rest enlarged, then merged.

Its settings; the code is `dtvg.methods.dare`. arXiv 2311.03099.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Kind
from dtvg.methods.specs.merged import MergingConfig


class Dare(MergingConfig):
    """Drop entries at random, enlarge the rest, merge."""

    title = "DARE merging"
    paper = "DARE, arXiv 2311.03099"
    summary = "Entries of every source dropped at random and the rest enlarged, then merged."
    kind = Kind.MERGING

    name: Literal["dare"] = "dare"
    drop: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="p: share of entries dropped; the paper uses up to 0.9 for small weight "
        "changes.",
    )
    merge: Literal["sum", "mean", "ties"] = Field(
        "sum", description="How the remaining entries are merged: added up, averaged, or by TIES."
    )
    density: float = Field(0.2, gt=0, le=1, description="Density of TIES, if `merge` is ties.")

    def unread(self) -> dict[str, str]:
        """TIES alone trims."""
        return {} if self.merge == "ties" else {"density": "only 'merge: ties' trims"}
