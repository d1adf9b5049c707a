"""All sources: every source's scaled vector is merged at every step, without grouping.

The Gram matrix is logged all the same, so that any rule can be replayed on it. arXiv
2503.18063, ablations.
"""

from __future__ import annotations

from dtvg.methods.dtvg import Method as Dtvg


class Method(Dtvg):
    """`all_sources`: DTVG with the rule `all_sources` (see `grouping_settings`)."""
