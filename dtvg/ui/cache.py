"""What pages read, cached until the files change: signatures come from folder listings."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dtvg import paths
from dtvg.analysis.compare.confdiff import DiffInfo, run_diff
from dtvg.analysis.compare.disagreements import DisagreementInfo, disagreement_info
from dtvg.analysis.compare.examples import input_texts
from dtvg.analysis.compare.info import CompareInfo, Split, compare_info
from dtvg.analysis.run.curves import CurveInfo, curve_info
from dtvg.analysis.run.explain import ExplainInfo, explain_step
from dtvg.analysis.run.groups import GroupInfo, group_info
from dtvg.analysis.run.replay import ReplayInfo, replay
from dtvg.analysis.run.stability import StabilityInfo, stability_of
from dtvg.analysis.subsets.lattice import LatticeInfo, lattice_info
from dtvg.analysis.subsets.quality import QualityInfo, Truth, quality_info, read_truth
from dtvg.analysis.subsets.transfer import (
    SurrogateInfo,
    TransferInfo,
    surrogate_info,
    transfer_info,
)
from dtvg.analysis.tasks import TaskInfo, task_info
from dtvg.errors import DataError
from dtvg.store.reader import Experiment, Run, list_experiments, open_experiment
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.files import at_hand, find_folder, signature

Stamp = tuple[Any, ...]


def stamp(run: Run, *tables: str) -> Stamp:
    """Return what changes when a run's visible files change: the names of its part files.

    A run that was deleted and trained anew may have equal names; its folder is another one.
    """
    folder = run.path.stat().st_ino if run.path.exists() else 0
    found: list[Any] = [str(run.path), folder, run.result is not None]
    for table in tables:
        try:
            with os.scandir(run.path / table) as entries:
                found.append(tuple(sorted(e.name for e in entries if e.name[0] != ".")))
        except OSError:
            found.append(())
    return tuple(found)


def experiments() -> list[Experiment]:
    """Return all experiments, newest first, then the recorded examples; not cached."""
    return [*list_experiments(paths.runs()), *list_experiments(paths.examples())]


def experiment_paths() -> dict[str, Path]:
    """Return the folders of all experiments by name, newest first, recorded ones last."""
    found: dict[str, Path] = {}
    for root in (paths.runs(), paths.examples()):
        try:
            folders = [p for p in root.iterdir() if p.is_dir() and p.name[0] != "."]
        except OSError:
            continue
        for path in sorted(folders, key=lambda p: p.stat().st_mtime, reverse=True):
            found.setdefault(path.name, path)
    return found


def is_example(path: Path) -> bool:
    """Whether an experiment is a recorded example, which can be looked at only."""
    return path.parent == paths.examples()


def open_named(name: str) -> Experiment | None:
    """Open an experiment by name; None if there is no such folder."""
    path = experiment_paths().get(name)
    return None if path is None else open_experiment(path)


@st.cache_resource(max_entries=128, show_spinner=False)
def _drawn(key: Stamp, _draw: Callable[[], go.Figure]) -> go.Figure:
    return _draw()


def drawer(key: Stamp) -> Callable[..., go.Figure]:
    """Return what draws with a function of figures, once for all that is in the key.

    Building Plotly figures is most of what a page does when it is run again: the groups page of
    30,000 steps took 225 ms with it, 61 ms without.

    Args:
        key: everything the figures depend on: `stamp` of their runs, the theme, the order.
    """
    return lambda draw, *arguments: _drawn((draw.__name__, *key), partial(draw, *arguments))


@st.cache_resource(max_entries=64, show_spinner="Reading the groups")
def _groups(key: Stamp, _run: Run, first: int | None, last: int | None) -> GroupInfo:
    return group_info(_run, first, last)


def groups(run: Run, first: int | None = None, last: int | None = None) -> GroupInfo:
    """Return `group_info`, cached."""
    return _groups(stamp(run, "sources", "steps"), run, first, last)


@st.cache_resource(max_entries=64, show_spinner="Reading curves")
def _curves(key: Stamp, _runs: tuple[Run, ...], options: tuple[tuple[str, Any], ...]) -> CurveInfo:
    return curve_info(_runs, **dict(options))


def curves(runs: tuple[Run, ...], **options: Any) -> CurveInfo:
    """Return `curve_info`, cached."""
    key = tuple(stamp(run, "steps", "evals") for run in runs)
    return _curves(key, runs, tuple(sorted(options.items())))


@st.cache_resource(max_entries=32, show_spinner="Comparing")
def _compare(
    key: Stamp, _runs: tuple[Run, ...], split: Any, metric: str, subject: str
) -> CompareInfo:
    return compare_info(_runs, split=split, metric=metric, subject=subject)


def compare(runs: tuple[Run, ...], split: str, metric: str, subject: str) -> CompareInfo:
    """Return `compare_info`, cached."""
    key = tuple(stamp(run, "evals") for run in runs)
    return _compare(key, runs, split, metric, subject)


@st.cache_resource(max_entries=256, show_spinner=False)
def _explain(key: Stamp, _run: Run, step: int | None) -> ExplainInfo:
    return explain_step(_run, step)


def explain(run: Run, step: int | None) -> ExplainInfo:
    """Return `explain_step`, cached."""
    return _explain(stamp(run, "steps"), run, step)


@st.cache_resource(max_entries=32, show_spinner="Deciding anew")
def _replay(
    key: Stamp, _run: Run, leave_out: tuple[str, ...], options: tuple[tuple[str, Any], ...]
) -> ReplayInfo:
    return replay(_run, leave_out=leave_out, **dict(options))


def replayed(run: Run, leave_out: tuple[str, ...], **options: Any) -> ReplayInfo:
    """Return `replay`, cached."""
    return _replay(stamp(run, "steps"), run, leave_out, tuple(sorted(options.items())))


def stability(runs: tuple[Run, ...]) -> StabilityInfo:
    """Return `stability_of` the runs' cached groups."""
    return stability_of([groups(run) for run in runs])


