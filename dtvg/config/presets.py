"""What an experiment can start from: the demo, the paper's settings, few examples, another run.

A preset is plain values as they stand in YAML, so the launch form and anyone's file begin
alike. arXiv 2503.18063, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from dtvg import paths
from dtvg.config.budgets import unnamed
from dtvg.config.experiment import ExperimentConfig, RunConfig
from dtvg.config.rates import settings_of
from dtvg.config.reading import build, build_config, load_config
from dtvg.errors import ConfigError

PAPER_SOURCES = ("mnli", "qnli", "qqp", "sst2", "squad", "record")
PAPER_TARGETS = ("mrpc", "cola", "rte", "stsb", "multirc", "boolq", "wic", "wsc", "cb")
FEW_TARGETS = ("boolq", "cb", "scitail")
METHODS = ("none", "spot", "all_sources", "dtvg")
SHOTS = 16
ABLATION_TARGETS = ("rte", "cb", "mrpc")
ABLATIONS: tuple[dict[str, Any], ...] = (
    {"rule": "similarity_only"},
    {"rule": "consistency_only"},
    {"rule": "fixed"},
    {"scale_activation": "sigmoid"},
    {"scale_activation": "relu"},
)
"""Settings of `dtvg` that the paper takes apart."""
CONTROLS: tuple[dict[str, Any], ...] = (
    {"rule": "random"},
    {"rule": "largest"},
    {"rule": "farthest"},
    {"shuffled": True},
    {"regroup_every": 100},
    {"regroup_every": 100, "schedule": "random"},
    {"init_only": True},
    {"nonnegative_scale": True},
)
"""Settings of `dtvg` that take one thing away (docs/method.md "Controls")."""


@dataclass(frozen=True)
class Preset:
    """A named start of a configuration."""

    name: str
    title: str
    summary: str
    values: Callable[[], dict[str, Any]]


def demo() -> dict[str, Any]:
    """Return the demo experiment: embedded backbone and tasks of known relatedness."""
    return load_config(paths.demo() / "experiment.yaml").model_dump(mode="json")


def demo_full() -> dict[str, Any]:
    """Return the demo experiment with all rows of its targets."""
    values = demo()
    values["data"]["few_shot"] = None
    notes = "The demo with all rows of its targets: every method is near the ceiling."
    return {**values, "name": "demo-full", "notes": notes}


def paper() -> dict[str, Any]:
    """Return the paper's main comparison."""
    return _complete(
        {
            "name": "paper",
            "notes": "T5-base, six sources, GLUE and SuperGLUE targets, the paper's budget.",
            "backbone": "google-t5/t5-base",
            "sources": list(PAPER_SOURCES),
            "targets": list(PAPER_TARGETS),
            "methods": list(METHODS),
        }
    )


def few_shot() -> dict[str, Any]:
    """Return the paper's few-shot comparison: k rows of each target."""
    return _complete(
        {
            "name": "few-shot",
            "notes": f"Targets with {SHOTS} examples, as in the paper's few-shot table.",
            "backbone": "google-t5/t5-base",
            "sources": list(PAPER_SOURCES),
            "targets": list(FEW_TARGETS),
            "methods": list(METHODS),
            "optim": {"steps": 1000},
            "evaluation": {"every": 100},
            "data": {"few_shot": SHOTS},
        }
    )


def ablations() -> dict[str, Any]:
    """Return DTVG with the paper's ablations and all controls, on three small targets."""
    return _complete(
        {
            "name": "ablations",
            "notes": "DTVG, the paper's ablations of it, and controls (docs/method.md).",
            "backbone": "google-t5/t5-base",
            "sources": list(PAPER_SOURCES),
            "targets": list(ABLATION_TARGETS),
            "methods": [
                "none",
                "target_only",
                "all_sources",
                "spot",
                "dtvg",
                *({"name": "dtvg", **settings} for settings in (*ABLATIONS, *CONTROLS)),
            ],
        }
    )


PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            "demo",
            "Demo",
            "A tiny T5, readable tasks of known relatedness, 16 rows of each target; everything "
            "is included.",
            demo,
        ),
        Preset(
            "demo-full",
            "Demo, all rows",
            "The demo with all rows of its targets, where hardly anything is left to transfer.",
            demo_full,
        ),
        Preset(
            "ablations",
            "Ablations",
            "DTVG with the paper's ablations and controls, such as random groups of the same size.",
            ablations,
        ),
        Preset(
            "few-shot",
            "Few-shot",
            f"Targets with {SHOTS} examples, as in the paper's few-shot table.",
            few_shot,
        ),
        Preset(
            "paper",
            "Paper",
            "T5-base, prompts of 100 tokens, 30,000 steps a run, six sources: a GPU's work.",
            paper,
        ),
    )
}


def clone(
    config: ExperimentConfig | RunConfig, of: ExperimentConfig | None = None
) -> dict[str, Any]:
    """Return the values that repeat an experiment, or one run of it.

    Args:
        config: as stored with the experiment or the run.
        of: the run's experiment, which knows Stage I's rates where the run's entry gives others,
            and the sources of runs that it exchanges with; these are repeated too.

    Raises:
        ConfigError: a Stage I run, which is made by experiments and is none by itself.
    """
    values = config.to_values()
    if isinstance(config, ExperimentConfig):
        return values
    if config.role != "transfer":
        raise ConfigError(
            f"'{config.name}' is a Stage I run, which every experiment tunes by itself; clone the "
            "whole experiment, or one of its transfer runs."
        )
    kept = {key: values[key] for key in ExperimentConfig.model_fields if key in values}
    named = {} if of is None else _named_beside(config, of)
    kept["optim"] |= {**dict.fromkeys(unnamed(config, named)), **named}
    allow = config.target in config.sources
    targets = [config.target, *config.method.exchanges_with(config.target)]
    if of is not None and len(targets) > 1:  # the others may have sources that this one has not
        kept["sources"], allow = list(of.sources), of.allow_self
    method = config.method
    lacks = config.target in method.named_sources() or (method.uses_sources and not config.sources)
    if lacks and not allow:  # the target was among the sources, and is left out of them here too
        kept["sources"] = [*kept["sources"], config.target]
    kept["prompt"]["given"] = _given_to(config, (*targets, *kept["sources"]))
    return _valid(
        {
            **kept,
            "name": config.experiment,
            "notes": f"As run {config.name} of {config.experiment}.",
            "targets": targets,
            "methods": [values["method"]],
            "seeds": [config.seed],
            "allow_self": allow,
        }
    )


def _given_to(run: RunConfig, tasks: Collection[str]) -> dict[str, str]:
    """Return the given prompts of some tasks: a run has of the others their initial prompt alone.

    Where there are only others they stay, since another initial prompt gives other numbers.
    """
    given = run.prompt.given
    return {task: key for task, key in given.items() if task in tasks} or dict(given)


def _named_beside(run: RunConfig, of: ExperimentConfig) -> dict[str, Any]:
    """Return the settings of `optim` that an experiment names and a run's entry gives otherwise."""
    settings = [
        s for what, s in settings_of(run.method).items() if run.rates_from.get(what) == "entry"
    ]
    return {name: getattr(of.optim, name) for name in settings if name in of.optim.model_fields_set}


def _valid(values: dict[str, Any]) -> dict[str, Any]:
    return build(ExperimentConfig, values, "clone", stored=True).to_values()


def _complete(values: dict[str, Any]) -> dict[str, Any]:
    return build_config(values, "preset").model_dump(mode="json")
