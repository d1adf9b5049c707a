"""What one does with the runs chosen in the overview's table: open, tag, note, delete."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.overview.table import RunRow
from dtvg.errors import DtvgError
from dtvg.jobs import launcher, queue
from dtvg.store import trash
from dtvg.store.files import size_text
from dtvg.store.labels import Labels, read_labels, with_tags, write_labels
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Run
from dtvg.ui import cache, control, people
from dtvg.ui.page import link, say_until_read
from dtvg.ui.show import counted

RUNS, EXPERIMENTS = "These runs", "Their experiments"
MOST = 60
"""How many runs go into a link; an address must not become too long."""


def panel(
    chosen: Sequence[RunRow], known: Sequence[str], every: Sequence[RunRow], whole: bool = False
) -> None:
    """Draw what can be done with the chosen runs.

    Args:
        chosen: runs of the ticked rows.
        known: tags in use, to choose from.
        every: all runs there are.
        whole: whether the ticked rows are experiments.
    """
    own = [r for r in chosen if not cache.is_example(r.run.path.parent)]
    fine = [r for r in chosen if r.run.problem is None]
    with st.container(horizontal=True, vertical_alignment="center"):
        if not chosen:
            st.caption("Tick rows to compare, tag, stop, resume, kill or delete them.")
            return
        st.markdown(f"**{counted(len(chosen), 'run')} chosen**", width="content")
        _links(fine)
        if own and not people.only_looks("change them"):
            _control([r for r in own if r.run.problem is None])
            with st.popover("Tags and note", icon=":material/sell:"):
                _labels(own, known)
            delete_popover(own, every, whole)
        elif not own:
            st.caption("You can look at recorded examples, but not change them.")


def _control(rows: Sequence[RunRow]) -> None:
    """Draw stop, resume and kill, each where it would do something to a chosen run."""
    alive = [r for r in rows if r.run.state.may_live]
    folders = list(dict.fromkeys(r.run.path.parent for r in rows))
    held = {folder for folder in folders if launcher.is_held(folder)}
    idle = [r for r in rows if r.run.state.resumable and r.run.path.parent not in held]
    if alive and st.button("Stop", icon=":material/stop_circle:", help="They commit first."):
        _each(alive, "stop", launcher.stop, "Asked to commit and stop")
    if idle and st.button("Resume", icon=":material/play_circle:", help="Takes a slot, or waits."):
        _each(idle, "resume", queue.add, "Resumed, or queued where no slot is free")
    for folder in (f for f in folders if f in held and launcher.can_kill(ExperimentDir(f))):
        control.kill_popover(ExperimentDir(folder), f"Kill {folder.name}" if held else "Kill")


def _each(
    rows: Sequence[RunRow],
    action: str,
    do: Callable[[ExperimentDir, Sequence[str]], object],
    done: str,
) -> None:
    """Do something to the chosen runs, experiment by experiment; errors stay until read."""
    by_folder: dict[Path, list[str]] = {}
    for row in rows:
        by_folder.setdefault(row.run.path.parent, []).append(row.run.name)
    for folder, names in by_folder.items():
        everything = sum(1 for run in ExperimentDir(folder).runs()) == len(names)
        if everything and action == "resume":  # all of it would train the deleted ones anew
            everything = not control.in_trash(ExperimentDir(folder))
        chosen = () if everything else names
        try:
            with people.acting(action, ExperimentDir(folder), chosen):
                do(ExperimentDir(folder), chosen)
        except DtvgError as error:
            say_until_read(error)
    st.toast(f"{done}: {counted(len(rows), 'run')}.")
    st.rerun()


def _links(fine: Sequence[RunRow]) -> None:
    """Link to the pages that show the chosen runs."""
    if not fine:
        return
    experiments = ",".join(dict.fromkeys(r.run.experiment for r in fine))
    named = ",".join(r.key for r in fine[:MOST])
    more = f" the first {MOST}" if len(fine) > MOST else ""
    link("compare", f"Compare{more}", experiment=experiments, runs=named)
    if len(fine) == 1:
        run = fine[0].run
        choices = {"experiment": run.experiment, "run": run.name}
        for page, label in (
            ("run", "Run"),
            ("live", "Live"),
            ("groups", "Groups"),
            ("explain", "Explain"),
        ):
            link(page, label, **choices)


def _labels(rows: Sequence[RunRow], known: Sequence[str]) -> None:
    """Edit the tags and the note of runs, or of their experiments."""
    scope = st.radio("Of", (RUNS, EXPERIMENTS), horizontal=True, key="labels-of")
    folders = [r.run.path for r in rows]
    if scope == EXPERIMENTS:
        folders = list(dict.fromkeys(path.parent for path in folders))
    before = [read_labels(folder) for folder in folders]
    common = [t for t in before[0].tags if all(t in labels.tags for labels in before)]
    notes = {labels.note for labels in before}
    key = hashlib.sha256(repr((folders, common, sorted(notes))).encode()).hexdigest()[:12]
    tags = st.multiselect(
        "Tags that all of them have",
        list(dict.fromkeys([*common, *known])),
        common,
        key=f"tags-{key}",
        accept_new_options=True,
        placeholder="Choose or type a tag",
    )
    alike = len(notes) == 1
    note = st.text_area(
        "Note",
        next(iter(notes)) if alike else "",
        key=f"note-{key}",
        max_chars=2000,
        placeholder=""
        if alike
        else "Their notes differ; what you write here replaces all of them.",
    )
    if st.button("Save", type="primary", key=f"save-{key}"):
        change = note if alike or note.strip() else None
        _save(folders, before, [t.strip() for t in tags], common, change)


def _save(
    folders: Sequence[Path],
    before: Sequence[Labels],
    tags: Sequence[str],
    common: Sequence[str],
    note: str | None,
) -> None:
    """Write what was changed, and only that."""
    gone = [t for t in common if t not in tags]
    added = [t for t in tags if t not in common]
    try:
        for folder, labels in zip(folders, before, strict=True):
            made = with_tags(labels, added, gone)
            with people.acting("label", what=folder.name):
                write_labels(folder, made if note is None else Labels(made.tags, note.strip()))
    except DtvgError as error:
        say_until_read(error)
        return
    st.toast(f"Saved for {len(folders)} {'folder' if len(folders) == 1 else 'folders'}.")
    st.rerun()


def delete_popover(rows: Sequence[RunRow], every: Sequence[RunRow], whole: bool = False) -> None:
    """Ask, then move the chosen runs to the trash; whole experiments where all runs are chosen.

    Args:
        rows: the chosen runs.
        every: all runs that are listed.
        whole: whether experiments were chosen, and not runs of them.
    """
    folders = list(dict.fromkeys(row.run.path.parent for row in rows))
    if not whole:
        folders = [folder for folder in folders if _is_whole(folder, rows, every)]
    single = [row.run for row in rows if row.run.path.parent not in folders]
    with st.popover("Delete", icon=":material/delete:"):
        parts = []
        if folders:
            more = f" and {len(folders) - 6} more" if len(folders) > 6 else ""
            parts.append("the whole of " + ", ".join(f"`{f.name}`" for f in folders[:6]) + more)
        if single:
            parts.append(counted(len(single), "run"))
        st.markdown(f"Moves {' and '.join(parts)} to the trash.")
        held = [r.run for r in every if r.run.path.parent in folders]
        hidden = sum(1 for run in held if run.role != "transfer" and not run.problem)
        if hidden:
            st.caption(
                f"That is {counted(len(held), 'run')}, of which {hidden:,} tuned prompts in "
                "Stage I; the table hides these."
            )
        st.caption(
            f"They can be restored for {trash.KEPT_DAYS} days; see the list below the table, "
            f"or `dtvg runs trash`. They are kept in {trash.root()}."
        )
        if st.button("Move to the trash", type="primary"):
            _delete(folders, single)


def _is_whole(folder: Path, chosen: Sequence[RunRow], every: Sequence[RunRow]) -> bool:
    """Whether all runs of an experiment that the table lists by itself are chosen."""
    mine = [r.run for r in every if r.run.path.parent == folder]
    listed = [run for run in mine if run.role == "transfer" or run.problem] or mine
    names = {row.run.path for row in chosen}
    return all(run.path in names for run in listed)


def _delete(folders: Sequence[Path], single: Sequence[Run]) -> None:
    """Move experiments and single runs to the trash; none of them where one is training."""
    chosen: list[tuple[ExperimentDir, str | None]] = [(ExperimentDir(f), None) for f in folders]
    chosen += [(ExperimentDir(run.path.parent), run.name) for run in single]
    try:
        for folder, name in chosen:
            trash.check(folder, name)
        for folder, name in chosen:
            with people.acting("delete", folder, [name] if name else ()):
                trash.delete(folder, name)
    except trash.Training as error:
        names = ", ".join(titles.run(name) for name in error.runs[:4])
        more = f" and {len(error.runs) - 4} more" if len(error.runs) > 4 else ""
        say_until_read(
            f"{names}{more} of '{folder.name}' {'is' if len(error.runs) == 1 else 'are'} training, "
            "so nothing was deleted; stop it first with the button Stop."
        )
    except DtvgError as error:
        say_until_read(error)
    st.toast("In the trash; the list below the table restores it.")
    gone = trash.prune()
    if gone:
        st.toast(trash.pruned_text(gone))
    st.rerun()


def restore_list() -> None:
    """Show what is in the trash, each with a button that puts it back, and one that erases all."""
    found = trash.deleted()
    if not found:
        return
    with st.expander(f"Trash ({len(found)})", icon=":material/delete:"):
        for one in found[:30]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"`{one.name}`")
                if people.button("Restore", key=f"restore-{one.id}"):
                    try:
                        with people.acting("restore", what=one.name):
                            trash.restore(one.id)
                    except DtvgError as error:
                        say_until_read(error)
                        return
                    st.rerun()
        if len(found) > 30:
            st.caption(f"and {len(found) - 30} more; `dtvg runs trash` lists all.")
        _empty_popover(found)


def _empty_popover(found: Sequence[trash.Deleted]) -> None:
    """Ask, then erase the entries that were shown."""
    count = "1 entry" if len(found) == 1 else f"{len(found)} entries"
    size = size_text(sum(one.size for one in found))
    with st.popover("Empty the trash", icon=":material/delete_forever:"):
        st.markdown(f"Erase {count} ({size}) for good? This cannot be undone.")
        st.caption(trash.RULE)
        if people.button("Erase for good", type="primary"):
            try:
                with people.acting("erase", what=" ".join(one.name for one in found)):
                    gone = trash.empty([one.id for one in found])
            except DtvgError as error:
                say_until_read(error)
                return
            st.toast(f"Erased: {'1 entry' if len(gone) == 1 else f'{len(gone)} entries'}.")
            st.rerun()
