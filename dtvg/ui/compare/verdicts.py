"""The compare page's views of one CompareInfo: scores, verdicts, cost; and its exports."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from pandas.api.types import is_numeric_dtype

from dtvg import export
from dtvg.analysis import titles
from dtvg.analysis.compare.info import AVERAGE, CompareInfo, Split
from dtvg.analysis.compare.lines import (
    Cell,
    Lines,
    Spread,
    legend,
    lines_of,
    verdict_notes,
    verdicts_shown,
)
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.compare.verdicts import PairedInfo
from dtvg.analysis.words import counted
from dtvg.figures.compare import (
    AXES,
    HOW_TO_READ,
    compare_figure,
    costs_figure,
    forest_figure,
    profile_figure,
    ranks_figure,
)
from dtvg.methods.specs import Role
from dtvg.ui import cache, look, runs, show
from dtvg.ui.compare.pick import Choice

SPREADS: dict[str, Spread] = {"± std": "std", "Interval": "interval"}
_lines = cache.once(16)(lines_of)
_score_figure = cache.once(32)(compare_figure)
_forest_figure = cache.once(32)(forest_figure)
_ranks_figure = cache.once(32)(ranks_figure)
_profile_figure = cache.once(32)(profile_figure)

SIGNED = ("points", "95 % (corrected)", "g", "over targets (random effects)")
"""Columns of verdicts that hold numbers with a sign."""
DRAWN_ALONE = 16
"""Rows up to which single sources are drawn beside the methods."""


OWN, ELSEWHERE = "methods of its own experiment", "the same method in other experiments"


def info_of(choice: Choice, subject: str = "", across: bool = False) -> CompareInfo:
    """Return the one Info behind all of these views.

    Args:
        choice: what is compared.
        subject: method in question; empty: the one chosen last, else DTVG.
        across: set it against itself in the other experiments.
    """
    name = subject_of(choice, subject)
    split: Split = "validation" if choice.split == "validation" else "test"
    if across:
        rows = _rows_of(choice, name)
        return cache.compare(choice.scored, split, rows[0], tuple(rows[1:]))
    return cache.compare(choice.scored, split, name)


def subject_of(choice: Choice, subject: str = "") -> str:
    """Return the method in question: the one named, the one chosen last, else DTVG.

    Args:
        choice: what is compared.
        subject: name of a method; one that has not finished here is not taken.
    """
    labels = _labels(choice)
    kept = subject or str(st.session_state.get("last-subject", ""))
    return kept if kept in labels else _usual(choice, labels)


def _usual(choice: Choice, labels: Sequence[str]) -> str:
    """Return DTVG, as it stands before its variants (rates of its own are one), else the first."""
    ours = (r.method for r in choice.done if r.method_name == SUBJECT and r.method in labels)
    return SUBJECT if SUBJECT in labels else next(ours, (*labels, "")[0])


def _rows_of(choice: Choice, label: str) -> list[str]:
    """Rows of one method, an experiment each."""
    found = (r.experiment for r in choice.done if r.method == label)
    return [f"{experiment}: {label}" for experiment in dict.fromkeys(found)]


def _labels(choice: Choice) -> list[str]:
    return list(dict.fromkeys(r.method for r in choice.done if r.subset is None))


def names_in(info: CompareInfo, choice: Choice) -> tuple[str, ...]:
    """Return the methods and tasks that sentences about a comparison may name."""
    return (*info.rows, *info.targets, *choice.order)


def pick_target(info: CompareInfo) -> str:
    """Let one choose a target or their average."""
    panels = [*info.targets, "average"] if len(info.targets) > 1 else list(info.targets)
    filled = set(info.points["target"])
    default = "average" if "average" in filled else panels[0]
    return runs.choose("Target", panels, "target", default, titles.task) or default


# -- scores --------------------------------------------------------------------------------


def scores(choice: Choice, dark: bool) -> None:
    """Show the table as it would be printed, the figure, and published numbers apart."""
    info = info_of(choice)
    with look.side_by_side("scores"):
        printed = st.container()
        with look.first_on_phones("scores"):
            pictured = st.container()
        further = st.container()
    with printed:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.header("Scores in percent", anchor=False)
            spread = runs.tabs("Beside each mean", tuple(SPREADS), "spread")
        with st.spinner("Comparing, paired by seed and by example", show_time=True):
            lines = _lines(info, True, SPREADS[spread])
        _printed(lines, "compared", choice)
        said = [s for s in legend(lines, info) if not s.startswith("Published")]
        told = " ".join(said).replace("second underlined", "second in italics")
        st.caption(titles.in_sentence(told, names_in(info, choice)))
    with further:
        if lines.of("reference"):
            with st.expander(_what_else(info)):
                _printed(lines, "reference", choice)
        _exports(info, choice, SPREADS[spread])
    with pictured:
        with st.container(horizontal=True):
            target = pick_target(info)
            everything = (
                len(info.rows) <= DRAWN_ALONE
                or runs.choose(
                    "Rows",
                    ("methods", "all"),
                    "rows",
                    help_text="All: also single sources one by one.",
                )
                == "all"
            )
        show.figure(
            _score_figure(_drawn(info, target, everything), dark, (target,)),
            f"compare-{choice.name}-{choice.split}-{target}-{everything}",
            "Score of each method: seeds as points, mean with interval",
            info.table,
            f"{choice.name}-scores",
        )
        st.caption(f"Interval: {info.interval}.")
    show.notes(info.notes, names_in(info, choice))
    _health(info, choice)
    _budgets(info, choice)
    _published(info, lines, choice)


def _what_else(info: CompareInfo) -> str:
    """Name what stands for reference: before the sources one by one, the prompt of Stage I."""
    before = any(kind.role is Role.STAGE_ONE for kind in info.sheet.kinds.values())
    first = "the Stage I prompt, " if before else ""
    return f"For reference: {first}single sources one by one"


def _health(info: CompareInfo, choice: Choice) -> None:
    """Say which runs trained nothing, and which sources had learned nothing."""
    found = info.health
    if not found.notes:
        return
    told = titles.in_sentence("  \n".join(found.notes), names_in(info, choice))
    st.warning(told, icon=":material/health_and_safety:")
    with st.expander("Health of runs and sources", icon=":material/health_and_safety:"):
        show.numbers(found.table, f"{choice.name}-health", f"health-{choice.name}")
        if len(found.sources):
            show.numbers(found.sources, f"{choice.name}-sources", f"sources-{choice.name}")


def _budgets(info: CompareInfo, choice: Choice) -> None:
    """Show what each row was trained with."""
    with st.expander("Rates and budgets", icon=":material/speed:"):
        frame = export.shown_frame(info, "budgets")
        st.dataframe(titles.table(frame), hide_index=True, key=f"budget-table-{choice.name}")
    if info.budgets.note:
        st.caption(titles.in_sentence(info.budgets.note, names_in(info, choice)))


@cache.once(32)
def _drawn(info: CompareInfo, target: str, everything: bool) -> CompareInfo:
    """The same numbers, rows for reference left out or not, without rows of other targets."""
    held = set(info.points.loc[info.points["target"] == target, "method"])
    rows = info.rows if everything else info.sheet.headline
    return replace(info, rows=tuple(r for r in rows if r in held or not info.sheet.several))


@cache.once(32)
def _pairs_drawn(info: CompareInfo, target: str) -> PairedInfo:
    """The same verdicts, without subjects of experiments that have another target."""
    table = info.paired.table
    held = {row for row, there in info.sheet.scores if there == target}
    known = table["subject"].isin(held) | (not info.sheet.several)
    return replace(info.paired, table=table[known])


def _printed(lines: Lines, group: str, choice: Choice) -> None:
    """Show lines as a table: best bold, second in italics (a table on a page shows no
    underlines), marks of the subject's verdicts."""
    rows = [line for line in lines.lines if line.group == group]
    columns = [
        c for i, c in enumerate(lines.columns) if any(not line.cells[i].empty for line in rows)
    ]
    places = [lines.columns.index(c) for c in columns]
    text = pd.DataFrame(
        [[_text(line.cells[i]) for i in places] for line in rows],
        index=pd.Index([titles.label(line.shown) for line in rows], name="method"),
        columns=[titles.task(export.column_title(c)) for c in columns],
    )
    looks = pd.DataFrame(
        [[_look(line.cells[i]) for i in places] for line in rows],
        index=text.index,
        columns=text.columns,
    )
    if text.index.is_unique and len(text):
        st.table(text.style.apply(lambda _: looks, axis=None), border="horizontal")


