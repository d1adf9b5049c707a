"""Curves against the rows of the log: averages over targets within a seed, bands over seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtvg.analysis.downsample import MAX_POINTS
from dtvg.analysis.run.curves import curve_info, smoothed
from dtvg.config import RunConfig
from dtvg.errors import DataError
from dtvg.figures.curves import BANDS, curves_figure
from dtvg.store.reader import Experiment, Run
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs
from tests.analysis.factory import config, find, record


def rows_of(run: Run, table: str) -> pd.DataFrame:
    return pd.concat(pd.read_parquet(p) for p in (run.path / table).glob("part-*"))


def runs_of(experiment: Experiment, method: str, target: str | None = None) -> list[Run]:
    return [r for r in experiment.runs if r.method == method and target in (None, r.target)]


def test_a_lone_run_is_drawn_as_logged(dtvg_run: Run) -> None:
    (curve,) = curve_info([dtvg_run], "loss", group_by="run").curves
    logged = rows_of(dtvg_run, "steps")
    assert curve.x.tolist() == logged["step"].tolist()
    assert curve.y == pytest.approx(logged["loss"].to_numpy(dtype=float))
    assert curve.n_seeds == 1 and (curve.lower == curve.y).all()


def test_a_band_is_mean_and_standard_deviation_over_seeds(experiment: Experiment) -> None:
    runs = runs_of(experiment, "dtvg", "lake")
    (curve,) = curve_info(runs, "loss").curves
    values = np.stack([rows_of(r, "steps")["loss"].to_numpy(dtype=float) for r in runs])
    assert curve.y == pytest.approx(values.mean(axis=0))
    assert curve.upper - curve.y == pytest.approx(values.std(axis=0, ddof=1))
    assert curve.y - curve.lower == pytest.approx(values.std(axis=0, ddof=1))
    assert set(curve.n_runs) == {3} and curve.n_seeds == 3


def test_a_band_of_extremes_and_none(experiment: Experiment) -> None:
    runs = runs_of(experiment, "dtvg", "lake")
    values = np.stack([rows_of(r, "steps")["loss"].to_numpy(dtype=float) for r in runs])
    (curve,) = curve_info(runs, "loss", bands="range").curves
    assert curve.lower == pytest.approx(values.min(axis=0))
    assert curve.upper == pytest.approx(values.max(axis=0))
    (bare,) = curve_info(runs, "loss", bands=False).curves
    assert (bare.lower == bare.y).all() and (bare.upper == bare.y).all()


def test_targets_are_averaged_within_a_seed_before_the_band(experiment: Experiment) -> None:
    """Targets differ by 10 points; that must not look like a spread over seeds."""
    (curve,) = curve_info(runs_of(experiment, "dtvg"), "score").curves
    last = []
    for seed in range(3):
        both = [find(experiment, "dtvg", t, seed) for t in ("lake", "moor")]
        last.append(np.mean([r.result.validation_score for r in both if r.result]))
    assert curve.x[-1] == 60 and curve.y[-1] == pytest.approx(np.mean(last))
    assert curve.upper[-1] - curve.y[-1] == pytest.approx(np.std(last, ddof=1))
    assert curve.upper[-1] - curve.y[-1] < 0.02


def test_runs_that_enter_no_mean_are_not_counted_and_move_no_place(tmp_path: Path) -> None:
    def rows(run: RunConfig, writer: RunWriter) -> None:
        short = run.seed == 0 and run.target == "moor"
        steps = np.arange(1, 6 if short else 11)
        pace = 5.0 if run.seed == 0 else 1.0
        loss = np.full(len(steps), 1.0 + run.seed, dtype=np.float32)
        made_runs.write_steps(writer, run, steps, loss=loss, seconds=steps * pace)

    made = made_runs.write_experiment(tmp_path, config(methods=["none"], seeds=[0, 1]), rows)
    (curve,) = curve_info(runs_of(made, "none"), "loss", x="seconds").curves
    assert curve.n_runs.tolist() == [4] * 5 + [2] * 5
    assert curve.y.tolist() == [1.5] * 5 + [2.0] * 5  # seed 1 alone from step 6 on
    assert curve.x.tolist() == [3.0 * step for step in range(1, 6)] + [6.0, 7.0, 8.0, 9.0, 10.0]
    alone = curve_info([r for r in runs_of(made, "none") if r.target == "moor"], "loss")
    told = curves_figure(alone).data[-1].customdata
    assert list(told) == ["2 runs"] * 5 + ["1 run"] * 5


def test_scores_are_those_of_the_split_asked_for(dtvg_run: Run) -> None:
    logged = rows_of(dtvg_run, "evals")
    for split in ("validation", "test"):
        (curve,) = curve_info([dtvg_run], "score", split=split, group_by="run").curves
        mine = logged[(logged["split"] == split) & (logged["metric"] == "score")]
        assert curve.x.tolist() == mine["step"].tolist()
        assert curve.y.tolist() == mine["value"].tolist()


@pytest.mark.parametrize("quantity", ["loss", "score"])
def test_other_axes_count_examples_and_seconds(dtvg_run: Run, quantity: str) -> None:
    by_step = curve_info([dtvg_run], quantity, group_by="run").curves[0]
    examples = curve_info([dtvg_run], quantity, x="examples", group_by="run").curves[0]
    seconds = curve_info([dtvg_run], quantity, x="seconds", group_by="run").curves[0]
    assert examples.x == pytest.approx(8 * by_step.x)
    assert seconds.x == pytest.approx(0.5 * by_step.x)
    assert (examples.y == by_step.y).all()


def test_evaluations_after_the_last_row_of_a_thinned_log_go_on_at_its_pace(tmp_path: Path) -> None:
    def rows(run: RunConfig, writer: RunWriter) -> None:
        steps = np.array([1, *range(10, 31, 10)])
        made_runs.write_steps(writer, run, steps, seconds=steps * 2.0)
        scores = {step: {"score": 0.5, "accuracy": 0.5} for step in range(0, 39, 2)}
        made_runs.write_evals(writer, run, "validation", scores)

    thinned = config(methods=["none"], targets=["lake"], seeds=[0], logging={"detail": "thinned"})
    made = made_runs.write_experiment(tmp_path, thinned, rows)
    (over,) = curve_info(made.runs, "score", x="seconds").curves
    assert over.x.tolist() == [2.0 * step for step in range(0, 39, 2)]
    (steps,) = curve_info(made.runs, "loss", x="examples").curves
    (over,) = curve_info(made.runs, "score", x="examples").curves
    assert over.x.tolist() == pytest.approx([steps.x[0] * step for step in range(0, 39, 2)])


@pytest.mark.parametrize(
    ("group_by", "names"),
    [
        ("method", {"none", "dtvg"}),
        ("target", {"lake", "moor"}),
        ("method_target", {"none · lake", "none · moor", "dtvg · lake", "dtvg · moor"}),
        ("seed", {"seed 0", "seed 1", "seed 2"}),
    ],
)
def test_runs_are_grouped_as_asked(experiment: Experiment, group_by: str, names: set[str]) -> None:
    runs = [*runs_of(experiment, "none"), *runs_of(experiment, "dtvg")]
    info = curve_info(runs, "loss", group_by=group_by)  # type: ignore[arg-type]
    assert {c.name for c in info.curves} == names
    assert set(info.table["series"]) == names
    assert sum(len(c.x) for c in info.curves) == len(info.table)


def test_runs_of_two_experiments_never_share_a_curve(tmp_path: Path) -> None:
    small = {"methods": ["dtvg"], "targets": ["lake"], "seeds": [0]}
    made = [record(tmp_path, config(name, **small)) for name in ("one", "two")]
    info = curve_info([r for e in made for r in e.runs], "loss")
    assert {c.name for c in info.curves} == {"one: dtvg", "two: dtvg"}


def test_smoothing_is_an_unbiased_exponential_mean_that_passes_over_gaps() -> None:
    y = np.array([1.0, 3.0, np.nan, 2.0])
    weights = [np.array([1.0]), np.array([0.5, 1.0]), np.array([0.25, 0.5, 1.0])]
    kept = np.array([1.0, 3.0, 2.0])
    want = [(w * kept[: len(w)]).sum() / w.sum() for w in weights]
    got = smoothed(y, 0.5)
    assert np.isnan(got[2]) and got[[0, 1, 3]] == pytest.approx(want)
    assert (smoothed(kept, 0.0) == kept).all()
    assert smoothed(np.full(50, 0.7), 0.97) == pytest.approx(0.7)


def test_a_long_run_is_thinned_but_keeps_its_extremes(tmp_path: Path) -> None:
    small = config(methods=["none"], targets=["lake"], seeds=[0, 1], optim={"steps": 9000})
    made = record(tmp_path, small, steps=9000)
    run = made.runs[0]
    (curve,) = curve_info([run], "loss", group_by="run").curves
    logged = rows_of(run, "steps")["loss"]
    assert len(curve.x) <= MAX_POINTS
    assert (curve.y.min(), curve.y.max()) == pytest.approx((logged.min(), logged.max()))
    assert curve.x[-1] == 9000
    (averaged,) = curve_info(made.runs, "loss").curves
    assert 3 * len(averaged.x) <= MAX_POINTS
    values = np.stack([rows_of(r, "steps")["loss"].to_numpy(dtype=float) for r in made.runs])
    assert np.average(averaged.y) == pytest.approx(values.mean(), abs=1e-5)


def test_what_is_missing_is_named(experiment: Experiment, tmp_path: Path) -> None:
    info = curve_info(runs_of(experiment, "none", "lake"), "group_size")
    assert info.curves == () and "Without a value of 'group_size'" in info.notes[0]
    assert list(info.table.columns)[:3] == ["series", "step", "group_size"]
    mixed = [find(experiment, "dtvg", "lake", 0), find(experiment, "dtvg", "moor", 1)]
    assert any("do not cover the same targets" in n for n in curve_info(mixed, "loss").notes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"quantity": "scor"}, "Did you mean 'score'"),
        ({"x": "steps"}, "Did you mean 'step'"),
        ({"group_by": "methods"}, "Did you mean 'method'"),
        ({"smooth": 1.0}, "not including, 1"),
    ],
)
def test_wrong_words_are_answered_with_the_nearest(
    dtvg_run: Run, options: dict[str, object], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        curve_info([dtvg_run], **options)  # type: ignore[arg-type]


def test_only_the_method_in_question_has_a_band_among_many_curves(experiment: Experiment) -> None:
    runs = [r for r in experiment.runs if r.target == "lake" and r.role == "transfer"]
    info = curve_info(runs, "loss")
    assert len(info.curves) > BANDS
    drawn = curves_figure(info, subjects={"dtvg"})
    bands = {t.name for t in drawn.data if t.fill == "tonexty"}
    lines = {t.name: t.line.width for t in drawn.data if t.mode != "lines" or t.line.width}
    assert bands == {"dtvg upper"}
    assert all(lines["dtvg"] > width for name, width in lines.items() if name != "dtvg")
    every = curves_figure(info)
    assert len([t for t in every.data if t.fill == "tonexty"]) == len(info.curves)
    of_dtvg = curve_info([r for r in runs if r.method in ("dtvg", "none")], "loss")
    few = curves_figure(of_dtvg, subjects={"dtvg"})
    assert len([t for t in few.data if t.fill == "tonexty"]) == 2


def test_a_first_score_is_drawn_on_the_axis_of_the_curve_beside_it(experiment: Experiment) -> None:
    run = find(experiment, "dtvg")
    losses, scores = (curve_info([run], q, group_by="run") for q in ("loss", "score"))
    (curve,) = scores.curves
    first = replace(curve, **{k: getattr(curve, k)[:1] for k in ("x", "y", "lower", "upper")})
    one = replace(scores, curves=(replace(first, n_runs=curve.n_runs[:1]),))
    assert curves_figure(one, beside=losses).layout.xaxis.range[1] == losses.curves[0].x[-1]
    assert curves_figure(one).layout.xaxis.range[1] == max(2 * curve.x[0], 10)
    assert curves_figure(scores, beside=losses).layout.xaxis.range is None
