"""Views of curves that a person named and kept: `<home>/views.json`, apart from every experiment.

A view is what was chosen: runs, panels, axes, smoothing. Runs may be gone when it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dtvg import paths
from dtvg.errors import StoreError, unknown
from dtvg.store.files import locked, replace_json
from dtvg.store.formats import read_whole

FILE = "views.json"
MOST, LONGEST = 200, 60
"""Views kept at most, and characters of a name."""


class Panel(BaseModel):
    """One chart: a quantity, on a linear or a logarithmic axis."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    quantity: str = Field(min_length=1, max_length=80, description="column of steps, or a metric")
    log: bool = Field(False, description="logarithmic vertical axis")


class View(BaseModel):
    """What is laid over each other, and how."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    runs: list[str] = Field([], max_length=100, description="experiment/run")
    hidden: list[str] = Field([], max_length=100, description="of these, those switched off")
    baseline: str = Field("", description="run that differences are taken from; empty: none")
    panels: list[Panel] = Field([], max_length=40)
    x: Literal["step", "examples", "seconds"] = "step"
    log_x: bool = False
    smooth: float = Field(0.0, ge=0, lt=1)


class ViewsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: Literal[1] = 1
    views: dict[str, View] = {}


def path() -> Path:
    """Return where views are kept."""
    return paths.home() / FILE


def read_views() -> dict[str, View]:
    """Return the kept views by name.

    Raises:
        StoreError: the file holds something else; the sentence says what and where.
    """
    if not path().exists():
        return {}
    advice = "Repair the file, or move it away to begin with no views."
    found = read_whole(path(), ViewsFile, advice)
    return {} if found is None else dict(found.views)


def save_view(name: str, view: View) -> None:
    """Keep a view under a name; one of that name is replaced.

    Raises:
        StoreError: no usable name, too many views, a damaged file, or the disk refuses.
    """
    name = name.strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise StoreError(
            f"A view's name has 1 to {LONGEST} printable characters; got {len(name)} of them."
        )
    _change(lambda views: views | {name: view})


def delete_view(name: str) -> None:
    """Forget a view.

    Raises:
        StoreError: there is none of that name, or the disk refuses.
    """

    def without(views: dict[str, View]) -> dict[str, View]:
        if name not in views:
            raise StoreError(unknown("view", name, views))
        return {key: view for key, view in views.items() if key != name}

    _change(without)


def _change(how: Callable[[dict[str, View]], dict[str, View]]) -> None:
    """Rewrite the file under its lock."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with locked(path().with_name(f".{FILE}.lock")):
            views = how(read_views())
            if len(views) > MOST:
                raise StoreError(f"At most {MOST} views are kept; delete one first.")
            replace_json(path(), ViewsFile(views=views).model_dump(mode="json"))
    except OSError as error:
        raise StoreError(
            f"'{path()}' cannot be written ({error.strerror or error}), so nothing was kept."
        ) from None
