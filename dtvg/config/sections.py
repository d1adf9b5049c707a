"""The sections of a configuration: one frozen pydantic class per group of settings.

Every field has a description, bounds and a default; the launch form, the YAML and the command
line are made of these. `experiment.py` composes them into runs and experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dtvg.config.storage import SECRET, uri_problem
from dtvg.names import NAME_PATTERN

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Detail = Literal["full", "thinned", "scores"]
"""How much of a run is kept."""
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
"""Where scalars can be mirrored to."""


class Section(BaseModel):
    """Base of every part of a configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BackboneConfig(Section):
    """Which frozen language model."""

    name: str = Field(
        "demo",
        min_length=1,
        description="'demo', a hub id such as google-t5/t5-base, a folder, a GGUF file, or a "
        "name in <home>/models.",
    )
    revision: str | None = Field(None, description="Hub revision (commit, branch or tag).")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout while training; 0 keeps the backbone in eval mode."
    )


class PromptConfig(Section):
    """The soft prompt and its shared start."""

    length: int = Field(100, ge=1, le=1000, description="Prompt length r in tokens.")
    vocabulary: int = Field(
        5000,
        ge=1,
        le=10**9,
        description="The initial prompt draws from the first N vocabulary ids.",
    )
    init_seed: int | None = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="Seed of the initial prompt; empty: the run's own seed.",
    )
    given: dict[str, str] = Field(
        {},
        description="Task → identity (or its beginning) of a prompt in the bank to use instead of "
        "tuning that task, e.g. an imported one. All runs then start from its initial prompt.",
    )


OR_OWN = " Where a file names none of a method's rates, its own count; null names none."
LEFT_OPEN: dict[str, JsonValue] = {"empty": "not named"}
"""Of rates that may be left to the methods; what a form shows in an empty field."""


class OptimConfig(Section):
    """Budgets, learning rates and the schedule of both stages.

    Which rates were named decides what methods take (`dtvg.config.rates`): null names none.
    """

    @model_validator(mode="before")
    @classmethod
    def _null_names_no_rate(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {k: v for k, v in values.items() if v is not None or k not in OPEN}

    stage1_steps: int = Field(
        30_000, ge=1, le=10**8, description="Stage I optimiser steps per task."
    )
    steps: int = Field(30_000, ge=1, le=10**8, description="Stage II optimiser steps per run.")
    batch_size: int = Field(16, ge=1, le=4096, description="Examples per optimiser step.")
    lr_stage1: float = Field(
        0.3,
        gt=0,
        le=1e30,
        description="Learning rate of plain prompt tuning.",
        json_schema_extra={"empty": "0.3, the literature's"},
    )
    lr_prompt: float = Field(
        1e-3,
        gt=0,
        le=1e30,
        description="Stage II rate of the target's prompt." + OR_OWN,
        json_schema_extra=LEFT_OPEN,
    )
    lr_scale_target: float = Field(
        1e-3,
        gt=0,
        le=1e30,
        description="Stage II rate of the target's scale." + OR_OWN,
        json_schema_extra=LEFT_OPEN,
    )
    lr_scale: float = Field(
        1e-3,
        gt=0,
        le=1e30,
        description="Stage II rate of the sources' scales." + OR_OWN,
        json_schema_extra=LEFT_OPEN,
    )
    lr_gate: float = Field(
        1e-2,
        gt=0,
        le=1e30,
        description="Stage II rate of learned gates, assignments and attention." + OR_OWN,
        json_schema_extra=LEFT_OPEN,
    )
    weight_decay_stage1: float = Field(
        1e-5,
        ge=0,
        le=1e6,
        description="Weight decay of Stage I.",
        json_schema_extra={"empty": "1e-5, the literature's"},
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Weight decay of Stage II." + OR_OWN,
        json_schema_extra=LEFT_OPEN,
    )
    equal_target_steps: bool = Field(
        False,
        description="Methods whose prompt does not go on from the target's Stage I prompt get the "
        "Stage I steps too, so that every scored prompt had as many steps on the target.",
    )
    warmup_steps: int = Field(
        500, ge=0, le=10**8, description="Linear warm-up; never more than 6 % of a run's steps."
    )
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="After warm-up: fall linearly to 0, or stay constant."
    )
    clip_norm: float = Field(
        1.0, gt=0, description="Gradient norm limit over all of a run's parameters."
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="End a run after N evaluations in a row without a better score.",
    )


