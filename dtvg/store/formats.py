"""What the JSON files that are read back must hold: one model each, and one way to read them.

A value of another kind is a sentence that names file and field, never a traceback. Values are read
strictly: a number is no text, and text no number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, ValidationError

from dtvg.errors import StoreError
from dtvg.records import RunResult, RunState
from dtvg.store.files import read_json

Model = TypeVar("Model", bound=BaseModel)
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=2**40)]
Ending = Literal["done", "stopped", "preempted", "lost", "failed", "refused", "held"]
"""How a job ended; `dtvg.scale.executor` says what each means."""


class _Kept(BaseModel):
    """A file of which what it holds beside is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Bare(BaseModel):
    """A file of which only the fields named here are read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class StatusFile(_Kept):
    """`status.json` of a run."""

    state: RunState
    step: Count = 0
    total_steps: Count = 0
    loss: float | None = None
    score: float | None = None
    message: str = ""
    cohort: str | None = None
    pid: int | None = None
    host: str | None = None
    job: str = ""
    started_at: float | None = None
    updated_at: float | None = None
    seconds: float | None = None
    memory_gib: float | None = None
    device: str | None = None
    role: str = "transfer"
    full_role: str = ""
    target: str = ""
    method: str = ""
    method_name: str = ""
    seed: int = 0
    sources: tuple[str, ...] = ()
    subset: tuple[str, ...] | None = None
    health: dict[str, str] | None = None
    guessing: dict[str, float | None] | None = None


class ProcessFile(_Kept):
    """Who works on something: `process.json`, `.starting.json`, and requests to a process."""

    host: str = ""
    pid: Count = 0
    boot: str = ""
    machine: str = ""
    namespace: str = ""
    ticks: Count = 0
    process_started: float | None = None
    user: str = ""
    job: str = ""
    lease_of: str = ""
    cohort: str = ""
    heartbeat: float | None = None
    runs: tuple[str, ...] = ()


class EngineFile(_Bare):
    """`engine.json` of an experiment: how it is computed."""

    version: Annotated[int, Field(ge=1)]
    precision: Literal["float32", "float64", "float16", "bfloat16"]
    compiled: bool = False
    because: str = ""
    onednn: bool = False
    widened: bool = False
    graphs: bool = False


class ForkOf(_Kept):
    """From where a run was forked."""

    experiment: str
    run: str
    step: Count
    other_device: bool = False
    """Whether its `device` was changed, so that it is computed as it is chosen for that."""


class ProvenanceFile(_Kept):
    """`provenance.json` of a run: what made it."""

    run_id: str | None = None
    """Names the run in its own files; None in folders of before that was noted."""
    config_sha256: str | None = None
    prompt_identity: str | None = None
    fork_of: ForkOf | None = None
    merged_from: dict[str, Any] | None = None
    engine: EngineFile | None = None
    packages: dict[str, str] = {}
    dtvg: str | None = None
    commit: str | None = None
    python: str | None = None
    platform: str | None = None
    processor: str | None = None
    cores: int | None = None
    gpus: list[Any] = []
    argv: list[str] = []
    time: str | None = None


class DigestsFile(_Bare):
    """`digests.json` of a finished run."""

    result: str
    rows: dict[str, Count]
    prompts: dict[str, str] = {}
    """Digest of each file of tensors, by its name; empty in files of before it was noted."""
    digest: str | None = None


class SettingsDigests(RootModel[dict[str, str]]):
    """`digests.json` of an experiment: SHA-256 by file."""


class VersionsFile(RootModel[dict[str, int | str]]):
    """`versions.json` of an experiment: version by part."""


class PlannedCohort(_Bare):
    """One cohort of a plan."""

    id: str
    after: list[str] = []
    runs: dict[str, list[str]]


class PlanFile(_Bare):
    """`plan.json` of an experiment."""

    version: int
    experiment: str
    slots: Annotated[int, Field(ge=1)] | None
    cohorts: list[PlannedCohort]


class ScaleFile(_Bare):
    """`scale.json` of an experiment: where it trains, and what its workers have to know."""

    scale: dict[str, Any]
    only: tuple[str, ...] | None = None
    bank: str | None = None
    code: dict[str, str] = {}


class JobFile(_Bare):
    """`job.json` of a cohort: its newest job, of which at first only the attempt is known."""

    token: Annotated[str, Field(min_length=1)]
    cohort: str = ""
    executor: str = ""
    id: str = ""
    slot: str = ""
    facts: dict[str, Any] = {}
    started: Seconds = 0.0


class EndedFile(_Bare):
    """`ended.json` of a cohort: how its newest job ended, in the worker's words."""

    token: str
    kind: Ending
    why: str = ""


class FleetPlace(_Bare):
    """A machine of a fleet."""

    host: str
    title: str = ""
    slots: Count = 0
    state: str = "up"


class FleetJob(_Bare):
    """A cohort that trains, as its driver sees it."""

    cohort: str
    slot: str = ""
    attempt: Count = 1


