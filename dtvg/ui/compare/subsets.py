"""The compare page's view of subsets: what each scores, how a run walked, was it right."""

from __future__ import annotations

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.overview.learned import points_text
from dtvg.analysis.subsets.quality import ORACLE, QualityInfo
from dtvg.analysis.subsets.runs import name_of
from dtvg.analysis.words import counted, percent
from dtvg.figures.subsets import lattice_figure, overlap_figure
from dtvg.methods.specs import METHODS
from dtvg.store.reader import Run
from dtvg.ui import cache, runs, show
from dtvg.ui.compare.pick import Choice, full_name

MOST_NAMED = 3
"""Subsets that tie for the best and are named."""
MOST_JUDGED = 20
"""Seeds whose groups are judged together at most."""


def subsets(choice: Choice, dark: bool) -> None:
    """Show the lattice with one run's walk, then the quality of that method's groups."""
    with st.container(horizontal=True):
        target = runs.choose("Target", choice.targets, "of", show=titles.task) or choice.targets[0]
        walkers = {full_name(r): r for r in choice.runs if r.target == target and _walks(r)}
        name = runs.choose("Walk of", _dtvg_first(walkers), "walk", show=titles.run)
        run = walkers.get(name or "")
        where = _experiment(choice, target) if run is None else run.experiment
    same = tuple(r for r in choice.runs if r.target == target and r.experiment == where)
    st.header("The score of each subset of sources, and how the group moved", anchor=False)
    info = cache.lattice(same, target, run, choice.split)
    st.caption(
        " · ".join(f"**{letter}** {titles.task(source)}" for source, letter in info.letters.items())
    )
    show.figure(
        lattice_figure(info, dark),
        f"lattice-{name or f'{where}-{target}'}-{choice.split}",
        "Subsets of sources by size, coloured by score; arrows: how the group changed",
        info.nodes,
        f"{target}-subsets",
    )
    st.caption(
        "Colour: score (hollow: no run was trained on this subset). Outlined: the run's group was "
        "this subset at some steps; the larger the circle, the longer. Arrows: changes of the "
        "group. Best: the highest validation score of those searched, which can be shared (tied "
        "best). Highest: of the scores shown here."
    )
    show.notes(info.notes, (*choice.order, *choice.targets))
    if len(info.edges):
        with st.expander(f"Changes of the group ({counted(len(info.edges), 'kind')})"):
            show.numbers(info.edges, f"{name}-changes", f"edges-{name}")
    if run is None:
        return
    walked = cache.groups(run)
    if len(walked.steps):
        _quality(run, same, dark)
    else:
        said = titles.in_sentence(" ".join(walked.notes), ())
        st.info(said or "No step of this run is committed yet, so it has no walk.")


def _experiment(choice: Choice, target: str) -> str:
    """Return whose runs are shown where none walks; of several experiments one is chosen."""
    names = list(dict.fromkeys(r.experiment for r in choice.runs if r.target == target))
    several = runs.choose("Runs of", names, "searched") if len(names) > 1 else None
    return several or names[0]


def _walks(run: Run) -> bool:
    """Whether a run decides about its group, so that there is a walk to draw."""
    spec = METHODS.get(run.method_name)
    return bool(
        spec
        and spec.reads == "vectors"
        and "subset" not in spec.model_fields
        and spec.always_merges(run.sources) is None
        and run.sources
        and (run.step or run.result is not None)
    )


def _dtvg_first(walkers: dict[str, Run]) -> list[str]:
    return sorted(walkers, key=lambda name: walkers[name].method != "dtvg")


def _quality(run: Run, same: tuple[Run, ...], dark: bool) -> None:
    """Show agreement with the best subset and with the truth, over the method's seeds."""
    seeds = tuple(r for r in same if r.method == run.method and _walks(r))
    judged = seeds if run in seeds[:MOST_JUDGED] else (run, *seeds)
    info, agreement = cache.quality(judged[:MOST_JUDGED], same)
    st.header(f"Did {titles.method(run.method)} choose the right group?", anchor=False)
    if len(seeds) > MOST_JUDGED:
        st.caption(f"Over {MOST_JUDGED} of {len(seeds):,} seeds.")
    if not info.references:
        show.notes(info.notes, runs.names_in(run))
        return
    _numbers(info, agreement)
    key = f"{run.experiment}-{run.target}-{run.method}"
    show.figure(
        overlap_figure(info, dark),
        f"overlap-{key}",
        "Overlap of the group with the best subset and with the truth over steps, per seed",
        info.curves,
        f"{key}-overlap",
    )
    with st.expander(f"Every run ({counted(len(info.table), 'row')})"):
        show.numbers(info.table, f"{key}-group-quality", f"quality-{key}")
    show.notes(info.notes, runs.names_in(run))


def _numbers(info: QualityInfo, agreement: float) -> None:
    """Show the means as figures one reads at a glance."""
    for row in info.summary.to_dict("records"):
        reference = str(row["reference"])
        mine = info.table[info.table["reference"] == reference]
        over = f"mean over steps and {show.counted(len(mine), 'seed')}"
        if reference == ORACLE:
            paired = int(mine["regret"].notna().sum())
            over += f"; regret over the {show.counted(paired, 'seed')} that both have"
        st.markdown(f"Against {_named(info, reference)}, {over}:")
        with st.container(horizontal=True):
            for label, what in (
                ("Precision", "Share of the group's sources that are right."),
                ("Recall", "Share of the right sources that are in the group."),
                ("Jaccard", "Sources in both, divided by sources in either."),
            ):
                st.metric(label, _two(row[label.lower()]), help=what)
            st.metric("Exact", _share(row["exact"]), help="Steps with exactly that set.")
            if reference == ORACLE:
                st.metric(
                    "Regret",
                    "–" if row["regret"] != row["regret"] else points_text(row["regret"]),
                    help="Test score of the best subset minus this method's, over the seeds that "
                    "both have.",
                )
            if agreement == agreement:
                st.metric(
                    "Agreement of seeds",
                    _two(agreement),
                    help="Mean Jaccard between the groups of two seeds at the same step.",
                )


def _named(info: QualityInfo, reference: str) -> str:
    """Name what groups are set against: one set, or the nearest of several that tie."""
    best = info.best
    if reference == ORACLE and best is not None and best.tied > 1:
        names = [titles.label(name_of(one, info.sources)) for one in list(best.ties)[:MOST_NAMED]]
        more = "; …" if best.tied > MOST_NAMED else ""
        score = show.percent(best.validation)
        return (
            f"the nearest of **{best.tied} subsets that tie for the best** with {score} on "
            f"validation ({'; '.join(names)}{more})"
        )
    return (
        f"the **{reference}** ({titles.label(name_of(info.references[reference], info.sources))})"
    )


def _share(value: float) -> str:
    return "–" if value != value else percent(value)


def _two(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"
