"""Methods beside the paper's, trained through files: recorded as specified, groups replayed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dtvg.analysis.run.explain import explain_step
from dtvg.analysis.run.groups import group_info
from dtvg.analysis.run.replay import replay
from dtvg.backbones.loading import load_backbone
from dtvg.config import build_config
from dtvg.errors import DataError, StoreError
from dtvg.exchange.outgoing import from_run
from dtvg.methods.specs import Dtvg
from dtvg.plan.estimate import trained_parameters
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Run, list_runs, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.agreement import agreement, asked_of
from dtvg.training.evaluate import evaluation_rows
from dtvg.training.procedures import run_experiment
from dtvg.training.stages import run_data

from .settings import CONTROLS, EVERY_METHOD, moved_prompt


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("methods")
    methods = EVERY_METHOD
    config = build_config(tiny_config(folder / "parts", methods=methods, seeds=[0, 1]))
    experiment = create_experiment(config, folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        run_experiment(experiment, bank=PromptBank(folder / "bank"))
    runs = [run for run in list_runs(folder / "runs") if run.role == "transfer"]
    assert len(runs) == 2 * len(methods)
    return {run.name: run for run in runs}


def test_every_run_finishes_and_its_log_is_as_specified(trained: dict[str, Run]) -> None:
    for run in trained.values():
        assert run.state is RunState.FINISHED, run.problem
        assert verify_run(run.path) == [], run.name


def test_the_plan_counts_the_parameters_that_are_trained(trained: dict[str, Run]) -> None:
    for run in trained.values():
        assert trained_parameters(run.config, 16) == run.result.trained_parameters, run.name


def _of(trained: dict[str, Run], setting: str) -> list[Run]:
    return [run for run in trained.values() if setting in run.name]


@pytest.mark.parametrize("setting", ["fixed", "dtvg-cosine-regroupevery", "hysteresis"])
def test_a_rule_with_memory_replays_to_the_logged_groups(trained, setting: str) -> None:
    for run in _of(trained, setting):
        assert replay(run).agreement == 1.0
        late = replay(run, first=7)
        assert late.steps.tolist() == list(range(7, 13)) and late.agreement == 1.0
        for step in (1, 5, 6, 12):
            assert explain_step(run, step).notes == ()


def _controls(trained: dict[str, Run]) -> list[Run]:
    labels = [Dtvg(**{k: v for k, v in c.items() if k != "name"}).label for c in CONTROLS]
    found = [run for run in trained.values() if run.method in labels]
    assert {run.method for run in found} == set(labels)
    return found


def test_controls_replay_to_the_logged_groups_and_are_explained(trained) -> None:
    for run in _controls(trained):
        assert replay(run).agreement == 1.0, run.name
        assert replay(run, first=7).agreement == 1.0, run.name
        for step in (1, 5, 12):
            info = explain_step(run, step)
            assert not any("differs" in note for note in info.notes), (run.name, step)
            assert len(info.sentences) == len(run.sources)
    drawn = [r for r in _controls(trained) if r.method == "dtvg-random"]
    one, other = (read_table(run, "sources").column("member").to_pylist() for run in drawn)
    assert one != other, "seeds draw their own groups"


def test_every_method_with_scales_logs_the_share_that_is_negative(trained) -> None:
    for run in trained.values():
        rows = read_table(run, "sources")
        if run.config.method.scale_count(len(run.sources)):
            shares = rows.column("scale_negative").to_numpy()
            assert ((shares >= 0) & (shares <= 1)).all(), run.name
        else:
            assert rows.column("scale_negative").null_count == rows.num_rows, run.name


def test_a_run_started_with_a_group_is_tuned_alone(trained) -> None:
    for run in (r for r in trained.values() if r.method == "dtvg-init_only"):
        kept = group_info(run)
        assert (kept.member == kept.member[0]).all() and kept.churn.sum() == 0
        events = read_table(run, "events").to_pandas()
        said = events.loc[events["kind"] == "chose_source", "detail"].item()
        group = ", ".join(run.result.extra["started_with"])
        assert said.startswith(f"Starts with the group of the first step ({group})")
        steps = read_table(run, "steps")
        assert steps.column("lr_scale").null_count == steps.num_rows
        assert explain_step(run, 12).headline.startswith("The prompt was started with the group")


def test_any_log_replays_under_a_rule_with_memory(trained: dict[str, Run]) -> None:
    run = _of(trained, "hysteresis")[0]
    regrouped = replay(run, regroup_every=6, hysteresis=None)
    assert (read_table(run, "sources").column("similarity").to_numpy() != 0).all()
    changes = np.flatnonzero((regrouped.replayed[1:] != regrouped.replayed[:-1]).any(-1)) + 2
    assert set(changes) <= {7}
    assert replay(run, rule="fixed", hysteresis=None).combinations.shape[0] == 1
    with pytest.raises(DataError, match="step by step"):
        replay(run, regroup_every=6, every=2)


def test_merging_methods_log_every_source_with_what_it_really_adds(trained) -> None:
    for run in trained.values():
        if run.method_name not in ("consensus", "awd", "ties", "dare"):
            continue
        rows = read_table(run, "sources").to_pandas()
        assert rows["member"].all() and (rows["weight"] == 1).all()
        assert (rows["contribution_norm"] > 0).all()
        if "dare" not in run.name and "ties" not in run.name:
            assert run.result.extra


def test_methods_that_only_start_from_sources_log_how_these_rank_while_tuning(trained) -> None:
    for run in (r for r in trained.values() if r.method_name in ("spot", "tpv_sum")):
        rows = read_table(run, "sources").to_pandas()
        assert rows["candidate"].isna().all() and len(rows) == 36
        by_step = rows[rows["member"]].groupby("step")["source"].agg(tuple)
        assert by_step.nunique() == 1
        events = read_table(run, "events").to_pandas()
        assert (events["kind"] == "chose_source").sum() == 1
    spot = next(r for r in trained.values() if r.method_name == "spot")
    rows = read_table(spot, "sources").to_pandas()
    first = rows[rows["step"] == 1]
    assert first.loc[first["member"], "similarity"].item() == pytest.approx(1.0)
    assert spot.result.extra["chosen_source"] == first.loc[first["member"], "source"].item()
    given = next(r for r in trained.values() if "given" in r.name)
    rows = read_table(given, "sources").to_pandas()
    assert dict(zip(rows["source"], rows["weight"], strict=True)) == {
        "sst2": 1.0,
        "cola": 0.0,
        "mrpc": -0.5,
    }


def test_an_instance_wise_run_is_composed_again_from_its_files(trained) -> None:
    for run in (r for r in trained.values() if r.config.method.instance_wise):
        backbone = load_backbone(run.config.backbone)
        task = run_data(run.config, backbone).tasks[0]
        rows = evaluation_rows(task, "validation", 12, run.config.data.seed)
        inputs = [task.encoded["validation"][int(row)].source for row in rows]
        tensors = read_prompts(run, "best")
        composer = asked_of(run, run.config, tensors, torch.device("cpu"))
        prompts = composer.prompts(backbone, inputs)
        assert float(prompts.std(0).max()) > 1e-6
        assert torch.allclose(prompts.mean(0), torch.as_tensor(tensors["mixed_prompt"]), atol=1e-5)
        found = agreement(run, "test", 12, "cpu")[0]
        assert found.scores[0] == pytest.approx(run.result.test_score)
        with pytest.raises(StoreError, match="a different prompt for every example"):
            from_run(run, "best")
        assert from_run(run, "source:sst2").prompt.shape == (4, 16)


def test_a_method_that_weighs_its_sources_is_explained_as_one(trained) -> None:
    for run in (
        r
        for r in trained.values()
        if r.method_name in ("tpv_sum", "taps", "dmtg", "moe", "relational", "primal_dual")
    ):
        info = explain_step(run, 12)
        assert info.notes == () and "weighs sources" in info.headline
        rows = read_table(run, "sources", None, 12, 12).to_pandas()
        assert info.member.tolist() == (rows["weight"] > 0).tolist()
    hard = next(r for r in trained.values() if "dmtg-groups3-hard" in r.name)
    weights = read_table(hard, "sources").to_pandas()["weight"]
    assert set(weights) <= {0.0, 1.0}


def test_what_a_method_learned_about_sources_is_an_event_and_in_the_result(trained) -> None:
    runs = [run for run in trained.values() if run.method_name == "relational"]
    assert len(runs) == 4
    for run in runs:
        events = read_table(run, "events").to_pandas()
        told = events[events["kind"] == "contexts"]
        assert told["step"].tolist() == [0, 5, 10, 12]
        last = read_table(run, "sources", None, 12, 12).to_pandas()
        kinds = run.result.extra["contexts"]
        if "hard" in run.name or "searchshare" not in run.name:
            taken = {s: kind != "none" for s, kind in kinds.items()}
            assert taken == dict(zip(last["source"], last["member"], strict=True))


def test_the_relation_matrix_is_told_and_its_first_row_is_what_weighs(trained) -> None:
    runs = [run for run in trained.values() if run.method_name == "primal_dual"]
    assert len(runs) == 4
    for run in runs:
        events = read_table(run, "events").to_pandas()
        told = events[events["kind"] == "relations"]
        assert told["step"].tolist() == [0, 5, 10, 12]
        text = told[told["step"] == 5]["detail"].item()
        row = json.loads(text[text.index("{") : -1])["target"]
        used = read_table(run, "sources", None, 6, 6).to_pandas()
        for source, weight in zip(used["source"], used["weight"], strict=True):
            assert row[source] == pytest.approx(weight, abs=6e-5)
        assert set(run.result.extra["relations"]) == {"target", *run.config.sources}