OPEN = tuple(
    name
    for name, info in OptimConfig.model_fields.items()
    if isinstance(info.json_schema_extra, dict) and "empty" in info.json_schema_extra
)
"""Rates that need not be named, or are null."""


class DataConfig(Section):
    """Where examples come from and how many are used."""

    folder: str | None = Field(
        None,
        description="Folder with one sub-folder of Parquet files per data set; "
        "empty: <home>/datasets, then the hub.",
    )
    seed: int = Field(
        42,
        ge=-(2**63),
        le=2**63 - 1,
        description="Seed of splits and batch order, apart from the run's.",
    )
    split: Literal["plan", "official"] = Field(
        "plan",
        description="Splits by the literature's rule, or the official splits that have labels.",
    )
    split_rules: dict[Name, Literal["size", "halved", "official"]] = Field(
        {},
        description="Split rule of a task in place of its own, e.g. {multirc: size}: by official "
        "size, validation halved, or the official splits.",
    )
    max_train_examples: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Use at most N training rows per task, drawn with the seed.",
    )
    few_shot: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="k: the target trains on k rows, drawn with the run seed (4, 16 and 32 in "
        "the paper); sources keep all of theirs.",
    )
    few_shot_per_class: bool = Field(
        False, description="k rows of each class instead of k rows in total."
    )
    few_shot_validation: Literal["k", "full"] = Field(
        "k",
        description="The best step is chosen on k validation rows (or as many as exist), or on "
        "all of them.",
    )
    max_source_tokens: int = Field(256, ge=8, le=4096, description="Longer inputs are truncated.")
    labels: Literal["numerals", "words"] = Field(
        "numerals",
        description="Classes are answered as in the literature ('0') or in words ('entailment').",
    )
    template: Literal["plain", "chat"] = Field(
        "plain",
        description="Inputs as plain text, or as a user's message in the chat template of an "
        "instruct model's tokenizer.",
    )
    label_words: dict[Name, tuple[str, ...]] = Field(
        {}, description="Your own label words of a task, in class order, e.g. {rte: ['yes', 'no']}."
    )


class EvaluationConfig(Section):
    """When and on how much a run is scored."""

    every: int = Field(1000, ge=1, le=10**8, description="Steps between evaluations on validation.")
    max_examples: int = Field(
        500, ge=1, le=10**9, description="Score at most N rows (a sample drawn with the seed)."
    )
    count_start: bool = Field(
        True,
        description="Whether the untouched start (step 0) can be the best step; it is scored and "
        "logged in any case.",
    )
    at_end: Literal["test", "none"] = Field(
        "test", description="Score the best prompt on the test split at the end."
    )
    mode: Literal["generate", "labels"] = Field(
        "generate",
        description="Generate an answer, or choose the label word with the highest "
        "log-likelihood, end mark included (only tasks with label words; for the others an answer "
        "is generated).",
    )
    constrained: bool = Field(
        False, description="Only label words can be answered; likelihoods are normalised over them."
    )
    keep_predictions: Literal["none", "test", "all"] = Field(
        "test",
        description="Which answers are stored, example by example: none, those of the final test, "
        "or also those of each best validation.",
    )


