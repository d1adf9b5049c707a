"""What the live page draws: progress, curves and the group, redrawn while a run trains.

Chart keys depend on what is shown, never on how much of it, so that zoom survives a refresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.compare.references import of_target
from dtvg.analysis.overview.progress import TRAINING, progress
from dtvg.analysis.overview.table import states_of, steps_of
from dtvg.analysis.run.curves import CurveInfo
from dtvg.analysis.subsets.beside import BEST, marks_of
from dtvg.figures.curves import Y_TITLES, curves_figure
from dtvg.figures.ends import label_ends
from dtvg.figures.groups import timeline_figure
from dtvg.records import RunState
from dtvg.store import trash
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import address, cache, control, health, look, runs, show
from dtvg.ui.page import guarded, is_dark
from dtvg.ui.progress import stage_line

REFRESH_SECONDS, LOOK_SECONDS = 2.0, 5.0
"""Between two drawings while something trains, and between two looks where nothing does."""
MOST_CURVES = 8
"""Curves of what trains now, drawn together at most."""
QUANTITIES = ("loss", "grad_norm", "lr_prompt", "lr_scale", "lr_scale_target", "step_ms")
X_AXES = {"step": "Steps", "examples": "Examples", "seconds": "Time"}
SERIES = {"run": "This run", "method": "Methods, bands over seeds"}
TOGETHER = "What trains now"
"""What the first series is called where curves of several runs are drawn."""
GONE: tuple[object, ...] = ()
"""What a run offers that was deleted meanwhile; it is said where it was drawn."""


@dataclass(frozen=True)
class View:
    """What is plotted, as chosen above the charts."""

    quantity: str
    x: str
    series: str
    smooth: float
    log: bool


def choose_view(together: bool = False) -> View:
    """Draw the choices of what is plotted; all stand in the URL.

    Args:
        together: whether the curves of several runs that train now are drawn.
    """
    series_names = {**SERIES, "run": TOGETHER} if together else SERIES
    cells = st.columns([2, 1, 2, 1])
    with cells[0]:
        quantity = runs.choose("Curve", QUANTITIES, "curve", show=lambda q: Y_TITLES[q])
    with cells[1]:
        x = runs.choose("Over", list(X_AXES), "x", show=X_AXES.__getitem__)
    with cells[2]:
        series = runs.choose("Series", list(SERIES), "series", show=series_names.__getitem__)
    with cells[3]:
        smooth = runs.choose("Smoothing", ("0", "0.6", "0.9", "0.97"), "smooth", "0.6")
    address.recall("log", address.truth, False)
    log = st.toggle("Logarithmic axis", key="log")
    address.keep("log", log, False)
    return View(quantity or "loss", x or "step", series or "run", float(smooth or 0), log)


def follow(experiment: Experiment) -> bool:
    """Let the page go with what trains; a link to one run, or a choice by hand, ends that.

    Returns:
        Whether it does; the run that trains is then the chosen one.
    """
    asked = address.given("run")
    by_link = asked is not None and asked != st.session_state.get("url-run")
    if by_link and address.given("follow") is None:
        st.session_state["follow"] = False
    address.recall("follow", address.truth, True)
    on = st.toggle("Follow what trains", key="follow", help="Always shows what trains now.")
    address.keep("follow", on, True)
    now = progress(experiment).now
    if on and now:
        address.put("run", None)
        st.session_state["run"] = now[0].name
    return on


def stay() -> None:
    """Stop following: a person chose a run."""
    st.session_state["follow"] = False


def leave_out_run() -> None:
    """Keep a followed run out of the address, which then opens on what trains by then."""
    address.put("run", None)


def drawn_together(experiment: Experiment, run: Run, following: bool) -> tuple[Run, ...]:
    """Return the runs whose curves are drawn where one is shown.

    Args:
        experiment: whose.
        run: the one that is shown.
        following: of Stage I all that trains is shown then, for nobody asks for one of them.
    """
    now = progress(experiment).now if following and run.role != "transfer" else ()
    return now[:MOST_CURVES] if len(now) > 1 else (run,)


def _offered(experiment: Experiment, name: str, following: bool) -> tuple[object, ...]:
    """Return what the choices above the part that refreshes depend on."""
    run = next((r for r in experiment.runs if r.name == name), None)
    if run is None:
        return GONE
    together = len(drawn_together(experiment, run, following)) > 1
    return run.state, run.step > 0, run.result is not None, together


def refreshing(
    experiment: Experiment, name: str, view: View, changing: bool, following: bool
) -> None:
    """Draw progress and charts, again and again while something trains.

    Where nothing does, it is looked now and then whether training was begun elsewhere.

    Args:
        experiment: as it was read for this run of the page.
        name: the run that is shown.
        view: what is plotted.
        changing: whether looking again may show something new.
        following: whether to go on to what trains next.
    """
    path, example = experiment.path, cache.is_example(experiment.path)
    may_begin = not example and any(r.state.resumable for r in experiment.runs)
    seconds = REFRESH_SECONDS if changing else LOOK_SECONDS if may_begin else None
    read, offered = [experiment], _offered(experiment, name, following)

    @st.fragment(run_every=seconds)
    def again() -> None:
        fresh = read.pop() if read else open_experiment(path)
        now = progress(fresh).now
        if path.is_dir():  # before the page may run again, or a click on them would be lost
            guarded(lambda: control.buttons(fresh, example))
        if changing != (not example and control.may_change(fresh)):
            st.rerun()
        if following and now and name not in [run.name for run in now]:
            st.rerun()
        if _offered(fresh, name, following) not in (offered, GONE):
            st.rerun()  # what stands above comes and goes with the run's state
        guarded(lambda: draw(fresh, name, view, following))

    again()


def wait_for_runs(path: Path) -> None:
    """Look again until a new experiment's process has laid out its runs."""

    @st.fragment(run_every=2.0)
    def waiting() -> None:
        if open_experiment(path).runs:
            st.rerun()
        st.info("No run yet: its process is starting, which takes a few seconds.")
        control.messages(path)

    waiting()