def _text(cell: Cell) -> str:
    """One score as printed; nothing where there is none."""
    if cell.empty:
        return ""
    spread = f" {cell.around}" if cell.around else ""
    return f"{cell.percent}{spread} {cell.signs}".strip()


def _look(cell: Cell) -> str:
    weight = "font-weight: 700;" if cell.place == 1 else ""
    return weight + ("font-style: italic;" if cell.place == 2 else "")


def _published(info: CompareInfo, lines: Lines, choice: Choice) -> None:
    """Show numbers from papers under a heading of their own."""
    if not lines.of("published"):
        return
    st.header("Published, not run here", anchor=False)
    st.caption(info.published.note)
    _printed(lines, "published", choice)
    with st.expander(
        f"Where the numbers are from ({counted(len(info.published.table), 'number')})"
    ):
        show.numbers(info.published.table, f"{choice.name}-published", f"published-{choice.name}")


def _verdict_columns() -> dict[str, Any]:
    """Keep the baseline in sight, and the verdict whole."""
    return {
        "baseline": st.column_config.TextColumn(width=210, pinned=True),
        "verdict": st.column_config.TextColumn(width=230),
    }


def _noted(info: CompareInfo, choice: Choice) -> CompareInfo:
    """Return a comparison, what was computed of it too, with what counts as one experiment."""
    made = copy.copy(info)
    object.__setattr__(made, "notes", (*choice.notes, *info.notes))
    return made


