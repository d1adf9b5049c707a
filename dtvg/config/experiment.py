"""Configurations: the SAME frozen object is form, YAML, command line, stored copy, fingerprint.

`ExperimentConfig` describes targets × methods × seeds over one set of sources and expands to
one `RunConfig` per run. `reading` makes it from YAML and says what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from dtvg import versions
from dtvg.config.rates import Origin, resolved
from dtvg.config.sections import (
    OPEN,
    BackboneConfig,
    DataConfig,
    DeviceConfig,
    EvaluationConfig,
    HypothesisConfig,
    LoggingConfig,
    Name,
    OptimConfig,
    PromptConfig,
    ScaleConfig,
    Section,
)
from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import STAGE_ONE, AnyMethod, MethodConfig, Needs, Role
from dtvg.methods.specs.base import STORED
from dtvg.methods.specs.rates import TUNED
from dtvg.names import check_name
from dtvg.rule.types import RULE_VERSION, RuleSettings

AVERAGE = "average"
"""What the mean over all targets is called."""
MISFIT = "settings_do_not_fit"
"""Pydantic's type of the errors that bring their own place and whole sentence."""

LATER = (
    ("optim", "equal_target_steps"),
    ("evaluation", "count_start"),
    *(("logging", name) for name in ("detail", "detail_of", "full_seeds", "thin_every")),
)
"""Settings that came later: at their defaults they leave a fingerprint as it was."""

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

    def to_values(self) -> dict[str, Any]:
        """Return this configuration as plain values that mean the same when they are read."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """Return 16 hex digits that identify this configuration's content."""
        return fingerprint(self.model_dump(mode="json"))

    def to_yaml(self) -> str:
        """Return this configuration as YAML that loads back to an equal object."""
        return yaml.safe_dump(self.to_values(), sort_keys=False, allow_unicode=True)


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
    rates_from: dict[str, Origin] = Field(
        {}, description="Where each of its rates in `optim` came from; empty: from optim."
    )
    versions: dict[str, int | str] | None = Field(
        None,
        description="What the run was recorded with, part by part; empty: as everything is today.",
    )

    @property
    def breaks_ties(self) -> bool:
        """Whether the loss decides between steps with equal scores, and the start may be left out.

        So it is since version 2 of `selection`; Stage I keeps version 1.
        """
        return self.role == "transfer" and self.version("selection") > 1

    def version(self, part: str) -> int:
        """Return the version of a numbered part that the run is trained with.

        Args:
            part: `stage_one`, `rule`, `selection`, `few_shot`, or `method.<name>` of its own
                method.
        """
        if self.versions is not None:
            return versions.number(self.versions, part)
        if part == "rule":
            return RULE_VERSION
        if part == "few_shot":
            return versions.FEW_SHOT
        if part == "selection":
            return versions.SELECTION
        return self.method.version if part.startswith("method.") else versions.STAGE_ONE

    @property
    def rule_settings(self) -> RuleSettings:
        """How its sources are ranked and grouped, in the version of the rule it was made with."""
        return replace(self.trained.grouping_settings(), version=self.version("rule"))

    @property
    def init_seed(self) -> int:
        """Seed of the initial prompt this run starts from."""
        return self.seed if self.prompt.init_seed is None else self.prompt.init_seed

    @property
    def total_steps(self) -> int:
        """Optimiser steps of this run."""
        if self.role != "transfer":
            return self.optim.stage1_steps
        optim = self.optim
        return self.trained.budget(optim.stage1_steps, optim.steps, optim.equal_target_steps)

    @property
    def target_steps(self) -> int:
        """Steps on the target that the tuned prompt has at the end of the run.

        Stage I's are among them where the prompt goes on from the target's; those of a prompt
        that the experiment was given are not known and not counted.
        """
        if self.role != "transfer":
            return self.total_steps
        before = self.trained.continues_target and self.target not in self.prompt.given
        return self.total_steps + (self.optim.stage1_steps if before else 0)

    @property
    def needs(self) -> Needs:
        """What must be there before this run can start."""
        few_shot = self.data.few_shot is not None
        return self.trained.needs(self.sources, self.target, few_shot)

    @property
    def trained(self) -> MethodConfig:
        """Its method, as the run was recorded with it."""
        return self.method.as_of(self.version(f"method.{self.method.name}"))

    @property
    def logs_sources(self) -> bool:
        """Whether its log has a Gram matrix and a row per source, if not of every step."""
        return self.method.logs_sources and self.logging.detail != "scores"

    @property
    def full_role(self) -> Role:
        """What this run is for in a comparison."""
        if self.role == "transfer":
            return self.method.role_of(self.method.trial)
        return Role.MIXTURE if self.role == "mixture" else Role.STAGE_ONE


