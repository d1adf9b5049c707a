"""Picking an experiment, a run and a step; every choice stands in the URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import streamlit as st

from dtvg.analysis import titles
from dtvg.config import RunConfig
from dtvg.errors import nearest
from dtvg.records import RunState
from dtvg.store.reader import Experiment, Run, run_configs
from dtvg.store.status import NEVER_BEGAN
from dtvg.ui import address, cache, forms
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
    written: bool = False,
    on_change: Callable[[], None] | None = None,
    told: bool = False,
) -> str | None:
    """Show a select box whose value stands in the URL under `key`, unless it is the default.

    A value that is no longer there gives way to the default, which the page says where an address
    asked for it; the last choice is kept when one moves to another page and comes back.

    Args:
        label: above the box.
        options: what can be chosen.
        key: name in the URL.
        default: chosen at first; None: the first option.
        show: turns an option into what is read.
        help_text: shown on hover.
        written: write the default too, since it may be another one tomorrow.
        on_change: called where a person chose another option.
        told: whether the page says by itself that an address asks for none of the options.
    """
    if not options:
        return None
    first = default if default in options else options[0]
    address.recall(key, address.one_of(options), str(first), show, told)
    chosen = st.selectbox(
        label, options, key=key, format_func=show, help=help_text, on_change=on_change
    )
    address.keep(key, chosen, None if written else first)
    return chosen


def choose_there(
    what: str,
    options: Sequence[str],
    key: str,
    default: str | None = None,
    show: Callable[[str], str] = str,
    within: str = "",
    on_change: Callable[[], None] | None = None,
) -> str | None:
    """Show a select box of things that an address may name although they are not there.

    Then this is said, nothing else is shown in its place, and the address stays.

    Args:
        what: what is chosen, in one word, e.g. "run".
        options: those there are.
        key: name in the URL.
        default: chosen at first; None: the first option.
        show: turns an option into what is read.
        within: the experiment that runs belong to.
        on_change: called where a person chose another one.

    Returns:
        The choice; None where the address names what is not there.
    """
    asked = address.absent(key, options, within)
    if asked is None:
        return choose(
            what.capitalize(), options, key, default, show, written=True, on_change=on_change
        )
    st.selectbox(
        what.capitalize(),
        options,
        index=None,
        key=key,
        format_func=show,
        placeholder=f"Choose another {what}",
    )
    say_absent(what, asked, options, within)
    return None


def say_absent(what: str, asked: str, options: Sequence[str], within: str = "") -> None:
    """Say that an address names what is not there, with the nearest name."""
    where = f"Experiment '{within}' has no {what}" if within else f"There is no {what}"
    near = nearest(asked, options)
    hint = f" Did you mean '{near}'?" if near else ""
    said = (
        f"{where} '{asked[:120]}' here, so nothing is shown in its place.{hint} It may have been "
        "deleted, renamed, or recorded on another machine."
    )
    st.warning(
        forms.escape(said),
        icon=":material/search_off:",
    )
    address.leave()


def tabs(label: str, options: Sequence[str], key: str, show: Callable[[str], str] = str) -> str:
    """Show one of several views, chosen by buttons; a choice but the first stands in the URL.

    Only the chosen one is drawn, so that a page costs what one sees. Where the address names a view
    that is not there this is said, the first is drawn, and the address stays.
    """
    asked = address.absent(key, options)
    if asked is not None:
        _buttons(label, options, key, show)
        near = nearest(asked, options)
        hint = f" Did you mean '{near}'?" if near else ""
        st.warning(
            forms.escape(f"There is no view '{asked[:120]}' here.{hint} '{options[0]}' is shown."),
            icon=":material/search_off:",
        )
        address.leave()
        return options[0]
    kept = address.recall(key, address.one_of(options), options[0])
    chosen = _buttons(label, options, key, show)
    address.keep(key, chosen or kept, options[0])
    return str(chosen or kept)


def _buttons(
    label: str, options: Sequence[str], key: str, show: Callable[[str], str]
) -> str | None:
    return st.segmented_control(
        label,
        options,
        key=key,
        label_visibility="collapsed",
        format_func=lambda option: forms.escape(show(option)),
    )


def order_of(experiment: Experiment, run: Run) -> tuple[str, ...]:
    """Return all sources of an experiment: a source's place fixes its colour everywhere."""
    return tuple(experiment.config.sources) if experiment.config else run.sources