def _exports(info: CompareInfo, choice: Choice, spread: Spread = "std") -> None:
    """Offer the comparison as text to take away, made when asked for."""
    info, name = _noted(info, choice), choice.name
    with st.popover("Download tables", icon=":material/download:", type="tertiary"):
        st.caption("The same numbers as on this page, for a paper, a README or a spreadsheet.")
        with st.container(horizontal=True):
            for label, form, ending in (("LaTeX", "latex", "tex"), ("Markdown", "md", "md")):
                st.download_button(
                    label,
                    partial(export.export, info, form, None, name, spread),
                    f"{name}.{ending}",
                    "text/plain",
                    key=f"export-{form}-{name}",
                    on_click="ignore",
                )
        st.caption("One table as CSV, every digit kept:")
        with st.container(horizontal=True):
            for table in export.TABLES:
                st.download_button(
                    table.capitalize(),
                    partial(export.export, info, "csv", (table,), name),
                    f"{name}-{table}.csv",
                    "text/csv",
                    key=f"export-{table}-{name}",
                    on_click="ignore",
                )
        st.caption("The same as Parquet, with types:")
        with st.container(horizontal=True):
            for table in export.TABLES:
                st.download_button(
                    f"{table.capitalize()}, Parquet",
                    partial(export.to_parquet, info, table),
                    f"{name}-{table}.parquet",
                    "application/vnd.apache.parquet",
                    key=f"export-parquet-{table}-{name}",
                    on_click="ignore",
                )


# -- verdicts ------------------------------------------------------------------------------


def verdicts(choice: Choice, dark: bool) -> None:
    """Show the paired verdicts, ranks over targets, and the performance profile."""
    labels = _labels(choice)
    if labels:
        _verdicts(choice, dark, labels)
    else:
        st.info("These runs are the subsets of a search; choose runs of a method to compare.")


def _verdicts(choice: Choice, dark: bool, labels: Sequence[str]) -> None:
    default = _usual(choice, labels)
    with st.container(horizontal=True):
        subject = (
            runs.choose("Method in question", labels, "subject", default, titles.method) or default
        )
        across = len(_rows_of(choice, subject)) > 1 and (
            runs.choose("Against", (OWN, ELSEWHERE), "against") == ELSEWHERE
        )
        info = info_of(choice, subject, across)
        target = pick_target(info)
    key = f"{choice.name}-{choice.split}-{subject}-{across}"
    with st.spinner("Comparing, paired by seed and by example", show_time=True):
        shown = verdicts_shown(info)
    for one in info.primary:
        told = titles.in_sentence(one.sentence, names_in(info, choice))
        st.info(told, icon=":material/flag:")
    st.header(f"{titles.method(subject)} minus each baseline, paired", anchor=False)
    show.figure(
        _forest_figure(_pairs_drawn(info, target), dark, (target,)),
        f"verdicts-{key}-{target}",
        "Difference to each baseline with intervals over seeds and over examples",
        _pairs_drawn(info, target).of(target),
        f"{choice.name}-verdicts-{target}",
    )
    st.caption(" ".join(filter(None, (HOW_TO_READ, _not_drawn(info, target)))))
    here = shown["target"] == target
    here &= shown.index.isin(_pairs_drawn(info, target).table.index)
    if here.any():
        table = shown[here].drop(columns="target")
        for column in table.columns.intersection(list(SIGNED)):
            table[column] = table[column].str.replace(r"-(?=\d)", "−", regex=True)
        st.dataframe(
            titles.table(table),
            hide_index=True,
            key=f"verdict-table-{key}-{target}",
            column_config=_verdict_columns(),
        )
    else:
        st.info(f"No pair of methods has a seed in common on {titles.task(target)} yet.")
    if across:
        st.caption(
            "Seeds are paired across experiments, which is fair if both trained on the same "
            "data; the view Settings shows how else they differ."
        )
    show.notes(_below(info), names_in(info, choice))
    _exports(info, choice)
    _over_targets(info, choice, key, dark)


