"""Groups tells a run in sentences; Compare sets groups beside gains and opens a run on a click."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.analysis.claims.helped import FEWEST, SHARE, START, helped_info, why_undefined
from dtvg.figures.helped import right_figure
from dtvg.store.reader import Experiment, open_experiment
from dtvg.ui import cache, story
from tests.analysis.factory import record
from tests.pages.charts import charts

PAGES = Path(__file__).resolve().parents[2] / "pages"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stories")
    record(folder / "runs")
    return folder


def _draw(home: Path, patch: pytest.MonkeyPatch, page: str, **query: str) -> AppTest:
    patch.setenv("DTVG_HOME", str(home))
    made = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=60)
    for key, value in {"experiment": "trial", **query}.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception and not made.error
    return made


def _experiment(home: Path) -> Experiment:
    return open_experiment(home / "runs" / "trial")


def test_groups_begins_with_one_sentence_and_tells_the_story(home, monkeypatch) -> None:
    made = _draw(home, monkeypatch, "groups", run="lake.dtvg.s0", view="Story")
    run = next(r for r in _experiment(home).runs if r.name == "lake.dtvg.s0")
    said = [element.value for element in made.markdown]
    info = cache.story(run)
    assert said[0] == info.sentence and info.sentence.startswith("In the group: ")
    for sentence in info.lines["sentence"]:
        assert sentence in said
    titles = [element.value for element in made.header]
    assert {"Least certain decisions", "Where seeds part"} <= set(titles)
    assert sum(text.startswith("Seed ") for text in said) == 2


def test_seeds_that_are_alike_say_how_many_steps_were_compared() -> None:
    assert story._alike([3], 16, whole=False) == (
        "Seed 3 has the same group at all 16 steps that both recorded."
    )
    assert story._alike([3, 5, 7], 16, whole=False) == (
        "Seeds 3, 5 and 7 have the same group at all 16 steps that each of them and this run "
        "recorded."
    )
    assert story._alike([3, 5], 16, whole=True) == (
        "Seeds 3 and 5 have the same group at every step."
    )


def test_who_helped_draws_every_run_and_measures_the_rule(home, monkeypatch) -> None:
    made = _draw(home, monkeypatch, "compare", view="Who helped")
    info = cache.helped(tuple(r for r in _experiment(home).runs if r.role == "transfer"))
    screen, scatter = (c["figure"] for c in charts(made))
    cells = [t for t in screen["data"] if t["type"] == "heatmap"]
    assert len(cells) == 2 and "DTVG" in screen["layout"]["xaxis2"]["ticktext"]
    # a higher place in the list of sources scores higher in these runs
    assert info.order("lake")[0] == "dune" == cells[0]["y"][0]
    assert {trace["name"] for trace in scatter["data"]} == {"amber", "birch", "cedar", "dune"}
    rho = info.correlations.set_index(["target", "quantity"])["rho"]
    assert f"ρ = {rho['lake', 'share']:+.2f}".replace("-", "−") in info.sentences()[0]
    assert info.sentences()[0] in [element.value for element in made.markdown]
    bars = next(t for t in screen["data"] if t["type"] == "bar")
    assert screen["layout"]["xaxis"]["title"]["text"] == "gain alone (points)"
    assert "points" in bars["hovertemplate"] and "%}" not in bars["hovertemplate"]
    assert bars["customdata"][0][0].startswith("+") and "3 seeds, " in bars["customdata"][0][1]
    assert scatter["layout"]["yaxis"]["title"]["text"] == "gain (points)"
    assert "0" in scatter["layout"]["yaxis"]["ticktext"]
    assert "points" in scatter["data"][0]["hovertemplate"]
    assert any("whiskers: from the lowest to the highest seed" in c.value for c in made.caption)
    places = [c for row in cells[0]["customdata"] for c in row if c[0]]
    assert {c[0] for c in places} >= {f"trial/lake.dtvg.s{s}" for s in range(3)}


def test_small_p_are_not_rounded_to_zero_and_several_quantities_go_with_the_gain(home) -> None:
    info = helped_info([r for r in _experiment(home).runs if r.role == "transfer"])
    rows = info.correlations[info.correlations["target"] == "lake"].assign(
        rho=[1.0, 0.9, -0.8], p=[2 / 5040, 0.0496, 0.06]
    )
    said = replace(info, targets=("lake",), correlations=rows).sentences()[0]
    for p in ("ρ = +1.00 (p < 0.001)", "ρ = +0.90 (p = 0.050)", "ρ = −0.80 (p = 0.060)"):
        assert p in said
    with_it = "Similarity at the start and mean similarity while training go with the gain."
    assert said.endswith(with_it)
    one = rows.assign(p=[0.5, 0.5, 0.01])
    said = replace(info, targets=("lake",), correlations=one).sentences()[0]
    assert said.endswith("Share of steps in the group goes against the gain.")


def test_a_quantity_without_a_rank_correlation_says_why(home) -> None:
    info = helped_info([r for r in _experiment(home).runs if r.role == "transfer"])
    points = info.points.assign(similarity_start=0.0)
    rows = info.correlations.copy()
    rows.loc[rows["quantity"] == START, "rho"] = float("nan")
    told = replace(info, points=points, correlations=rows)
    assert told.sentences()[0].endswith("Similarity at the start has no ρ (zero for every source).")
    titles = [note.text for note in right_figure(told).layout.annotations]
    assert any("no ρ: zero for every source" in text for text in titles)
    equal = points.assign(similarity_start=0.5)
    assert why_undefined(equal, START) == "the same for every source"
    assert why_undefined(points.assign(gain=0.1), SHARE) == "every source gains the same"
    assert why_undefined(points.head(2), SHARE) == f"fewer than {FEWEST} sources"