class LoggingConfig(Section):
    """How often rows become visible and how they are stored."""

    commit_seconds: float = Field(
        10.0, gt=0, le=1e6, description="Seconds between commits, stretched to keep commit_share."
    )
    commit_share: float = Field(
        0.01,
        gt=0,
        le=1,
        description="The largest share of the training time that commits may take.",
    )
    compact_rows: int = Field(
        10_000, ge=100, le=10**9, description="Rows in a compacted part file."
    )
    keep_every: int | None = Field(
        None,
        ge=1,
        le=10**8,
        description="Keep a commit every N steps, from which runs can be forked later; "
        "empty: the newest only.",
    )
    detail: Detail = Field(
        "full",
        description="What is kept of a run. full: every step and all prompts; thinned: step 1 and "
        "every k-th (thin_every) and the best prompt; scores: evaluations, "
        "test answers, events and the result, without steps and prompts.",
    )
    detail_of: dict[str, Detail] = Field(
        {},
        description="The detail of a method's runs, by its name or label, in place of `detail`, "
        "e.g. {oracle: scores}.",
    )
    full_seeds: int | None = Field(
        None,
        ge=0,
        le=10**6,
        description="Only the first N seeds keep full detail, those after them thinned; empty: "
        "all of them.",
    )
    thin_every: int = Field(
        10, ge=3, le=10**8, description="k: a thinned run logs every k-th step."
    )
    mirror: tuple[Tracker, ...] = Field(
        (),
        exclude_if=lambda trackers: not trackers,
        description="Trackers that get scalars, group sizes and membership as they are committed: "
        "tensorboard, wandb (offline), mlflow, trackio; part of no run and no fingerprint.",
    )

    def of_run(self, names: tuple[str, ...], place: int) -> LoggingConfig:
        """Return the settings of one run: its detail is settled.

        Args:
            names: label and name of its method; the first one that `detail_of` has counts.
            place: of its seed among the experiment's seeds.
        """
        named = [self.detail_of[name] for name in names if name in self.detail_of]
        detail: Detail = named[0] if named else self.detail
        if detail == "full" and self.full_seeds is not None and place >= self.full_seeds:
            detail = "thinned"
        settled: dict[str, Any] = {
            "detail": detail,
            "detail_of": {},
            "full_seeds": None,
            "mirror": (),
        }
        return self.model_copy(update=settled)

    @property
    def whole(self) -> LoggingConfig:
        """The same settings with everything kept."""
        settled: dict[str, Any] = {
            "detail": "full",
            "detail_of": {},
            "full_seeds": None,
            "mirror": (),
        }
        return self.model_copy(update=settled)

    @property
    def gaps(self) -> bool:
        """Whether the rows of some steps are left out."""
        return self.detail == "thinned"

    def logs_step(self, step: int) -> bool:
        """Whether the row of a step, counted from 1, is kept."""
        if self.detail == "scores":
            return False
        return self.detail == "full" or step == 1 or step % self.thin_every == 0


class DeviceConfig(Section):
    """Where and how precisely it is computed."""

    name: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$",
        description="auto takes the first GPU, else the CPU.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16", "float64", "int8", "int4"] = Field(
        "float32",
        description="Precision of the backbone; prompts and decisions stay float32. auto takes "
        "bfloat16 where the processor computes in it and a probe finds it faster, else float32. "
        "int8 and int4 need CUDA and the extra `quantized`.",
    )
    compile: Literal["auto", "off"] = Field(
        "auto",
        description="auto compiles the backbone's repeated layers where the experiment trains long "
        "enough to pay for it.",
    )
    graphs: Literal["auto", "off"] = Field(
        "auto",
        description="auto records the steps of a GPU as CUDA graphs, shape by shape, so that the "
        "host need not launch each kernel.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="CPU threads; empty: all cores, shared among the slots of the queue where it "
        "started the training, or those of a worker (scale.cpus).",
    )
    token_budget: int | None = Field(
        None, ge=64, le=10**9, description="Tokens per micro-batch; empty: chosen for the device."
    )
    max_cohort: int = Field(64, ge=1, le=1024, description="Runs trained together at most.")


