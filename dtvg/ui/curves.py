"""The curves page: any runs laid over each other, panel by panel; named views of that.

Everything chosen stands in the address; a named view is the same, kept in `views.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.run.curves import STEP_QUANTITIES, CurveInfo
from dtvg.analysis.run.overlay import differences, ends, names_of, quantities_of
from dtvg.errors import DtvgError
from dtvg.figures.curves import X_TITLES, Y_TITLES, overlay_figure
from dtvg.store import views
from dtvg.store.reader import Run
from dtvg.store.views import Panel, View
from dtvg.ui import address, cache, forms, people, runs, show
from dtvg.ui.page import is_dark, say_until_read

MOST = 20
"""Runs laid over each other at most; beyond, nobody tells the lines apart."""
FIRST_PANELS = ("loss", "score")
NO_BASELINE = "none"
KEYS = ("runs", "off", "baseline", "panels", "logy", "x", "logx", "smooth")
AXES: tuple[Literal["step", "examples", "seconds"], ...] = ("step", "examples", "seconds")
X_NAMES = {"step": "Steps", "examples": "Examples", "seconds": "Time"}


def title_of(quantity: str) -> str:
    """Return a quantity as people read it."""
    return Y_TITLES.get(quantity, f"validation {quantity}")


def pick_runs() -> tuple[Run, ...]:
    """Let one choose runs of any experiments; those that are gone are named."""
    paths = cache.experiment_paths()
    if not paths:
        runs.pick_experiment()  # says what to do
        return ()
    if not _honour_experiment(paths):
        return ()
    asked, wanted = address.given("runs"), _asked()
    of_runs = list(dict.fromkeys(key.partition("/")[0] for key in wanted))
    known = [name for name in of_runs if name in paths]
    first = known or [_newest(paths)]
    st.session_state.setdefault("overlay-experiments", first)
    kept = [n for n in st.session_state["overlay-experiments"] if n in paths]
    st.session_state["overlay-experiments"] = list(dict.fromkeys([*kept, *known])) or first
    chosen = _pick_experiments(paths)
    opened = [e for e in (cache.open_named(name) for name in chosen) if e is not None]
    there = {f"{e.name}/{r.name}": r for e in opened for r in e.runs if r.problem is None}
    gone = [key for key in wanted if key not in there and key.partition("/")[0] in chosen]
    gone += [key for key in wanted if key.partition("/")[0] not in paths]
    if gone:
        named = forms.escape(", ".join(gone[:5]))
        st.warning(f"No longer there, so not shown: {named}.", icon=":material/search_off:")
    alone = len(opened) == 1
    show_name = (lambda key: titles.run(there[key].name)) if alone else titles.run
    if len(wanted) > MOST:
        address.note("runs", ",".join(wanted[MOST:]), f"at most {MOST} runs.", f"the first {MOST}")
    names = _multiselect("Runs", list(there), "runs", _first(there), MOST, show_name)
    if gone and names == [key for key in wanted if key in there]:
        address.put("runs", asked)  # stays as it is until something else is chosen
    return tuple(there[name] for name in names)


def _newest(paths: Mapping[str, Path]) -> str:
    """Return the experiment that is shown where none was chosen."""
    return next((n for n in paths if cache.is_experiment(paths[n])), next(iter(paths)))


def _pick_experiments(paths: Mapping[str, Path]) -> list[str]:
    return st.multiselect(
        "Experiments",
        list(paths),
        key="overlay-experiments",
        format_func=lambda n: f"{n} (recorded example)" if cache.is_example(paths[n]) else n,
    )


def _honour_experiment(paths: Mapping[str, Path]) -> bool:
    """Follow an address that names `experiment` and `run`, as other pages' addresses do.

    They become `runs`, which the page itself writes, and which wins where both stand there.

    Returns:
        Whether to go on; not where the experiment is not there, which is said then.
    """
    state = st.session_state
    experiment, run = address.given("experiment"), address.given("run")
    if experiment is None and run is None:
        return True
    if address.given("runs") is None:
        if experiment is not None and experiment not in paths:
            if state.get("overlay-absent") != experiment or not state.get("overlay-experiments"):
                state["overlay-absent"], state["overlay-experiments"] = experiment, []
                _pick_experiments(paths)
                runs.say_absent("experiment", experiment, list(paths))
                return False
        else:
            name = experiment or _newest(paths)
            state["overlay-experiments"] = [name]
            for key in ("runs", "last-runs"):
                state.pop(key, None)
            if run is not None:
                address.put("runs", f"{name}/{run}")
    state.pop("overlay-absent", None)
    address.put("experiment", None)
    address.put("run", None)
    return True


def _asked() -> list[str]:
    """Return the runs that the address or the session names."""
    text = address.given("runs")
    if text is not None and text != st.session_state.get("url-runs"):
        return address.listed(text)
    chosen, named = st.session_state.get("runs"), address.listed(text or "")
    return list(chosen) if isinstance(chosen, list) and not {*chosen} <= {*named} else named


def _first(there: Mapping[str, Run]) -> list[str]:
    """Return what is shown at first: DTVG and no transfer on one target, one seed."""
    begun = [(key, run) for key, run in there.items() if run.step or run.result is not None]
    transfer = [(key, run) for key, run in begun if run.role == "transfer"]
    if not transfer:
        return list(there)[:1]
    target, seed = transfer[0][1].target, transfer[0][1].seed
    mine = [(key, run) for key, run in transfer if (run.target, run.seed) == (target, seed)]
    wanted = ("dtvg", "none", "all_sources")
    return [key for name in wanted for key, run in mine if run.method == name] or [mine[0][0]]


def _multiselect(
    label: str,
    options: list[str],
    key: str,
    default: Sequence[str],
    most: int | None = None,
    show_name: Callable[[str], str] = str,
) -> list[str]:
    """Draw a choice of several that stands in the address."""
    first, parse = [d for d in default if d in options], address.several(options, most)
    if key == "runs":  # those that are gone are named above, and nothing is shown in their place
        address.recall(key, lambda text: parse(text) or [], first, told=True)
    else:
        address.recall(key, parse, first)
    chosen = st.multiselect(
        label,
        options,
        key=key,
        max_selections=most,
        format_func=show_name,
    )
    address.keep_several(key, chosen, default if key == "panels" else None)
    return list(chosen)


def choose_view(chosen: Sequence[Run]) -> View:
    """Draw which of the runs are shown, the panels and the axes."""
    names = list(names_of(chosen))
    keys = dict(zip(names, (f"{run.experiment}/{run.name}" for run in chosen), strict=True))
    off = _off(names, keys)
    every = quantities_of(chosen)
    panels = _multiselect("Panels", every, "panels", FIRST_PANELS, show_name=title_of)
    left, middle, right, last = st.columns([2, 1, 1, 2], vertical_alignment="bottom")
    with left:
        shown = {NO_BASELINE: NO_BASELINE, **{keys[name]: name for name in names}}
        base = runs.choose(
            "Baseline",
            list(shown),
            "baseline",
            NO_BASELINE,
            lambda key: titles.run(shown[key]),
            "Every curve is shown as its difference from this run's.",
        )
    with middle:
        over = runs.choose("Over", list(X_NAMES), "x", show=X_NAMES.__getitem__)
    with right:
        address.recall("logx", address.truth, False)
        log_x = st.toggle("Log x", key="logx")
        address.keep("logx", log_x, False)
    with last:
        smooth = _smoothing()
    log_y = _log_panels(panels)
    return View(
        runs=list(keys.values()),
        hidden=off,
        baseline="" if base in (None, NO_BASELINE) else str(base),
        panels=[Panel(quantity=q, log=q in log_y) for q in panels],
        x=next((axis for axis in AXES if axis == over), "step"),
        log_x=log_x,
        smooth=smooth,
    )


def _off(names: list[str], keys: Mapping[str, str]) -> list[str]:
    """Draw a switch for each run; return the keys of those that are off."""
    back = {key: name for name, key in keys.items()}
    none: list[str] = []
    address.recall("off", address.several(list(back)), none)
    before = [key for key in st.session_state.pop("off", []) if key in back]
    place = f"shown-{hash(tuple(names))}"
    if st.session_state.get("off-was") != before or place not in st.session_state:
        st.session_state[place] = [name for name in names if keys[name] not in before]
    shown = (
        st.pills("Shown", names, selection_mode="multi", key=place, format_func=titles.label) or []
    )
    off = [keys[name] for name in names if name not in shown]
    st.session_state["off"] = st.session_state["off-was"] = off
    address.keep_several("off", off, ())
    return off


def _smoothing() -> float:
    address.recall("smooth", address.number(0.0, 0.99), 0.0)
    st.session_state["smooth"] = round(float(st.session_state["smooth"]), 2)
    value = float(
        st.slider(
            "Smoothing",
            0.0,
            0.99,
            step=0.01,
            key="smooth",
            help="Weight of the past in a running mean of what is logged at every step; 0 shows "
            "the values as they are. Evaluations are never smoothed.",
        )
    )
    address.keep("smooth", f"{value:g}", "0")
    return value


def _log_panels(panels: list[str]) -> list[str]:
    """Draw which panels have a logarithmic vertical axis."""
    none: list[str] = []
    address.recall("logy", address.several(panels), none)
    chosen = st.pills(
        "Logarithmic y", panels, selection_mode="multi", key="logy", format_func=title_of
    )
    address.keep_several("logy", chosen or (), ())
    return list(chosen or ())


def draw(chosen: Sequence[Run], view: View) -> None:
    """Draw the panels, two side by side; all share their horizontal range."""
    names = names_of(chosen)
    methods = {f"{run.experiment}/{run.name}": run.method for run in chosen}
    shown = tuple(r for r in chosen if f"{r.experiment}/{r.name}" not in view.hidden)
    if not view.panels:
        st.info("Choose at least one panel.")
        return
    if not shown:
        st.info("All chosen runs are switched off.")
        return
    columns = st.columns(min(2, len(view.panels)))
    for place, panel in enumerate(view.panels):
        with columns[place % len(columns)]:
            _panel(shown, list(names), list(methods.values()), view, panel)


def _panel(
    shown: tuple[Run, ...], names: list[str], methods: list[str], view: View, panel: Panel
) -> None:
    base = _name_of(view.baseline, shown, names)
    of_base = [r for r in _pinned(view) if r not in shown]
    smooth = view.smooth if panel.quantity in STEP_QUANTITIES else 0.0
    made = cache.curves(
        (*shown, *of_base), quantity=panel.quantity, x=view.x, smooth=smooth, group_by="run"
    )
    made = _named(made, (*shown, *of_base), names)
    table = ends(made, base)
    st.header(title_of(panel.quantity).capitalize(), anchor=False)
    if not made.curves:
        st.info("None of these runs has a value of it yet.")
        return
    if base:
        made = differences(made, base)
    targets = {run.target for run in shown}
    lines = cache.reference(shown[0]) if panel.quantity == "score" and len(targets) == 1 else []
    key = f"overlay-{panel.quantity}-{panel.log}-{view.x}-{view.log_x}-{base}"
    figure = overlay_figure(made, names, is_dark(), base, (view.log_x, panel.log), lines, methods)
    show.figure(
        figure,
        key,
        f"{title_of(panel.quantity)} of {show.counted(len(shown), 'run')} over {X_TITLES[view.x]}",
        table,
        f"overlay-{panel.quantity}",
        link=f"overlay-{view.x}-{view.log_x}",
    )
    if base:
        st.caption(f"Each curve minus that of {titles.label(base)}, at the same place.")
    show.notes(made.notes, {run.name for run in (*shown, *of_base)})


def _pinned(view: View) -> list[Run]:
    """Return the baseline's run, which counts also where it is switched off."""
    experiment, _, name = view.baseline.partition("/")
    opened = cache.open_named(experiment) if view.baseline else None
    return [r for r in opened.runs if r.name == name] if opened else []


