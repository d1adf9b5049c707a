"""Picking an experiment, a run and a step; every choice stands in the URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from dtvg.config import RunConfig
from dtvg.records import RunState
from dtvg.store.reader import Experiment, Run, run_configs
from dtvg.ui import address, cache
from dtvg.ui.page import link

BADGES = {
    RunState.WAITING: ("Waiting", "gray"),
    RunState.RUNNING: ("Running", "blue"),
    RunState.STOPPING: ("Stopping", "orange"),
    RunState.STOPPED: ("Stopped", "orange"),
    RunState.FINISHED: ("Finished", "green"),
    RunState.FAILED: ("Failed", "red"),
    RunState.LOST: ("Lost", "red"),
    RunState.UNKNOWN: ("Unknown", "violet"),
}


def choose(
    label: str,
    options: Sequence[str],
    key: str,
    default: str | None = None,
    show: Callable[[str], str] = str,
    help_text: str | None = None,
) -> str | None:
    """Show a select box whose value always stands in the URL under `key`.

    A value that is no longer there gives way to the default; the last choice is kept when one
    moves to another page and comes back.

    Args:
        label: above the box.
        options: what can be chosen.
        key: name in the URL.
        default: chosen at first; None: the first option.
        show: turns an option into what is read.
        help_text: shown on hover.
    """
    if not options:
        return None
    first = default if default in options else options[0]
    address.recall(key, address.one_of(options), first)
    chosen = st.selectbox(label, options, key=key, format_func=show, help=help_text)
    address.keep(key, chosen)
    return chosen


def tabs(label: str, options: Sequence[str], key: str) -> str:
    """Show one of several views, chosen by buttons; the choice stands in the URL.

    Only the chosen one is drawn, so that a page costs what one sees.
    """
    kept = address.recall(key, address.one_of(options), options[0])
    chosen = st.segmented_control(label, options, key=key, label_visibility="collapsed")
    address.keep(key, chosen or kept)
    return str(chosen or kept)


def order_of(experiment: Experiment, run: Run) -> tuple[str, ...]:
    """Return all sources of an experiment: a source's place fixes its colour everywhere."""
    return tuple(experiment.config.sources) if experiment.config else run.sources


def pick_experiment() -> Experiment | None:
    """Let one choose an experiment; says what to do where there is none."""
    found = cache.experiment_paths()
    if not found:
        st.info(
            "Nothing has been recorded yet. Start the demo experiment on the launch page.",
            icon=":material/play_circle:",
        )
        link("launch", "Go to Launch")
        return None

    def show(name: str) -> str:
        return f"{name} (recorded example)" if cache.is_example(found[name]) else name

    name = choose("Experiment", list(found), "experiment", show=show)
    experiment = cache.open_named(name) if name else None
    if experiment is not None and experiment.problem:
        st.warning(experiment.problem, icon=":material/warning:")
    return experiment


def pick_run(
    experiment: Experiment, grouped: bool = False, key: str = "run", ranked: bool = False
) -> Run | None:
    """Let one choose a run of an experiment.

    The first choice is a run that trains now where any run may be chosen, DTVG's where groups
    are looked at.

    Args:
        experiment: whose.
        grouped: only runs whose method has sources to group, DTVG first.
        key: name in the URL.
        ranked: also runs that rank or weigh source prompts, such as SPoT's.
    """
    known = {r.name: r for r in experiment.runs if r.problem is None}
    planned = run_configs(experiment)  # one file for all of them
    runs = {
        n: r for n, r in known.items() if not grouped or _groups_sources(r, planned.get(n), ranked)
    }
    if not runs:
        st.info("This experiment has no run with sources to group.", icon=":material/info:")
        return None
    asked = st.query_params.get(key)
    name = choose(
        "Run",
        list(runs),
        key,
        min(runs, key=lambda n: _order(runs[n], grouped)),
        show=lambda n: f"{n}  ·  {BADGES[runs[n].state][0].lower()}",
    )
    if asked in known and asked not in runs:
        st.info(
            f"`{asked}` has no groups to show here; `{name}` is shown instead.",
            icon=":material/info:",
        )
    return runs.get(name or "")


def _order(run: Run, grouped: bool) -> tuple[bool, bool]:
    going, ours = run.state is RunState.RUNNING, run.method == "dtvg"
    return (not ours, not going) if grouped else (not going, not ours)


def _groups_sources(run: Run, planned: RunConfig | None, ranked: bool) -> bool:
    """Whether a run's log holds groups; with `ranked` also weights of source prompts."""
    config = planned or run.config
    if run.role != "transfer" or not run.sources or config is None:
        return False
    method = config.method
    return config.logs_sources and (method.has_source_vectors or ranked)


def badge(run: Run) -> str:
    """Return a run's state as a coloured badge in Markdown."""
    text, colour = BADGES[run.state]
    return f":{colour}-badge[{text}]"


def complain(run: Run) -> None:
    """Say what is wrong with a run, and what to do."""
    if run.problem:
        st.warning(f"{run.name}: {run.problem}.", icon=":material/warning:")
    elif run.state is RunState.FAILED:
        st.error(f"{run.name} failed. {run.message}", icon=":material/error:")
    elif run.state is RunState.UNKNOWN:
        st.warning(f"{run.name}: {run.message}.", icon=":material/warning:")
    elif run.state is RunState.LOST:
        st.warning(
            f"{run.name}: its process is gone (killed, or the machine restarted). Everything up "
            "to its last commit is kept; press Resume on the live page to continue.",
            icon=":material/warning:",
        )
