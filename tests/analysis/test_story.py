"""The story of a run on logs whose decisions are known: who, how surely, what followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtvg.analysis.run.groups import group_info
from dtvg.analysis.run.partings import partings
from dtvg.analysis.run.story import CONSISTENCY, CUT, TOLD, _surely, leads, siblings, story_info
from dtvg.config import RunConfig, build_config
from dtvg.records import RunResult, RunState
from dtvg.rule.memory import may_regroup
from dtvg.store.holds import Stretch
from dtvg.store.reader import Experiment
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs
from tests.analysis import factory

STEPS, JOINS, LEAVES = 100, 31, 61
SIMILAR = 0.5


def _grams(seed: int) -> np.ndarray:
    """`[S m m]`: "a" is always similar; "b", aligned with it, joins at 31 and leaves at 61.

    In seed 1 it stays to the end. "c" is never similar.
    """
    inside = np.arange(1, STEPS + 1) >= JOINS
    if seed == 0:
        inside &= np.arange(1, STEPS + 1) < LEAVES
    gram = np.tile(np.eye(4, dtype=np.float32), (STEPS, 1, 1))
    similarity = (np.full(STEPS, SIMILAR), np.where(inside, 0.3, -0.2), np.full(STEPS, -0.4))
    for place, values in enumerate(similarity, 1):
        gram[:, 0, place] = gram[:, place, 0] = values
    gram[:, 1, 2] = gram[:, 2, 1] = np.where(inside, 0.25, 0)
    return gram


def _rows(run: RunConfig, writer: RunWriter) -> RunResult | None:
    step = np.arange(1, STEPS + 1)
    kept = step[(step == 1) | (step % 10 == 0)] if run.logging.gaps else step
    grams = _grams(run.seed)[kept - 1] if run.method.has_source_vectors else None
    loss = np.where(kept < JOINS, 3.0, 1.0).astype(np.float32)
    if run.logging.detail != "scores":
        made_runs.write_steps(writer, run, kept, grams, loss=loss)
    evals = {0: {"score": 0.4}, 30: {"score": 0.5}, 60: {"score": 0.7}, 100: {"score": 0.6}}
    made_runs.write_evals(writer, run, "validation", evals)
    made_runs.write_evals(writer, run, "test", {STEPS: {"score": 0.6}})
    return made_runs.result_of(STEPS, 0.7, 0.6, {"score": 0.6}, best_step=60)


def _record(root: Path, **changes: object) -> Experiment:
    values = {
        "name": "told",
        "sources": ["a", "b", "c"],
        "targets": ["lake"],
        "methods": ["dtvg", {"name": "dtvg", "rule": "similarity_only"}],
        "seeds": [0, 1],
        "optim": {"steps": STEPS, "stage1_steps": 5},
    }
    return made_runs.write_experiment(root, build_config({**values, **changes}), _rows)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return _record(tmp_path_factory.mktemp("told"))


def test_who_joined_and_left_how_surely_and_what_followed(told: Experiment) -> None:
    run = told.runs[0]
    info = story_info(run)
    assert info.lead_of == CONSISTENCY
    assert info.sentence == (
        "In the group: a always, b 30 % of steps, c never, "
        "decided by a lead below 0.01 in 0 % of steps."
    )
    first, second = info.moments.to_dict("records")
    assert (first["step"], first["joined"], first["group"]) == (JOINS, "b", "a + b")
    assert (second["step"], second["left"], second["lasted"]) == (LEAVES, "b", 40)
    assert first["lead"] == pytest.approx(group_info(run).consistency_margin[JOINS - 1])
    assert (first["loss_before"], first["loss_after"]) == (3.0, 1.0)
    assert (first["score_before"], first["score_after"]) == (0.5, 0.7)
    assert (second["score_before"], second["score_after"]) == (0.7, 0.6)
    kinds = list(zip(info.lines["step"], info.lines["kind"], strict=True))
    expected = [(1, "start"), (31, "change"), (60, "kept"), (61, "change"), (61, "settled")]
    assert kinds == expected
    assert "b joined by a lead of 0.25; the group" in info.lines["sentence"][1]
    assert info.lines["sentence"].iloc[-1] == f"From here to the end ({STEPS}) it was a."
    half = story_info(replace(run, result=None, state=RunState.STOPPED)).lines["sentence"]
    assert half.iloc[-1] == f"From here so far ({STEPS}) it was a."  # it may go on
    assert "Loss 3 before, 1 after; validation score 50.0 % before" in info.text


def test_the_least_certain_decision_of_each_stretch_names_the_next_best(told: Experiment) -> None:
    info = story_info(told.runs[0])
    narrowest = info.uncertain["lead"].tolist()
    # with one candidate there is no rival, so only the middle stretch has a lead
    assert info.uncertain[["step", "group", "instead", "steps"]].values.tolist() == [
        [JOINS, "a + b", "a", 30]
    ]
    assert narrowest == sorted(narrowest)


def test_a_rule_that_takes_every_candidate_is_told_by_the_distance_from_the_cut(
    told: Experiment,
) -> None:
    run = next(r for r in told.runs if r.method.endswith("similarity_only"))
    info = story_info(run)
    assert info.lead_of == CUT
    assert info.moments["lead"].tolist() == pytest.approx([0.3, 0.2], abs=1e-6)
    assert "0.2 from the cut (b is nearest to it)" in info.uncertain["sentence"][0]


@pytest.mark.parametrize("schedule", ["regular", "random"])
def test_only_steps_at_which_the_group_could_change_are_decisions(
    tmp_path: Path, schedule: str
) -> None:
    method = {"name": "dtvg", "regroup_every": 5, "schedule": schedule}
    made = factory.config(methods=[method], targets=["lake"], seeds=[3])
    run = next(r for r in factory.record(tmp_path, made).runs if r.role == "transfer")
    info = group_info(run)
    assert run.config is not None
    wanted = may_regroup(run.config.rule_settings, info.steps, run.seed)
    assert wanted.sum() == 12  # one in each five of 60 steps
    assert np.array_equal(leads(run, info)[2], wanted)
    assert set(story_info(run).uncertain["step"]) <= set(info.steps[wanted].tolist())


def test_a_lead_is_told_with_no_more_digits_than_say_something() -> None:
    told = [_surely(lead, CONSISTENCY) for lead in (0.1234567, 0.0123456, 0.000487, 0.0)]
    assert told[:2] == [" by a lead of 0.123", " by a lead of 0.012"]
    assert told[2:] == [" by a lead of 0.0005", " in a tie"]


def test_where_seeds_part(told: Experiment) -> None:
    run = told.runs[0]
    others = siblings(run, told.runs)
    assert [o.seed for o in others] == [1]
    row = story_info(run, others=[group_info(o) for o in others]).partings.iloc[0]
    assert (row["step"], row["for_good"], row["here"], row["there"]) == (61, 61, "a", "a + b")
    assert row["same"] == pytest.approx(0.6)
    assert row["overlap"] == pytest.approx(0.6 + 0.4 * 0.5)
    assert (row["common"], row["whole"]) == (STEPS, True)
    assert row["sentence"] == (
        "Seed 1 parts at step 61 for good (a here, a + b there); same group in 60 % of common "
        "steps."
    )


def test_seeds_are_compared_only_at_the_steps_that_both_recorded(tmp_path: Path) -> None:
    made = _record(tmp_path, seeds=[0, 1, 2], logging={"detail": "thinned", "full_seeds": 1})
    run, *others = (r for r in made.runs if r.method == "dtvg")
    info = story_info(run, others=[group_info(o) for o in others])
    parted = info.partings.set_index("seed")
    assert (parted["common"] == 11).all() and not parted["whole"].any()
    assert parted.loc[1, "step"] == 70  # at 61, which seed 1 did not record
    assert parted.loc[1, "sentence"] == (
        "Seed 1 parts at or before step 70 for good (a here, a + b there); same group in 64 % of "
        "the 11 steps that both recorded."
    )
    assert any("Seeds 1 and 2: compared at the steps" in note for note in info.notes)
    first, second = (group_info(o) for o in others)  # thinned alike, and alike
    (alike,) = partings(first, [second])["sentence"]
    assert alike == "Seed 2 has the same group at all 11 steps that both recorded."


def test_thinned_logs_and_scores_only_say_what_they_lack(tmp_path: Path) -> None:
    made = _record(tmp_path, logging={"detail": "thinned", "detail_of": {"dtvg": "scores"}})
    by_method = {}
    for run in made.runs:
        by_method.setdefault(run.method, []).append(run)
    thinned = _record(tmp_path / "b", logging={"detail": "thinned", "full_seeds": 1})
    run = next(r for r in thinned.runs if r.seed == 1)
    info = story_info(run)
    assert info.moments["step"].tolist() == [40]
    assert any("every 10th step" in note for note in info.notes)
    assert "recorded step" in info.text
    scores = story_info(by_method["dtvg"][-1])
    assert not len(scores.lines) and "detail: scores" in scores.sentence
    assert isinstance(scores.moments, pd.DataFrame)


def test_the_group_of_a_best_step_that_was_not_recorded_is_that_of_a_named_step(
    tmp_path: Path,
) -> None:
    made = _record(tmp_path, logging={"detail": "thinned"})
    run = made.runs[0]
    assert run.result is not None
    recorded = [int(step) for step in group_info(run).steps]
    for best, then in ((recorded[3], "then"), (recorded[3] + 1, f"at step {recorded[3]:,}, the")):
        kept = replace(run, result=replace(run.result, best_step=best))
        (line,) = [s for s in story_info(kept).lines["sentence"] if "was kept" in s]
        assert f"The prompt of step {best:,} was kept" in line and f"; group {then}" in line


def test_of_many_changes_the_lasting_ones_are_told(tmp_path: Path) -> None:
    def rows(run: RunConfig, writer: RunWriter) -> RunResult | None:
        step = np.arange(1, STEPS + 1)
        grams = _grams(0)
        busy = (step > 70) & (step % 2 == 0)
        grams[busy, 0, 2] = grams[busy, 2, 0] = 0.3
        grams[busy, 1, 2] = grams[busy, 2, 1] = 0.25
        made_runs.write_steps(writer, run, step, grams)
        return None

    values = {
        "name": "busy", "sources": ["a", "b", "c"], "targets": ["lake"], "methods": ["dtvg"],
        "seeds": [0], "optim": {"steps": STEPS, "stage1_steps": 5},
    }  # fmt: skip
    run = made_runs.write_experiment(tmp_path, build_config(values), rows).runs[0]
    info = story_info(run)
    told = info.moments[info.moments["told"]]
    assert len(info.moments) > TOLD == len(told)
    assert {JOINS, LEAVES} <= set(told["step"])
    assert any("are told" in note for note in info.notes)


def test_what_a_person_decided_is_no_uncertain_decision_of_the_rule(told: Experiment) -> None:
    run = told.runs[0]
    info = group_info(run)
    held = replace(info, held=(Stretch("c", "pin", JOINS, LEAVES),))
    assert len(story_info(run, info).uncertain) == 1
    made = story_info(run, held)
    assert not len(made.uncertain) and "decided by a lead" not in made.sentence
