"""What to train for a target: sources, settings, seeds; each with the sentence that says why.

The number of seeds is that with which a paired t test shows the wanted difference in four of five
experiments, given the spread over seeds that was recorded; where nothing was recorded, a guess is
made and called one. docs/launch.md "My target".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtvg.analysis import titles
from dtvg.analysis.claims.blocks import plain_label
from dtvg.analysis.compare.scores import SUBJECT
from dtvg.analysis.statistics import FEWEST_SEEDS, MOST_SEEDS, POWER, seeds_for_power
from dtvg.config import ExperimentConfig, build_config
from dtvg.config.presets import FEW_TARGETS, METHODS, PAPER_SOURCES, PRESETS, SHOTS, clone
from dtvg.errors import ConfigError
from dtvg.store.bank import HEALTHY, TaskPrompt, health
from dtvg.store.reader import Experiment
from dtvg.tasks.catalogue import all_tasks, find_task

ASSUMED = 3.0
"""Points: spread over seeds of a paired difference, where none was recorded."""
MOST_SOURCES = 6
TESTED = 30
"""More seeds than that are proposed to nobody without a warning."""
SMALLEST = 0.2
"""Points below which a recorded spread is not believed."""
SETTINGS = "Steps, rates and prompt are"
TAKEN = ("backbone", "prompt", "optim", "data", "evaluation", "device")
"""Groups of settings that are taken over from what the proposal begins with."""
LEVEL = "paired t test at 5 %, for this one comparison, which is declared and tested alone"
"""What a number of seeds rests on; the proposal declares the comparison."""
WITHOUT = METHODS[0]
"""The method that the proposed one is set against."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation over seeds of the difference to no transfer."""

    points: float
    seeds: int
    """How many paired runs it was computed from; 0: assumed."""
    source: str
    """Where it comes from, in words."""


@dataclass(frozen=True)
class Proposal:
    """What to train, and why."""

    values: dict[str, Any]
    """Of a configuration, complete."""
    why: tuple[str, ...]
    seeds: int | None
    """That show the effect; None: more than 1,000 would be needed."""


def spread_for(target: str, backbone: str, experiments: Sequence[Experiment]) -> Spread:
    """Return the spread over seeds to plan with: the target's own, else others', else a guess.

    Args:
        target: the task.
        backbone: the one to be trained with.
        experiments: recorded ones, the newest first.
    """
    found = [one for experiment in experiments for one in _spreads(experiment)]
    kinds: list[tuple[str, Callable[[_Found], bool]]] = [
        (f"on {target} with this backbone", lambda f: (f.target, f.backbone) == (target, backbone)),
        (f"on {target} with another backbone", lambda f: f.target == target),
        ("on other targets with this backbone", lambda f: f.backbone == backbone),
    ]
    for words, fits in kinds:
        those = [one for one in found if fits(one)]
        if those:
            weights = [one.seeds - 1 for one in those]
            pooled = float(np.sqrt(np.average([one.points**2 for one in those], weights=weights)))
            names = ", ".join(list(dict.fromkeys(f"'{one.experiment}'" for one in those))[:3])
            count = sum(one.seeds for one in those)
            return Spread(max(pooled, SMALLEST), count, f"recorded {words} in {names}")
    return Spread(
        ASSUMED,
        0,
        "a guess, since no experiment with this target or backbone has three seeds of both methods "
        "yet; run three seeds first as a pilot, then come back here",
    )


@dataclass(frozen=True)
class _Found:
    experiment: str
    target: str
    backbone: str
    points: float
    seeds: int


def _spreads(experiment: Experiment) -> list[_Found]:
    """Return the spread of each target with enough seeds of both methods.

    A method is read at its defaults, else at the first rates of its own; which these are is read
    from one run of all that it has.
    """
    scores: dict[tuple[str, str, int], float] = {}
    rows: dict[str, str] = {}
    plains: dict[str, str] = {}
    for run in experiment.runs:
        if run.method_name in (SUBJECT, WITHOUT) and run.method not in plains:
            plains[run.method] = plain_label(run)
        plain = plains.get(run.method, "")
        if run.role == "transfer" and run.test_score is not None and plain in (SUBJECT, WITHOUT):
            scores[run.target, run.method, run.seed] = 100 * run.test_score
            rows[plain] = plain if run.method == plain else rows.get(plain, run.method)
    made = []
    backbone = experiment.config.backbone.name if experiment.config else ""
    for target in dict.fromkeys(t for t, _, _ in scores):
        ours, theirs = (
            {s: v for (t, m, s), v in scores.items() if (t, m) == (target, rows.get(name))}
            for name in (SUBJECT, WITHOUT)
        )
        both = sorted(set(ours) & set(theirs))
        if len(both) >= FEWEST_SEEDS:
            sd = float(np.std([ours[s] - theirs[s] for s in both], ddof=1))
            made.append(_Found(experiment.name, target, backbone, sd, len(both)))
    return made