ON_PATTERN = r"^(inline|local|slurm|ray|ray://\S+|[\w.-]+:[0-9]+)$"
"""Of `scale.on`."""


class ScaleConfig(Section):
    """Where cohorts train and how many at once; part of no run and of no fingerprint."""

    on: str = Field(
        "inline",
        pattern=ON_PATTERN,
        description="inline: one process, cohort after cohort; local: a process per device or "
        "group of cores; ray: a Ray cluster, joined or started (ray://host:10001 or host:6379 "
        "joins that one); slurm: a job per cohort.",
    )
    slots: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Cohorts at once, for which the runs are cut; empty: what is there when the "
        "experiment is created.",
    )
    tries: int = Field(
        3,
        ge=1,
        le=100,
        description="A cohort that ends so often in a row without a new commit is given up.",
    )
    wait_seconds: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="A run that exchanges with runs elsewhere waits at most so long for one that "
        "is in step; then the last that is known of it counts.",
    )
    cpus: int | None = Field(
        None, ge=1, le=4096, description="CPU cores of a cohort; empty: device.threads, else 1."
    )
    gpus: float | None = Field(
        None,
        ge=0,
        le=64,
        description="GPUs of a cohort, on Ray and local also a fraction such as 0.5; empty: one "
        "where device.name is cuda, or auto finds any.",
    )
    memory_gib: float | None = Field(
        None,
        gt=0,
        le=10**6,
        description="Memory of a cohort asked for on Ray and Slurm; empty: not asked.",
    )
    partition: str | None = Field(None, description="Slurm partition; empty: the default one.")
    account: str | None = Field(None, description="Slurm account.")
    minutes: int | None = Field(
        None,
        ge=1,
        le=10**7,
        description="Slurm time limit of a job; a cohort goes on in the next job. Empty: none "
        "where the partition has none, else an hour or what the partition gives.",
    )
    grace_seconds: int = Field(
        90, ge=5, le=3600, description="Slurm warns a job so long before its limit or preemption."
    )
    slurm: dict[str, str] = Field(
        {}, description="More sbatch options by name, e.g. {qos: long, constraint: a100}."
    )
    setup: tuple[str, ...] = Field(
        (), description="Lines of shell before a Slurm job, e.g. ['module load cuda']."
    )
    mirror: str | None = Field(
        None,
        exclude_if=lambda uri: uri is None,
        description="Storage mirror: committed files are copied to this URI, e.g. s3://bucket/lab "
        "(also gs, abfs, sftp, file); no tracker, which logging.mirror names.",
    )

    @field_validator("mirror")
    @classmethod
    def _check_mirror(cls, uri: str | None) -> str | None:
        problem = uri_problem(uri) if uri is not None else ""
        if problem:  # what was given may hold a key, so it is not repeated
            raise PydanticCustomError(SECRET, "{sentence}", {"sentence": problem})
        return uri

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, values: Any) -> Any:
        """Take YAML's bare `on`, which it reads as true, for the key it is."""
        return _with_on(values)


class HypothesisConfig(Section):
    """The one comparison that an experiment is made for; part of no run."""

    better: str = Field(
        "", description="Method that should be better, by its name or label; empty: none declared."
    )
    than: str = Field("", description="Method that it should be better than.")
    on: str = Field("average", description="A target, or 'average' over all targets.")
    margin: float = Field(
        1.0, ge=0, le=100, description="Difference in points that would matter in practice."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, values: Any) -> Any:
        """Take YAML's bare `on`, which it reads as true, for the key it is; null declares none."""
        return _with_on(values)

    @property
    def declared(self) -> bool:
        """Whether there is a hypothesis."""
        return bool(self.better or self.than)


def _with_on(values: Any) -> Any:
    """Return values with the key `on` where YAML read it as true; null has none."""
    if values is None:
        return {}
    if not isinstance(values, Mapping) or True not in values:
        return values
    return {"on": values[True], **{k: v for k, v in values.items() if k is not True}}