class FleetWaiting(_Bare):
    """A cohort that waits, and the cohorts it waits for."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    cohort: str
    wanted: tuple[str, ...] = Field((), alias="for")


class FleetFile(_Bare):
    """`fleet.json` of an experiment: what its driver last saw."""

    host: str = ""
    on: str = "inline"
    ended: bool = False
    slots: Count = 1
    places: tuple[FleetPlace, ...] = ()
    running: tuple[FleetJob, ...] = ()
    waiting: tuple[FleetWaiting, ...] = ()
    waiting_count: Count = 0
    over: dict[str, Count] = {}
    failed: dict[str, str] = {}
    busy_seconds: Seconds = 0.0
    offered_seconds: Seconds = 0.0


class TagsFile(_Bare):
    """`tags.json` of a run or an experiment."""

    tags: list[str]
    note: str


class SlotsFile(_Kept):
    """`settings.json` of the queue: how many jobs may run at once on a device."""

    slots: dict[str, Annotated[int, Field(ge=1)]] = {}


class PromptFacts(_Bare):
    """`prompt.json` of an entry of the prompt bank."""

    task: str
    labels: tuple[str, ...]
    backbone: str
    backbone_revision: str
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
    score: float | None
    metric_values: dict[str, float | None]
    fingerprint: str
    precision: str
    settings: dict[str, Any]
    created: Annotated[float, Field(ge=0, le=2**33)]
    majority: float | None = None
    n_examples: int | None = None
    origin: str = "tuned"


class OriginFile(_Bare):
    """`origin.json` of an entry of the trash."""

    name: str
    origin: Path
    time: float
    size: Count | None = None
    home: Path | None = None
    """Of the workbench when it was deleted; None in entries of before that was noted."""


class AdapterFile(_Kept):
    """`adapter_config.json` of PEFT, and what an export of this workbench says beside it."""

    peft_type: str | None = None
    num_virtual_tokens: int | None = None
    token_dim: int | None = None
    num_transformer_submodules: int | None = None
    base_model_name_or_path: str | None = None
    modules_to_save: list[str] | str | None = None
    labels: tuple[str, ...] = ()
    backbone_revision: str | None = None
    score: float | None = None
    majority: float | None = None
    n_examples: int | None = None


class RunNumbers(_Kept):
    """What a commit holds of a run beside its tensors."""

    step: Count = 0
    seconds: float = 0.0
    best_step: int = -1
    since_best: Count = 0
    score: float | None = None
    loss: float | None = None
    best_score: float | None = None
    best_loss: float | None = None
    result: dict[str, Any] | None = None
    failure: str | None = None
    note: dict[str, Any] = {}
    rows: dict[str, Count] | None = None
    run_id: str = ""


class CommitNumbers(_Kept):
    """The numbers of a commit."""

    runs: dict[str, RunNumbers] = {}


class CommitFile(_Kept):
    """The text in a commit's file: its numbers, and the part files that belong to it."""

    meta: CommitNumbers
    pending: list[str]


_RESULT = TypeAdapter(RunResult)


def read_model(path: Path, model: type[Model]) -> Model | None:
    """Read a JSON file; None where there is none or it is no JSON object.

    Raises:
        StoreError: a field holds something else than it should.
    """
    content = read_json(path)
    return None if content is None else checked(path, content, model)


def read_whole(path: Path, model: type[Model], advice: str) -> Model | None:
    """Read a JSON file that must be whole where it is there; None where there is none.

    Args:
        path: the file.
        model: what it holds.
        advice: a sentence on what to do where it is damaged.

    Raises:
        StoreError: it is no JSON object, or a field holds something else than it should.
    """
    content = read_json(path)
    if content is None:
        if not path.exists():
            return None
        raise StoreError(f"'{path}' is damaged: it contains no JSON object. {advice}")
    try:
        return checked(path, content, model)
    except StoreError as error:
        raise StoreError(f"{error} {advice}") from None


def checked(path: Path, content: dict[str, Any], model: type[Model]) -> Model:
    """Return what a JSON object holds; fields that are null count as not given.

    Raises:
        StoreError: a field holds something else than it should.
    """
    required = {name for name, field in model.model_fields.items() if field.is_required()}
    given = {k: v for k, v in content.items() if v is not None or k in required}
    try:
        return model.model_validate_json(json.dumps(given), strict=True)
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(sentence(path, error)) from None


def read_result(path: Path, content: dict[str, Any]) -> RunResult:
    """Build a result from what a file holds; what a newer version adds is passed over.

    Raises:
        StoreError: a field is missing or holds something else.
    """
    known = {k: v for k, v in content.items() if k in RunResult.__dataclass_fields__}
    try:
        return _RESULT.validate_json(json.dumps(known), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        raise StoreError(sentence(path, error)) from None


def sentence(path: Path, error: Exception) -> str:
    """Say which field of a file holds what it should not."""
    if not isinstance(error, ValidationError):
        return f"'{path}' contains something other than it should."
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole"
    if first["type"] == "missing":
        return f"'{path}': field '{field}' is missing."
    got = repr(first.get("input"))[:60]
    return f"'{path}': field '{field}' is not what it should be ({first['msg']}; got {got})."