def _below(info: CompareInfo) -> tuple[str, ...]:
    """Return the notes on verdicts but what stands above their chart."""
    above = [info.declared_note] if info.primary else []
    return tuple(note for note in verdict_notes(info) if note not in above)


def _not_drawn(info: CompareInfo, target: str) -> str:
    """Name the comparisons that the figure lacks, so that none goes missing silently."""
    table = info.paired.table
    table = table[table["target"] == target] if len(table) else table
    there = {(r.subject, r.baseline) for r in table.itertuples(index=False) if r.n_seeds}
    lacking = [
        f"{titles.label(mine)} − {titles.label(other)}"
        for mine, other in info.against
        if (mine, other) not in there
    ]
    if not lacking:
        return ""
    more = f" and {len(lacking) - 6} more" if len(lacking) > 6 else ""
    where = f"Not drawn, for no seed has finished both on {titles.task(target)}"
    return f"{where}: {', '.join(lacking[:6])}{more}."


def _over_targets(info: CompareInfo, choice: Choice, key: str, dark: bool) -> None:
    """Show ranks with the critical difference, and the performance profile."""
    st.header("Ranks over targets", anchor=False)
    show.figure(
        _ranks_figure(info.ranks, dark),
        f"ranks-{key}",
        "Average rank of each method; bars join those that cannot be told apart",
        info.ranks.table,
        f"{key}-ranks",
    )
    st.caption(titles.in_sentence(info.ranks.note, names_in(info, choice)))
    st.header("How often a method is close to the best", anchor=False)
    show.figure(
        _profile_figure(info.profile, dark),
        f"profile-{key}",
        "Share of targets and seeds on which a method is within a distance of the best",
        info.profile.table,
        f"{key}-profile",
    )
    st.caption(titles.in_sentence(info.profile.note, names_in(info, choice)))


# -- cost ----------------------------------------------------------------------------------


def _lines_of_all(info: CompareInfo) -> list[tuple[str, float]]:
    """Return the references of scores over all targets."""
    place = AVERAGE if len(info.targets) > 1 else (info.targets or ("",))[0]
    known = info.references.get(place)
    return known.lines if known else []


def cost(choice: Choice, dark: bool) -> None:
    """Show what each method took, next to its score."""
    info = info_of(choice)
    axis = runs.choose("Cost", tuple(AXES), "cost", show=lambda a: AXES[a]) or "seconds_alone"
    st.header("Score and cost", anchor=False)
    with st.spinner("Adding up what every run took", show_time=True):
        costs = info.costs
    show.figure(
        costs_figure(costs, axis, dark, info.sheet.headline, _lines_of_all(info)),
        f"cost-{choice.name}-{choice.split}-{axis}",
        "Score of each method over its cost",
        costs.table,
        f"{choice.name}-costs",
    )
    frame = export.shown_frame(info, "costs")
    written: dict[Any, Any] = {
        c: f"{{:,.{export.decimals(frame[c])}f}}"
        for c in frame.columns
        if is_numeric_dtype(frame[c].dtype)
    }
    st.dataframe(
        titles.table(frame).style.format(written, na_rep="–"),
        hide_index=True,
        height="content",
        placeholder="–",
        key=f"cost-table-{choice.name}",
        column_config={"method": st.column_config.TextColumn(width=210, pinned=True)},
    )
    st.caption(titles.in_sentence(costs.note, names_in(info, choice)))
