"""A run whose files cannot be read is left out of what many runs show, and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dtvg.analysis.claims.helped import helped_info
from dtvg.analysis.claims.info import claims_info
from dtvg.analysis.compare.disagreements import disagreement_info
from dtvg.analysis.compare.info import BEST_SINGLE, MEAN_SINGLE, compare_info
from dtvg.analysis.run.curves import curve_info
from dtvg.cli import main
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import cache
from tests.analysis.answered import mostly_right
from tests.analysis.answered import record as record_answers

LEFT_OUT = "Files of 1 run cannot be read; it is left out where those are needed ("
PAGE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"


def damaged(whole: Experiment, home: Path, *tables: str) -> tuple[Run, ...]:
    """Damage tables of the run of DTVG with seed 1 on the first target, in a copy."""
    place = shutil.copytree(whole.path, home / "runs" / whole.name)
    runs = open_experiment(place).runs
    run = next(r for r in runs if (r.method, r.seed) == ("dtvg", 1))
    parts = [part for table in tables for part in (run.path / table).glob("*.parquet")]
    assert len(parts) >= len(tables)
    for part in parts:
        part.write_bytes(b"no Parquet")
    return tuple(r for r in runs if r.role == "transfer")


VIEWS: dict[str, tuple[str, Callable[[Sequence[Run]], Sequence[str]]]] = {
    "cost": ("steps", lambda runs: [compare_info(runs).costs.note]),
    "loss": ("steps", lambda runs: curve_info(runs, "loss").notes),
    "score": ("evals", lambda runs: curve_info(runs, "score").notes),
    "accuracy": ("evals", lambda runs: compare_info(runs, "validation", "accuracy").notes),
    "claims": ("sources", lambda runs: claims_info(runs).notes),
    "helped": ("sources", lambda runs: helped_info(runs).notes),
}


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_many_runs_name_the_one_that_cannot_be_read(
    experiment: Experiment, tmp_path: Path, view: str
) -> None:
    table, notes_of = VIEWS[view]
    runs = damaged(experiment, tmp_path, table)
    assert any(f"{LEFT_OUT}trial/lake.dtvg.s1: " in note for note in notes_of(runs))
    whole = [r for r in experiment.runs if r.role == "transfer"]
    assert not any(LEFT_OUT in note for note in notes_of(whole))


def test_costs_are_of_the_other_seeds_where_one_cannot_be_read(
    experiment: Experiment, tmp_path: Path
) -> None:
    whole = compare_info(experiment.runs).costs.runs
    lost = (whole["method"] == "dtvg") & (whole["target"] == "lake") & (whole["seed"] == 1)
    left = compare_info(damaged(experiment, tmp_path, "steps")).costs.runs
    kept = left[left["method"].isin(whole["method"])].reset_index(drop=True)
    wanted = whole[~lost & whole["method"].isin(left["method"])].reset_index(drop=True)
    columns = ["method", "target", "seed", "examples", "seconds", "n_runs"]
    assert lost.sum() == 1 and kept[columns].equals(wanted[columns])


def test_answers_that_cannot_be_read_are_paired_by_seed_only(tmp_path: Path) -> None:
    whole = record_answers(tmp_path, mostly_right({"none": 0.6, "dtvg": 0.8}))
    runs = damaged(whole, tmp_path, "predictions")
    (problem,) = compare_info(runs).paired.problems
    assert "answers that cannot be read (answered/lake.dtvg.s1: " in problem
    assert "paired by seed only" in problem
    pairs = [
        tuple(next(r for r in runs if r.name == f"lake.{m}.s{s}") for m in ("dtvg", "none"))
        for s in (0, 1)
    ]
    info = disagreement_info(pairs, "dtvg", "none", "test")  # type: ignore[arg-type]
    assert set(info.examples["seed"]) == {0} and any(LEFT_OUT in n for n in info.notes)


def test_page_and_command_line_name_the_run_that_cannot_be_read(
    experiment: Experiment,
    own_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    runs = damaged(experiment, own_home, "steps", "sources")
    assert main(["claims", "trial"]) == 0
    assert LEFT_OUT in capsys.readouterr().out
    assert main(["runs", "compare", "trial", "--tables", "costs"]) == 0
    assert LEFT_OUT in capsys.readouterr().out
    for view in ("Cost", "Claims", "Curves", "Who helped"):
        app = AppTest.from_file(str(PAGE), default_timeout=60)
        app.query_params.update({"runs": "trial", "view": view, "quantity": "loss"})
        app.run()
        assert not app.exception and not [e.value for e in app.error]
        said = [one.value for kind in (app.caption, app.markdown, app.warning) for one in kind]
        assert any("cannot be read; it is left out" in one for one in said), view
    run = next(r for r in runs if r.name == "lake.dtvg.s1")
    assert LEFT_OUT in cache.helped(runs).notes[-1]
    for part in (run.path / "sources").glob("*.parquet"):
        shutil.copyfile(experiment.path / run.name / "sources" / part.name, part)
    assert not any(LEFT_OUT in note for note in cache.helped(runs).notes)


@pytest.mark.parametrize("file", ["status.json", "result.json"])
def test_a_damaged_single_run_leaves_its_seed_out_of_the_best_single(
    experiment: Experiment, tmp_path: Path, file: str
) -> None:
    """The page gives whole runs alone, the command line all: the same scores."""
    place = shutil.copytree(experiment.path, tmp_path / "trial")
    (place / "lake.single-birch.s1" / file).write_text("[1")
    (place / "lake.single-birch.s1" / "result.json").write_text("[1")
    runs = [r for r in open_experiment(place).runs if r.role == "transfer"]
    table = compare_info(runs).table
    pd.testing.assert_frame_equal(
        table, compare_info([r for r in runs if r.problem is None]).table, check_like=True
    )
    singles = table[table["method"].isin([BEST_SINGLE, MEAN_SINGLE])]
    seeds = singles.groupby("target", sort=False)["seeds"].unique()
    assert {t: list(s) for t, s in seeds.items()} == {
        "lake": ["0 2"],
        "moor": ["0 1 2"],
        "average": ["0 2"],
    }
