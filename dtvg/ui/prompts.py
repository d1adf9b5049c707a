"""The prompts page: the bank, read again only when it changed; import and export of prompts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.prompts import (
    SHOWN,
    BankInfo,
    SpaceInfo,
    bank_info,
    shown,
    space_info,
    spaces,
    weak_sentences,
)
from dtvg.backbones.specs import BACKBONES, facts, kept_here
from dtvg.errors import DtvgError
from dtvg.exchange.outgoing import as_zip, export, from_bank
from dtvg.export import plain_cells
from dtvg.jobs.launcher import run_import
from dtvg.store import trash
from dtvg.store.bank import PromptBank, TaskPrompt
from dtvg.ui import cache, forms, people, runs
from dtvg.ui.show import counted


@dataclass(frozen=True, eq=False)
class Bank:
    """Every readable prompt, the table of them, and those that compare."""

    prompts: tuple[TaskPrompt, ...]
    info: BankInfo
    spaces: dict[str, tuple[TaskPrompt, ...]]
    damaged: dict[str, str]
    """What is wrong with entries that cannot be shown, by their folder."""


def _entries() -> tuple[object, ...]:
    """Return what changes when an entry of the bank appears, goes or is replaced."""
    root = PromptBank().root
    try:
        names = tuple(sorted((e.name, e.stat().st_mtime_ns) for e in os.scandir(root)))
    except OSError:
        names = ()
    return (str(root), names)


@cache.remember(4, "Reading the prompt bank", key=_entries)
def bank() -> Bank:
    """Return the bank."""
    readable, damaged = PromptBank().sorted_out()
    found = tuple(readable)
    of_one_start = {k: tuple(v) for k, v in spaces(found).items()}
    return Bank(found, bank_info(found), of_one_start, damaged)


def prompt_space(label: str) -> SpaceInfo:
    """Return how the vectors of a space lie to each other."""
    return _space(bank().spaces[label])


@cache.remember(16, key=lambda prompts: tuple(p.fingerprint for p in prompts))
def _space(prompts: tuple[TaskPrompt, ...]) -> SpaceInfo:
    return space_info(prompts)


def contents(info: BankInfo) -> None:
    """Show the table, and what is wrong with sources that did not learn."""
    st.header("Contents", anchor=False)
    said = weak_sentences(info)
    if said:
        st.warning("  \n".join(said), icon=":material/warning:")
    st.dataframe(titles.table(shown(info)), hide_index=True, key="bank")
    st.download_button(
        "Download CSV",
        lambda: plain_cells(info.table[list(SHOWN)]).to_csv(index=False).encode(),
        "prompt-bank.csv",
        "text/csv",
        key="csv-bank",
        icon=":material/download:",
        on_click="ignore",
    )


KINDS = ["zip", "safetensors", "json", "pt", "pth", "bin", "ckpt"]


def _called(prompt: TaskPrompt) -> str:
    """Return what a prompt is called where one is chosen: no two alike, or another one is taken."""
    return f"{titles.task(prompt.task)}, seed {prompt.seed} ({prompt.fingerprint[:6]})"


def download(prompts: Sequence[TaskPrompt]) -> None:
    """Let one choose a prompt, see where it comes from, and take it away."""
    st.header("Provenance and export", anchor=False)
    names = {p.fingerprint: _called(p) for p in prompts}
    chosen = runs.choose("Prompt", list(names), "prompt", show=lambda key: names.get(key, key))
    prompt = next((p for p in prompts if p.fingerprint == chosen), None)
    if prompt is None:
        return
    known = {
        "backbone": f"{prompt.backbone} ({prompt.backbone_revision or 'revision unknown'})",
        "answers": ", ".join(prompt.labels)
        or ("free text" if prompt.origin == "tuned" else "not known, or free text"),
        "origin": prompt.origin,
        "precision": prompt.precision,
        **{k.replace("_", " "): v for k, v in prompt.settings.items() if v is not None},
    }
    with st.expander("Everything that its numbers depend on"):
        st.dataframe(
            {"setting": list(known), "value": [str(v) for v in known.values()]},
            hide_index=True,
            key="provenance",
        )
    try:
        archive = _archive(prompt)
    except DtvgError as error:
        st.caption(forms.escape(str(error)))
        return
    st.download_button(
        "Download as PEFT adapter",
        archive,
        f"{prompt.task}-{prompt.fingerprint}.zip",
        "application/zip",
        icon=":material/download:",
        on_click="ignore",
        help="adapter_config.json, adapter_model.safetensors and a model card.",
    )


def delete(bank: Bank) -> None:
    """Let one delete prompts; damaged entries are listed with what is wrong with them."""
    st.header("Delete", anchor=False)
    for why in bank.damaged.values():
        st.warning(
            f"{forms.escape(why)} It is left out of everything here.", icon=":material/warning:"
        )
    names = {name: f"{name} (damaged)" for name in bank.damaged}
    names |= {f"{p.task}-{p.fingerprint}": _called(p) for p in bank.prompts}
    chosen = st.multiselect(
        "Prompts to delete",
        list(names),
        list(bank.damaged),
        format_func=lambda name: names.get(name, name),
        key="prompts-to-delete",
    )
    st.caption(
        "A deleted prompt is tuned again by the next experiment that needs it. Finished runs keep "
        f"copies of theirs. The trash, below the overview's table, keeps it {trash.KEPT_DAYS} days."
    )
    if people.button("Move to the trash", icon=":material/delete:", disabled=not chosen):
        try:
            for name in chosen:
                with people.acting("delete prompt", what=name):
                    trash.delete_prompt(name)
        except DtvgError as error:
            st.error(forms.escape(str(error)), icon=":material/error:")
            return
        st.toast(f"{counted(len(chosen), 'prompt')} moved to the trash.")
        st.rerun()


def _archive(prompt: TaskPrompt) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / f"{prompt.task}-{prompt.fingerprint}"
        return as_zip(export(from_bank(prompt), folder))


def _options(task: str, backbone: str, part: str) -> list[str]:
    """Return the command's options for what was entered; what is empty is left out."""
    given = {"--task": task, "--backbone": backbone, "--part": part}
    return [f"{key}={value.strip()}" for key, value in given.items() if value.strip()]


