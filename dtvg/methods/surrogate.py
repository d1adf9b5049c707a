"""Surrogate: the sources that a linear model of trained subsets shows to be helpful are merged.

The trials and the final run train alike, on a given subset; the fit between them is
`specs.trials`, made when the final run starts. arXiv 2303.14582.
"""

from __future__ import annotations

from dtvg.methods.oracle import Method as OnSubset


class Method(OnSubset):
    """`surrogate`: DTVG with a group given from outside."""