def propose(
    target: str,
    backbone: str,
    effect: float,
    experiments: Sequence[Experiment],
    prompts: Sequence[TaskPrompt],
    here: Callable[[str], bool],
    folder: str | None = None,
    rows: int = 0,
) -> Proposal:
    """Propose an experiment that shows whether other tasks help a target.

    Args:
        target: the task.
        backbone: its name.
        effect: difference of test scores that one wants to see, in points.
        experiments: recorded ones, the newest first.
        prompts: of the bank.
        here: whether a task's rows are on this machine.
        folder: of the data; None: the usual places.
        rows: training rows at hand, which count where no official number is known; 0: unknown.

    Raises:
        ConfigError: an unknown target, or an effect that is no positive number.
    """
    spec = find_task(target)
    if not 0 < effect <= 100:
        raise ConfigError(f"The difference to see is {effect:g}; give points above 0, to 100.")
    model = _model(target, backbone, experiments)
    values, settings = _settings(target, backbone, model, spec.split.train_rows or rows)
    sources, why_sources = _sources(target, backbone, model, prompts, here)
    spread = spread_for(target, backbone, experiments)
    needed = seeds_for_power(effect / spread.points)
    count = min(needed or TESTED, TESTED)
    methods = [m for m in METHODS if sources or m == WITHOUT]
    values |= {
        "name": f"{target}-transfer"[:80],
        "notes": f"Do other tasks help {titles.task(target)}? Planned to show {effect:g} points.",
        "sources": list(sources),
        "targets": [target],
        "methods": methods,
        "seeds": list(range(count)),
        "hypothesis": _hypothesis(target, effect) if SUBJECT in methods else {},
    }
    values["data"] = {**values.get("data", {}), "folder": folder}
    made = build_config(values, "proposal").to_values()
    return Proposal(made, (why_sources, settings, _seed_sentence(effect, spread, needed)), needed)


def _hypothesis(target: str, effect: float) -> dict[str, Any]:
    return {"better": SUBJECT, "than": WITHOUT, "on": target, "margin": effect}


def _seed_sentence(effect: float, spread: Spread, needed: int | None) -> str:
    said = (
        f"The difference between {SUBJECT} and no transfer is taken to vary by "
        f"{spread.points:.1f} points from seed to seed ({spread.source})."
    )
    power = f"{100 * POWER:.0f} % of such experiments"
    wanted = f"{effect:g} point{'' if effect == 1 else 's'}"
    if needed is None:
        return (
            f"{said} Showing {wanted} would take more than {MOST_SEEDS:,} seeds ({LEVEL}), so this "
            f"cannot be tested here; {TESTED} are proposed. Look for a larger difference."
        )
    if needed > TESTED:
        return (
            f"{said} {needed} seeds would show {wanted} in {power} ({LEVEL}); {TESTED} are "
            "proposed as a start. Name more seeds below, or look for a larger difference."
        )
    return f"{said} {needed} seeds show {wanted} in {power} ({LEVEL})."


def _model(
    target: str, backbone: str, experiments: Sequence[Experiment]
) -> ExperimentConfig | None:
    """Return the newest experiment on the target with this backbone."""
    for experiment in experiments:
        config = experiment.config
        if config and target in config.targets and config.backbone.name == backbone:
            return config
    return None


def _settings(
    target: str, backbone: str, model: ExperimentConfig | None, rows: int
) -> tuple[dict[str, Any], str]:
    """Return the values to begin with, and where they come from."""
    if model is not None:
        return _kept(clone(model)), f"{SETTINGS} those of '{model.name}', which has this target."
    demo = PRESETS["demo"].values()
    if backbone == demo["backbone"]["name"]:
        return _kept(demo), f"{SETTINGS} those of the demo, which has this backbone."
    few = target in FEW_TARGETS or 0 < rows <= 20 * SHOTS
    values = PRESETS["few-shot" if few else "paper"].values()
    values["backbone"] = {**values["backbone"], "name": backbone}
    values["data"]["few_shot"] = None
    which = "the few-shot comparison, since it has few rows" if few else "the main comparison"
    return _kept(values), f"{SETTINGS} the paper's for {which}; tune them for a new task."


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups of settings that another experiment can take over."""
    kept = {key: values[key] for key in TAKEN if key in values}
    kept["prompt"] = {**kept.get("prompt", {}), "given": {}}
    return kept


def _sources(
    target: str,
    backbone: str,
    model: ExperimentConfig | None,
    prompts: Sequence[TaskPrompt],
    here: Callable[[str], bool],
) -> tuple[tuple[str, ...], str]:
    """Return tasks to transfer from, and why these."""
    if model is not None:
        kept = tuple(s for s in model.sources if s != target)
        return kept, f"The sources are those of '{model.name}', which has this target."
    known = all_tasks()
    tuned = _tuned(backbone, prompts, known)
    family = known[target].family
    others = [name for name in known if name != target and name not in tuned]
    alike = [n for n in others if known[n].family == family and here(n)]
    published = [n for n in PAPER_SOURCES if n in others and n not in alike and here(n)]
    found = [n for n in (*tuned, *alike, *published) if n != target and here(n)]
    found = list(dict.fromkeys(found))[:MOST_SOURCES]
    if not found:
        return (), (
            "No other task has its rows on this machine, so there is nothing to transfer from yet: "
            "name a data folder, or add tasks."
        )
    parts = {
        "have a prompt in the bank already": [n for n in found if n in tuned],
        f"are of the same family ({family})": [n for n in found if n in alike],
        "are sources of the paper": [n for n in found if n in published],
    }
    said = "; ".join(f"{', '.join(names)} {why}" for why, names in parts.items() if names)
    return tuple(found), f"Of the tasks with rows on this machine, {said}."


def _tuned(
    backbone: str, prompts: Sequence[TaskPrompt], known: Mapping[str, object]
) -> tuple[str, ...]:
    """Return the tasks whose prompts for this backbone learned something, the best first."""
    fine = [
        p for p in prompts if p.backbone == backbone and p.task in known and health(p) == HEALTHY
    ]
    best = sorted(fine, key=lambda p: -(p.score or 0.0))
    return tuple(dict.fromkeys(p.task for p in best))
