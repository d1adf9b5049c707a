"""The overview's first card and stages: sentences with their numbers, and how far one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.overview.learned import (
    NO_TRANSFER,
    Rival,
    _did_it_help,
    grouping_runs,
    learned,
    listed,
    looked_at,
    points_text,
    worth_telling,
)
from dtvg.analysis.overview.progress import progress
from dtvg.analysis.run.groups import group_info, share_info
from dtvg.plan.stored import lay_out, stored_plan
from dtvg.records import RunState
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import add_run
from dtvg.store.reader import Experiment, open_experiment
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
        replace_json(place.status_path, {**status, "state": RunState.STOPPED, "step": 2})
    found = progress(open_experiment(folder.path))
    assert found.stages[0].text == "Stage I 0 of 3" and not found.now
    left = 3 * (5 - 2) + transfers * 60
    assert found.left == pytest.approx(10 / 6 * left)
