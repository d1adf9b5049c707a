"""Views of the compare page: curves, transfer, settings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.compare.confdiff import experiment_diff
from dtvg.analysis.compare.over_targets import FEWEST_TARGETS
from dtvg.analysis.compare.references import of_target
from dtvg.analysis.overview.learned import points_text
from dtvg.analysis.subsets.runs import of_search
from dtvg.analysis.subsets.transfer import SINGLES, TransferInfo, over_targets_shown
from dtvg.analysis.words import counted, in_percent
from dtvg.figures.curves import BANDS, curves_figure
from dtvg.figures.subsets import coefficients_figure, colour_reach, transfer_figure
from dtvg.methods.specs import Role
from dtvg.ui import address, cache, runs, show
from dtvg.ui import cache as compare_cache
from dtvg.ui.compare.pick import Choice, full_name
from dtvg.ui.compare.verdicts import subject_of

View = Callable[[Choice, bool], None]
MOST_SETTINGS = 8
"""Runs whose settings are set side by side at most."""


def curves(choice: Choice, dark: bool) -> None:
    """Show validation scores, or the loss, over steps."""
    panels = [*choice.targets, "average"] if len(choice.targets) > 1 else choice.targets
    methods = tuple(r for r in choice.runs if r.subset is None)
    singles = {r.method for r in methods if r.full_role is Role.SINGLE}
    with st.container(horizontal=True):
        target = runs.choose("Target", panels, "target", panels[-1], titles.task) or panels[-1]
        quantity = runs.choose("Quantity", ("score", "loss"), "quantity") or "score"
        rows = "all"
        if 1 < len(singles) < len({r.method for r in methods}):
            about = "All: also single sources one by one."
            rows = runs.choose("Rows", ("methods", "all"), "rows", help_text=about) or rows
    chosen = tuple(
        r
        for r in methods
        if target in ("average", r.target) and (rows == "all" or r.method not in singles)
    )
    made = cache.curves(chosen, quantity=quantity, group_by="method")
    asked = quantity == "score" and target != "average"
    lines = of_target(chosen, target).lines if asked else []
    what = "Validation score" if quantity == "score" else "Training loss"
    st.header(f"{what} over steps", anchor=False)
    several = len({r.experiment for r in chosen}) > 1
    named = {f"{r.experiment}: {r.method}" if several else r.method: r.method for r in methods}
    subject = subject_of(choice)
    subjects = {name for name, method in named.items() if method == subject}
    show.figure(
        curves_figure(made, dark, tuple(named), lines=lines, subjects=subjects),
        f"curves-{choice.name}-{target}-{quantity}-{rows}",
        f"{what} over steps, band over seeds",
        made.table,
        f"{quantity}-curves",
    )
    if len(made.curves) > BANDS:
        st.caption(
            f"Drawn thick and with its band: {titles.method(subject)}, the method in question "
            "(Verdicts). The others are thin; their bands stand in the table."
        )
    show.notes(made.notes, (*choice.order, *choice.targets))


def transfer(choice: Choice, dark: bool) -> None:
    """Show what each source adds to each target, with verdicts."""
    info = compare_cache.transfer(choice.runs, choice.split)
    if not info.bases:
        st.info(
            "What a source adds is measured by runs with and without it. Add the methods `none` "
            "and `single` (or `oracle`, on every subset) to the experiment."
        )
        return
    basis = info.bases[0]
    if len(info.bases) > 1:
        basis = runs.choose("Measured by", info.bases, "basis", show=titles.label) or basis
    rows = info.of(basis)
    counts = rows["verdict"].value_counts()
    said = ", ".join(f"{counts.get(v, 0)} {v}" for v in ("helpful", "harmful", "undecided"))
    st.header("What each source adds to each target", anchor=False)
    st.markdown(f"Of {len(rows)} pairs of source and target: **{said}**.")
    show.figure(
        transfer_figure(info, basis, dark),
        f"transfer-{choice.name}-{choice.split}-{basis}",
        "Score with a source minus without it, per source and target",
        rows,
        f"{choice.name}-transfer-{basis}",
    )
    small = " Small print: what the truth table says." if rows["known"].ne("").any() else ""
    ends = f" Colours end at ±{100 * colour_reach(info, basis):.1f}; beyond, all are alike."
    beyond = ends if rows["difference"].abs().max() > colour_reach(info, basis) else ""
    signs = "▲ helpful, ▼ harmful, no sign: undecided."
    st.caption(f"{signs} Numbers are percentage points.{beyond}{small}")
    _over_targets(info, basis, choice)
    show.notes(info.notes_of(basis), (*choice.order, *choice.targets))
    if basis != SINGLES:
        _coefficients(choice, basis, dark)


def _over_targets(info: TransferInfo, basis: str, choice: Choice) -> None:
    """Show each source over several targets: the mean, and targets as random effects."""
    rows = over_targets_shown(info, basis)
    if not len(rows):
        return
    st.header("Over all targets", anchor=False)
    several = len(choice.experiments) > 1
    points = pd.DataFrame(
        {
            **({"experiment": rows["experiment"]} if several else {}),
            "source": rows["source"],
            "targets": rows["n_targets"],
            "mean": rows["mean"].map(_points),
            "random effects": rows["random_effect"].map(_points),
            "interval": [_interval(row) for row in rows.to_dict("records")],
            "τ": ["–" if t != t else in_percent(t) for t in rows["between"]],
        }
    )
    key = f"transfer-targets-{choice.name}-{choice.split}-{basis}"
    st.dataframe(titles.table(points), hide_index=True, key=key)
    st.caption(
        "Points. Mean: over these targets. Random effects: what to expect of another target of "
        "their kind, with an interval corrected over the sources; τ is the standard deviation "
        f"between targets. Fewer than {FEWEST_TARGETS} targets say too little about another one "
        "for an interval, and a target with one seed counts in the mean alone."
    )


def _interval(row: dict[Hashable, Any]) -> str:
    """Return the interval over targets as text, or why there is none."""
    if row["n_summed"] < FEWEST_TARGETS:
        return f"{show.counted(int(row['n_summed']), 'target')}: no interval"
    if row["low"] != row["low"]:
        return "–"
    return f"{_points(row['low'])} to {_points(row['high'])}"


def _points(value: float) -> str:
    """Return a difference in points with its sign, without the word."""
    return "–" if value != value else points_text(value).partition(" ")[0]


def _coefficients(choice: Choice, method: str, dark: bool) -> None:
    """Show the linear model of what subsets scored."""
    st.header("A linear model of the scores of subsets", anchor=False)
    places = {
        f"{r.experiment}: {r.target}" if len(choice.experiments) > 1 else r.target: r
        for r in of_search(choice.runs, method)
    }
    name = runs.choose("Target", list(places), "of", show=titles.label) or next(iter(places))
    run = places[name]
    same = tuple(r for r in choice.runs if r.experiment == run.experiment)
    info = compare_cache.surrogate(same, run.target, method)
    if info is None:
        st.info("Too few runs on subsets have finished to tell the sources apart.")
        return
    key = f"{choice.name}-{name}-{method}"
    show.figure(
        coefficients_figure(info, dark, choice.order),
        f"coefficients-{key}",
        "Coefficient of each source in a linear model of the scores of subsets, with interval",
        info.table,
        f"{key}-coefficients",
    )
    if len(info.seeds):
        with st.expander(
            f"The coefficients that each run fitted ({counted(len(info.seeds), 'row')})"
        ):
            show.numbers(info.seeds, f"{key}-seeds", f"coefficients-seeds-{key}")
    fitted = "–" if info.r_squared != info.r_squared else f"{info.r_squared:.2f}"
    open_circles = " Open circles: what the run of one seed had fitted when it chose its sources."
    st.caption(f"R² = {fitted}.{open_circles if len(info.seeds) else ''}")
    show.notes(info.notes)


def settings(choice: Choice, dark: bool) -> None:
    """Show in which settings experiments and chosen runs differ."""
    if len(choice.experiments) > 1:
        st.header("Experiments: settings that differ", anchor=False)
        made = experiment_diff(choice.experiments)
        show.numbers(made.table, f"{choice.name}-settings", f"diff-{choice.name}")
        show.notes(made.notes)
    st.header("Runs: settings that differ", anchor=False)
    named = choice.named()
    first = _some_runs(choice)
    address.recall("diff", address.several(list(named), MOST_SETTINGS), first)
    chosen = st.multiselect(
        "Runs",
        list(named),
        key="diff",
        max_selections=MOST_SETTINGS,
        placeholder="Choose runs",
        format_func=titles.run,
    )
    address.keep_several("diff", chosen, first)
    if len(chosen) < 2:
        st.info("Choose two or more runs.")
        return
    info = compare_cache.diff(tuple(named[n] for n in chosen))
    key = "-".join(chosen)
    heads = _apart(list(info.table.columns[1:]))
    show.numbers(info.table, f"{choice.name}-run-settings", f"run-diff-{key}", heads=heads)
    with st.expander(f"Equal in all ({counted(len(info.same), 'setting')})"):
        show.numbers(info.same, f"{choice.name}-equal-settings", f"run-same-{key}")
    show.notes(info.notes)


def _apart(names: Sequence[str]) -> dict[str, str]:
    """Return the titles of runs without what all of them share, e.g. `No transfer`, `DTVG`."""
    parts = [titles.run(name).split(" · ") for name in names]
    if len({len(one) for one in parts}) != 1:
        return {name: " · ".join(one) for name, one in zip(names, parts, strict=True)}
    differs = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    kept = ([p for p, d in zip(one, differs, strict=True) if d] or one for one in parts)
    return {name: " · ".join(one) for name, one in zip(names, kept, strict=True)}


def _some_runs(choice: Choice) -> list[str]:
    """One run of each experiment, or of the first methods of the only one."""
    found: dict[tuple[str, str], str] = {}
    for run in choice.runs:
        place = run.path.parent.name if len(choice.experiments) > 1 else run.method_name
        found.setdefault((run.experiment, place), full_name(run))
    return list(found.values())[:4]
