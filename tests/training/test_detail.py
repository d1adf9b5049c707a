"""`logging.detail`: what is kept of a run, and that nothing else about the run changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.compare.budgets import _tied
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.run.curves import curve_info
from dtvg.analysis.run.explain import explain_step
from dtvg.analysis.run.groups import group_info, share_info
from dtvg.analysis.run.replay import replay
from dtvg.analysis.run.segments import changes, combinations
from dtvg.config import build_config
from dtvg.errors import ConfigError, DataError, StoreError
from dtvg.exchange.outgoing import from_run
from dtvg.records import RunState
from dtvg.store import verify
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Run, list_runs, read_grams, read_table, read_towards_target
from dtvg.store.shares import shares_in_log
from dtvg.store.status import request
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures

from .settings import moved_prompt

METHODS = ["none", "dtvg", {"name": "dtvg", "hysteresis": 0.02}, "single"]
KEPT = [1, 3, 6, 9]
THINNED = {"detail": "full", "full_seeds": 0, "detail_of": {"single": "scores"}, "thin_every": 3}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Run], dict[str, Run]]:
    """The same runs with full logs, and with less detail and a break after step 7."""
    folder, found = tmp_path_factory.mktemp("detail"), []
    bank, whole = PromptBank(folder / "bank"), loop.hold_sources

    def stop_in_the_middle(cohort) -> None:
        for slot in cohort.slots:
            if slot.config.role == "transfer" and slot.step == 7:
                request(cohort.run_dirs[slot.name], "stop")
        whole(cohort)

    for name, logging in (("full", {}), ("less", THINNED)):
        values = tiny_config(folder / "parts", name=name, methods=METHODS)
        values["logging"] |= logging
        values["optim"]["steps"] = 11
        experiment = create_experiment(build_config(values), folder / "runs")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(procedures, "to_task_prompt", moved_prompt)
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(loop, "CONTROL_SECONDS", 0.0)
                inner.setattr(loop, "hold_sources", stop_in_the_middle)
                procedures.run_experiment(experiment, bank=bank)
            procedures.run_experiment(experiment, bank=bank)
        runs = [r for r in list_runs(folder / "runs", name) if r.role == "transfer"]
        assert {run.state for run in runs} == {RunState.FINISHED}
        found.append({run.name: run for run in runs})
    return found[0], found[1]


def test_detail_changes_what_is_kept_and_no_number(both) -> None:
    full, less = both
    for name, run in less.items():
        assert run.result is not None and full[name].result is not None
        assert run.result.test_score == full[name].result.test_score
        assert run.result.validation_score == full[name].result.validation_score
        steps = read_table(run, "steps", ["step", "loss"]).to_pydict()
        whole = read_table(full[name], "steps", ["step", "loss"]).to_pydict()
        scores = "single" in name
        assert steps["step"] == ([] if scores else KEPT)
        assert steps["loss"] == ([] if scores else [whole["loss"][s - 1] for s in KEPT])
        prompts = {path.stem for path in run.directory.prompts_dir.glob("*.safetensors")}
        assert prompts == (set() if scores else {"best"})
        assert read_table(run, "predictions").num_rows == 12
        assert read_table(run, "evals").num_rows == read_table(full[name], "evals").num_rows
        assert verify_run(run.path) == [] and verify_run(full[name].path) == []


def test_a_thinned_log_is_read_as_one_without_gaps(both) -> None:
    full, less = both
    info, whole = group_info(less["rte.dtvg.s0"]), group_info(full["rte.dtvg.s0"])
    at = np.array(KEPT) - 1
    assert info.steps.tolist() == KEPT and "thinned log" in info.notes[0]
    assert np.array_equal(info.member, whole.member[at])
    always = np.ones((len(KEPT), 1), dtype=bool)
    assert combinations(info.steps, ("a",), always)["longest"].tolist() == [len(KEPT)]
    assert len(changes(info.steps, ("a",), always, always.astype(np.float32))) == 1
    one, other = explain_step(less["rte.dtvg.s0"], 6), explain_step(full["rte.dtvg.s0"], 6)
    assert one.headline == other.headline
    with pytest.raises(DataError, match="thinned log keeps: 1, 3, 6 … 9"):
        explain_step(less["rte.dtvg.s0"], 5)
    assert replay(less["rte.dtvg.s0"], rule="largest").steps.tolist() == KEPT
    examples = curve_info([less["rte.dtvg.s0"]], "score", "examples").curves[0].x
    assert examples.tolist() == pytest.approx([0, 20, 40, 44])
    costs = [compare_info(list(runs.values())).costs.table.set_index("method") for runs in both]
    assert [c.loc["dtvg", "examples"] for c in costs] == [44, 44]


def test_the_best_prompt_of_a_thinned_run_is_exported_as_that_of_a_full_one(both) -> None:
    full, less = both
    one, whole = (from_run(runs["rte.dtvg.s0"]) for runs in (less, full))
    assert np.array_equal(one.prompt, whole.prompt) and one.init is None
    assert (one.score, one.backbone_revision) == (whole.score, whole.backbone_revision)
    for name, which, kept in (
        ("rte.dtvg.s0", "final", "thinned`, which keeps only the best of"),
        ("rte.dtvg.s0", "source:sst2", "thinned`, which keeps only the best of"),
        ("rte.single-sst2.s0", "best", "scores`, which keeps none of"),
    ):
        with pytest.raises(StoreError, match=f"logging.detail: {kept} its prompts"):
            from_run(less[name], which)


def test_what_needs_steps_that_are_not_kept_says_so(both) -> None:
    _, less = both
    single = less["rte.single-sst2.s0"]
    assert "detail: scores" in group_info(single).notes[0]
    with pytest.raises(DataError, match="detail: scores"):
        explain_step(single)
    with pytest.raises(DataError, match="detail: scores"):
        replay(single)
    with pytest.raises(DataError, match="thinned log"):
        explain_step(less["rte.dtvg-hysteresis0.02.s0"], 6)
    with pytest.raises(DataError, match="thinned log"):
        replay(less["rte.dtvg.s0"], rule="greedy", hysteresis=0.1)
    assert curve_info([single], "loss").curves == ()
    assert len(curve_info([single], "score").curves) == 1
    assert curve_info([single], "score", "seconds").curves == ()
    assert len(compare_info(list(less.values())).table)


def test_a_part_of_the_seeds_and_of_the_sources(tmp_path: Path) -> None:
    values = {
        "name": "parts",
        "sources": ["film-mood", "meal-mood", "who-gave"],
        "targets": ["trip-mood"],
        "methods": ["none", {"name": "oracle", "among": ["film-mood", "who-gave"]}],
        "seeds": [5, 6],
        "seeds_of": {"oracle": 1},
    }
    names = [run.name for run in build_config(values).runs()]
    subsets = ["none", "film-mood", "who-gave", "film-mood.who-gave"]
    searched = [f"trip-mood.oracle-of-{subset}.s5" for subset in subsets]
    assert names == ["trip-mood.none.s5", *searched, "trip-mood.none.s6"]
    for wrong in ({"seeds_of": {"orcale": 1}}, {"logging": {"detail_of": {"orcale": "scores"}}}):
        with pytest.raises(ConfigError, match="orcale.*Did you mean.*oracle"):
            build_config({**values, **wrong})


def test_a_result_notes_what_a_glance_would_read_the_log_for(
    both: tuple[dict[str, Run], dict[str, Run]],
) -> None:
    grouped = 0
    for run in (run for half in both for run in half.values()):
        result = run.result
        evals = read_table(run, "evals").to_pandas()
        scores = evals[(evals["metric"] == "score") & (evals["split"] == "validation")]["value"]
        assert result.at_best == (scores == scores.max()).sum()
        assert _tied(run) == _tied(replace(run, result=replace(result, at_best=None)))
        assert result.shares == shares_in_log(run)
        info = group_info(run)
        if len(info.steps):
            grouped += 1
            assert list(result.shares.values()) == list(info.member.mean(axis=0))
            unnoted = share_info(replace(run, result=replace(result, shares=None)))
            assert unnoted.sources == share_info(run).sources == tuple(result.shares)
            assert list(unnoted.shares) == list(share_info(run).shares)
            np.testing.assert_array_equal(
                read_towards_target(run, run.config), read_grams(run)[1][:, 0, 1:]
            )
        assert verify._check_end(run) == [] and verify._check_sources(run, run.config) == []
        wrong = replace(run, result=replace(result, at_best=result.at_best + 1))
        assert "reached the best score" in verify._check_end(wrong)[0]
        wrong = replace(run, result=replace(result, shares={"mnli": 0.123}))
        told = verify._check_sources(wrong, run.config)
        assert len(info.steps) == 0 or "shares are not those" in told[0]
    assert grouped == 7  # all but those without sources and the scores of `single`
