"""A report holds everything it shows, and nothing a name could smuggle in."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from dtvg import report
from dtvg.cli import main
from dtvg.errors import ConfigError
from dtvg.store.reader import open_experiment
from dtvg.templates import render
from tests.analysis.factory import config, record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("runs"), config(notes="<script>alert(1)</script>")).path


def test_a_report_needs_nothing_from_outside(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert main(["runs", "report", str(recorded), "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    body = text[text.index("<body>") :]
    assert not re.search(r"<(script|link|img)[^>]+(src|href)\s*=", text[: text.index("<body>")])
    assert "src=" not in re.sub(r'"src"', "", body).split("<h2")[0]
    for title in (
        "Scores of each method",
        "Membership of the group",
        "Gram matrix",
        "Configuration",
        "What each source adds",
        "What each subset of sources scores",
    ):
        assert title in body
    assert body.count("Plotly.newPlot") >= 8
    assert body.count('"showSendToCloud": false') == body.count("Plotly.newPlot")
    assert "plotly.com" not in body and "plot.ly" not in body


def test_names_and_notes_are_escaped(recorded: Path) -> None:
    text = report.build_report(open_experiment(recorded), None, ["scores"])
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text


def test_the_numbers_of_a_report_are_those_of_the_info(recorded: Path) -> None:
    from dtvg.analysis.compare.info import compare_info

    experiment = open_experiment(recorded)
    text = report.build_report(experiment, None, ["scores"])
    table = compare_info([r for r in experiment.runs if r.role == "transfer"]).table
    for value in table["mean"].dropna():
        assert f"<td>{value:.4g}</td>" in text


def test_large_numbers_of_a_report_keep_their_digits(recorded: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"steps": [12345.0, 999.96, 0.12345, float("nan")]})
    experiment = open_experiment(recorded)
    made = report._document(experiment, None, [report.View("Cost", "", None, table)])
    for cell in ("12,345", "1000", "0.1235", "–"):
        assert f"<td>{cell}</td>" in made
    assert "e+04" not in made[made.index("<body>") :]


def test_an_unknown_view_is_named_with_the_nearest(recorded: Path) -> None:
    experiment = open_experiment(recorded)
    with pytest.raises(ConfigError, match="Did you mean 'membership'"):
        report.build_report(experiment, None, ["membershp"])
    with pytest.raises(ConfigError, match="at least one view"):
        report.build_report(experiment, None, [])


def test_a_template_escapes_html_only_and_refuses_a_missing_value() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        render("report.html.j2")
    given = dict.fromkeys(("version", "made", "facts", "plotly", "notes", "words"), "")
    named = render("report.html.j2", **given, title="a", yaml="x: '<b>'\n  y: 1", sections=[])
    assert "<pre>x: &#39;&lt;b&gt;&#39;\n  y: 1</pre>" in named


def test_a_report_folds_its_configuration_as_it_is_written(recorded: Path) -> None:
    experiment = open_experiment(recorded)
    text = report.build_report(experiment, None, ["scores"])
    shown = re.search(r"<pre>(.*?)</pre>", text, re.S)
    assert shown and experiment.config
    assert html.unescape(shown[1]) == experiment.config.to_yaml()


def test_a_damaged_file_of_a_run_is_named_and_the_rest_is_told(tmp_path: Path) -> None:
    experiment = open_experiment(record(tmp_path, config()).path)
    run = report.typical_run(experiment)
    assert run is not None
    for part in (run.path / "sources").glob("*.parquet"):
        part.write_bytes(part.read_bytes()[:-50])
    text = report.build_report(experiment, run, ["scores", "membership", "explain"])
    assert "Scores of each method" in text and "is not a readable Parquet file" in text
