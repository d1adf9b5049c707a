"""Any runs laid over each other: curves with a baseline, or two runs' groups side by side."""

from __future__ import annotations

from dtvg.ui import address, curves, look, pair, runs
from dtvg.ui.page import page

VIEWS = ("Overlay", "Side by side")


def body() -> None:
    """Choose runs and a view; lay them over each other."""
    curves.say_problem()
    chosen = curves.pick_runs()
    if not chosen:
        curves.saved(None)
        address.leave()
        return
    view = runs.tabs("View", VIEWS, "view")
    if view == "Side by side":
        pair.pair(chosen)
        for key in curves.KEYS:
            address.uses(key)
        return
    with look.folding("What the curves show", "curves"):
        shown = curves.choose_view(chosen)
    curves.draw(chosen, shown)
    curves.saved(shown)


page("Curves", "Lay any runs over each other, and see what two of them did differently.", body)