def _sized(name: str) -> str:
    """Return a backbone's name with the width of its embeddings, where that is known here."""
    sizes = facts(name)
    return name if sizes is None else f"{name} (width {sizes.width})"


def upload() -> None:
    """Let one import a prompt: the files of an adapter, a .safetensors or a .pt file."""
    st.header("Import", anchor=False)
    if people.only_looks("import prompts"):
        return
    with st.form("import", border=True):
        files = st.file_uploader(
            "Prompt",
            type=KINDS,
            accept_multiple_files=True,
            help="The .zip that is downloaded here or from Share, both files of a PEFT "
            "prompt-tuning adapter (or a .zip of them), or one .safetensors or .pt file as "
            "ATTEMPT and the published DTVG save it.",
        )
        initial = st.file_uploader(
            "Its initial prompt (optional)",
            type=["safetensors", "pt", "pth", "bin", "ckpt"],
            help="Without it the prompt has no task prompt vector.",
        )
        left, right, third = st.columns(3)
        task = left.text_input(
            "Task", help="The task it was tuned on, e.g. mnli. Empty: as an exported .zip says."
        )
        backbone = right.selectbox(
            "Backbone",
            list(dict.fromkeys(("demo", *kept_here(), *BACKBONES))),
            index=None,
            placeholder="as the adapter says",
            accept_new_options=True,
            format_func=_sized,
            help="A prompt must be as wide as its backbone's embeddings.",
        )
        part = third.text_input(
            "Part",
            help="Empty, or: the name of a tensor, the place of a prompt or task among several, or "
            "encoder for that half of a prompt for encoder and decoder.",
        )
        sent = st.form_submit_button("Import", icon=":material/upload:")
    if not sent:
        return
    _import(files or [], initial, task, backbone or "", part)


def _import(files: Sequence[Any], initial: Any, task: str, backbone: str, part: str) -> None:
    """Import what was given, or say what is missing.

    Args:
        files: as uploaded.
        initial: the file of the initial prompt, or None.
        task: as typed.
        backbone: as typed or chosen; empty: as the adapter says.
        part: as typed.
    """
    packed = any(file.name.lower().endswith(".zip") for file in files)
    if not files or not (task.strip() or packed):
        st.error("Choose the prompt's files and name its task, then press Import.")
        return
    if not packed and all(file.name.lower().endswith(".json") for file in files):
        st.error(
            "A .json file only describes an adapter; choose its adapter_model.safetensors with it."
        )
        return
    if packed and len(files) > 1:
        st.error("Import one .zip at a time, without other files.")
        return
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "upload"
            folder.mkdir()
            for file in files:
                (folder / Path(file.name).name).write_bytes(file.getvalue())
            single = len(files) == 1
            path = folder / Path(files[0].name).name if single else folder
            options = _options(task, backbone, part)
            if initial is not None:
                start = Path(place) / f"initial{Path(initial.name).suffix}"
                start.write_bytes(initial.getvalue())
                options += ["--init", str(start)]
            with people.acting("import prompt", what=task.strip() or files[0].name):
                said = run_import(path, options)
    except DtvgError as error:
        st.error(forms.escape(str(error)), icon=":material/error:")
        return
    st.success(forms.escape(said), icon=":material/check:")
