"""Every task passes the shipped contract; the laws about rows need the development data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtvg.config import DataConfig
from dtvg.tasks.catalogue import shipped_tasks
from dtvg.testing.tasks import TaskContract

SHARED = Path(os.environ.get("DTVG_SHARED", Path(__file__).parents[2] / ".." / "shared"))
SLOW = ("mnli", "qqp", "searchqa", "e2e", "common_gen", "web_nlg", "multirc", "qnli", "sst2")
"""Large ones or with long texts: their laws about rows take some seconds each."""


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in shipped_tasks()
    ],
    scope="class",
)
def chosen(request: pytest.FixtureRequest) -> str:
    request.cls.name = request.param
    folder = SHARED / "datasets"
    request.cls.data = DataConfig(folder=str(folder) if folder.is_dir() else None)
    return request.param


@pytest.mark.usefixtures("chosen")
class TestEveryTask(TaskContract):
    pass


DESCRIBED = """title: Is the review kind?
files: {train: reviews.csv%s}
text: "review: {review} stars: {stars}"
label: verdict
labels: {bad: negative, good: positive}
"""


@pytest.fixture(params=["", ", validation: reviews.csv, test: reviews.csv"], ids=["drawn", "given"])
def described(request: pytest.FixtureRequest, own_home: Path) -> None:
    """The example of docs/tasks.md, which names no paper, with one file or all three."""
    folder = own_home / "tasks"
    folder.mkdir(parents=True)
    rows = [f"film {i} was {i % 3},{i % 5},{('bad', 'good')[i % 2]}" for i in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["review,stars,verdict", *rows]))
    (folder / "kind-review.yaml").write_text(DESCRIBED % request.param)


@pytest.mark.usefixtures("described")
class TestATaskOfOnesOwn(TaskContract):
    name = "kind-review"

    @pytest.fixture(autouse=True)
    def _read_anew(self) -> None:
        self.__class__._kept = {}
