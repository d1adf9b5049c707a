"""Configurations: the SAME frozen object is form, YAML, command line, stored copy, fingerprint.

`ExperimentConfig` describes targets × methods × seeds over one set of sources and expands to
one `RunConfig` per run. `reading` makes it from YAML and says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dtvg.config.sections import (
    BackboneConfig,
    DataConfig,
    DeviceConfig,
    EvaluationConfig,
    LoggingConfig,
    Name,
    OptimConfig,
    PromptConfig,
    Section,
)
from dtvg.errors import unknown
from dtvg.methods.specs import STAGE_ONE, AnyMethod, MethodConfig, Needs, Role

MISFIT = "settings_do_not_fit"
"""Pydantic's type of the errors that bring their own place and whole sentence."""

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]


def _no_duplicates(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [v for i, v in enumerate(values) if v in values[:i]]
    if repeated:
        shown = getattr(repeated[0], "label", repeated[0])
        raise ValueError(f"'{shown}' is listed twice; list each entry once")
    return values


def _misfit(sentence: str, *place: str | int) -> PydanticCustomError:
    """Return the error of settings that do not fit together, shown at one of them."""
    return PydanticCustomError(MISFIT, "{sentence}", {"sentence": sentence, "place": place})


def _backbone_from_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class _Shared(Section):
    """The sections that an experiment hands to each of its runs unchanged."""

    backbone: Annotated[BackboneConfig, BeforeValidator(_backbone_from_name)] = BackboneConfig()
    prompt: PromptConfig = PromptConfig()
    optim: OptimConfig = OptimConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()
    device: DeviceConfig = DeviceConfig()

    def fingerprint(self) -> str:
        """Return 16 hex digits that identify this configuration's content."""
        return fingerprint(self.model_dump(mode="json"))

    def to_yaml(self) -> str:
        """Return this configuration as YAML that loads back to an equal object."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class RunConfig(_Shared):
    """One run: one target, one method, one seed (or one Stage I tuning)."""

    experiment: Name
    name: Name
    role: Literal["transfer", "stage1", "mixture"] = Field(
        "transfer",
        description="A transfer run, a Stage I tuning of `target`, or of a mixture of `sources`.",
    )
    sources: tuple[Name, ...] = ()
    target: Name
    method: AnyMethod
    seed: Seed

    @property
    def init_seed(self) -> int:
        """Seed of the initial prompt this run starts from."""
        return self.seed if self.prompt.init_seed is None else self.prompt.init_seed

    @property
    def total_steps(self) -> int:
        """Optimiser steps of this run."""
        if self.role != "transfer":
            return self.optim.stage1_steps
        return self.method.steps(self.optim.stage1_steps, self.optim.steps)

    @property
    def needs(self) -> Needs:
        """What must be there before this run can start."""
        few_shot = self.data.few_shot is not None
        return self.method.needs(self.sources, self.target, few_shot)

    @property
    def full_role(self) -> Role:
        """What this run is for in a comparison."""
        if self.role == "transfer":
            return self.method.role_of(self.method.trial)
        return Role.MIXTURE if self.role == "mixture" else Role.STAGE_ONE


class ExperimentConfig(_Shared):
    """Targets × methods × seeds over one set of sources."""

    name: Name = Field("experiment", description="Name of the experiment and of its folder.")
    notes: str = Field("", description="What this experiment is for.")
    sources: Annotated[tuple[Name, ...], AfterValidator(_no_duplicates)] = Field(
        (), description="Source tasks, in the order used everywhere."
    )
    targets: Annotated[tuple[Name, ...], AfterValidator(_no_duplicates)] = Field(
        min_length=1, description="Target tasks."
    )
    methods: Annotated[tuple[AnyMethod, ...], AfterValidator(_no_duplicates)] = Field(
        min_length=1, description="Transfer methods to compare."
    )
    seeds: Annotated[tuple[Seed, ...], AfterValidator(_no_duplicates)] = Field(
        (0, 1, 2), min_length=1, description="Run seeds; verdicts pair runs by seed."
    )
    allow_self: bool = Field(
        False, description="Keep a source that is the target task itself (it is normally left out)."
    )

    @model_validator(mode="after")
    def _methods_fit_sources(self) -> Self:
        for row, method in enumerate(self.methods):
            if method.uses_sources and not self.sources:
                raise _misfit(
                    f"Method '{method.label}' needs sources, but 'sources' is empty; list at "
                    "least one.",
                    "sources",
                )
            for name in method.named_sources():
                if name not in self.sources:
                    what = f"source of method '{method.name}'"
                    step = "Add it to 'sources' first."
                    raise _misfit(unknown(what, name, self.sources, step), "methods", row)
        return self

    @model_validator(mode="after")
    def _given_prompts_are_used(self) -> Self:
        known = (*self.sources, *self.targets)
        for task in self.prompt.given:
            if task not in known:
                raise _misfit(unknown("task of prompt.given", task, known), "prompt", "given")
        return self

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Return the sources of `target`: all but itself, unless `allow_self`."""
        return tuple(s for s in self.sources if self.allow_self or s != target)

    def methods_of(self, target: str) -> tuple[AnyMethod, ...]:
        """Return the methods run on `target`, each expanded to what it stands for there."""
        sources = self.sources_of(target)
        expanded = [one for method in self.methods for one in method.expand(sources)]
        return tuple(dict.fromkeys(expanded))

    def runs(self) -> tuple[RunConfig, ...]:
        """Expand to the transfer runs: target by target, seed by seed, method by method."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        runs = []
        for target in self.targets:
            for seed in self.seeds:
                for method in self.methods_of(target):
                    sources = method.takes(self.sources_of(target))
                    name = run_name(target, method.label, seed)
                    runs.append(
                        RunConfig(
                            experiment=self.name,
                            name=name,
                            sources=sources,
                            target=target,
                            method=method,
                            seed=seed,
                            **shared,
                        )
                    )
        return tuple(runs)

    def stage_one(self, task: str, seed: int, few_shot: bool = False) -> RunConfig:
        """Return the Stage I run that tunes `task` for `seed`, as a few-shot target or whole."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        label = f"{task}-k{self.data.few_shot}" if few_shot else task
        if not few_shot:
            shared["data"] = self.data.model_copy(update={"few_shot": None})
        return RunConfig(
            experiment=self.name,
            name=run_name("stage1", label, seed),
            role="stage1",
            target=task,
            method=STAGE_ONE,
            seed=seed,
            **shared,
        )

    def mixture(
        self, sources: tuple[str, ...], seed: int, method: MethodConfig | None = None
    ) -> RunConfig:
        """Return the Stage I run on the mixture of `sources` that tunes one prompt, or `method`."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        shared["data"] = self.data.model_copy(update={"few_shot": None})
        method = method or STAGE_ONE
        label = f"mixture-{fingerprint(sources)[:6]}"
        if method != STAGE_ONE:
            content = [sources, method.model_dump(mode="json")]
            label = f"{method.name}-{fingerprint(content)[:6]}"
        return RunConfig(
            experiment=self.name,
            name=run_name("stage1", label, seed),
            role="mixture",
            sources=sources,
            target=label,
            method=method,
            seed=seed,
            **shared,
        )


def run_name(target: str, label: str, seed: int) -> str:
    """Compose a run's name from its parts, within the 80 characters a name may have."""
    tail = f".s{seed}"
    stem = f"{target}.{label}"
    if len(stem) + len(tail) > 80:
        stem = f"{stem[: 80 - len(tail) - 7]}-{fingerprint(stem)[:6]}"
    return stem + tail


def fingerprint(content: Any) -> str:
    """Return 16 hex digits of the SHA-256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
