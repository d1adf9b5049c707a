"""An experiment as one file: packed to be downloaded, and a file that is imported."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import streamlit as st

from dtvg import paths
from dtvg.errors import DtvgError
from dtvg.exchange import experiments
from dtvg.figures import images
from dtvg.store.files import size_text
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment
from dtvg.ui import forms, people
from dtvg.ui.page import link
from dtvg.ui.show import counted

LARGEST = 500 << 20
"""Bytes beyond which the app does not hold a file; the command line has no such limit."""


def export(experiment: Experiment) -> None:
    """Offer the whole experiment as one file."""
    st.header("The whole experiment", anchor=False)
    st.caption(
        "One .zip file with everything that was recorded, half-trained runs too, and the SHA-256 "
        "of every file; tasks of your own travel with it. It can be imported on this page, or with "
        "`dtvg runs import FILE.zip`."
    )
    if st.button("Pack the experiment", icon=":material/inventory_2:", key="pack"):
        try:
            content, files = _packed(experiment)
        except DtvgError as error:
            st.error(forms.escape(str(error)), icon=":material/error:")
            return
        st.download_button(
            f"Download {experiment.name}.zip ({size_text(len(content))}, {counted(files, 'file')})",
            content,
            f"{experiment.name}.zip",
            "application/zip",
            icon=":material/download:",
            on_click="ignore",
        )


def _packed(experiment: Experiment) -> tuple[bytes, int]:
    with tempfile.TemporaryDirectory() as place, st.spinner("Packing the experiment"):
        to = Path(place) / f"{experiment.name}.zip"
        made = experiments.pack(ExperimentDir(experiment.path), to)
        if made.size > LARGEST:
            raise DtvgError(
                f"'{experiment.name}' takes {size_text(made.size)}, too much for a browser; use "
                f"`dtvg runs export {experiment.name} --to {experiment.name}.zip`."
            )
        return to.read_bytes(), made.files


def as_pdf(text: str, name: str) -> None:
    """Offer a report as PDF."""
    st.download_button(
        f"Download {name}.pdf",
        partial(images.printed, text),
        f"{name}.pdf",
        "application/pdf",
        icon=":material/picture_as_pdf:",
        on_click="ignore",
        disabled=not images.browser(),
        help="Printed by a browser on this machine when you ask for it, which takes seconds."
        if images.browser()
        else "No Chromium or Chrome is installed; open the HTML report and print it.",
    )


def bring() -> None:
    """Let one import an experiment's file."""
    st.header("Import an experiment", anchor=False)
    if people.only_looks("import experiments"):
        return
    with st.form("import-experiment", border=True):
        file = st.file_uploader(
            "File", ["zip"], key="experiment-file", max_upload_size=LARGEST >> 20
        )
        name = st.text_input(
            "New name", key="experiment-name", help="Empty: its own. Nothing is ever overwritten."
        )
        sent = st.form_submit_button("Import", icon=":material/upload:")
    if not sent:
        return
    if file is None:
        st.error("Choose the .zip file of an experiment, then press Import.")
        return
    try:
        with tempfile.TemporaryDirectory() as place, st.spinner("Comparing every file"):
            path = Path(place) / "experiment.zip"
            path.write_bytes(file.getvalue())
            with people.acting("import experiment", what=name.strip() or file.name):
                said: list[str] = []
                made = experiments.bring(path, paths.runs(), name.strip() or None, said.append)
    except DtvgError as error:
        told = str(error).replace("experiment.zip", file.name).replace("--name", "New name")
        st.error(forms.escape(told), icon=":material/error:")
        return
    st.success(
        f"'{made.name}' was imported; every file is as its SHA-256 says.", icon=":material/check:"
    )
    for sentence in said:
        st.info(forms.escape(sentence), icon=":material/dataset:")
    link("compare", "Open it on Compare", experiment=made.name)
