"""DTVG against all sources, single sources and no transfer: means, spread, verdicts, curves."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis.compare import CompareInfo
from dtvg.figures.compare import compare_figure, verdict_figure
from dtvg.figures.curves import curves_figure
from dtvg.store.reader import Run
from dtvg.ui import cache, runs, show
from dtvg.ui.page import is_dark, page


def body() -> None:
    """Choose an experiment, compare its methods."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        split = runs.choose("Split", ("test", "validation"), "split") or "test"
    if experiment is None:
        return
    transfer = tuple(r for r in experiment.runs if r.role == "transfer" and r.problem is None)
    done = [r for r in transfer if r.result is not None]
    st.caption(f"{len(done)} of {len(transfer)} transfer runs have finished.")
    if not done:
        st.info(
            "Nothing to compare yet: scores appear here as runs finish. "
            "The live page shows how far they are."
        )
        return
    labels = list(dict.fromkeys(r.method for r in done))
    default = "dtvg" if "dtvg" in labels else labels[0]
    subject = runs.choose("Method in question", labels, "subject", default) or default
    info = cache.compare(transfer, split, "score", subject)
    dark, key = is_dark(), f"{experiment.name}-{split}-{subject}"
    panels = [*info.targets, "average"] if len(info.targets) > 1 else list(info.targets)
    target = runs.choose("Target", panels, "target", panels[-1]) or panels[-1]
    show.figure(
        compare_figure(info, dark, [target]),
        f"compare-{key}-{target}",
        "Score of each method: seeds as points, mean with interval",
        info.table,
        f"{experiment.name}-scores",
    )
    st.caption(f"Interval: {info.interval}.")
    _verdicts(info, key, target, dark)
    _curves(transfer, info, target, key, dark)
    show.notes(info.notes)


def _verdicts(info: CompareInfo, key: str, target: str, dark: bool) -> None:
    """Show the paired differences with what can be said of them."""
    st.subheader("Paired by seed: the difference to each baseline", anchor=False)
    show.figure(
        verdict_figure(info, dark, target),
        f"verdicts-{key}-{target}",
        "Difference to each baseline with interval",
    )
    rows = info.verdicts[info.verdicts["target"] == target]
    show.numbers(rows, "verdicts", f"verdicts-{key}-{target}")
    st.caption(info.verdict_note)


def _curves(
    transfer: tuple[Run, ...], info: CompareInfo, target: str, key: str, dark: bool
) -> None:
    """Show validation scores over steps."""
    st.subheader("Validation score over steps", anchor=False)
    chosen = tuple(r for r in transfer if target in ("average", r.target))
    made = cache.curves(chosen, quantity="score", group_by="method")
    show.figure(
        curves_figure(made, dark, info.rows),
        f"curves-{key}-{target}",
        "Validation score over steps, band over seeds",
        made.table,
        "score-curves",
    )


page("Compare", "Dynamic groups against all sources, single sources and no transfer.", body)
