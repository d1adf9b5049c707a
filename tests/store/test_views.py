"""Named views are kept whole, and a damaged file is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.errors import StoreError
from dtvg.store import views
from dtvg.store.views import Panel, View

VIEW = View(
    runs=["a/x.dtvg.s0", "a/x.none.s0"],
    hidden=["a/x.none.s0"],
    baseline="a/x.none.s0",
    panels=[Panel(quantity="loss", log=True), Panel(quantity="score")],
    log_x=True,
    smooth=0.5,
)


def test_a_view_comes_back_as_it_was_kept_and_can_be_forgotten(own_home: Path) -> None:
    assert views.read_views() == {}
    views.save_view("  mine ", VIEW)
    views.save_view("other", View())
    assert views.read_views() == {"mine": VIEW, "other": View()}
    views.delete_view("mine")
    assert list(views.read_views()) == ["other"]
    with pytest.raises(StoreError, match="Did you mean 'other'"):
        views.delete_view("othr")


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\nb"])
def test_a_view_needs_a_name_people_can_read(own_home: Path, name: str) -> None:
    with pytest.raises(StoreError, match="printable characters"):
        views.save_view(name, VIEW)
    assert not views.path().exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"views": {"a": {"smooth": 1}}}', '{"views": {"a": {"x": "weeks"}}}']
)
def test_a_damaged_file_is_one_sentence_and_stays_as_it_is(own_home: Path, text: str) -> None:
    views.path().parent.mkdir(parents=True, exist_ok=True)
    views.path().write_text(text)
    with pytest.raises(StoreError, match="Repair the file"):
        views.read_views()
    with pytest.raises(StoreError, match="Repair the file"):
        views.save_view("mine", VIEW)
    assert views.path().read_text() == text
