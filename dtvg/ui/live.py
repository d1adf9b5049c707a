"""What the live page draws: progress, curves and the group, redrawn while a run trains.

Chart keys depend on what is shown, never on how much of it, so that zoom survives a refresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from dtvg.analysis.compare.references import of_target
from dtvg.figures.curves import Y_TITLES, curves_figure
from dtvg.figures.groups import timeline_figure
from dtvg.records import RunState
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import address, cache, control, health, runs, show
from dtvg.ui.page import is_dark

QUANTITIES = ("loss", "grad_norm", "lr_prompt", "lr_scale", "lr_scale_target", "step_ms")
X_AXES = {"step": "Steps", "examples": "Examples", "seconds": "Time"}
SERIES = {"run": "This run", "method": "Methods, bands over seeds"}


@dataclass(frozen=True)
class View:
    """What is plotted, as chosen above the charts."""

    quantity: str
    x: str
    series: str
    smooth: float
    log: bool


def choose_view() -> View:
    """Draw the choices of what is plotted; all stand in the URL."""
    cells = st.columns([2, 1, 2, 1])
    with cells[0]:
        quantity = runs.choose("Curve", QUANTITIES, "curve", show=lambda q: Y_TITLES[q])
    with cells[1]:
        x = runs.choose("Over", list(X_AXES), "x", show=X_AXES.__getitem__)
    with cells[2]:
        series = runs.choose("Series", list(SERIES), "series", show=SERIES.__getitem__)
    with cells[3]:
        smooth = runs.choose("Smoothing", ("0", "0.6", "0.9", "0.97"), "smooth", "0.6")
    address.recall("log", address.truth, False)
    log = st.toggle("Logarithmic axis", key="log")
    address.keep("log", log, False)
    return View(quantity or "loss", x or "step", series or "run", float(smooth or 0), log)


def offer_going(experiment: Experiment, run: Run) -> None:
    """Offer to look at a run that trains now where the chosen one does not."""
    going = [r for r in experiment.runs if r.state is RunState.RUNNING]
    if not going or run.state is RunState.RUNNING:
        return
    chosen = min(going, key=lambda r: r.method != "dtvg")

    def follow() -> None:
        st.session_state["run"] = chosen.name

    st.button(
        f"{len(going)} other runs are training now: show `{chosen.name}`",
        icon=":material/visibility:",
        type="tertiary",
        key="follow",
        on_click=follow,
    )


def wait_for_runs(path: Path) -> None:
    """Look again until a new experiment's process has laid out its runs."""

    @st.fragment(run_every=2.0)
    def waiting() -> None:
        if open_experiment(path).runs:
            st.rerun()
        st.info("No run yet: its process is starting, which takes a few seconds.")
        control.messages(path)

    waiting()


def draw(experiment: Experiment, name: str, view: View) -> None:
    """Show progress of all runs, then curves and group of one."""
    alive = [r for r in experiment.runs if r.problem is None and r.total_steps]
    done = sum(r.step for r in alive)
    total = sum(r.total_steps for r in alive)
    states: dict[str, int] = {}
    for r in alive:
        states[r.state.value] = states.get(r.state.value, 0) + 1
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    st.progress(done / total if total else 0.0, f"{done:,} of {total:,} run steps: {text}")
    run = next(r for r in experiment.runs if r.name == name)
    st.markdown(
        f"**{run.name}** {runs.badge(run)} {health.badges(run)} "
        f"step {run.step:,} of {run.total_steps:,}"
        + (f", loss {run.loss:.3f}" if run.loss is not None else "")
        + (f", validation {show.percent(run.score)}" if run.score is not None else "")
    )
    runs.complain(run)
    health.of_run(run)
    health.of_sources(run)
    _charts(experiment, run, view)


def _charts(experiment: Experiment, run: Run, view: View) -> None:
    """Show a curve, the score and the group of a run; rows appear with each commit."""
    dark = is_dark()
    alone = view.series == "run"
    shown = (
        (run,)
        if alone
        else tuple(r for r in experiment.runs if r.problem is None and r.role == run.role)
    )
    key = f"{experiment.name}-{run.name if alone else run.role}-{view.x}"
    name = run.name if alone else experiment.name
    options = {"x": view.x, "group_by": "run" if alone else "method"}
    left, right = st.columns(2)
    with left:
        made = cache.curves(shown, quantity=view.quantity, smooth=view.smooth, **options)
        drawn = curves_figure(made, dark)
        if alone and view.smooth:
            raw = cache.curves(shown, quantity=view.quantity, smooth=0.0, **options)
            for trace in curves_figure(raw, dark).data:
                trace.update(opacity=0.3, showlegend=False, hoverinfo="skip", hovertemplate=None)
                drawn.add_trace(trace)
        if view.log and made.curves:
            drawn.update_yaxes(type="log")
        show.figure(
            drawn,
            f"live-{view.quantity}-{view.log}-{key}",
            Y_TITLES[view.quantity],
            made.table,
            f"{name}-{view.quantity}",
            link=f"over-{view.x}",
        )
        show.notes(made.notes)
    with right:
        score = cache.curves(shown, quantity="score", **options)
        show.figure(
            curves_figure(score, dark, lines=of_target(shown, run.target).lines),
            f"live-score-{key}",
            "Validation score",
            score.table,
            f"{name}-score",
            link=f"over-{view.x}",
        )
    _group(experiment, run)


def _group(experiment: Experiment, run: Run) -> None:
    """Show which sources were members so far."""
    dark, key = is_dark(), f"{experiment.name}-{run.name}"
    info = cache.groups(run)
    if run.sources and len(info.steps):
        st.subheader("The group so far", anchor=False)
        order = experiment.config.sources if experiment.config else info.sources
        show.figure(
            timeline_figure(info, dark, order),
            f"live-group-{key}",
            "Membership of each source over steps",
            info.timeline,
            f"{run.name}-group",
            link="over-step",
        )
