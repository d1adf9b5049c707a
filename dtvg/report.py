"""A self-contained HTML report of chosen views: opens offline, in any browser, without a server.

Figures and tables come from the same Infos as the pages and the command line. Everything that
a file or a person named is escaped.
"""

from __future__ import annotations

import datetime
import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtvg.errors import ConfigError, DataError, unknown
from dtvg.store.reader import Experiment, Run, read_provenance
from dtvg.version import __version__

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from dtvg.analysis.subsets.quality import Truth

ROWS = 400
"""Rows of a table in a report at most; the whole table is exported as CSV or Parquet."""

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 'Source Sans 3', 'Segoe UI', Helvetica, Arial, sans-serif; color: #1c2530;
  max-width: 1080px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 2rem; margin-bottom: .2rem } h2 { margin-top: 2.6rem; font-size: 1.35rem }
.lead { color: #616e7c } .figure { overflow-x: auto }
table { border-collapse: collapse; font-size: .86rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #e4e7eb; padding: .25rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
details { margin: .4rem 0 1.2rem } summary { cursor: pointer; color: #0b6e99 }
pre { background: #f4f6f8; padding: .8rem; overflow-x: auto; font-size: .82rem }
nav a { margin-right: 1rem } a { color: #0b6e99 }
@media print { details { display: none } h2 { break-after: avoid } }
"""


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
    from dtvg.figures.compare import compare_figure, forest_figure, profile_figure, ranks_figure

    info = compare_info([r for r in experiment.runs if r.role == "transfer"])
    yield View(
        "Scores of each method",
        f"Test score at the best validation step. Interval: {info.interval}.",
        compare_figure(info),
        info.table,
    )
    if len(info.verdicts):
        yield View("Verdicts", info.verdict_note, forest_figure(info.paired), info.verdicts)
    ranked, shape = info.ranks, info.profile
    if len(ranked.table):
        yield View("Ranks over targets", ranked.note, ranks_figure(ranked), ranked.table)
        yield View("Performance profile", shape.note, profile_figure(shape), shape.table)
    yield View("Cost of each method", info.costs.note, None, info.costs.table)
    if len(info.published.table):
        yield View("Published, not run here", info.published.note, None, info.published.table)


def _curves(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.curves import curve_info
    from dtvg.figures.curves import curves_figure

    runs = [r for r in experiment.runs if r.role == "transfer" and r.problem is None]
    info = curve_info(runs, "score")
    yield View("Validation score over steps", "Band over seeds.", curves_figure(info), info.table)


def _membership(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.curves import curve_info
    from dtvg.analysis.run.groups import group_info
    from dtvg.figures.curves import aligned_figure
    from dtvg.figures.groups import similarity_figure

    view = _needed(run)
    info, order = group_info(view), _order(experiment, view)
    loss, score = (curve_info([view], q, group_by="run") for q in ("loss", "score"))
    settled = "" if info.settling_step is None else f" It is unchanged from {info.settling_step:,}."
    yield View(
        f"Who was in the group: {view.name}",
        f"{len(info.steps):,} steps, {len(info.combinations):,} distinct groups.{settled}",
        aligned_figure(info, loss, score, order=order),
        info.timeline,
    )
    yield View(
        "Similarity to the target, with the cut",
        "Sources at or above the cut are candidates.",
        similarity_figure(info, order=order),
        info.source_table,
    )


def _combinations(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import group_info, transition_info
    from dtvg.figures.flows import together_figure, transitions_figure
    from dtvg.figures.groups import combinations_figure

    info = group_info(_needed(run))
    flow = transition_info(info)
    yield View("Which combinations ruled", "", combinations_figure(info), info.combinations)
    yield View("Which group followed which", "", transitions_figure(flow), flow.table)
    yield View("Who was in together", "", together_figure(flow), flow.together_table)


def _weights(experiment: Experiment, run: Run | None, step: int | None) -> Iterator[View]:
    from dtvg.analysis.run.groups import group_info
    from dtvg.figures.groups import contribution_figure, weights_figure

    view = _needed(run)
    info, order = group_info(view), _order(experiment, view)
    drawn = contribution_figure(info, order=order)
    said = "Frobenius norm of weight times scale times vector, at every step."
    yield View("How much each source puts into the prompt", said, drawn, info.weight_table)
    if info.weighs:
        drawn = weights_figure(info, order=order)
        yield View("With which weight it is taken", "As the method decides it.", drawn, None)


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
    from dtvg.analysis.subsets.transfer import transfer_info
    from dtvg.figures.subsets import transfer_figure

    info = transfer_info(experiment.runs, "test", _truth())
    for basis in info.bases:
        yield View(
            f"What each source adds to each target, by {basis}",
            " ".join(("Sign: verdict (▲ helpful, ▼ harmful, none: undecided).", *info.notes)),
            transfer_figure(info, basis),
            info.of(basis),
        )


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
    yield View(f"Did {view.name} keep the right group?", notes, figure, quality.table)


def _truth() -> Truth:
    """The demo's truth table, empty where the demo was never built."""
    from dtvg.analysis.subsets.quality import read_truth

    try:
        return read_truth()
    except DataError:
        return {}


VIEWS: dict[str, Maker] = {
    "scores": _scores,
    "curves": _curves,
    "transfer": _transfer,
    "subsets": _subsets,
    "membership": _membership,
    "combinations": _combinations,
    "weights": _weights,
    "explain": _explain,
}
OF_RUN = ("subsets", "membership", "combinations", "weights", "explain")
"""Views that need a run."""


def build_report(
    experiment: Experiment,
    run: Run | None = None,
    views: Sequence[str] = tuple(VIEWS),
    step: int | None = None,
) -> str:
    """Compose the report.

    Args:
        experiment: whose scores are compared.
        run: whose groups are shown; None: views of a run are left out.
        views: names of `VIEWS`, in the order of the report.
        step: the step to explain; None: the newest.

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
    for name in views:
        if name in OF_RUN and run is None:
            continue
        try:
            sections += list(VIEWS[name](experiment, run, step))
        except DataError as error:
            sections.append(View(name.capitalize(), str(error), None, None))
    return _document(experiment, run, sections)


def typical_run(experiment: Experiment) -> Run | None:
    """Return the run a report shows where none is named: DTVG's first, else any that groups."""
    grouped = [
        r
        for r in experiment.runs
        if r.role == "transfer"
        and r.problem is None
        and r.config is not None
        and r.config.method.has_source_vectors
    ]
    return next((r for r in grouped if r.method_name == "dtvg"), next(iter(grouped), None))


def _needed(run: Run | None) -> Run:
    if run is None:
        raise DataError("This view shows one run's groups; choose a run.")
    return run


def _order(experiment: Experiment, run: Run) -> tuple[str, ...]:
    return tuple(experiment.config.sources) if experiment.config else run.sources


def _document(experiment: Experiment, run: Run | None, sections: Sequence[View]) -> str:
    from plotly.offline import get_plotlyjs

    config = experiment.config
    notes = f"<p>{html.escape(config.notes)}</p>" if config and config.notes else ""
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = read_provenance(run) if run is not None else {}
    facts = ", ".join(
        f"{name} {html.escape(str(about[key]))}"
        for name, key in (("commit", "commit"), ("Python", "python"), ("on", "processor"))
        if about.get(key)
    )
    links = "".join(
        f'<a href="#s{i}">{html.escape(view.title)}</a>' for i, view in enumerate(sections)
    )
    body = "".join(_section(i, view) for i, view in enumerate(sections))
    yaml = html.escape(config.to_yaml()) if config else "not readable"
    title = html.escape(f"{experiment.name}" + (f" · {run.name}" if run else ""))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>"
        f"<h1>{title}</h1><p class=lead>DTVG workbench {__version__}, {made}. {facts}</p>"
        f"{notes}<nav>{links}</nav>{body}"
        f"<h2>Configuration</h2><details><summary>YAML</summary><pre>{yaml}</pre></details>"
        "</body></html>"
    )


def _section(place: int, view: View) -> str:
    figure = ""
    if view.figure is not None:
        view.figure.update_layout(autosize=True, width=None)
        drawn = view.figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"f{place}",
            config={"displaylogo": False, "responsive": True},
        )
        figure = f"<div class=figure>{drawn}</div>"
    table = ""
    if view.table is not None and len(view.table):
        rows, more = view.table.head(ROWS), max(0, len(view.table) - ROWS)
        note = f" (the first {ROWS:,})" if more else ""
        content = rows.to_html(
            index=False, border=0, na_rep="–", float_format=lambda x: f"{x:.4g}", escape=True
        )
        table = (
            f"<details><summary>Numbers: {len(view.table):,} rows{note}</summary>"
            f"{content}</details>"
        )
    text = f"<p>{html.escape(view.text)}</p>" if view.text else ""
    return f"<h2 id=s{place}>{html.escape(view.title)}</h2>{text}{figure}{table}"
