"""One recorded experiment for all tests of the analysis that only read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dtvg.analysis.run.groups import GroupInfo, group_info
from dtvg.store.reader import Experiment, Run
from tests import shapes
from tests.analysis.factory import find, record


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return record(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def dtvg_run(experiment: Experiment) -> Run:
    return find(experiment, "dtvg")


@pytest.fixture(scope="session")
def groups(dtvg_run: Run) -> GroupInfo:
    return group_info(dtvg_run)


@pytest.fixture(autouse=True)
def shapes_where_decisions_are_few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check no shapes where every sentence is set against thousands of decisions."""
    with shapes.unchecked(request.path.stem == "test_explain"):
        yield
