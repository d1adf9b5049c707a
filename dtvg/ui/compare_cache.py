"""What the compare page reads, cached until the runs' files change."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dtvg.analysis.confdiff import DiffInfo, run_diff
from dtvg.analysis.transfer import TransferInfo, transfer_info
from dtvg.analysis.truth import Truth, read_truth
from dtvg.errors import DataError
from dtvg.store.reader import Run
from dtvg.ui.cache import Stamp, stamp


def truth() -> Truth:
    """Return the demo's truth table; empty where the demo was never built."""
    try:
        return read_truth()
    except DataError:
        return {}


@st.cache_resource(max_entries=32, show_spinner="Measuring what sources add")
def _transfer(key: Stamp, _runs: tuple[Run, ...], split: str) -> TransferInfo:
    return transfer_info(_runs, split, truth())


def transfer(runs: tuple[Run, ...], split: str) -> TransferInfo:
    """Return `transfer_info`, cached."""
    return _transfer(_results(runs), runs, split)


@st.cache_resource(max_entries=32, show_spinner=False)
def _diff(key: Stamp, _runs: tuple[Run, ...]) -> DiffInfo:
    return run_diff(_runs)


def diff(runs: tuple[Run, ...]) -> DiffInfo:
    """Return `run_diff`, cached; a run's configuration never changes."""
    return _diff(tuple(str(run.path) for run in runs), runs)


def _results(runs: tuple[Run, ...]) -> tuple[Any, ...]:
    """What changes when runs finish."""
    return tuple(stamp(run) for run in runs)
