"""What the run page draws: one run from its result down to its files.

What changes while it trains is drawn again every few seconds; the rest when the page is opened.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.overview.progress import progress
from dtvg.analysis.run.about import AboutInfo, file_path, usage_of
from dtvg.figures.curves import curves_figure
from dtvg.figures.run import result_figure, usage_figure
from dtvg.plan.estimate import duration
from dtvg.records import RunState
from dtvg.store.files import size_text
from dtvg.store.layout import CohortDir
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import cache, control, health, look, runs, show
from dtvg.ui.live import written_loss
from dtvg.ui.page import guarded, is_dark, link
from dtvg.ui.playground import keeps_prompt
from dtvg.ui.progress import stage_line

REFRESH_SECONDS = 5.0
MOST_BYTES = 200 << 20
"""Files up to which the page offers a download; larger ones are copied on the machine."""
EVENT_WIDTHS = {"step": 90, "kind": 160, "seconds": 100}
"""Pixels of columns of events; what happened takes the rest."""
ROLES = {
    "headline": "compared with other methods",
    "single": "one source alone",
    "subset": "one subset of the sources",
    "trial": "a trial that another run chooses by",
    "stage_one": "Stage I, which tunes a task's own prompt",
    "mixture": "tuned on a mixture of the sources",
}


def links(experiment: Experiment, run: Run) -> None:
    """Link to every other page that shows this run."""
    named = {"experiment": experiment.name, "run": run.name}
    both = f"{experiment.name}/{run.name}"
    grouped = run.config is not None and run.config.logs_sources and run.role == "transfer"
    explained = grouped and run.config is not None and run.config.method.has_source_vectors
    with st.container(horizontal=True):
        link("live", "Live", **named)
        if grouped:
            link("groups", "Groups", **named)
            link("groups", "Story", **named, view="Story")
        if explained:
            link("explain", "Explain", **named)
        if run.role == "transfer":
            link("compare", "Compare", experiment=experiment.name)
            link("launch", "Launch it again", preset="clone", clone=both)
        link("curves", "Overlay with others", runs=both)
        if run.role == "transfer" and keeps_prompt(run):
            link("playground", "Try it", **named)


def now(experiment: Experiment, name: str) -> None:
    """Draw state, result and curve; again and again while the run trains."""
    alive = any(r.name == name and r.state.may_live for r in experiment.runs)
    path, example = experiment.path, cache.is_example(experiment.path)
    read = [experiment]

    @st.fragment(run_every=REFRESH_SECONDS if alive and not example else None)
    def again() -> None:
        fresh = read.pop() if read else open_experiment(path)
        run = next((r for r in fresh.runs if r.name == name), None)
        if run is None or (alive and not run.state.may_live):
            st.rerun()
        with st.container():  # what comes later on a phone stays before the configuration
            guarded(lambda: _now(fresh, run))

    again()


def _now(experiment: Experiment, run: Run) -> None:
    role = ROLES.get(run.full_role.value, "")
    marks = " ".join(filter(None, (runs.badge(run), health.badges(run))))
    waits = run.state is RunState.WAITING  # a fork too, whatever step it goes on from
    facts = [] if waits else [f"step {run.step:,} of {run.total_steps:,}"]
    if run.loss is not None:
        facts.append(f"loss {written_loss(run.loss)}")
    if run.seconds:
        facts.append(f"trained {duration(run.seconds)}")
    if run.device:
        facts.append(f"on {run.device}")
    if run.memory_gib:
        facts.append(f"{run.memory_gib:.2f} GiB")
    st.markdown(f"{marks} {', '.join(facts)}" + (f" · {role}" if role else ""))
    if run.result is None:
        st.markdown(stage_line(progress(experiment)))
    runs.complain(run)
    with look.later_on_phones():
        health.of_run(run)
        health.of_sources(run)
    _result(experiment, run)


def _result(experiment: Experiment, run: Run) -> None:
    """Show the result with its reference lines, beside the validation curve."""
    info, dark = cache.about(run, experiment.runs), is_dark()
    key = f"{experiment.name}-{run.name}"
    st.header("Result", anchor=False)
    st.markdown(titles.in_sentence(info.sentence, runs.names_in(run)))
    left, right = st.columns(2)
    with left:
        if run.result is not None:
            show.figure(
                result_figure(info, dark),
                f"result-{key}",
                f"Scores at the best step. {titles.in_sentence(info.sentence, ())}",
                info.scores,
                f"{run.name}-result",
            )
            for name, value in run.result.extra.items():
                if isinstance(value, str | int | float | bool):
                    st.caption(f"{name.replace('_', ' ').capitalize()}: {value}")
        else:
            _curve(run, "loss", key)
    with right:
        _curve(run, "score", key)


def _curve(run: Run, quantity: str, key: str) -> None:
    made = cache.curves((run,), quantity=quantity, group_by="run")
    lines = cache.reference(run) if quantity == "score" else []
    show.figure(
        curves_figure(made, is_dark(), lines=lines, height=300),
        f"run-{quantity}-{key}",
        "Validation score over steps" if quantity == "score" else "Training loss over steps",
        made.table,
        f"{run.name}-{quantity}",
    )


def settings(info: AboutInfo) -> None:
    """Show the configuration, what differs from the usual first."""
    st.header("Configuration", anchor=False)
    if info.run.config is None:
        st.info("Its configuration cannot be read.")
        return
    own, name = info.unusual, info.run.name
    columns = ["setting", "value", "usual", "meaning"]
    if len(own):
        st.caption(
            f"Of {len(info.settings)} settings {show.counted(len(own), 'is', 'are')} not as usual."
        )
        st.dataframe(own[columns], hide_index=True, key=f"unusual-{name}")
    else:
        st.caption("Every setting is the usual one.")
    with st.expander(f"All {len(info.settings)} settings"):
        show.numbers(info.settings[columns], f"{name}-settings", f"settings-{name}")
    st.download_button(
        "Download YAML",
        info.run.config.to_yaml(),
        f"{name}.yaml",
        "text/yaml",
        icon=":material/download:",
        on_click="ignore",
    )


def usage(run: Run) -> None:
    """Show what the process used over time, where it was recorded."""
    st.header("Processor, GPU and memory", anchor=False)
    info = usage_of(run)
    if not len(info.table):
        st.caption(
            "Not recorded: runs of before this was noted, recorded examples and runs that ended "
            "before their first commit have none."
        )
        return
    show.figure(
        usage_figure(info, is_dark()),
        f"usage-{run.experiment}-{run.name}",
        "Cores, GPU and memory in use over the minutes of training",
        info.table,
        f"{run.name}-usage",
    )
    if info.together > 1:
        st.caption(f"Of the process, which trained {info.together:,} runs together.")


def events(info: AboutInfo) -> None:
    """Show what happened, in order."""
    st.header("Events", anchor=False)
    if not len(info.events):
        st.caption("Nothing was noted yet.")
        return
    names = runs.names_in(info.run)
    table = info.events.assign(
        **{"what happened": [titles.in_sentence(said, names) for said in info.events["detail"]]},
        kind=info.events["kind"].map(titles.event),
        seconds=info.events["seconds"].round(1),
    )
    columns, name = ["step", "kind", "seconds", "what happened"], info.run.name
    show.numbers(
        table[columns],
        f"{name}-events",
        f"run-events-{name}",
        widths=EVENT_WIDTHS,
        row_height=show.row_height(table["what happened"]),
    )


def provenance(info: AboutInfo) -> None:
    """Show what made the run, and in which versions of text, split and method."""
    st.header("Provenance", anchor=False)
    left, right = st.columns(2)
    with left:
        st.dataframe(info.provenance, hide_index=True, key=f"provenance-{info.run.name}")
    with right:
        if len(info.versions):
            st.dataframe(info.versions, hide_index=True, key=f"versions-{info.run.name}")
        else:
            st.caption("Made before versions were recorded: 1 of everything.")


def files(run: Run, table: pd.DataFrame) -> None:
    """Show its files with their sizes; one can be downloaded."""
    st.header("Files", anchor=False)
    total = int(table["bytes"].sum()) if len(table) else 0
    st.caption(f"{show.counted(len(table), 'file')}, {size_text(total)}, in `{run.path}`")
    shown = table.assign(size=[size_text(count) for count in table["bytes"]])
    st.dataframe(
        shown[["file", "what", "size"]], hide_index=True, height=260, key=f"files-{run.name}"
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("File", table["file"].tolist(), key=f"file-{run.name}")
        path = file_path(run, name) if name else None
        if path is None:
            return
        if path.stat().st_size > MOST_BYTES:
            st.caption(f"Too large for a browser; copy it from `{path}`.")
            return
        st.download_button(
            "Download file",
            partial(_content, path),
            path.name,
            icon=":material/download:",
            on_click="ignore",
            key=f"get-{run.name}",
        )


def _content(path: Path) -> bytes:
    return path.read_bytes()


def messages(experiment: Experiment, run: Run) -> None:
    """Show the end of what its process printed."""
    st.header("Log", anchor=False)
    cohort = CohortDir(experiment.path / "cohorts" / (run.cohort or "none"))
    if not control.messages(experiment.path, cohort.log_path):
        st.caption("Nothing was kept of what its process printed.")