def _named(made: CurveInfo, drawn: Sequence[Run], names: list[str]) -> CurveInfo:
    """Give curves the names that all chosen runs have, whichever are shown."""
    long = {f"{run.experiment}: {run.name}": run.name for run in drawn}
    if any(name in long for name in names):
        back = {short: full for full, short in long.items()}
        found = [replace(c, name=back.get(c.name, c.name)) for c in made.curves]
        return replace(made, curves=tuple(found))
    return made


def _name_of(baseline: str, shown: Sequence[Run], names: list[str]) -> str:
    """Return how the baseline's curve is named; empty: no baseline."""
    if not baseline:
        return ""
    experiment, _, name = baseline.partition("/")
    long = f"{experiment}: {name}"
    return long if long in names else name


def saved(view: View | None) -> None:
    """Draw the named views: open one, keep this one, forget one."""
    try:
        known = views.read_views()
    except DtvgError as error:
        st.warning(forms.escape(str(error)), icon=":material/warning:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if known:
            name = st.selectbox(
                "Saved views", list(known), index=None, placeholder="Open a view", key="view-name"
            )
            if name is not None:
                st.button("Open", on_click=_open, args=(known[name],), icon=":material/visibility:")
                if people.may_change():
                    st.button("Delete", on_click=_delete, args=(name,), icon=":material/delete:")
        if view is not None and people.may_change():
            with st.popover("Save this view", icon=":material/bookmark_add:"):
                name = st.text_input("Name", key="new-view", max_chars=views.LONGEST)
                st.button("Save", on_click=_save, args=(view,), type="primary", disabled=not name)


def _open(view: View) -> None:
    """Put a view's choices into the address, which the page then follows."""
    off = [key for key in view.hidden if key in view.runs]
    values = {
        "runs": ",".join(view.runs),
        "off": ",".join(off) or None,
        "baseline": view.baseline or None,
        "panels": ",".join(panel.quantity for panel in view.panels),
        "logy": ",".join(panel.quantity for panel in view.panels if panel.log) or None,
        "x": view.x,
        "logx": "True" if view.log_x else None,
        "smooth": f"{view.smooth:g}",
    }
    for key, text in values.items():
        st.session_state.pop(key, None)
        st.session_state.pop(f"url-{key}", None)
        st.session_state.pop(f"last-{key}", None)
        if text is None:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = text
    st.session_state.pop("overlay-experiments", None)


def _save(view: View) -> None:
    name = st.session_state.get("new-view", "")
    try:
        with people.acting("save view", what=name):
            views.save_view(name, view)
    except DtvgError as error:
        st.session_state.setdefault("views-problem", str(error))
        return
    st.session_state["view-name"] = name.strip()
    st.session_state["new-view"] = ""


def _delete(name: str) -> None:
    try:
        with people.acting("delete view", what=name):
            views.delete_view(name)
    except DtvgError as error:
        st.session_state.setdefault("views-problem", str(error))
    st.session_state.pop("view-name", None)


def say_problem() -> None:
    """Say what went wrong with a view that was to be kept or forgotten."""
    problem = st.session_state.pop("views-problem", None)
    if problem:
        say_until_read(problem)