def names_in(run: Run) -> tuple[str, ...]:
    """Return the tasks that a sentence about a run may name."""
    return (*run.sources, run.target)


def pick_experiment(first: str | None = None) -> Experiment | None:
    """Let one choose an experiment; says what to do where there is none.

    Args:
        first: name of the one that is shown where none was chosen; None: the newest.
    """
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

    ours = next((n for n, path in found.items() if cache.is_experiment(path)), None)
    default = first if first in found else ours
    name = choose_there("experiment", list(found), "experiment", default, show)
    experiment = cache.open_named(name) if name else None
    if experiment is not None and experiment.problem:
        st.warning(forms.escape(experiment.problem), icon=":material/warning:")
    return experiment


def pick_run(
    experiment: Experiment,
    grouped: bool = False,
    key: str = "run",
    ranked: bool = False,
    on_change: Callable[[], None] | None = None,
    about: bool = True,
) -> Run | None:
    """Let one choose a run of an experiment.

    The first choice is a run that trains now where any run may be chosen, DTVG's where groups
    are looked at.

    Args:
        experiment: whose.
        grouped: only runs whose method has sources to group, DTVG first.
        key: name in the URL.
        ranked: also runs that rank or weigh source prompts, such as SPoT's.
        on_change: called where a person chose another run.
        about: link to the page that says everything about the chosen run.
    """
    known = {r.name: r for r in experiment.runs if r.problem is None}
    planned = run_configs(experiment)  # one file for all of them
    runs = {
        n: r for n, r in known.items() if not grouped or _groups_sources(r, planned.get(n), ranked)
    }
    if not runs:
        st.info(_no_groups(planned.values()), icon=":material/info:")
        return None
    asked = address.given(key)
    default = min(runs, key=lambda n: _order(runs[n], grouped))

    def show(name: str) -> str:
        return f"{titles.run(name)}  ·  {BADGES[runs[name].state][0].lower()}"

    if asked in known and asked not in runs:
        name = choose(
            "Run", list(runs), key, default, show, written=True, on_change=on_change, told=True
        )
    else:
        name = choose_there("run", list(runs), key, default, show, experiment.name, on_change)
    if asked in known and asked not in runs:
        st.info(
            f"`{asked}` has no groups to show here; `{name}` is shown instead.",
            icon=":material/info:",
        )
    if about and name in runs:
        link("run", "About this run", experiment=experiment.name, run=name)
    return runs.get(name or "")


def _no_groups(planned: Iterable[RunConfig]) -> str:
    """Say why no run of an experiment can be chosen where groups are looked at."""
    if any(c.method.logs_sources and not c.logs_sources for c in planned if c.sources):
        return (
            "The runs of this experiment kept only scores (`logging.detail: scores`), so there are "
            "no groups to show."
        )
    return "This experiment has no run with sources to group."


def _order(run: Run, grouped: bool) -> tuple[bool, bool, bool]:
    going, ours = run.state is RunState.RUNNING, run.method == "dtvg"
    waits = run.state is RunState.WAITING
    return (not ours, not going, waits) if grouped else (not going, waits, not ours)


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
    called, message = forms.escape(titles.run(run.name)), forms.escape(run.message)
    if run.problem:
        st.warning(f"{called}: {forms.escape(run.problem)}.", icon=":material/warning:")
    elif run.state is RunState.FAILED:
        st.error(f"{called} failed. {message}", icon=":material/error:")
    elif run.state is RunState.UNKNOWN:
        st.warning(f"{called}: {message}.", icon=":material/warning:")
    elif run.state is RunState.LOST and run.message == NEVER_BEGAN:
        st.warning(
            f"{called}: {NEVER_BEGAN} Its messages, at the end of the live page, may say why; "
            "press Resume there to start it again.",
            icon=":material/warning:",
        )
    elif run.state is RunState.LOST:
        st.warning(
            f"{called}: its process is gone (killed, or the machine restarted). Everything up "
            "to its last commit is kept; press Resume on the live page to continue.",
            icon=":material/warning:",
        )
