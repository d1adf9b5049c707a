"""Deleting the chosen runs, after a question; and getting them back. Must not import torch."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dtvg.analysis.overview import RunRow
from dtvg.errors import DtvgError
from dtvg.store import trash
from dtvg.store.layout import ExperimentDir


def delete_popover(rows: Sequence[RunRow], every: Sequence[RunRow]) -> None:
    """Ask, then move the chosen runs to the trash; whole experiments where all runs are chosen.

    Args:
        rows: the chosen runs.
        every: all runs that are listed.
    """
    chosen = {row.run.path for row in rows}
    folders = list(dict.fromkeys(row.run.path.parent for row in rows))
    whole = [
        folder
        for folder in folders
        if all(r.run.path in chosen for r in every if r.run.path.parent == folder)
    ]
    single = [row.run for row in rows if row.run.path.parent not in whole]
    with st.popover("Delete", icon=":material/delete:"):
        parts = []
        if whole:
            parts.append("the whole of " + ", ".join(f"`{f.name}`" for f in whole[:6]))
        if single:
            word = "run" if len(single) == 1 else "runs"
            parts.append(f"{len(single)} {word}")
        st.markdown(f"Moves {' and '.join(parts)} to the trash.")
        st.caption(f"Nothing is erased: `python -m dtvg runs trash` lists it, {trash.root()}.")
        if st.button("Move to the trash", type="primary"):
            try:
                for folder in whole:
                    trash.delete(ExperimentDir(folder))
                for run in single:
                    trash.delete(ExperimentDir(run.path.parent), run.name)
            except DtvgError as error:
                st.error(str(error), icon=":material/error:")
                return
            st.toast("In the trash; the list below the table puts it back.")
            st.rerun()


def restore_list() -> None:
    """Show what is in the trash, each with a button that puts it back."""
    found = trash.deleted()
    if not found:
        return
    with st.expander(f"Trash ({len(found)})", icon=":material/delete:"):
        for one in found[:30]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"`{one.name}`")
                if st.button("Put back", key=f"restore-{one.id}"):
                    try:
                        trash.restore(one.id)
                    except DtvgError as error:
                        st.error(str(error), icon=":material/error:")
                        return
                    st.rerun()
        if len(found) > 30:
            st.caption(f"and {len(found) - 30} more; `python -m dtvg runs trash` lists all.")
