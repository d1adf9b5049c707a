"""What pages read, remembered until the files behind it change.

There is one way to remember: `remember` keeps a function's results, the newest few, under a key
made of its arguments. A run among them stands for the state of its files, so a result is made
again when a file appears, goes or is replaced, and never only because time passed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache, partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dtvg import paths
from dtvg.analysis import sources
from dtvg.analysis.claims.helped import HelpedInfo, helped_info
from dtvg.analysis.claims.info import ClaimsInfo, claims_info
from dtvg.analysis.compare.confdiff import run_diff
from dtvg.analysis.compare.disagreements import DisagreementInfo, disagreement_info
from dtvg.analysis.compare.examples import input_texts
from dtvg.analysis.compare.info import CompareInfo, Split, compare_info
from dtvg.analysis.compare.references import of_target
from dtvg.analysis.run.about import AboutInfo
from dtvg.analysis.run.about import about as about_run
from dtvg.analysis.run.all_rules import all_rules
from dtvg.analysis.run.curves import CurveInfo, curve_info
from dtvg.analysis.run.explain import explain_step
from dtvg.analysis.run.groups import group_info, memberships, shares_of
from dtvg.analysis.run.pair import PairInfo, pair_info
from dtvg.analysis.run.relations import relation_info
from dtvg.analysis.run.replay import ReplayInfo, replay
from dtvg.analysis.run.stability import StabilityInfo, stability_of
from dtvg.analysis.run.story import StoryInfo, story_info
from dtvg.analysis.run.trajectory import TrajectoryInfo, trajectory_info
from dtvg.analysis.subsets.beside import Beside
from dtvg.analysis.subsets.beside import beside as stand_beside
from dtvg.analysis.subsets.lattice import LatticeInfo, lattice_info
from dtvg.analysis.subsets.quality import (
    QualityInfo,
    Truth,
    best_subset,
    quality_info,
    read_truth,
    right_sets,
)
from dtvg.analysis.subsets.transfer import (
    TransferInfo,
    surrogate_info,
    transfer_info,
)
from dtvg.analysis.tasks import TaskInfo, task_info
from dtvg.analysis.unread import MET
from dtvg.errors import DataError
from dtvg.records import TABLES
from dtvg.store.layout import is_foreign
from dtvg.store.reader import Experiment, Run, list_experiments, open_experiment
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.sources import at_hand, find_folder, signature

P = ParamSpec("P")
T = TypeVar("T")
Stamp = tuple[Any, ...]
EVERY_TABLE = tuple(TABLES)


def stamp(run: Run, *tables: str) -> Stamp:
    """Return what changes when a run's visible files change: the names of its part files.

    A run that was deleted and trained again may have equal names, and its folder the inode of the
    old one; its result, or where it has none its provenance, was written at another time.

    Args:
        run: its folder is looked at, not what was read from it.
        tables: which tables count; none: only whether the run has a result.
    """
    place = str(run.path)  # names as text: pages ask of hundreds of runs
    once = "provenance.json" if run.result is None else "result.json"
    try:
        noted = os.stat(f"{place}/{once}")
        written: Stamp = (noted.st_ino, noted.st_mtime_ns, noted.st_size)
    except OSError:
        written = ()
    found: list[Any] = [place, written, run.result is not None]
    for table in tables:
        try:
            names = sorted(n for n in os.listdir(f"{place}/{table}") if n[0] != ".")
            found.append(tuple(names))
            if place in MET:  # a file that is mended keeps its name
                files = [os.stat(f"{place}/{table}/{n}") for n in names]
                found.append(tuple((one.st_size, one.st_mtime_ns) for one in files))
        except OSError:
            found.append(())
    return tuple(found)


def _part_of_key(value: Any, reads: Sequence[str]) -> Hashable:
    """Return what stands for an argument in a key."""
    if isinstance(value, Run):
        return stamp(value, *reads)
    if isinstance(value, tuple):
        return tuple(_part_of_key(one, reads) for one in value)
    return value  # type: ignore[no-any-return]


def remember(
    entries: int,
    spinner: str | bool = False,
    reads: Sequence[str] = EVERY_TABLE,
    key: Callable[..., Hashable] | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep the results of a function until what they were made from changes.

    Args:
        entries: results kept at most; the one made longest ago goes first.
        spinner: what a page says while a result is made.
        reads: the tables of a run that the function reads, all of them (a test holds each
            function to it).
        key: from the arguments to what a result depends on, where that is more than runs and
            plain values.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        def make(place: Hashable, _make: Callable[[], T]) -> T:
            return _make()

        # streamlit tells the stores of functions apart by their qualified names
        make.__qualname__ = f"remembered.{function.__module__}.{function.__qualname__}"
        kept = st.cache_resource(max_entries=entries, show_spinner=spinner)(make)

        @wraps(function)
        def ask(*arguments: P.args, **options: P.kwargs) -> T:
            if key is not None:
                place = key(*arguments, **options)
            else:
                place = _part_of_key((*arguments, *sorted(options.items())), reads)
            # streamlit takes a nested key apart value by value, a third of a page's first second
            return kept(repr(place), partial(function, *arguments, **options))

        return ask

    return decorate


def once(entries: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what is laid out from an Info: an Info is one object as long as its files stay."""
    return lru_cache(maxsize=entries)  # type: ignore[return-value]


