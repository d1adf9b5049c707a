"""Few-shot targets: the same k rows for every method of a seed, sources whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.backbones.loading import load_backbone
from dtvg.config import DataConfig, ExperimentConfig, build_config
from dtvg.errors import DataError
from dtvg.plan import plan
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import list_runs, read_table
from dtvg.store.verify import verify_run
from dtvg.tasks.reading import load_task
from dtvg.tasks.spec import Example
from dtvg.tasks.splits import draw_order, spread_order
from dtvg.testing.tiny_run import tiny_config
from dtvg.training.few_shot import draw
from dtvg.training.procedures import run_experiment
from dtvg.training.stages import prompt_identity, run_data


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


def made(parts: Path, **data) -> ExperimentConfig:
    values = tiny_config(parts, methods=["none", "dtvg"], seeds=[0, 1])
    return build_config({**values, "data": {**values["data"], **data}})


@pytest.fixture
def shared_data(shared_dir: Path) -> DataConfig:
    return DataConfig(folder=str(shared_dir / "datasets"))


@pytest.fixture(scope="module")
def backbone(parts: Path):
    config = made(parts)
    return load_backbone(config.backbone, "cpu", "float32")


def test_every_method_of_a_seed_sees_the_same_k_rows_and_other_seeds_see_others(
    parts: Path, backbone
) -> None:
    config = made(parts, few_shot=4)
    data = {run.name: run_data(run, backbone) for run in config.runs()}
    by_seed: dict[int, set[str]] = {}
    for run in config.runs():
        assert len(data[run.name].train) == 4
        assert len(data[run.name].tasks[0].texts["validation"]) == 4
        assert len(data[run.name].tasks[0].texts["test"]) == 30
        by_seed.setdefault(run.seed, set()).add(data[run.name].fingerprint)
    assert [len(found) for found in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]


def test_sources_keep_all_rows_and_their_place_in_the_bank(parts: Path, backbone) -> None:
    few, whole = made(parts, few_shot=4), made(parts)
    runs = {run.name: run for cohort in plan(few).stage_one for run in cohort.runs}
    before = {run.name: run for cohort in plan(whole).stage_one for run in cohort.runs}
    assert set(before) - set(runs) == {"stage1.rte.s0", "stage1.rte.s1"}
    assert set(runs) - set(before) == {"stage1.rte-k4.s0", "stage1.rte-k4.s1"}

    def key(run) -> str:
        return prompt_identity(run, backbone, run_data(run, backbone))

    assert key(runs["stage1.sst2.s0"]) == key(before["stage1.sst2.s0"])
    assert key(runs["stage1.rte-k4.s0"]) != key(before["stage1.rte.s0"])


def test_a_task_can_be_a_whole_source_and_a_few_shot_target_at_once(parts: Path) -> None:
    values = tiny_config(parts, methods=["all_sources"], allow_self=True)
    values |= {"sources": ["rte", "sst2"], "data": {**values["data"], "few_shot": 4}}
    names = {run.name for c in plan(build_config(values)).stage_one for run in c.runs}
    assert names == {"stage1.rte.s0", "stage1.sst2.s0", "stage1.rte-k4.s0"}


def test_rows_per_class_are_balanced_and_full_validation_stays(parts: Path) -> None:
    config = made(parts, few_shot=3, few_shot_per_class=True, few_shot_validation="full")
    drawn = draw("rte", config.data, 5)
    rows = load_task("rte", config.data).train
    assert Counter(rows[i].label for i in drawn.train) == {0: 3, 1: 3}
    assert drawn.validation is None


def test_fewer_rows_than_asked_for_are_said(parts: Path) -> None:
    with pytest.raises(
        DataError, match="rte, split train has 60 rows, but data.few_shot asks for 99"
    ):
        draw("rte", made(parts, few_shot=99).data, 0)
    config = made(parts, few_shot=50, few_shot_per_class=True, few_shot_validation="full")
    with pytest.raises(DataError, match=r"rows of class 'entailment', data.few_shot asks for 50"):
        draw("rte", config.data, 0)


@pytest.mark.parametrize(
    ("task", "groups"), [("multirc", 16), ("e2e", 16), ("web_nlg", 16), ("record", 16)]
)
def test_k_rows_are_of_k_groups(task: str, groups: int, shared_data) -> None:
    config = shared_data.model_copy(update={"few_shot": 16})
    loaded = load_task(task, config)
    for seed in (0, 1):
        drawn = draw(task, config, seed)
        for split, rows in (("train", drawn.train), ("validation", drawn.validation)):
            found = {loaded.split(split)[row].group for row in rows}
            assert len(rows) == 16 and len(found) == groups, (task, split)
        early = draw(task, config, seed, version=1)
        assert len({loaded.train[row].group for row in early.train}) < 16 or task == "record"
    assert draw(task, config, 0) != draw(task, config, 1)


def test_where_there_are_fewer_groups_each_gives_as_many_rows_as_the_others() -> None:
    rows = [Example(f"q{i // 5} {i}", str(i % 2), (str(i % 2),), i % 2, f"q{i // 5}")
            for i in range(20)]  # fmt: skip
    order = spread_order(rows, 3)
    assert sorted(order) == list(range(20))
    for k in (4, 8, 12):
        assert set(Counter(rows[i].group for i in order[:k]).values()) == {k // 4}
    assert spread_order(rows, 3) == order != spread_order(rows, 4)
    again = [rows[i] for i in reversed(range(20))]
    assert [again[i] for i in spread_order(again, 3)] == [rows[i] for i in order]
    alone = [replace(e, group=None) for e in rows]
    assert spread_order(alone, 3) == draw_order(alone, 3)


def test_rows_per_class_come_from_different_questions(shared_data) -> None:
    config = shared_data.model_copy(update={"few_shot": 8, "few_shot_per_class": True})
    rows = load_task("multirc", config).train
    drawn = draw("multirc", config, 0).train
    assert Counter(rows[i].label for i in drawn) == {0: 8, 1: 8}
    assert len({rows[i].group for i in drawn}) >= 15


def test_a_short_validation_split_gives_what_it_has(parts: Path) -> None:
    rows = len(load_task("rte", made(parts).data).split("validation"))
    assert rows < 40
    drawn = draw("rte", made(parts, few_shot=40).data, 0)
    assert len(drawn.train) == 40 and drawn.validation == tuple(range(rows))
    each = draw("rte", made(parts, few_shot=22, few_shot_per_class=True).data, 0)
    assert len(each.train) == 44 and set(each.validation) <= set(range(rows))


def test_a_few_shot_experiment_is_recorded_as_specified(parts: Path, tmp_path: Path) -> None:
    experiment = create_experiment(made(parts, few_shot=4), tmp_path / "runs")
    run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    runs = list_runs(tmp_path / "runs")
    assert {run.state for run in runs} == {RunState.FINISHED}
    for run in runs:
        assert verify_run(run.path) == [], run.name
    transfer = [run for run in runs if run.role == "transfer"]
    kept = {run.name: run.result.extra["few_shot"] for run in transfer}
    assert kept["rte.none.s0"] == kept["rte.dtvg.s0"] != kept["rte.dtvg.s1"]
    assert len(kept["rte.none.s0"]["train_rows"]) == 4
    events = read_table(transfer[0], "events").to_pandas()
    assert (events["kind"] == "few_shot").sum() == 1
