"""Laws over thousands of tiny decisions: shapes are checked in the plain tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jaxtyping import config

PLAIN = ("test_decide", "test_rules")
"""Files whose calls are few: there every array's shape is checked."""


@pytest.fixture(autouse=True)
def shapes_where_calls_are_few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check no shapes where a law is tried over and over: it made those tests a hundred times
    slower."""
    few = request.path.stem in PLAIN
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", before or not few)
    yield
    config.update("jaxtyping_disable", before)