def experiments() -> list[Experiment]:
    """Return all experiments, newest first, then the recorded examples by name; not cached."""
    recorded = sorted(list_experiments(paths.examples()), key=lambda made: made.name)
    return [*list_experiments(paths.runs()), *recorded]


def experiment_paths() -> dict[str, Path]:
    """Return the folders of all experiments by name, newest first; recorded ones last, by name.

    When the files of a recorded example were written says only when they were installed.
    """
    made = sorted(_folders(paths.runs()), key=_newest_first)
    found: dict[str, Path] = {}
    for path in (*made, *sorted(_folders(paths.examples()))):
        found.setdefault(path.name, path)
    return found


def _folders(root: Path) -> list[Path]:
    try:
        found = [p for p in root.iterdir() if p.is_dir() and p.name[0] != "."]
    except OSError:
        return []
    return [path for path in found if not is_foreign(path)]


def _newest_first(path: Path) -> tuple[bool, float]:
    """Order folders by age, but those of somebody else come last."""
    try:
        return not is_experiment(path), -path.stat().st_mtime
    except OSError:
        return True, 0.0


def is_experiment(path: Path) -> bool:
    """Whether a folder among the experiments is one, not somebody else's or one that is damaged."""
    return os.path.exists(path / "experiment.yaml")  # False where it may not be looked into


def is_example(path: Path) -> bool:
    """Whether an experiment is a recorded example, which can be looked at only."""
    return path.parent == paths.examples()


def open_named(name: str) -> Experiment | None:
    """Open an experiment by name; None if there is no such folder."""
    path = experiment_paths().get(name)
    return None if path is None else open_experiment(path)


@remember(128, key=lambda key, draw: key)
def _drawn(key: Stamp, draw: Callable[[], go.Figure]) -> go.Figure:
    return draw()


def drawer(key: Stamp) -> Callable[..., go.Figure]:
    """Return what draws with a function of figures, once for all that is in the key.

    Building Plotly figures is most of what a page does when it is run again: the groups page of
    30,000 steps took 225 ms with it, 61 ms without.

    Args:
        key: everything the figures depend on: `stamp` of their runs, the theme, the order.
    """
    return lambda draw, *arguments: _drawn((draw.__name__, *key), partial(draw, *arguments))


groups = remember(64, "Reading the groups", ("steps", "sources", "evals", "events"))(group_info)
shares = remember(32, reads=("sources",))(shares_of)
explain = remember(256, False, ("steps", "sources", "events"))(explain_step)
relations = remember(32, False, ("relations", "exchanges"))(relation_info)
diff = remember(32, False, ())(run_diff)
surrogate = remember(32, False, ())(surrogate_info)
texts = remember(16, "Reading the examples", ("predictions",))(input_texts)


def _of_right(everyone: tuple[Run, ...], target: str, sources: tuple[str, ...]) -> Hashable:
    scored = tuple(
        (r.name, r.subset, r.result and r.result.validation_score)
        for r in everyone
        if r.target == target
    )
    return str(everyone[0].path.parent) if everyone else "", scored, target, sources


@remember(64, False, key=_of_right)
def right(
    everyone: tuple[Run, ...], target: str, sources: tuple[str, ...]
) -> Mapping[str, frozenset[str]]:
    """Return the sets of sources that are right for a target, as far as they are known."""
    return right_sets(best_subset(everyone, target), target, sources, truth())


def beside(run: Run, everyone: tuple[Run, ...]) -> Beside:
    """Return the marks and right sets of a run; `everyone` are the runs of its experiment."""
    info = groups(run)
    found = right(everyone, run.target, info.sources)
    return _beside(run, tuple(found.items()))


@remember(64, False, ("sources", "steps", "evals", "events"))
def _beside(run: Run, found: tuple[tuple[str, frozenset[str]], ...]) -> Beside:
    return stand_beside(run, groups(run), dict(found))


@remember(64, False, ("steps", "sources", "evals", "events"))
def source_health(run: Run) -> pd.DataFrame:
    """Return `analysis.sources.source_health`, with how far weak sources count."""
    return sources.source_health(run, groups(run))


@remember(64, "Telling the run", ("steps", "sources", "evals", "events"))
def story(run: Run, others: tuple[Run, ...] = ()) -> StoryInfo:
    """Return `story_info`; `others` are the runs of other seeds."""
    return story_info(run, groups(run), memberships(others))


def _run_and_scores(run: Run, everyone: tuple[Run, ...] = ()) -> Hashable:
    """Return what changes when a run or any score of its experiment does."""
    return stamp(run, "events", "predictions"), run, tuple(other.result for other in everyone)


