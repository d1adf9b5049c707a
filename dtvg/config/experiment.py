"""Configurations: the SAME frozen object is form, YAML, command line, stored copy, fingerprint.

`ExperimentConfig` describes targets × methods × seeds over one set of sources and expands to
one `RunConfig` per run. Unknown keys are refused with the nearest match. Must not import
torch or streamlit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

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
from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import METHODS, AllForOne, AnyMethod, MethodConfig, PromptTuning
from dtvg.names import NAME_PATTERN, NAME_RULE

Seed = Annotated[int, Field(ge=0)]


def _no_duplicates(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [v for i, v in enumerate(values) if v in values[:i]]
    if repeated:
        shown = getattr(repeated[0], "label", repeated[0])
        raise ValueError(f"'{shown}' is listed twice; list each entry once")
    return values


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
        """Optimiser steps of this run.

        `all_for_one` has no target Stage I, so it gets both budgets on the target: every
        row of a comparison has seen the same number of target steps.
        """
        if self.role != "transfer":
            return self.optim.stage1_steps
        if isinstance(self.method, AllForOne):
            return self.optim.stage1_steps + self.optim.steps
        return self.optim.steps


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
        False, description="Keep a source that is the target task itself (normally left out)."
    )

    @model_validator(mode="after")
    def _methods_fit_sources(self) -> Self:
        for method in self.methods:
            if method.uses_sources and not self.sources:
                raise ValueError(
                    f"method '{method.label}' needs sources and 'sources' is empty; list some"
                )
            for name in method.named_sources():
                if name not in self.sources:
                    raise ValueError(
                        unknown(
                            f"source of method '{method.name}'",
                            name,
                            self.sources,
                            "Add it to 'sources' first.",
                        )
                    )
        return self

    @model_validator(mode="after")
    def _given_prompts_are_used(self) -> Self:
        for task in self.prompt.given:
            if task not in (*self.sources, *self.targets):
                known = (*self.sources, *self.targets)
                raise ValueError(unknown("task of prompt.given", task, known))
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
            method=PromptTuning(),
            seed=seed,
            **shared,
        )

    def mixture(
        self, sources: tuple[str, ...], seed: int, method: MethodConfig | None = None
    ) -> RunConfig:
        """Return the Stage I run on the mixture of `sources` that tunes one prompt, or `method`."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        shared["data"] = self.data.model_copy(update={"few_shot": None})
        method = method or PromptTuning()
        label = f"mixture-{fingerprint(sources)[:6]}"
        if not isinstance(method, PromptTuning):
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


def build_config(values: dict[str, Any], where: str = "configuration") -> ExperimentConfig:
    """Build an experiment configuration from plain values.

    Args:
        values: nested mappings as they stand in YAML.
        where: what to call the origin in messages, e.g. a file name.

    Raises:
        ConfigError: with one sentence per problem: key, what was given, what is allowed.
    """
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(error, ExperimentConfig, where)) from None


def load_config(path: str | Path, overrides: tuple[str, ...] | list[str] = ()) -> ExperimentConfig:
    """Read an experiment configuration from YAML, then apply `a.b=value` overrides.

    Args:
        path: a YAML file with the fields of `ExperimentConfig`.
        overrides: settings that win over the file, e.g. `optim.steps=300`; values are YAML.

    Raises:
        ConfigError: if the file is absent, is no YAML mapping, or holds something not allowed.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file '{path}'. Check the path, or start from "
            "data/demo/experiment.yaml."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' cannot be read as text ({error}); give a YAML file.") from None
    except yaml.YAMLError as error:
        first = " ".join(str(error).split())
        raise ConfigError(f"'{path}' is not valid YAML: {first}") from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"'{path}' holds {type(values).__name__}, not a mapping of settings; a configuration "
            "starts with lines such as 'targets: [rte]'."
        )
    for override in overrides:
        apply_override(values, override)
    return build_config(values, str(path))


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in `values` from text such as `optim.steps=300`.

    Raises:
        ConfigError: if the text has no `=` or walks through a value that is no mapping.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"Override '{override}' has no '='; write it as optim.steps=300.")
    *parents, last = key.strip().split(".")
    place: Any = values
    for parent in parents:
        child = place.setdefault(parent, {})
        if isinstance(child, str) and parent == "backbone":
            child = place[parent] = {"name": child}
        if not isinstance(child, dict):
            raise ConfigError(f"Override '{override}': '{parent}' is not a group of settings.")
        place = child
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        place[last] = text


class Problem(NamedTuple):
    """One thing a configuration's author has to change."""

    place: tuple[str | int, ...]
    """Keys down to the setting, a method's tag left out; empty: the whole."""
    sentence: str


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Turn pydantic's errors into sentences: key, got, allowed, nearest match."""
    return f"{where}: " + " ".join(problem.sentence for problem in problems(error, model))


def problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return pydantic's errors with their places: what a form shows beside a setting."""
    found = []
    for item in error.errors():
        place = tuple(part for part in item["loc"] if str(part) not in METHODS)
        sentence = _sentence(item, model, [str(part) for part in place])
        found.append(Problem(place, sentence.replace("..", ".")))
    return found


_WORDS = {
    "int_parsing": "give a whole number",
    "int_type": "give a whole number",
    "int_from_float": "give a whole number",
    "float_parsing": "give a number",
    "float_type": "give a number",
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "string_type": "give text",
    "dict_type": "give a mapping such as {name: value}",
    "tuple_type": "give a list such as [one, two]",
    "too_short": "list at least one",
}
"""What to give, by pydantic's kind of error; its own words are about parsing."""


def _sentence(item: Any, model: type[BaseModel], location: list[str]) -> str:
    key = ".".join(location) or "the whole"
    if item["type"] == "extra_forbidden":
        return unknown("key", key, _keys_at(model, location[:-1], item["loc"]))
    if item["type"] == "missing":
        return f"'{key}' is missing; add it."
    got = item.get("input")
    if got is None:
        return f"'{key}' is empty; give it a value."
    message = _WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be").replace("String should", "must")
    if item["type"] == "string_pattern_mismatch" and NAME_PATTERN in message:
        message = NAME_RULE
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"'{key}': {message}{shown}."


def _keys_at(model: type[BaseModel], parents: list[str], loc: tuple[Any, ...]) -> list[str]:
    """Return the field names allowed where an unknown key stood."""
    for part in loc:
        if part in METHODS:
            return list(METHODS[part].model_fields)
    place: Any = model
    for parent in parents:
        field = place.model_fields.get(parent) if hasattr(place, "model_fields") else None
        if field is None:
            return []
        place = field.annotation
    return list(place.model_fields) if hasattr(place, "model_fields") else []