@st.cache_resource(max_entries=32, show_spinner="Reading the task")
def _task(key: Stamp, _name: str, _folder: str | None) -> TaskInfo:
    return task_info(_name, _folder)


def task(name: str, folder: str | None) -> TaskInfo:
    """Return `task_info`, cached until a file of the task changes."""
    spec = find_task(name)
    place = find_folder(spec, folder)
    own = repr(spec.convert) if spec.described_in else ""
    key = (
        repr(spec),
        own,
        str(place),
        at_hand(spec, place),
        signature(place, spec),
        str(paths.home()),
    )
    return _task(key, name, folder)


def truth() -> Truth:
    """Return the demo's truth table; empty where the demo was never built."""
    try:
        return read_truth()
    except DataError:
        return {}


@st.cache_resource(max_entries=32, show_spinner="Comparing")
def _compare_chosen(
    key: Stamp, _runs: tuple[Run, ...], split: Split, subject: str, baselines: tuple[str, ...]
) -> CompareInfo:
    return compare_info(_runs, split, subject=subject, baselines=baselines or None)


def compare_chosen(
    runs: tuple[Run, ...], split: Split, subject: str, baselines: tuple[str, ...] = ()
) -> CompareInfo:
    """Return `compare_info`, cached; no baselines: those of the subject's own experiment."""
    key = tuple(stamp(run, "evals") for run in runs)
    return _compare_chosen(key, runs, split, subject, baselines)


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
    judged = [groups(run) for run in _runs]
    agreement = stability_of(judged).mean_jaccard if len(judged) > 1 else float("nan")
    return quality_info(judged, _runs, _everyone, truth()), agreement


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
    return _lattice(key, runs, groups(run) if run else None, target, split)


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
