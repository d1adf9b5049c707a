"""Take a view with you: a self-contained HTML report, tables of the log, the configuration."""

from __future__ import annotations

import streamlit as st

from dtvg import report
from dtvg.store.reader import Experiment, Run
from dtvg.ui import address, exchange, runs
from dtvg.ui.page import page

TITLES = {
    "scores": "Scores and verdicts",
    "claims": "The paper's claims",
    "curves": "Validation curves",
    "transfer": "What each source adds",
    "subsets": "Subsets and the right group",
    "story": "The story of the run",
    "membership": "Which sources were in the group",
    "combinations": "Combinations and transitions",
    "weights": "Weights and contributions",
    "explain": "One decision in full",
}


def body() -> None:
    """Choose experiment, run and views; build; download."""
    with st.container(horizontal=True):
        experiment = runs.pick_experiment()
        run = runs.pick_run(experiment, grouped=True) if experiment else None
    if experiment is None:
        exchange.bring()
        return
    st.header("Report", anchor=False)
    st.caption(
        "One HTML file that contains everything: figures to zoom and hover over, their numbers, "
        "and the configuration. It opens offline in any browser."
    )
    every = list(report.VIEWS)
    address.recall("views", address.several(every), every)
    views = st.pills(
        "Views",
        every,
        selection_mode="multi",
        format_func=lambda name: TITLES[name],
        key="views",
    )
    address.keep_several("views", views, every)
    words = st.text_area(
        "Your own words",
        key=f"words-{experiment.name}",
        max_chars=report.MOST_WORDS,
        placeholder="What this shows, in Markdown; it stands first in the report.",
        persist_state="session",
    )
    if not views:
        st.info("Choose at least one view.")
    elif st.button("Build the report", icon=":material/description:", type="primary"):
        _built(experiment, run, tuple(views), words)
    _links(experiment, run)
    left, right = st.columns(2)
    with left:
        exchange.export(experiment)
    with right:
        exchange.bring()


def _built(experiment: Experiment, run: Run | None, views: tuple[str, ...], words: str) -> None:
    """Build the report and offer it."""
    with st.spinner("Building the report"):
        text = report.build_report(experiment, run, views, words=words)
    name = experiment.name if run is None else f"{experiment.name}-{run.name}"
    st.download_button(
        f"Download {name}.html ({len(text) / 1e6:.1f} MB)",
        text,
        f"{name}.html",
        "text/html",
        icon=":material/download:",
        on_click="ignore",
    )
    exchange.as_pdf(text, name)


def _links(experiment: Experiment, run: Run | None) -> None:
    """Offer the configuration and say how everything else is had."""
    st.header("Configuration and tables", anchor=False)
    if experiment.config is not None:
        st.download_button(
            "Download the configuration (YAML)",
            experiment.config.to_yaml(),
            f"{experiment.name}.yaml",
            icon=":material/download:",
            on_click="ignore",
        )
    where = experiment.name if run is None else f"{experiment.name}/{run.name}"
    st.markdown("Whole tables of the log, as Parquet or CSV, from the command line:")
    st.code(
        f"dtvg runs export {where} --table sources --out sources.parquet\n"
        f"dtvg runs report {where} --out report.html",
        language=None,
        wrap_lines=True,
    )
    st.caption(
        "The address of every page contains what is chosen on it. Copy it from the browser to "
        "open exactly this view again. Under every chart, *Download figure* saves it as SVG, PDF "
        "or PNG; every table can be downloaded as CSV."
    )


page("Share", "Download a report, tables and the configuration.", body)
