"""The compare page: every view in every state, what the URL restores, what it keeps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dtvg import paths
from dtvg.analysis import titles
from dtvg.analysis.claims.info import claims_info
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.lines import costs_shown, lines_of
from dtvg.analysis.compare.scores import STAGE_ONE
from dtvg.cli import main
from dtvg.export import printed
from dtvg.store.reader import Experiment, open_experiment
from dtvg.ui.compare import claims, verdicts
from dtvg.ui.compare.pick import Choice
from dtvg.ui.compare.views import _apart
from tests.analysis.factory import config, record

PAGE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"
VIEWS = (
    "Scores",
    "Verdicts",
    "Claims",
    "Curves",
    "Transfer",
    "Who helped",
    "Subsets",
    "Settings",
    "Examples",
    "Cost",
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the experiments `trial` (half of moor unfinished) and `other`."""
    root = tmp_path_factory.mktemp("home") / "runs"
    left = [r.name for r in config().runs() if r.target == "moor" and r.seed == 2]
    record(root, unfinished=left)
    small = config("other", targets=["lake"], seeds=[0], optim={"steps": 20, "stage1_steps": 5})
    record(root, small, steps=20)
    return root


def draw(**query: str) -> AppTest:
    made = AppTest.from_file(str(PAGE), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception
    assert not [e.value for e in made.error]
    return made


def at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTVG_HOME", str(root.parent))


def test_every_view_draws_one_and_several_experiments(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    for view in VIEWS:
        for names in ("trial", "trial,other"):
            made = draw(view=view, experiment=names)
            assert made.multiselect(key="experiment").value == names.split(",")
            assert made.query_params.get("view", next(iter(VIEWS))) == view


def test_validation_scores_of_the_page_are_those_of_the_command_line(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, two = config(), own_home / "runs"
    record(two, given, extra=[given.stage_one(t, s) for t in given.targets for s in given.seeds])
    made = draw(experiment="trial", split="validation")
    shown = {row for table in made.table for row in table.value.index}
    lines = lines_of(compare_info(open_experiment(two / "trial").runs, "validation"), False).lines
    assert titles.label(STAGE_ONE) in shown
    assert shown == {titles.label(line.shown) for line in lines}
    assert main(["runs", "compare", str(two / "trial"), "--split", "validation"]) == 0
    assert STAGE_ONE in capsys.readouterr().out


def test_the_cost_table_has_the_digits_of_the_exports_and_dashes_where_nothing_was_logged(
    own_home: Path,
) -> None:
    made = record(own_home / "runs", config(targets=["lake"], seeds=[0, 1]))
    for run in made.runs:
        if run.method == "none":  # as of a run whose log was left behind
            shutil.rmtree(run.path / "steps")
    drawn = draw(experiment="trial", view="Cost")
    (shown,) = (d for d in drawn.dataframe if "seconds alone" in d.value.columns)
    text = pa.ipc.open_stream(shown.proto.arrow_data.styler.display_values).read_pandas()
    info = compare_info(made.runs)
    exported = printed(costs_shown(info))
    assert text["seconds alone"].tolist() == exported["seconds alone"].tolist()
    none = exported["method"].tolist().index("none")
    assert text["examples"].iloc[none] == "–" and not exported["examples"][none]


def test_downloads_say_as_the_command_line_does_what_counts_as_one_experiment(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_experiment(two / "other")
    said = "other, more differ only in what they vary and count as one experiment."
    choice = Choice((made,), made.runs, "test", (said,))
    given: dict[str, Callable[[], str | bytes]] = {}
    monkeypatch.setattr(
        st, "download_button", lambda label, data, *_, **__: given.update({label: data})
    )
    verdicts._exports(compare_info(made.runs), choice)
    claims._take_away(claims_info(made.runs), choice)
    for form in ("Markdown", "LaTeX", "md", "latex", "json"):
        assert said in str(given[form]())


def test_the_address_names_several_experiments_and_gives_them_back(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    made = draw(experiment="other,trial,gone")
    assert made.query_params["experiment"] == "other,trial,gone"
    assert any("'gone'" in w.value for w in made.warning)
    made.multiselect(key="experiment").set_value([]).run()
    assert any("at least one experiment" in i.value for i in made.info)
    assert not made.exception


def test_runs_chosen_on_the_overview_are_the_only_ones_until_all_are_asked_for(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    made = draw(runs="trial/lake.dtvg.s0,other/lake.none.s0,trial/no-such-run")
    assert made.multiselect(key="experiment").value == ["trial", "other"]
    assert any("2 of 2 transfer runs have finished" in c.value for c in made.caption)
    made.button(key="all-runs").click().run()
    assert "runs" not in made.query_params
    assert any(
        "transfer runs have finished" in c.value and "2 of 2" not in c.value for c in made.caption
    )


def test_settings_show_the_runs_of_the_address(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    made = draw(view="Settings", experiment="trial", diff="trial/lake.dtvg.s0,trial/moor.dtvg.s1")
    shown = made.dataframe[0].value
    assert set(shown["setting"]) == {"target", "seed"}


def test_before_the_first_run_has_finished_only_scores_are_missing(
    tmp_path: Path, own_home: Path
) -> None:
    small = config("trial", targets=["lake"], seeds=[0])
    made: Experiment = record(
        own_home / "runs", small, steps=20, unfinished=[r.name for r in small.runs()]
    )
    for view in VIEWS:
        page = draw(view=view, experiment=made.name)
        waits = any("Nothing to compare yet" in i.value for i in page.info)
        assert waits == (view not in ("Curves", "Who helped", "Settings"))


def test_an_oracle_colours_the_lattice_and_judges_the_groups(own_home: Path) -> None:
    small = config("trial", targets=["lake"], seeds=[0, 1], methods=["none", "dtvg", "oracle"])
    record(own_home / "runs", small, steps=20)
    page = draw(view="Subsets", experiment="trial")
    assert {"Precision", "Regret", "Agreement of seeds"} <= {m.label for m in page.metric}
    regret = next(m.value for m in page.metric if m.label == "Regret")
    assert regret.endswith((" points", " point")) and "%" not in regret
    said = " ".join(m.value for m in page.markdown)
    assert "mean over steps and 2 seeds; regret over the 2 seeds that both have" in said
    said = " ".join(c.value for c in page.caption)
    assert "16 of the 16 subsets of 4 sources were trained on" in said
    measured = draw(view="Transfer", experiment="trial")
    assert any("4 pairs of source and target" in m.value for m in measured.markdown)


def test_a_damaged_run_is_named_and_is_no_target_of_its_own(own_home: Path) -> None:
    made = record(own_home / "runs", config(targets=["lake"], seeds=[0, 1]), steps=20)
    (made.path / "lake.none.s1" / "status.json").write_text("nonsense")
    page = draw(experiment="trial")
    (told,) = [w.value for w in page.warning if "whole run" in w.value]
    assert "1 folder is left out" in told and "trial/lake.none.s1: no readable status.json" in told
    info = compare_info(open_experiment(made.path).runs)
    assert info.targets == ("lake",)
    assert [note for note in info.notes if "trial/lake.none.s1" in note]
    assert not [note for note in info.notes if "not finished" in note]


def test_a_group_that_is_seldom_the_right_one_is_not_said_to_be_so_never() -> None:
    page = draw(view="Subsets", experiment="demo-recorded", of="trip-mood")
    assert [m.value for m in page.metric if m.label == "Exact"] == ["under 1 %", "65 %"]


def test_without_a_browser_on_the_server_figures_are_saved_by_the_camera(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    monkeypatch.setenv("BROWSER_PATH", "/no/such/browser")
    made = draw(view="Transfer", experiment="trial")
    assert any("Image files cannot be made" in c.value for c in made.caption)
    button = next(b for b in made.button if "Camera saves SVG" in b.label)
    button.click().run()
    assert not made.exception
    assert any("Camera saves PNG" in b.label for b in made.button)


def test_the_table_of_scores_is_the_one_that_is_exported(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    made = draw(view="Scores", experiment="trial")
    shown = made.table[0].value
    info = compare_info(open_experiment(two / "trial").runs)
    lines = {line.method: line for line in lines_of(info).of("compared")}
    assert set(shown.index) == {titles.label(method) for method in lines}
    for method, line in lines.items():
        for column, cell in zip(lines_of(info).columns, line.cells, strict=True):
            if column in shown.columns:
                assert shown.loc[titles.label(method), column].startswith(cell.percent)


def test_a_method_is_set_against_itself_in_another_experiment(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    elsewhere = "the same method in other experiments"
    made = draw(view="Verdicts", experiment="trial,other", target="lake", against=elsewhere)
    assert made.selectbox(key="against").value == elsewhere
    table = next(d.value for d in made.dataframe if "verdict" in d.value and "g" in d.value)
    assert table["baseline"].tolist() == ["other: DTVG"]
    assert table["seeds"].tolist() == [1]
    alone = draw(view="Verdicts", experiment="trial")
    assert "against" not in [s.key for s in alone.selectbox]


def test_the_method_in_question_is_that_of_the_command_line_also_at_rates_of_its_own(
    own_home: Path,
) -> None:
    """As after `dtvg tune`: the page asked about the first method of the configuration."""
    tuned = [{"name": name, "lr": 0.1} for name in ("none", "all_sources", "dtvg")]
    made = record(paths.runs(), config("tuned", methods=tuned, targets=["lake"]))
    page = draw(view="Verdicts", experiment="tuned")
    assert [h.value for h in page.header][0] == "DTVG, lr 0.1 minus each baseline, paired"
    told = " ".join(c.value for c in draw(view="Scores", experiment="tuned").caption)
    lines = lines_of(compare_info(made.runs))
    assert lines.subject == "dtvg-lr0.1" and "No comparison with DTVG, lr 0.1" in told


def test_runs_whose_settings_are_compared_are_headed_by_what_differs() -> None:
    runs = ["lake.none.s0", "lake.dtvg.s0"]
    assert _apart(runs) == dict(zip(runs, ["No transfer", "DTVG"], strict=True))
    seeds = ["lake.dtvg.s0", "lake.dtvg.s1"]
    assert _apart(seeds) == dict(zip(seeds, ["seed 0", "seed 1"], strict=True))
    assert set(_apart(["lake.dtvg.s0", "lake.dtvg.s0"]).values()) == {titles.run("lake.dtvg.s0")}


def test_subsets_are_those_of_one_experiment_also_where_no_run_walks(
    two: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(two, monkeypatch)
    names = ["trial/lake.none.s0", "trial/lake.single-amber.s0", "other/lake.single-birch.s0"]
    query = {"view": "Subsets", "experiment": "trial,other", "runs": ",".join(names)}
    drawn = [draw(**query), draw(**query, searched="other")]
    said = [" ".join(c.value for c in page.caption) for page in drawn]
    assert drawn[0].selectbox(key="searched").options == ["trial", "other"]
    assert "2 of the 2 subsets" in said[0] and "1 of the 2 subsets" in said[1]
    assert "**A** amber" in said[0] and "**A** birch" in said[1] and "birch" not in said[0]


def test_verdicts_of_searched_subsets_alone_say_what_is_lacking() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    subsets = [f"demo-recorded/{r.name}" for r in recorded.runs if r.subset is not None][:4]
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["experiment"] = "demo-recorded"
    page.query_params["runs"] = ",".join(subsets)
    page.query_params["view"] = "Verdicts"
    page.run()
    assert not page.exception and not page.error
    assert "subsets of a search" in page.info[0].value


@pytest.mark.parametrize("view", ["Who helped", "Subsets"])
def test_runs_that_kept_only_scores_are_said_to_have_no_groups(own_home: Path, view: str) -> None:
    record(own_home / "runs", config(seeds=[0, 1], logging={"detail": "scores"}), steps=20)
    for run in (own_home / "runs" / "trial").glob("*.s?"):
        for table in ("steps", "sources"):
            shutil.rmtree(run / table, ignore_errors=True)
    page = draw(experiment="trial", view=view)
    said = " ".join(e.value for kind in (page.info, page.caption, page.markdown) for e in kind)
    assert "logging.detail: scores" in said and " 's runs" not in said
    assert "the walk went through 0" not in said
    for name in ("groups", "explain"):
        other = AppTest.from_file(str(PAGE.with_name(f"{name}.py")), default_timeout=60).run()
        (told,) = [i.value for i in other.info]
        assert "kept only scores" in told and not other.exception