class ExperimentConfig(_Shared):
    """Targets × methods × seeds over one set of sources."""

    name: Name = Field("experiment", description="Name of the experiment and of its folder.")
    notes: str = Field("", max_length=100_000, description="What this experiment is for.")
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
    seeds_of: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {},
        description="Methods, by name or label, that run with the first N seeds only, e.g. "
        "{oracle: 3}; others run with all.",
    )
    allow_self: bool = Field(
        False, description="Keep a source that is the target task itself (it is normally left out)."
    )
    hypothesis: HypothesisConfig = HypothesisConfig()
    scale: ScaleConfig = ScaleConfig()

    def __repr__(self) -> str:
        """Say in one line what it describes; `to_yaml` has the rest."""
        counts = [
            f"{len(values):,} {what}{'s' * (len(values) != 1)}"
            for what, values in (
                ("source", self.sources),
                ("target", self.targets),
                ("method", self.methods),
                ("seed", self.seeds),
            )
        ]
        return f"<configuration '{self.name}': {', '.join(counts)}>"

    __str__ = __repr__

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
            if method.label in [other.label for other in self.methods[:row]]:
                raise _misfit(
                    f"Two entries are both named '{method.label}', as their runs would be (a name "
                    "takes six digits of a number); leave one out, or let them differ by more.",
                    "methods",
                    row,
                )
        return self

    @model_validator(mode="after")
    def _methods_exchange_among_targets(self) -> Self:
        for row, method in enumerate(self.methods):
            for target in self.targets:
                others = method.exchanges_with(target)
                for name in others:
                    if name not in self.targets:
                        what = f"target with which method '{method.name}' shares"
                        step = "Add it to 'targets', or leave it out there."
                        raise _misfit(unknown(what, name, self.targets, step), "methods", row)
                if others and len(others) != len(self.targets) - 1:
                    left = next(t for t in self.targets if t not in (target, *others))
                    raise _misfit(
                        f"Method '{method.name}' shares among some targets, but is run on all of "
                        f"them, '{left}' too; name every target there.",
                        "methods",
                        row,
                    )
        return self

    @model_validator(mode="after")
    def _runs_have_names_of_their_own(self, info: ValidationInfo) -> Self:
        if info.context == STORED:
            return self
        joined = any("." in name or name == "none" for name in self.sources)
        for sources in {self.sources_of(target) for target in self.targets if joined}:
            labels = Counter(one.label for one in self._expanded(sources))
            twice = next((label for label, count in labels.items() if count > 1), "")
            if twice:
                raise _misfit(
                    f"Two runs would be named '{twice}', since a name joins sources by dots and "
                    "calls the empty subset 'none'; rename a source, or leave one out.",
                    "sources",
                )
        few = {f"{target}-k{self.data.few_shot}": target for target in self.targets}
        for name in few.keys() & set(self.sources) if self.data.few_shot else ():
            raise _misfit(
                f"Stage I of source '{name}' would be named as that of '{few[name]}' with "
                f"data.few_shot {self.data.few_shot}; rename one of them.",
                "sources",
            )
        return self

    @model_validator(mode="after")
    def _given_prompts_are_used(self, info: ValidationInfo) -> Self:
        if info.context == STORED:  # one run of an experiment may read none of its given prompts
            return self
        known = (*self.sources, *self.targets)
        for task in self.prompt.given:
            if task not in known:
                raise _misfit(unknown("task of prompt.given", task, known), "prompt", "given")
        return self

    @model_validator(mode="after")
    def _named_methods_are_run(self) -> Self:
        named = (("logging", "detail_of"), self.logging.detail_of), (("seeds_of",), self.seeds_of)
        if not any(names for _, names in named):
            return self
        made = [one for target in self.targets for one in self.methods_of(target)]
        made += self.methods
        known = tuple(dict.fromkeys(n for one in made for n in (one.name, one.label)))
        for place, names in named:
            for name in names:
                if name not in known:
                    what = f"method of {'.'.join(place)}"
                    raise _misfit(unknown(what, name, known), *place)
        return self

    @model_validator(mode="after")
    def _hypothesis_is_run(self) -> Self:
        told = self.hypothesis
        if not told.declared:
            return self
        if told.on != AVERAGE and told.on not in self.targets:
            known = (AVERAGE, *self.targets)
            raise _misfit(unknown("target of hypothesis.on", told.on, known), "hypothesis", "on")
        for key in ("better", "than"):
            try:
                self.row_of(getattr(told, key))
            except ConfigError as error:
                raise _misfit(f"hypothesis.{key}: {error}", "hypothesis", key) from None
        if self.row_of(told.better) == self.row_of(told.than):
            raise _misfit(
                f"hypothesis.than: '{told.than}' is hypothesis.better itself; name another method.",
                "hypothesis",
                "than",
            )
        return self

    def fingerprint(self) -> str:
        """Return 16 hex digits of the content, with the rates that methods take from elsewhere.

        What is not declared, or came later and is at its default, changes nothing.
        """
        content = self.model_dump(mode="json", exclude={"scale": True, "logging": {"mirror"}})
        if not self.hypothesis.declared:
            del content["hypothesis"]
        if not self.seeds_of:
            del content["seeds_of"]
        for group, name in LATER:
            section = getattr(self, group)
            if getattr(section, name) == type(section).model_fields[name].default:
                del content[group][name]
        own = {}
        for method in self.methods:
            optim, _ = resolved(self.optim, method.without_rates())
            if optim != self.optim:
                own[method.label] = optim.model_dump(mode="json", include=set(OPEN))
        return fingerprint({**content, "rates": own} if own else content)

    def row_of(self, method: str) -> str:
        """Return the label of the one method of this name or label.

        Raises:
            ConfigError: there is none, or the name stands for several.
        """
        targets = [self.hypothesis.on] if self.hypothesis.on in self.targets else self.targets
        found = [one for target in targets for one in self.methods_of(target)]
        labels = list(dict.fromkeys(one.label for one in found))
        if method in labels:
            return method
        named = list(dict.fromkeys(one.label for one in found if one.name == method))
        if not named:
            raise ConfigError(unknown("method of this experiment", method, labels))
        if len(named) > 1:
            several = ", ".join(named)
            raise ConfigError(f"'{method}' stands for {several}; name one of them.")
        return named[0]

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Return the sources of `target`: all but itself, unless `allow_self`."""
        return tuple(s for s in self.sources if self.allow_self or s != target)

    def methods_of(self, target: str) -> tuple[AnyMethod, ...]:
        """Return the methods run on `target`, each expanded to what it stands for there."""
        return self._expanded(self.sources_of(target))

    def _expanded(self, sources: tuple[str, ...]) -> tuple[AnyMethod, ...]:
        """Return what the methods stand for with these sources; what was tuned alike is one."""
        found: dict[MethodConfig, MethodConfig] = {}
        for one in (one for method in self.methods for one in method.expand(sources)):
            found.setdefault(one.model_copy(update={TUNED: None}), one)
        return tuple(found.values())

    def seeds_for(self, method: AnyMethod) -> tuple[int, ...]:
        """Return the seeds that a method runs with: all, or the first ones `seeds_of` says."""
        named = [self.seeds_of[n] for n in (method.label, method.name) if n in self.seeds_of]
        return self.seeds[: named[0]] if named else self.seeds

    def runs(self) -> tuple[RunConfig, ...]:
        """Expand to the transfer runs: target by target, seed by seed, method by method."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        runs = []
        for target in self.targets:
            methods = self.methods_of(target)
            rates = [resolved(self.optim, method) for method in methods]
            seeds = [self.seeds_for(method) for method in methods]
            for place, seed in enumerate(self.seeds):
                for method, (optim, came), its in zip(methods, rates, seeds, strict=True):
                    if seed not in its:
                        continue
                    sources = method.takes(self.sources_of(target))
                    name = run_name(target, method.label, seed)
                    shared["optim"] = optim
                    shared["logging"] = self.logging.of_run((method.label, method.name), place)
                    runs.append(
                        RunConfig(
                            experiment=self.name,
                            name=name,
                            sources=sources,
                            target=target,
                            method=method,
                            seed=seed,
                            rates_from=came,
                            **shared,
                        )
                    )
        return tuple(runs)

    def to_values(self) -> dict[str, Any]:
        """Return plain values; rates that were not named stay so, as null."""
        values = self.model_dump(mode="json")
        left_open = [name for name in OPEN if name not in self.optim.model_fields_set]
        values["optim"].update(dict.fromkeys(left_open))
        return values

    def _for_stage_one(self) -> dict[str, Any]:
        """Return the sections of a Stage I run, which keeps everything: others start from it."""
        shared = {key: getattr(self, key) for key in _Shared.model_fields}
        return {**shared, "logging": self.logging.whole}

    def stage_one(self, task: str, seed: int, few_shot: bool = False) -> RunConfig:
        """Return the Stage I run that tunes `task` for `seed`, as a few-shot target or whole."""
        shared = self._for_stage_one()
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
        shared = self._for_stage_one()
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
    return check_name(stem + tail, "name of a run")


def fingerprint(content: Any) -> str:
    """Return 16 hex digits of the SHA-256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
