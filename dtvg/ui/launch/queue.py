"""The queue on the launch page: what waits, in which order, and how many run at once.

The queue itself is jobs/queue.
"""

from __future__ import annotations

import streamlit as st

from dtvg.errors import DtvgError
from dtvg.jobs import queue, slots
from dtvg.jobs.queue_files import STOPPED, Job, JobState, jobs
from dtvg.ui import forms, people
from dtvg.ui.page import guarded, link
from dtvg.ui.show import counted

BADGES = {
    JobState.WAITING: ("Waiting", "gray"),
    JobState.RUNNING: ("Running", "blue"),
    JobState.DONE: ("Done", "green"),
    JobState.FAILED: ("Failed", "red"),
}
SHOWN = 30


def show() -> None:
    """Draw the queue where there is one; redrawn while something waits or runs."""
    known = jobs()
    if not known:
        return
    active = any(job.state in (JobState.WAITING, JobState.RUNNING) for job in known)

    @st.fragment(run_every=3.0 if active else None)
    def refreshing() -> None:
        guarded(_draw)

    st.divider()
    refreshing()


def _draw() -> None:
    queue.ensure()
    known = jobs()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Queue", anchor=False, width="content")
        _slots()
        ended = [job for job in known if job.state in (JobState.DONE, JobState.FAILED)]
        if ended:
            people.button("Clear ended jobs", type="tertiary", on_click=_clear, args=(ended,))
    if "queue-problem" in st.session_state:
        problem = forms.escape(st.session_state.pop("queue-problem"))
        st.warning(problem, icon=":material/warning:")
    open_ones = [job for job in known if job not in ended]
    for job in [*open_ones, *reversed(ended)][:SHOWN]:
        _row(job, sum(j.state is JobState.WAITING for j in known))
    if len(known) > SHOWN:
        st.caption(f"{len(known) - SHOWN} more; `dtvg queue list` shows all.")


def _row(job: Job, waiting: int) -> None:
    """Draw one job: state, name, what became of it; moves where it waits."""
    text, colour = BADGES[job.state]
    if job.state is JobState.DONE and job.message.endswith(STOPPED):
        text, colour = "Stopped", "orange"
    place = f" {job.place}" if job.place else ""
    name = job.experiment.name + (f" ({counted(len(job.runs), 'run')})" if job.runs else "")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":{colour}-badge[{text}{place}]", width="content")
        link("live", name, experiment=job.experiment.name)
        said = job.message or (f"on {job.on}" if job.on else f"for {job.device}")
        st.caption(forms.escape(said), width="content")
        if job.state is JobState.WAITING:
            _button(job, "up", "Up", ":material/arrow_upward:", job.place == 1)
            _button(job, "down", "Down", ":material/arrow_downward:", job.place == waiting)
        if job.state is not JobState.RUNNING:
            _button(job, "away", "Remove", ":material/close:")


def _button(job: Job, what: str, label: str, icon: str, disabled: bool = False) -> None:
    people.button(
        label,
        icon=icon,
        key=f"queue-{what}-{job.id}",
        help="Removes the job from the list; no file is deleted." if what == "away" else None,
        type="tertiary",
        disabled=disabled,
        on_click=_change,
        args=(job.id, what),
    )


def _change(id: str, what: str) -> None:
    try:
        with people.acting("remove from queue" if what == "away" else "move in queue", what=id):
            if what == "away":
                queue.remove(id)
            else:
                queue.move(id, -1 if what == "up" else 1)
    except DtvgError as error:
        st.session_state["queue-problem"] = str(error)


def _clear(ended: list[Job]) -> None:
    for job in ended:
        _change(job.id, "away")


def _slots() -> None:
    """Let one set how many jobs each device runs at once."""
    room = slots.slots()
    said = ", ".join(f"{name} {count}" for name, count in room.items())
    with st.popover(f"Slots: {said}", icon=":material/tune:"):
        st.caption("How many jobs run at once on each device. Slots of the CPU share its cores.")
        for name, count in room.items():
            key = f"slots-{name}"
            st.session_state[key] = count
            st.number_input(
                name,
                1,
                slots.MOST_SLOTS,
                key=key,
                on_change=_set_slots,
                args=(name, key),
                disabled=not people.may_change(),
            )


def _set_slots(name: str, key: str) -> None:
    try:
        count = int(st.session_state[key])
        with people.acting("set slots", what=f"{name} {count}"):
            slots.set_slots(name, count)
        queue.ensure()
    except DtvgError as error:
        st.session_state["queue-problem"] = str(error)