def draw(experiment: Experiment, name: str, view: View, following: bool = False) -> None:
    """Show progress of all runs, then curves and group of one.

    Args:
        experiment: whose.
        name: the run.
        view: what is plotted.
        following: whether the page goes with what trains.
    """
    run = next((r for r in experiment.runs if r.name == name), None)
    if run is None:
        st.warning(_gone(experiment, name), icon=":material/search_off:")
        return
    st.markdown(stage_line(progress(experiment)))
    alive = [r for r in experiment.runs if r.problem is None and r.total_steps]
    done, total = steps_of(alive)
    said = f"{done:,} of {total:,} run steps: {states_of(alive)}"
    st.progress(done / total if total else 0.0, said)
    marks = " ".join(filter(None, (runs.badge(run), health.badges(run))))
    waits = run.state is RunState.WAITING
    st.markdown(
        f"**{titles.run(run.name)}** {marks}"
        + ("" if waits else f" step {run.step:,} of {run.total_steps:,}")
        + (f", loss {written_loss(run.loss)}" if run.loss is not None else "")
        + _validation(run)
    )
    if run.message and run.state in (RunState.RUNNING, RunState.STOPPING):
        st.caption(run.message)
    runs.complain(run)
    control.say_holds(run)
    with look.later_on_phones():
        health.of_run(run)
        health.of_sources(run)
    if run.state is RunState.WAITING and not run.step:
        st.info(_waits_for(experiment), icon=":material/hourglass_top:")
        return
    if not run.step and run.state in (RunState.LOST, RunState.FAILED):
        return  # it has no curve, and has been complained of
    if _starts_again(experiment, run):
        st.info(STARTS_AGAIN.format(step=run.step), icon=":material/hourglass_top:")
    shown, training = drawn_together(experiment, run, following), len(progress(experiment).now)
    if len(shown) == MOST_CURVES < training and view.series == "run":
        st.caption(f"The first {MOST_CURVES} of {training:,} runs that train are drawn.")
    _charts(experiment, run, view, shown)


def _gone(experiment: Experiment, name: str) -> str:
    """Say that the run that was shown is no longer there, and how it comes back."""
    whole = not experiment.path.is_dir()
    called = f"'{experiment.name}'" if whole else f"{titles.run(name)} of '{experiment.name}'"
    wanted = experiment.path if whole else experiment.path / name
    if any(one.origin.resolve() == wanted.resolve() for one in trash.deleted()):
        return (
            f"{called} was deleted meanwhile. The list of the trash below the overview's table "
            "restores it."
        )
    return f"{called} is no longer here: it was moved or deleted meanwhile. Choose another above."


STARTS_AGAIN = (
    "Its process is starting again: it loads the backbone and the data, which takes up to a "
    "minute, and goes on after step {step:,}."
)


def _starts_again(experiment: Experiment, run: Run) -> bool:
    """Whether a stopped run waits for its new process to have loaded everything."""
    at_rest = run.state.resumable and run.step and run.result is None
    training = any(one.state in TRAINING for one in experiment.runs)
    return bool(at_rest and not training and control.is_asked_for(experiment))


def _waits_for(experiment: Experiment) -> str:
    """Say why a run has not begun."""
    if not control.may_change(experiment):
        return "This run has not begun. Press Resume to start it."
    if not any(run.state in TRAINING for run in experiment.runs):
        return (
            "Its process is starting: it loads the backbone and the data, which takes up to a "
            "minute. The first curves appear here by themselves."
        )
    return "This run has not begun: others of its experiment train first, as the stages say."


