"""The overview's first card and stages: sentences with their numbers, and how far one is."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg import paths
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.compare.lines import in_percent as tables
from dtvg.analysis.overview import learned as learned_module
from dtvg.analysis.overview.learned import (
    NO_TRANSFER,
    SINGLE,
    ByHand,
    Rival,
    _did_it_help,
    _levels,
    _sureness,
    grouping_runs,
    held_by_hand,
    learned,
    listed,
    looked_at,
    points_text,
    worth_telling,
)
from dtvg.analysis.overview.progress import losses, progress
from dtvg.analysis.run.groups import group_info, share_info
from dtvg.analysis.words import in_percent, percent
from dtvg.plan.stored import lay_out, stored_plan
from dtvg.records import RunState
from dtvg.store.files import read_json, replace_json
from dtvg.store.holds import Hold
from dtvg.store.layout import add_run
from dtvg.store.reader import Experiment, open_experiment
from dtvg.ui import show
from tests.analysis.factory import config, record


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return record(tmp_path_factory.mktemp("learned"))


def test_the_card_tells_question_answer_certainty_and_rivals(experiment: Experiment) -> None:
    runs = grouping_runs(experiment, "lake")
    assert [r.name for r in runs] == [f"lake.dtvg.s{seed}" for seed in range(3)]
    infos = [group_info(run) for run in runs]
    compared = compare_info(looked_at(experiment)[0])
    seen = [share_info(run) for run in runs]
    made = learned(experiment, "lake", seen, compared)
    assert made.question == "Which sources helped lake?"
    assert made.answer.startswith("No source is known to have helped. dtvg mostly grouped ")
    shares = sum(info.member.mean(axis=0) for info in infos) / 3
    first, share = made.sources.iloc[0]
    assert share == pytest.approx(max(shares))
    assert f"{first} ({100 * share:.0f} % of the steps)" in made.answer
    means = {row: compared.wide.loc[row, "lake"] for row in ("dtvg", "none")}
    assert f"scored {100 * means['dtvg']:.1f} % on lake" in made.answer
    against = next(r for r in made.rivals if r.title == NO_TRANSFER)
    assert against.difference == pytest.approx(means["dtvg"] - means["none"])
    assert points_text(against.difference)[1:] in made.answer
    assert made.sureness.startswith("Against no transfer: no verdict without stored answers (3 ")
    at_once = learned(experiment, "lake", seen, compared, tested=False)
    assert at_once.sureness == "" and at_once.answer in made.answer


def test_a_method_is_not_set_against_itself(tmp_path: Path) -> None:
    found = record(tmp_path, config(methods=["none", "all_sources"], seeds=[0]))
    infos = [share_info(run) for run in grouping_runs(found, "lake")]
    compared = compare_info(looked_at(found)[0], subject="all_sources")
    made = learned(found, "lake", infos, compared)
    assert made.subject == "all_sources"
    assert [rival.title for rival in made.rivals] == [NO_TRANSFER]


def test_single_sources_at_rates_of_their_own_are_set_beside_the_method(tmp_path: Path) -> None:
    singles = [{"name": "single", "lr": rate} for rate in (0.1, 0.2)]
    found = record(tmp_path, config(methods=[*singles, "dtvg"], seeds=[0]))
    infos = [share_info(run) for run in grouping_runs(found, "lake")]
    made = learned(found, "lake", infos, compare_info(looked_at(found)[0]), tested=False)
    assert [rival.title for rival in made.rivals] == [SINGLE]


@pytest.mark.parametrize(("lacking", "common"), [("dtvg", 1), ("none", 1), ("dtvg none", 1)])
def test_scores_and_differences_are_over_the_same_seeds_where_one_side_has_fewer(
    tmp_path: Path, lacking: str, common: int
) -> None:
    unfinished = [f"lake.{name}.s{seed}" for name in lacking.split() for seed in (1, 2)]
    found = record(tmp_path, unfinished=unfinished)
    runs = grouping_runs(found, "lake")
    compared = compare_info(looked_at(found)[0])
    made = learned(found, "lake", [share_info(run) for run in runs], compared)
    against = next(r for r in made.rivals if r.title == NO_TRANSFER)
    assert against.difference == pytest.approx(against.subject_score - against.score)
    score = compared.wide.loc["none", "lake"]
    if lacking == "dtvg none":
        assert against.seeds is None and "both have" not in made.answer
    else:
        assert against.seeds == common
        assert (
            f"; on the 1 seed that both have it scored {100 * against.subject_score:.1f} %, "
            in (made.answer)
        )
        score = compared.sheet.scores["none", "lake"][0]
    assert against.score == pytest.approx(score)
    assert made.score == pytest.approx(compared.wide.loc["dtvg", "lake"])


def test_interval_and_seeds_needed_say_for_how_many_comparisons_they_are_corrected() -> None:
    recorded = open_experiment(paths.examples() / "demo-recorded")
    everyone = looked_at(recorded)[0]
    mine = grouping_runs(recorded)
    target = mine[0].target
    shares = [share_info(run) for run in mine if run.target == target]
    compared = compare_info(everyone)
    table = compared.verdicts
    row = table[(table["baseline"] == "none") & (table["target"] == target)].iloc[0]
    made = learned(recorded, target, shares, compared)
    same = table[(table["family"] == row["family"]) & (table["target"] != "average")]
    assert row["family"] == "exploratory" and len(same) > 1
    low, high = (f"{100 * abs(row[end]):.1f}" for end in ("low_corrected", "high_corrected"))
    assert f"{high} points, corrected for {len(same)} comparisons)." in made.sureness
    assert low in made.sureness
    said = _sureness(row.copy(), ("a", "for this one comparison"), None, target)
    assert f"{high} points, a)" in said
    open_one = row.copy()
    open_one["verdict"], open_one["seeds_needed"] = "undecided", 52.0
    said = _sureness(open_one, ("a", "corrected for 7 comparisons"), None, target)
    assert (
        "About 52 seeds would show a difference of this size in 80 % of such experiments "
        "(corrected for 7 comparisons)." in said
    )
    assert _levels(table, row)[1] == f"corrected for {len(same)} comparisons"
    declared = row.copy()
    declared["family"] = "primary"
    assert set(_levels(table, declared)) == {"tested alone, as the experiment declared it"}


def test_what_a_person_pinned_is_not_credited_to_the_method(experiment: Experiment) -> None:
    runs = grouping_runs(experiment, "lake")
    assert held_by_hand(runs) == ()
    seen = [share_info(run) for run in runs]
    compared = compare_info(looked_at(experiment)[0])
    plain = learned(experiment, "lake", seen, compared, tested=False)
    first = plain.sources["source"][0]
    held = (ByHand(first, "pin", 0.5), ByHand("dune", "ban", 0.001))
    made = learned(experiment, "lake", seen, compared, tested=False, by_hand=held)
    assert "of the steps, pinned by hand in 50 %)" in made.answer
    assert made.answer.endswith("Banned from the group by hand: dune in under 1 % of the steps.")
    assert "hand" not in plain.answer


def test_pins_and_bans_are_read_from_the_events_with_their_share_of_the_steps(
    tmp_path: Path,
) -> None:
    found = record(tmp_path)
    runs = grouping_runs(found, "lake")
    events = {"pin": 30, "free": 45, "ban": 54}
    changes = [Hold(step, "cedar", kind) for kind, step in events.items()]  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            learned_module, "history", lambda run: changes if run.name == runs[0].name else []
        )
        made = held_by_hand(runs)
    assert {(one.source, one.kind): one.share for one in made} == {
        ("cedar", "pin"): pytest.approx(15 / 60 / 3),
        ("cedar", "ban"): pytest.approx(6 / 60 / 3),
    }


def test_lost_and_failed_runs_are_counted_in_a_sentence(tmp_path: Path) -> None:
    folder = lay_out(config(), tmp_path)
    assert losses(open_experiment(folder.path)) == ""
    places = folder.runs()
    for number, place in enumerate(places[:3]):
        status = read_json(place.status_path) or {}
        state = RunState.FAILED if number == 2 else RunState.LOST
        replace_json(place.status_path, {**status, "state": state, "message": "Out of memory."})
    said = losses(open_experiment(folder.path))
    of = f"of {len(places)} runs"
    assert said.startswith(f"2 {of} are lost: their process ended before they did. 1 {of} failed: ")
    assert "failed: Out of memory. What was committed is kept" in said


def test_one_word_needs_a_verdict_and_numbers_are_printed_as_one_reads_them() -> None:
    for verdict, said in (("better", "Transfer helped."), ("worse", "Transfer harmed."), ("", "")):
        assert _did_it_help([Rival(NO_TRANSFER, 0.5, 0.1, verdict)]) == said
    assert points_text(-0.023) == "−2.3 points" and points_text(0.01) == "+1.0 point"
    assert points_text(-0.0001) == "0.0 points"
    assert listed(["a", "b", "c"]) == "a, b and c" and listed(["a"]) == "a"
    assert worth_telling([]) is None


def test_stages_count_what_trains_and_what_is_left(tmp_path: Path) -> None:
    folder = lay_out(config(), tmp_path)
    plan = stored_plan(folder, config())
    assert plan is not None
    before = [run for cohort in plan.stage_one for run in cohort.runs]

    def told() -> str:
        found = progress(open_experiment(folder.path))
        return " ".join(f"{stage.text} {stage.state};" for stage in found.stages)

    count = len(before)
    transfers = len(config().runs())
    assert told() == f"Stage I 0 of {count} now; Transfer 0 of {transfers} later; " + (
        f"Test 0 of {transfers} later;"
    )
    for run in before[:3]:  # the others' prompts are in the bank: they never get a folder
        place = add_run(folder, run)
        status = {**(read_json(place.status_path) or {}), "cohort": "stage1-000", "seconds": 10.0}
        replace_json(place.status_path, {**status, "state": RunState.WAITING, "step": 2})
    found = progress(open_experiment(folder.path))
    assert found.stages[0].text == "Stage I 0 of 3" and not found.now
    left = 3 * (5 - 2) + transfers * 60
    assert found.left == pytest.approx(10 / 6 * left)


def test_each_stage_goes_on_at_its_own_pace(tmp_path: Path) -> None:
    """Transfer steps that take ten times as long do not make Stage I look slow, nor the reverse."""
    folder = lay_out(config(), tmp_path)
    plan = stored_plan(folder, config())
    assert plan is not None
    first = add_run(folder, plan.stage_one[0].runs[0])
    later = folder.runs()[0]
    lefts = []
    for steps, seconds in ((0, 0.0), (1, 10.0), (40, 400.0)):
        for place, cohort, step, took in (
            (first, "stage1-000", 5, 5.0),
            (later, "transfer-000", steps, seconds),
        ):
            status = {**(read_json(place.status_path) or {}), "cohort": cohort, "seconds": took}
            state = RunState.RUNNING if step else status["state"]
            replace_json(place.status_path, {**status, "state": state, "step": step})
        lefts.append(progress(open_experiment(folder.path)).left)
    steps = len(config().runs()) * 60
    assert lefts[0] == pytest.approx(steps)  # a second each, as in Stage I
    assert lefts[1] < 3 * steps
    assert lefts[2] == pytest.approx(10 * (steps - 40), rel=0.2)


def test_a_group_that_is_not_known_or_empty_is_not_named(experiment: Experiment) -> None:
    runs = grouping_runs(experiment, "lake")
    compared = compare_info(looked_at(experiment)[0])
    seen = [share_info(run) for run in runs]
    for share, said in (
        (float("nan"), "dtvg did not record its groups"),
        (0.0, "dtvg grouped no source"),
        (0.997, "(over 99 % of the steps"),
    ):
        alike = [replace(info, shares=np.full(len(info.sources), share)) for info in seen]
        assert said in learned(experiment, "lake", alike, compared, tested=False).answer


def test_of_a_large_experiment_the_seeds_that_grouped_are_told(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_module, "MOST_RUNS", 3)
    monkeypatch.setattr(learned_module, "MOST_SEEDS", 1)
    late = [r for r in experiment.runs if r.method_name != "dtvg" or r.seed == 2]
    some, left_out = looked_at(replace(experiment, runs=tuple(late)), "lake")
    assert left_out and {run.seed for run in some} == {2}


def test_cohorts_that_train_at_once_share_the_time_that_is_left(tmp_path: Path) -> None:
    folder = lay_out(config(), tmp_path)
    for at, place in enumerate(folder.runs()):
        told = {"state": RunState.RUNNING, "step": 30, "seconds": 15.0, "host": "elsewhere"}
        status = {**(read_json(place.status_path) or {}), **told, "cohort": f"transfer-00{at % 3}"}
        replace_json(place.status_path, {**status, "updated_at": time.time()})
    found = progress(open_experiment(folder.path))
    assert len(found.now) == len(folder.runs())
    assert found.left == pytest.approx(15.0)  # as long as the first half took each of three


def test_what_nobody_trains_is_not_waited_for(tmp_path: Path) -> None:
    folder = lay_out(config(), tmp_path)
    first, second, *others = folder.runs()
    for place, state, step in ((first, RunState.RUNNING, 30), (second, RunState.FAILED, 10)):
        status = {**(read_json(place.status_path) or {}), "cohort": "transfer-000", "seconds": 30.0}
        replace_json(place.status_path, {**status, "state": state, "step": step})
    for place in others:
        status = read_json(place.status_path) or {}
        replace_json(place.status_path, {**status, "state": RunState.STOPPED})
    left = progress(open_experiment(folder.path)).left
    assert left == pytest.approx(30 * 30 / 40)


def test_half_a_last_digit_is_rounded_alike_wherever_a_score_is_printed() -> None:
    added = 0.6325000000000001  # the mean of twenty scores of 200 rows, added one by one
    assert added != 0.6325 and in_percent(added) == in_percent(0.6325) == tables(added) == "63.2"
    assert points_text(added - 0.61) == points_text(0.6325 - 0.61) == "+2.2 points"
    assert percent(added, 1) == show.percent(added) == learned_module._percent(added) == "63.2 %"
