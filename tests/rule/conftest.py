"""Laws over thousands of tiny decisions: shapes are checked in the plain tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import shapes

PLAIN = ("test_decide", "test_rules")
"""Files whose calls are few: there every array's shape is checked."""


@pytest.fixture(autouse=True)
def shapes_where_calls_are_few(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check shapes in the plain files only."""
    with shapes.unchecked(request.path.stem not in PLAIN):
        yield
