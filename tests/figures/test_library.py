"""The library that draws figures in a browser: all that figures use, of the installed version."""

from __future__ import annotations

import re
from pathlib import Path

import plotly
import pytest

from dtvg.figures import library

ROOT = Path(__file__).resolve().parents[2]
OWN = Path(library.__file__).with_name("plotly.min.js")
NOT_TRACES = {"figure", "frame", "layout"}


def test_it_draws_every_kind_of_trace_that_figures_use() -> None:
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "dtvg").rglob("*.py"))
    used = {name.lower() for text in sources for name in re.findall(r"\bgo\.([A-Z]\w+)", text)}
    assert used - NOT_TRACES == set(library.TRACES)
    text = OWN.read_text(encoding="utf-8")
    kinds = set(re.findall(r'moduleType:"trace",name:"(\w+)"', text))
    assert kinds == set(library.TRACES), "run tools/plotly_library.mjs"
    assert "</script" not in text, "a report holds it between script tags"


def test_the_whole_library_is_taken_where_versions_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    library.path.cache_clear()
    same = library.version(OWN) == library.version(whole) != ""
    assert library.path() == (OWN if same else whole)
    library.path.cache_clear()
    monkeypatch.setattr(library, "version", str)
    assert library.path() == whole
    library.path.cache_clear()


def test_a_file_that_names_no_version_has_none(tmp_path: Path) -> None:
    (tmp_path / "short.js").write_text("/* plotly.js", encoding="utf-8")
    assert library.version(tmp_path / "short.js") == "" == library.version(tmp_path / "none.js")
    assert re.fullmatch(r"v\d+\.\d+\.\d+", library.version(OWN))


def test_no_figure_offers_to_send_itself_to_another_machine() -> None:
    assert library.OPTIONS["showSendToCloud"] is False
    assert "sendChartToCloud" in library.OPTIONS["modeBarButtonsToRemove"]
    assert library.OPTIONS["plotlyServerURL"] == ""
