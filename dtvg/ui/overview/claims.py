"""The verdicts on the paper's claims as chips in the overview's first card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtvg.analysis.claims.lines import SIGNS
from dtvg.store.reader import Run
from dtvg.ui import cache
from dtvg.ui.compare.claims import COLOURS


@dataclass(frozen=True)
class Chip:
    """One claim and its verdict."""

    title: str
    verdict: str
    colour: str

    @property
    def badge(self) -> str:
        """Return it as a badge in Markdown."""
        return f":{self.colour}-badge[{SIGNS[self.verdict]} {self.title}: {self.verdict}]"


def chips(runs: Sequence[Run]) -> tuple[Chip, ...]:
    """Return a chip per claim that transfer runs say something about.

    Claims for which nothing was computed, because runs are lacking, are left to the compare page.
    """
    found = cache.claims(tuple(runs)).claims
    return tuple(
        Chip(claim.wording.title, claim.verdict, COLOURS[claim.verdict])
        for claim in found
        if claim.found
    )
