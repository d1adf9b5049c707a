"""What the compare page reads, cached until the runs' files change."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dtvg.analysis.compare import CompareInfo, Split, compare_info
from dtvg.analysis.confdiff import DiffInfo, run_diff
from dtvg.analysis.disagreements import DisagreementInfo, disagreement_info
from dtvg.analysis.groups import GroupInfo
from dtvg.analysis.lattice import LatticeInfo, lattice_info
from dtvg.analysis.quality import QualityInfo, quality_info
from dtvg.analysis.stability import stability_of
from dtvg.analysis.surrogates import SurrogateInfo, surrogate_info
from dtvg.analysis.texts import input_texts
from dtvg.analysis.transfer import TransferInfo, transfer_info
from dtvg.analysis.truth import Truth, read_truth
from dtvg.errors import DataError
from dtvg.store.reader import Run
from dtvg.ui import cache
from dtvg.ui.cache import Stamp, stamp


def truth() -> Truth:
    """Return the demo's truth table; empty where the demo was never built."""
    try:
        return read_truth()
    except DataError:
        return {}


@st.cache_resource(max_entries=32, show_spinner="Comparing")
def _compare(
    key: Stamp, _runs: tuple[Run, ...], split: Split, subject: str, baselines: tuple[str, ...]
) -> CompareInfo:
    return compare_info(_runs, split, subject=subject, baselines=baselines or None)


def compare(
    runs: tuple[Run, ...], split: Split, subject: str, baselines: tuple[str, ...] = ()
) -> CompareInfo:
    """Return `compare_info`, cached; no baselines: those of the subject's own experiment."""
    key = tuple(stamp(run, "evals") for run in runs)
    return _compare(key, runs, split, subject, baselines)


@st.cache_resource(max_entries=32, show_spinner="Measuring what sources add")
def _transfer(key: Stamp, _runs: tuple[Run, ...], split: str) -> TransferInfo:
    return transfer_info(_runs, split, truth())


def transfer(runs: tuple[Run, ...], split: str) -> TransferInfo:
    """Return `transfer_info`, cached."""
    return _transfer(_results(runs), runs, split)


@st.cache_resource(max_entries=32, show_spinner=False)
def _surrogate(
    key: Stamp, _runs: tuple[Run, ...], target: str, method: str
) -> SurrogateInfo | None:
    return surrogate_info(_runs, target, method)


def surrogate(runs: tuple[Run, ...], target: str, method: str) -> SurrogateInfo | None:
    """Return `surrogate_info`, cached; runs of one experiment."""
    return _surrogate(_results(runs), runs, target, method)


@st.cache_resource(max_entries=32, show_spinner=False)
def _diff(key: Stamp, _runs: tuple[Run, ...]) -> DiffInfo:
    return run_diff(_runs)


def diff(runs: tuple[Run, ...]) -> DiffInfo:
    """Return `run_diff`, cached; a run's configuration never changes."""
    return _diff(tuple(str(run.path) for run in runs), runs)


def _results(runs: tuple[Run, ...]) -> tuple[Any, ...]:
    """What changes when runs finish."""
    return tuple(stamp(run) for run in runs)


@st.cache_resource(max_entries=32, show_spinner="Judging the groups")
def _quality(
    key: Stamp, _runs: tuple[Run, ...], _everyone: tuple[Run, ...]
) -> tuple[QualityInfo, float]:
    groups = [cache.groups(run) for run in _runs]
    agreement = stability_of(groups).mean_jaccard if len(groups) > 1 else float("nan")
    return quality_info(groups, _runs, _everyone, truth()), agreement


def quality(runs: tuple[Run, ...], everyone: tuple[Run, ...]) -> tuple[QualityInfo, float]:
    """Return `quality_info` and how much the seeds agree (mean Jaccard), cached.

    Args:
        runs: seeds of one method on one target.
        everyone: all runs of the experiment on that target.
    """
    key = (tuple(stamp(run, "sources") for run in runs), _results(everyone))
    return _quality(key, runs, everyone)


@st.cache_resource(max_entries=64, show_spinner=False)
def _lattice(
    key: Stamp, _runs: tuple[Run, ...], _group: GroupInfo | None, target: str, split: str
) -> LatticeInfo:
    return lattice_info(_runs, target, _group, split)


def lattice(runs: tuple[Run, ...], target: str, run: Run | None, split: str) -> LatticeInfo:
    """Return `lattice_info`, cached; `run` is the one whose walk is drawn."""
    key = (_results(runs), stamp(run, "sources") if run else ())
    return _lattice(key, runs, cache.groups(run) if run else None, target, split)


@st.cache_resource(max_entries=32, show_spinner="Matching answers")
def _disagreements(
    key: Stamp, _pairs: tuple[tuple[Run, Run], ...], a: str, b: str, split: str
) -> DisagreementInfo:
    return disagreement_info(_pairs, a, b, split)


def disagreements(
    pairs: tuple[tuple[Run, Run], ...], a: str, b: str, split: str
) -> DisagreementInfo:
    """Return `disagreement_info`, cached."""
    key = tuple(stamp(run, "predictions") for pair in pairs for run in pair)
    return _disagreements(key, pairs, a, b, split)


@st.cache_resource(max_entries=16, show_spinner="Reading the examples")
def _texts(key: Stamp, _run: Run, split: str, rows: tuple[int, ...]) -> dict[str, str]:
    return input_texts(_run, split, rows)


def texts(run: Run, split: str, rows: tuple[int, ...]) -> dict[str, str]:
    """Return `input_texts`, cached."""
    return _texts((str(run.path),), run, split, rows)
