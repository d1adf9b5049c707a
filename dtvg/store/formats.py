"""What the JSON files that are read back must hold: one model each, and one way to read them.

A value of another kind is a sentence that names file and field, never a traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dtvg.errors import StoreError
from dtvg.records import RunResult, RunState
from dtvg.store.files import read_json

Model = TypeVar("Model", bound=BaseModel)


class StatusFile(BaseModel):
    """`status.json` of a run; what it holds beside is kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    state: RunState
    step: int = Field(0, ge=0)
    total_steps: int = Field(0, ge=0)
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


class OriginFile(BaseModel):
    """`origin.json` of an entry of the trash."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    origin: Path
    time: float
    size: int | None = None


_RESULT = TypeAdapter(RunResult)


def read_model(path: Path, model: type[Model]) -> Model | None:
    """Read a JSON file; None where there is none or it is no JSON object.

    Raises:
        StoreError: a field holds something else than it should.
    """
    content = read_json(path)
    if content is None:
        return None
    given = {k: v for k, v in content.items() if v is not None}
    try:
        return model(**given)
    except (ValidationError, TypeError) as error:
        raise StoreError(sentence(path, error)) from None


def read_result(path: Path, content: dict[str, Any]) -> RunResult:
    """Build a result from what a file holds; what a newer version adds is passed over.

    Raises:
        StoreError: a field is missing or holds something else.
    """
    known = {k: v for k, v in content.items() if k in RunResult.__dataclass_fields__}
    try:
        return _RESULT.validate_python(known)
    except ValidationError as error:
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
