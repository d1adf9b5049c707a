"""Stop, kill and resume an experiment, and what its process says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from dtvg.analysis import titles
from dtvg.errors import DtvgError
from dtvg.jobs import launcher, queue
from dtvg.records import RunState
from dtvg.store import holds, trash
from dtvg.store.fork import fork, kept_steps
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment, Run
from dtvg.ui import people
from dtvg.ui.page import guarded, link, say_until_read

START_SECONDS = 60.0
"""So long a started process may take until it holds its experiment."""
HELD = {
    "pin": "is in the group, whatever the rule decides,",
    "ban": "is not in the group, whatever the rule decides,",
    "free": "is left to the rule again",
}
"""What holds of a source that is pinned, banned or freed."""


def may_change(experiment: Experiment) -> bool:
    """Whether looking again may show something new: a process is running, or about to run."""
    folder = ExperimentDir(experiment.path)
    if _is_trained(experiment) or queue.place_of(folder):
        return True
    asked = st.session_state.get(f"started-{experiment.name}", 0.0)
    unfinished = any(r.state.resumable for r in experiment.runs if r.problem is None)
    return (unfinished or not experiment.runs) and time.time() - asked < START_SECONDS


def _is_trained(experiment: Experiment) -> bool:
    """Whether a process trains an experiment, here or on another host, or that cannot be told."""
    ended = {run.name for run in experiment.runs if run.result is not None}
    return launcher.may_be_working(ExperimentDir(experiment.path), ended)


def is_asked_for(experiment: Experiment) -> bool:
    """Whether a process of this machine is at an experiment, maybe still loading."""
    return launcher.is_working(ExperimentDir(experiment.path))


def started(name: str) -> None:
    """Note that a process was started for an experiment just now."""
    st.session_state[f"started-{name}"] = time.time()


def buttons(experiment: Experiment, example: bool) -> None:
    """Draw stop, kill and resume, each only where it would do something."""
    if example:
        with st.container(horizontal=True, vertical_alignment="center"):
            told = "This is a recorded example: you can look at it, but not change it."
            st.caption(told, width="content")
            link("launch", "Train it yourself", clone=experiment.name)
        return
    if people.only_looks():
        return
    folder = ExperimentDir(experiment.path)
    working, here = _is_trained(experiment), launcher.can_kill(folder)
    unfinished = any(r.state.resumable for r in experiment.runs if r.problem is None)
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Stop",
            icon=":material/stop_circle:",
            disabled=not working,
            help="The runs commit first, so nothing is lost.",
        ):
            _stop(folder)
        idle = not working and (unfinished or not experiment.runs)
        place = 0 if working else queue.place_of(folder)
        title = "Start now" if place else "Resume"
        away = in_trash(folder) if idle else []
        if away:
            _resume_some(experiment, title, away)
        elif st.button(title, icon=":material/play_circle:", disabled=not idle):
            _resume(folder)
        if here:
            kill_popover(folder)
        elif working and not launcher.is_working(folder):
            _give_free(folder)
        link("launch", "Clone", clone=experiment.name)
    if place:
        st.caption(f"Waits in the queue at place {place}; it starts when a slot is free.")


def in_trash(folder: ExperimentDir) -> list[trash.Deleted]:
    """Return the deleted runs of an experiment whose place is still free, each once."""
    home = folder.path.resolve()
    found = [one for one in trash.deleted() if one.origin.parent.resolve() == home]
    newest = {one.origin: one for one in reversed(found)}
    return [one for one in newest.values() if not one.origin.exists()]


def _resume_some(experiment: Experiment, title: str, away: Sequence[trash.Deleted]) -> None:
    """Ask what becomes of deleted runs, which resuming the whole experiment would train anew."""
    folder = ExperimentDir(experiment.path)
    here = [r.name for r in experiment.runs if r.role == "transfer" and r.state.resumable]
    with st.popover(title, icon=":material/play_circle:"):
        are = "1 run of it is" if len(away) == 1 else f"{len(away):,} runs of it are"
        st.markdown(f"{are} in the trash: {_titles([one.origin.name for one in away])}.")
        st.caption("What is trained anew cannot be restored afterwards, since its place is taken.")
        if here and st.button("Resume only the runs that are here", type="primary"):
            _resume(folder, here)
        if st.button("Restore from the trash, then resume"):
            _restore(away)
            _resume(folder)
        if st.button("Train all, the deleted anew"):
            _resume(folder)


def _restore(away: Sequence[trash.Deleted]) -> None:
    for one in away:
        try:
            with people.acting("restore", what=one.name):
                trash.restore(one.id, one.origin.parent.parent)
        except DtvgError as error:
            say_until_read(error)


def _resume(folder: ExperimentDir, names: Sequence[str] = ()) -> None:
    try:
        with people.acting("resume", folder, names):
            launcher.resume(folder, names)
    except DtvgError as error:
        say_until_read(error)
        return
    started(folder.name)
    st.toast("Resumed; the first steps appear in a few seconds.")
    st.rerun()


def _stop(folder: ExperimentDir) -> None:
    try:
        with people.acting("stop", folder):
            asked = launcher.stop(folder)
    except DtvgError as error:
        say_until_read(error)
        return
    if asked:
        st.toast(f"Asked to commit and stop: {_names(asked)}.")
    elif launcher.is_working(folder):
        st.toast("Its process is still loading; it ends by itself once it has loaded.")
    else:
        st.toast("Nothing was stopped: no run is training, and no process is starting.")


def _give_free(folder: ExperimentDir) -> None:
    """Let a person say that a process has ended that cannot be asked from here."""
    with st.popover("Its process has ended", icon=":material/help:"):
        st.caption(
            "Only say so if you know it, for example because its host is down or its job is over. "
            "Should the process live after all, it ends without writing anything more."
        )
        if st.button("Count it as lost", type="primary"):
            try:
                with people.acting("count as lost", folder):
                    launcher.give_free(folder)
            except DtvgError as error:
                say_until_read(error)
                return
            st.rerun()


def kill_popover(folder: ExperimentDir, label: str = "Kill") -> None:
    """Ask before killing, naming every run that ends.

    Args:
        folder: the experiment's.
        label: of the popover.
    """
    with st.popover(label, icon=":material/dangerous:"):
        ends = launcher.ends_with_kill(folder)
        st.markdown(f"Ends the process at once, and these runs with it: {_names(ends)}.")
        st.caption(
            "What was committed is kept, and Resume continues from there. Stop loses nothing."
        )
        if st.button("Kill the process", type="primary", key=f"kill-{folder.name}"):
            try:
                with people.acting("kill", folder):
                    ended = launcher.kill_all(folder)
                st.toast(f"Killed: {_names(ended)}.")
            except DtvgError as error:
                say_until_read(error)


def hold_source(run: Run) -> None:
    """Draw pin, ban and free for a run that trains and decides its group by a rule."""
    if run.state is not RunState.RUNNING or run.config is None or not people.may_change():
        return
    if not run.config.method.can_hold or not run.sources:
        return
    with st.popover("Pin or ban a source", icon=":material/keep:"):
        st.caption(
            "From the next step on, the source is always in the group, or never, whatever the "
            "rule decides. This is logged as an event, and the rule's own decision can still be "
            "replayed."
        )
        source = st.selectbox(
            "Source",
            run.sources,
            key=f"hold-{run.experiment}-{run.name}",
            format_func=titles.task,
        )
        with st.container(horizontal=True):
            for kind, label in (("pin", "Pin"), ("ban", "Ban"), ("free", "Let the rule decide")):
                if st.button(label, key=f"hold-{kind}-{run.experiment}-{run.name}"):
                    _hold(run, source, kind)
        for sentence in _asked_for(run):
            st.caption(sentence)
        for name, kind in holds.now_held(run).items():
            st.markdown(f"{titles.task(name)} is {'pinned' if kind == 'pin' else 'banned'}.")


def say_holds(run: Run) -> None:
    """Say what was asked of a run's sources and from which step it holds; drawn with each look.

    Args:
        run: what is asked of one that ended never holds, so that nothing is said of it.
    """
    if run.state is not RunState.RUNNING:
        return
    asked = holds.asked(run)
    for sentence in _asked_for(run):
        st.info(sentence, icon=":material/schedule:")
    mine = st.session_state.get(_asked_of(run), {})
    done = {hold.source: hold for hold in holds.history(run)} if mine else {}
    for source, kind in mine.items():
        last = done.get(source)
        if (kind, source) not in asked and last is not None and last.kind == kind:
            st.success(
                f"{titles.task(source)} {HELD[kind]} from step {last.step + 1:,} on.",
                icon=":material/check:",
            )


def _asked_for(run: Run) -> list[str]:
    """Say what was asked of a run's sources and not been done yet."""
    return [
        f"Asked for: {titles.task(source)} {HELD[kind]} from the next step on that the run begins, "
        f"step {run.step + 1:,} at the earliest."
        for kind, source in holds.asked(run)
    ]