def written_loss(loss: float) -> str:
    """Write a loss with three decimals; a small one with more, and never as nothing."""
    if 0 < loss < 0.00005:
        return "below 0.0001"
    return f"{loss:.4f}" if 0 < loss < 0.0005 else f"{loss:.3f}"


_marks = cache.remember(64, reads=("evals", "events"))(marks_of)


def _validation(run: Run) -> str:
    """Say the newest validation score, and that of the best step, as marked below the curve."""
    found = cache.curves((run,), quantity="score", x="step", group_by="run").curves
    values = [(v, int(at)) for at, v in zip(found[0].x, found[0].y, strict=True)] if found else []
    if not values:
        return "" if run.score is None else f", validation {show.percent(run.score)}"
    newest = values[-1][0]
    best, at = max(values, key=lambda pair: pair[0])
    marks, scores = _marks(run), {step: score for score, step in values}
    chosen = [step for step in marks.loc[marks["kind"] == BEST, "step"] if step in scores]
    if chosen:  # of equal scores the one that is kept, which the star marks
        best, at = scores[chosen[-1]], chosen[-1]
    if best <= newest:
        return f", validation {show.percent(newest)}, its best"
    said = f"best {show.percent(best)} at step {at:,}"
    return f", newest validation {show.percent(newest)}, {said}"


def _charts(experiment: Experiment, run: Run, view: View, these: tuple[Run, ...]) -> None:
    """Show a curve, the score and the group of a run; rows appear with each commit."""
    dark = is_dark()
    alone = view.series == "run"
    shown = (
        these
        if alone
        else tuple(r for r in experiment.runs if r.problem is None and r.role == run.role)
    )
    one = alone and len(these) == 1
    key = f"{experiment.name}-{run.name if one else run.role}-{view.x}"
    name = run.name if alone else experiment.name
    options = {"x": view.x, "group_by": "run" if alone else "method"}
    left, right = st.columns(2)
    with left:
        made = cache.curves(shown, quantity=view.quantity, smooth=view.smooth, **options)
        drawn = curves_figure(made, dark)
        if one and view.smooth:
            raw = cache.curves(shown, quantity=view.quantity, smooth=0.0, **options)
            for trace in curves_figure(raw, dark).data:
                trace.update(opacity=0.3, showlegend=False, hoverinfo="skip", hovertemplate=None)
                drawn.add_trace(trace)
        if view.log and made.curves:
            drawn.update_yaxes(type="log")
            label_ends(drawn, dark)
        _chart(drawn, made, run, f"{view.quantity}-{view.log}-{key}", name, shown)
    with right:
        losses, made = made, cache.curves(shown, quantity="score", **options)
        alike = len({one.target for one in shown}) == 1
        lines = of_target(shown, run.target).lines if alike else []
        drawn = curves_figure(made, dark, lines=lines, beside=losses)
        _chart(drawn, made, run, f"score-{key}", name, shown)
    _group(experiment, run)


def _chart(
    drawn: go.Figure, made: CurveInfo, run: Run, key: str, name: str, shown: tuple[Run, ...]
) -> None:
    """Show a chart with its numbers, or say why there is none yet."""
    title = Y_TITLES.get(made.quantity, "Validation score")
    if not made.curves:
        st.info(nothing_yet(title, any(one.state in TRAINING for one in (run, *shown))))
        return
    show.figure(
        drawn, f"live-{key}", title, made.table, f"{name}-{made.quantity}", link=f"over-{made.x}"
    )
    names = {one.name for one in shown} | {one.method for one in shown}
    show.notes(made.notes if made.quantity in Y_TITLES else (), names)


def nothing_yet(title: str, training: bool) -> str:
    """Say why there is no curve.

    Args:
        title: of its quantity.
        training: whether rows may come.
    """
    said = f"{title[0].upper()}{title[1:]}: no value is written"
    if not training:
        return f"{said}."
    return f"{said} yet. The curve appears with the next commit; what stands above is told at once."


def _group(experiment: Experiment, run: Run) -> None:
    """Show which sources were members so far."""
    dark, key = is_dark(), f"{experiment.name}-{run.name}"
    info = cache.groups(run)
    if run.sources and len(info.steps):
        st.header("The group so far", anchor=False, help=show.formula("member", "group"))
        order = experiment.config.sources if experiment.config else info.sources
        show.figure(
            timeline_figure(info, dark, order, beside=cache.beside(run, experiment.runs)),
            f"live-group-{key}",
            "Membership of each source over steps",
            info.timeline,
            f"{run.name}-group",
            link="over-step",
        )
