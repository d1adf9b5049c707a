"""Names that Streamlit or Markdown would read in their own way are names like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.ui.overview import card
from tests.analysis.factory import config, record

ROOT = Path(__file__).resolve().parents[2]
NAME = "__x__"


def _opened(page: str, **query: str) -> AppTest:
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    return made.run()


@pytest.fixture
def home(own_home: Path) -> Path:
    record(own_home / "runs", config(NAME, targets=["lake"], seeds=[0]), steps=20)
    return own_home


@pytest.mark.parametrize("page", ["overview", "live", "run", "groups", "explain", "compare"])
def test_a_name_with_two_underscores_has_its_charts(home: Path, page: str) -> None:
    query = {} if page == "overview" else {"experiment": NAME}
    made = _opened(page, **query)
    assert not made.exception and not made.error
    assert made.get("bidi_component")


def test_a_card_that_fails_leaves_the_rest_of_the_overview(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "_timeline", lambda *_: 1 / 0)
    made = _opened("overview")
    assert not made.exception and len(made.error) == 1
    assert made.dataframe
