"""Pages under test: the overview's card tests nothing unless a test asks for it."""

from __future__ import annotations

import pytest

from dtvg.analysis.overview import learned


@pytest.fixture(autouse=True)
def no_verdicts_in_the_card(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resampling takes seconds, and each test has a store of its own."""
    if "verdicts" not in request.keywords:
        monkeypatch.setattr(learned, "MOST_RUNS", 0)
