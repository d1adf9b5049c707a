"""Single source: DTVG's merge with exactly one given source at every step.

The stack has one source per run; its vector is always a member. arXiv 2503.18063, ablations.
"""

from __future__ import annotations

from dtvg.methods.dtvg import Method as Dtvg


class Method(Dtvg):
    """`single`: DTVG with the rule `all_sources` (see `grouping_settings`)."""
