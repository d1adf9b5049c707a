"""A self-contained HTML report of chosen views: opens offline, in any browser, without a server.

Figures and tables come from the same Infos as the pages and the command line. Everything that
a file or a person named is escaped.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dtvg.analysis import titles
from dtvg.analysis.words import counted
from dtvg.errors import ConfigError, DataError, StoreError, unknown
from dtvg.store.reader import Experiment, Run, read_provenance
from dtvg.templates import render
from dtvg.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from dtvg.analysis.subsets.quality import Truth

ROWS = 400
"""Rows of a table in a report at most; the whole table is exported as CSV or Parquet."""


MOST_WORDS = 100_000
"""Characters of somebody's own words."""


@dataclass(frozen=True)
class View:
    """One section of a report."""

    title: str
    text: str
    figure: go.Figure | None
    table: pd.DataFrame | None


Maker = Callable[[Experiment, Run | None, int | None], Iterator[View]]


def _scores(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.compare.info import compare_info
    from dtvg.analysis.compare.lines import shown_name, verdict_notes, verdicts_shown
    from dtvg.figures.compare import (
        HOW_TO_READ,
        compare_figure,
        forest_figure,
        profile_figure,
        ranks_figure,
    )

    info = compare_info([r for r in experiment.runs if r.role == "transfer"])
    yield View(
        "Scores of each method",
        " ".join(
            (f"Test score at the best validation step. Interval: {info.interval}.", *info.notes)
        ),
        compare_figure(info),
        info.table.assign(method=[shown_name(info, m) for m in info.table["method"]]),
    )
    if info.health.notes:
        yield View("Health of the runs", " ".join(info.health.notes), None, info.health.table)
    for one in info.primary:
        yield View("Primary comparison", one.sentence, None, None)
    if len(info.verdicts):
        said = " ".join((HOW_TO_READ, *verdict_notes(info)))
        yield View("Verdicts", said, forest_figure(info.paired), verdicts_shown(info))
    ranked, shape = info.ranks, info.profile
    if len(ranked.table):
        yield View("Ranks over targets", ranked.note, ranks_figure(ranked), ranked.table)
        yield View("Performance profile", shape.note, profile_figure(shape), shape.table)
    yield View("Cost of each method", info.costs.note, None, info.costs.table)
    yield View("Rates and budgets", info.budgets.note, None, info.budgets.table)
    if len(info.published.table):
        yield View("Published, not run here", info.published.note, None, info.published.table)


def _claims(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.claims.info import claims_info
    from dtvg.analysis.claims.lines import claims_shown, parts_shown, sentence
    from dtvg.figures.claims import claims_figure, evidence_figure

    info = claims_info(experiment.runs)
    order = tuple(experiment.config.sources) if experiment.config else ()
    yield View("The paper's claims", " ".join(info.notes), claims_figure(info), claims_shown(info))
    for claim in info.claims:
        title = f"({claim.key}) {claim.wording.title}"
        said = " ".join((claim.wording.statement, sentence(claim), *claim.notes))
        figure = evidence_figure(claim, order=order) if len(claim.evidence) else None
        yield View(title, said, figure, parts_shown(claim))


def _curves(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.curves import curve_info
    from dtvg.figures.curves import curves_figure

    runs = [r for r in experiment.runs if r.role == "transfer" and r.problem is None]
    info = curve_info(runs, "score")
    yield View("Validation score over steps", "Band over seeds.", curves_figure(info), info.table)


def _membership(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.compare.references import of_target
    from dtvg.analysis.run.curves import curve_info
    from dtvg.analysis.run.groups import group_info
    from dtvg.analysis.subsets.beside import beside_among
    from dtvg.figures.curves import aligned_figure
    from dtvg.figures.groups import similarity_figure

    view = _needed(run)
    info, order = group_info(view), _order(experiment, view)
    loss, score = (curve_info([view], q, group_by="run") for q in ("loss", "score"))
    settled = "" if info.settling_step is None else f" It is unchanged from {info.settling_step:,}."
    yield View(
        f"Membership of the group: {view.name}",
        f"{counted(len(info.steps), 'step')}, "
        f"{counted(len(info.combinations), 'distinct group')}.{settled}",
        aligned_figure(
            info,
            loss,
            score,
            order=order,
            lines=of_target([view], view.target).lines,
            beside=beside_among(view, info, experiment.runs),
        ),
        info.timeline,
    )
    yield View(
        "Similarity to the target, with the cut",
        "Sources at or above the cut are candidates.",
        similarity_figure(info, order=order),
        info.source_table,
    )


def _story(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import memberships
    from dtvg.analysis.run.story import siblings, story_info

    view = _needed(run)
    info = story_info(view, others=memberships(siblings(view, experiment.runs)))
    told = " ".join((info.sentence, *info.notes))
    yield View(f"The story of {view.name}", told, None, info.lines.drop(columns="kind"))
    if len(info.uncertain):
        rows = info.uncertain[["step", "sentence"]]
        yield View("Least certain decisions", "The smallest leads.", None, rows)
    if len(info.partings):
        rows = info.partings[["seed", "same", "overlap", "sentence"]]
        yield View("Where seeds part", "Groups against the other seeds'.", None, rows)


def _combinations(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import group_info, transition_info
    from dtvg.figures.flows import together_figure, transitions_figure
    from dtvg.figures.groups import combinations_figure

    info = group_info(_needed(run))
    flow = transition_info(info)
    yield View(
        "Which groups were used, and how long", "", combinations_figure(info), info.combinations
    )
    yield View("Transitions between groups", "", transitions_figure(flow), flow.table)
    yield View(
        "Sources that were in the group together", "", together_figure(flow), flow.together_table
    )


def _weights(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import group_info
    from dtvg.figures.groups import contribution_figure, weights_figure

    view = _needed(run)
    info, order = group_info(view), _order(experiment, view)
    drawn = contribution_figure(info, order=order)
    said = "Frobenius norm of weight times scale times vector, at every step."
    yield View("How much each source contributes to the prompt", said, drawn, info.weight_table)
    if info.weighs:
        drawn = weights_figure(info, order=order)
        yield View("Weight of each source in the merge", "As the method sets it.", drawn, None)


def _explain(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.explain import explain_step
    from dtvg.figures.explain import gram_figure, prefix_figure, ranking_figure

    view = _needed(run)
    info = explain_step(view, step)
    why = info.table[["rank", "source", "member", "why"]]
    yield View(
        f"Why this group at step {info.step:,}",
        info.headline,
        ranking_figure(info, order=_order(experiment, view)),
        why,
    )
    yield View("Consistency of the first k candidates", "", prefix_figure(info), info.prefix_table)
    yield View("Gram matrix of the decision", "", gram_figure(info), info.gram_table)


def _transfer(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.compare.over_targets import FEWEST_TARGETS
    from dtvg.analysis.subsets.transfer import over_targets_shown, transfer_info
    from dtvg.figures.subsets import transfer_figure

    info = transfer_info(experiment.runs, "test", _truth())
    for basis in info.bases:
        yield View(
            f"What each source adds to each target, by {basis}",
            " ".join(
                ("Sign: verdict (▲ helpful, ▼ harmful, none: undecided).", *info.notes_of(basis))
            ),
            transfer_figure(info, basis),
            info.of(basis),
        )
    if len(info.over_targets):
        said = (
            "Mean over these targets, and targets as random effects (no interval over fewer than "
            f"{FEWEST_TARGETS} that have two seeds); scores 0..1."
        )
        shown = over_targets_shown(info)
        yield View("What each source adds over all targets", said, None, shown)


def _subsets(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import group_info
    from dtvg.analysis.subsets.lattice import lattice_info
    from dtvg.analysis.subsets.quality import quality_info
    from dtvg.figures.subsets import lattice_figure, overlap_figure

    view = _needed(run)
    group = group_info(view)
    info = lattice_info(experiment.runs, view.target, group)
    letters = " · ".join(f"{letter} {source}" for source, letter in info.letters.items())
    notes = " ".join(info.notes)
    what = f"Colour: test score; arrows: how the group of {view.name} changed. {letters}. {notes}"
    yield View("What each subset of sources scores", what, lattice_figure(info), info.nodes)
    quality = quality_info([group], [view], experiment.runs, _truth())
    figure = overlap_figure(quality) if quality.references else None
    notes = " ".join(quality.notes)
    yield View(f"Did {view.name} choose the right group?", notes, figure, quality.table)


def _truth() -> Truth:
    """The demo's truth table, empty where the demo was never built."""
    from dtvg.analysis.subsets.quality import read_truth

    try:
        return read_truth()
    except DataError:
        return {}


VIEWS: dict[str, Maker] = {
    "scores": _scores,
    "claims": _claims,
    "curves": _curves,
    "transfer": _transfer,
    "subsets": _subsets,
    "story": _story,
    "membership": _membership,
    "combinations": _combinations,
    "weights": _weights,
    "explain": _explain,
}
OF_RUN = ("subsets", "story", "membership", "combinations", "weights", "explain")
"""Views that need a run."""


def one_experiment(
    places: Sequence[Path], apart: bool = False
) -> tuple[Experiment, tuple[str, ...]]:
    """Return several experiments as one to report about, and what to know of it.

    Those that differ only in seeds, targets or methods are one; others stand side by side, and
    the configuration is the first one's.

    Args:
        places: folders of experiments.
        apart: keep them apart in any case.

    Raises:
        DataError: as `pools.pool`.
    """
    from dtvg.analysis.pools import pool

    made = pool(places, apart)
    first = made.pools[0].experiment
    if len(made.pools) == 1:
        return first, made.notes
    return replace(first, name=made.name, runs=made.runs), made.notes


def build_report(
    experiment: Experiment,
    run: Run | None = None,
    views: Sequence[str] = tuple(VIEWS),
    step: int | None = None,
    notes: Sequence[str] = (),
    words: str = "",
) -> str:
    """Compose the report.

    Args:
        experiment: whose scores are compared.
        run: whose groups are shown; None: views of a run are left out.
        views: names of `VIEWS`, in the order of the report.
        step: the step to explain; None: the newest.
        notes: what to know of the runs, said first.
        words: somebody's own, in Markdown; HTML in it is shown, not obeyed.

    Returns:
        One HTML document with everything inside.

    Raises:
        ConfigError: an unknown view, or none.
    """
    for name in views:
        if name not in VIEWS:
            raise ConfigError(unknown("view of a report", name, VIEWS))
    if not views:
        raise ConfigError(f"A report needs at least one view of {', '.join(VIEWS)}.")
    sections: list[View] = []
    if notes:
        sections.append(View("What is counted together", " ".join(notes), None, None))
    for name in views:
        if name in OF_RUN and run is None:
            continue
        try:
            sections += list(VIEWS[name](experiment, run, step))
        except (DataError, StoreError) as error:
            sections.append(View(name.capitalize(), str(error), None, None))
    return _document(experiment, run, sections, as_html(words))


def as_html(words: str) -> str:
    """Return Markdown as HTML: headings, lists, tables, links; no HTML of its own, no pictures.

    A report opens without a network, so nothing in it may ask for a file elsewhere.

    Raises:
        ConfigError: there are more than 100,000 characters.
    """
    from markdown_it import MarkdownIt

    if len(words) > MOST_WORDS:
        raise ConfigError(
            f"Your own words have {len(words):,} characters; a report takes {MOST_WORDS:,}."
        )
    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(made.render(words)) if words.strip() else ""


def typical_run(experiment: Experiment) -> Run | None:
    """Return the run a report shows where none is named: DTVG's first, else any that groups."""
    grouped = [
        r
        for r in experiment.runs
        if r.role == "transfer"
        and r.problem is None
        and r.config is not None
        and r.config.logs_sources
        and r.config.method.has_source_vectors
    ]
    return next((r for r in grouped if r.method_name == "dtvg"), next(iter(grouped), None))


def _needed(run: Run | None) -> Run:
    if run is None:
        raise DataError("This view shows the groups of one run; choose a run.")
    return run


def _order(experiment: Experiment, run: Run) -> tuple[str, ...]:
    return tuple(experiment.config.sources) if experiment.config else run.sources


@dataclass(frozen=True)
class Section:
    """A view as HTML, ready for the template."""

    title: str
    text: str
    figure: str
    """HTML by plotly; empty without a figure."""
    table: str
    """HTML by pandas; empty without rows."""
    summary: str
    """What stands above the folded table."""


def _document(
    experiment: Experiment, run: Run | None, views: Sequence[View], words: str = ""
) -> str:
    from dtvg.figures import library

    config = experiment.config
    about = read_provenance(run) if run is not None else {}
    facts = ", ".join(
        f"{name} {about[key]}"
        for name, key in (("commit", "commit"), ("Python", "python"), ("on", "processor"))
        if about.get(key)
    )
    return render(
        "report.html.j2",
        title=f"{experiment.name} · {titles.run(run.name)}" if run else experiment.name,
        plotly=library.path().read_text(encoding="utf-8"),
        version=__version__,
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        facts=facts,
        notes=config.notes if config else "",
        words=words,
        sections=[_section(i, view, _names(experiment), run) for i, view in enumerate(views)],
        yaml=config.to_yaml() if config else "not readable",
    )


def _number(value: float) -> str:
    """Write a number of a table: four digits, and of a large one all before the point."""
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"


def _names(experiment: Experiment) -> set[str]:
    """Return the tasks and methods that sentences may speak of."""
    found = {name for run in experiment.runs for name in (run.target, run.method, *run.sources)}
    return found - {""}


def _section(place: int, view: View, names: Collection[str], run: Run | None) -> Section:
    """Return a view as HTML, with titles in place of names; the YAML keeps the names."""
    from dtvg.figures import library
    from dtvg.figures.titled import titled

    figure = table = summary = ""
    if view.figure is not None:
        titled(view.figure)
        view.figure.update_layout(autosize=True, width=None)
        figure = view.figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"f{place}",
            config={**library.OPTIONS, "responsive": True},
        )
    if view.table is not None and len(view.table):
        note = f" (the first {ROWS:,})" if len(view.table) > ROWS else ""
        summary = f"Numbers: {counted(len(view.table), 'row')}{note}"
        table = titles.table(view.table.head(ROWS)).to_html(
            index=False, border=0, na_rep="–", float_format=_number, escape=True
        )
    own = run.name if run is not None else ""
    title, text = (
        titles.in_sentence(said.replace(own, titles.run(own)) if own else said, names)
        for said in (view.title, view.text)
    )
    return Section(title, text, figure, table, summary)
