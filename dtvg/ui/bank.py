"""The prompt bank as pages see it, read anew only when an entry appears or goes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import streamlit as st

from dtvg.analysis.prompts import BankInfo, SpaceInfo, bank_info, space_info, spaces
from dtvg.store.bank import PromptBank, TaskPrompt


@dataclass(frozen=True, eq=False)
class Bank:
    """Every readable prompt, the table of them, and those that compare."""

    prompts: tuple[TaskPrompt, ...]
    info: BankInfo
    spaces: dict[str, tuple[TaskPrompt, ...]]


def bank() -> Bank:
    """Return the bank, cached until its folder changes."""
    root = PromptBank().root
    try:
        names = tuple(sorted((e.name, e.stat().st_mtime_ns) for e in os.scandir(root)))
    except OSError:
        names = ()
    return _bank(str(root), names)


@st.cache_resource(max_entries=4, show_spinner="Reading the prompt bank")
def _bank(root: str, names: tuple[tuple[str, int], ...]) -> Bank:
    found = tuple(PromptBank().list())
    return Bank(found, bank_info(found), {k: tuple(v) for k, v in spaces(found).items()})


def prompt_space(label: str) -> SpaceInfo:
    """Return how the vectors of a space lie to each other."""
    found = bank().spaces[label]
    return _space(tuple(p.fingerprint for p in found), found)


@st.cache_resource(max_entries=16, show_spinner=False)
def _space(key: tuple[str, ...], _prompts: tuple[TaskPrompt, ...]) -> SpaceInfo:
    return space_info(_prompts)