def _asked_of(run: Run) -> str:
    """Return where the session keeps what was asked of a run's sources here, by source."""
    return f"asked-{run.path}"


def fork_popover(run: Run) -> None:
    """Draw what makes a new experiment from a run's newest commit and trains it on."""
    kept = kept_steps(run)
    if not run.step or (run.result is not None and not kept) or not people.may_change():
        return
    key = f"{run.experiment}-{run.name}"  # what is typed for one run is not meant for another
    with st.popover("Fork", icon=":material/call_split:"):
        st.caption(
            "Makes a new experiment that continues from a commit of this run; the run itself is "
            "not changed. Write one setting per line, e.g. optim.lr_prompt=0.1."
        )
        name = st.text_input("Name", f"{run.experiment}-fork", key=f"fork-name-{key}")
        places = [*([None] if run.result is None else []), *kept]
        at = places[0]
        if kept:
            at = st.selectbox(
                "From",
                places,
                format_func=lambda step: "the newest commit" if step is None else f"step {step}",
                key=f"fork-at-{key}",
            )
        text = st.text_area("Settings that differ", key=f"fork-set-{key}", placeholder="nothing")
        if st.button("Fork and train", type="primary", key=f"fork-{key}"):
            try:
                changes = [line.strip() for line in text.splitlines() if line.strip()]
                with people.acting("fork", ExperimentDir(run.path.parent), [run.name], name):
                    made = fork(run, name.strip() or None, changes, at=at)
                    job = queue.add(made)
                people.launched(made)
            except DtvgError as error:
                say_until_read(error)
                return
            started(made.name)
            if job.place:
                st.caption(f"No slot is free: it waits in the queue at place {job.place}.")
            link("live", f"Watch {made.name}", experiment=made.name)


def _hold(run: Run, source: str, kind: str) -> None:
    try:
        with people.acting(kind, ExperimentDir(run.path.parent), [run.name], source):
            holds.ask(run, source, kind)  # type: ignore[arg-type]
    except DtvgError as error:
        say_until_read(error)
        return
    st.session_state.setdefault(_asked_of(run), {})[source] = kind


def _names(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return shown + more or "no run that is training"


def _titles(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(titles.run(name) for name in names[:8]) + more


def messages(path: Path, worker: Path | None = None) -> bool:
    """Show the end of what the process printed, with search.

    Args:
        path: the experiment's folder.
        worker: log of the cohort's own process, which comes first where there is one.

    Returns:
        Whether there is anything.
    """
    logs = [worker] if worker is not None else []
    log = next(
        (one for one in [*logs, ExperimentDir(path).log_path] if launcher.tail_of(one, 1)), None
    )

    def draw() -> None:
        if log is None:
            return
        with st.expander("Messages of the process"):
            text = st.text_input("Search", key="log-search", placeholder="part of a line")
            tail = launcher.tail_of(log, 200, text)
            st.code(tail or "No line contains this text.", language=None, height=300)

    guarded(draw)
    return log is not None