@remember(64, False, key=lambda run, everyone=(): repr(_run_and_scores(run, everyone)))
def about(run: Run, everyone: tuple[Run, ...] = ()) -> AboutInfo:
    """Return `about` of a run; `everyone` are the runs of its experiment."""
    return about_run(run, everyone)


def reference(run: Run) -> list[tuple[str, float]]:
    """Return name and score of the lines in a chart of a run's validation scores."""
    return of_target((run,), run.target).lines


@remember(32, "Setting side by side", ("steps", "sources", "evals", "events"))
def pair(a: Run, b: Run, names: tuple[str, str]) -> PairInfo:
    """Return `pair_info` of two runs."""
    return pair_info(groups(a), groups(b), names)


@remember(64, "Reading curves", ("steps", "evals"))
def curves(runs: tuple[Run, ...], **options: Any) -> CurveInfo:
    """Return `curve_info`."""
    return curve_info(runs, **options)


@remember(32, "Comparing")
def compare(
    runs: tuple[Run, ...],
    split: Split,
    subject: str,
    baselines: tuple[str, ...] = (),
    metric: str = "score",
) -> CompareInfo:
    """Return `compare_info`; no baselines: those of the subject's own experiment."""
    return compare_info(runs, split, metric=metric, subject=subject, baselines=baselines or None)


@remember(16, "Testing the claims", ("steps", "sources", "predictions", "evals"))
def claims(runs: tuple[Run, ...]) -> ClaimsInfo:
    """Return `claims_info`."""
    return claims_info(runs)


@remember(16, "Gathering groups and gains", ("steps", "sources", "evals"))
def helped(runs: tuple[Run, ...]) -> HelpedInfo:
    """Return `helped_info`."""
    return helped_info(runs)


@remember(32, "Deciding again", ("steps", "sources"))
def replayed(run: Run, leave_out: tuple[str, ...], **options: Any) -> ReplayInfo:
    """Return `replay`."""
    return replay(run, leave_out=leave_out, **options)


@remember(32, "Deciding by every rule", ("steps", "sources"))
def rules(
    run: Run, leave_out: tuple[str, ...], settings: tuple[tuple[str, Any], ...]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return `all_rules` with these settings of the rule."""
    return all_rules(run, leave_out, **dict(settings))


@remember(32, False, ("steps",))
def trajectory(run: Run) -> TrajectoryInfo:
    """Return `trajectory_info`."""
    return trajectory_info(run)


@remember(16, "Comparing the seeds", ("sources",))
def stability(runs: tuple[Run, ...]) -> StabilityInfo:
    """Return `stability_of` the runs."""
    return stability_of(memberships(runs))


def _files_of_task(name: str, folder: str | None) -> Hashable:
    """Return what changes when a task's description or a file of it changes."""
    spec = find_task(name)
    place = find_folder(spec, folder)
    own = repr(spec.convert) if spec.described_in else ""
    there = (str(place), at_hand(spec, place), signature(spec, place))
    return (repr(spec), own, *there, folder, str(paths.home()))


@remember(32, "Reading the task", key=_files_of_task)
def task(name: str, folder: str | None) -> TaskInfo:
    """Return `task_info`."""
    return task_info(name, folder)


def truth() -> Truth:
    """Return the demo's truth table; empty where the demo was never built."""
    try:
        return read_truth()
    except DataError:
        return {}


@remember(32, "Measuring what sources add", ("evals",))
def transfer(runs: tuple[Run, ...], split: str) -> TransferInfo:
    """Return `transfer_info`."""
    return transfer_info(runs, split, truth())


@remember(32, "Judging the groups", ("steps", "sources", "evals", "events"))
def quality(runs: tuple[Run, ...], everyone: tuple[Run, ...]) -> tuple[QualityInfo, float]:
    """Return `quality_info` and how much the seeds agree (mean Jaccard).

    Args:
        runs: seeds of one method on one target.
        everyone: all runs of the experiment on that target.
    """
    found = [groups(run) for run in runs]
    logged = [info for info in found if len(info.steps)]
    agreement = stability_of(logged).mean_jaccard if len(logged) > 1 else float("nan")
    return quality_info(found, runs, everyone, truth()), agreement


@remember(64, False, ("steps", "sources", "evals", "events"))
def lattice(runs: tuple[Run, ...], target: str, run: Run | None, split: str) -> LatticeInfo:
    """Return `lattice_info`; `run` is the one whose walk is drawn."""
    walk = groups(run) if run else None
    return lattice_info(runs, target, walk if walk and len(walk.steps) else None, split)


@remember(32, "Matching answers", ("predictions", "evals"))
def disagreements(
    pairs: tuple[tuple[Run, Run], ...], a: str, b: str, split: str
) -> DisagreementInfo:
    """Return `disagreement_info`."""
    return disagreement_info(pairs, a, b, split)
