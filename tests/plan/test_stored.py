"""`plan.json`: what stands in it, and that a resumed experiment meets the cohorts it had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtvg.config import ExperimentConfig, build_config
from dtvg.errors import StoreError
from dtvg.plan import plan
from dtvg.plan import stored as module
from dtvg.plan.stored import as_shown, keep_plan, lay_out, stored_plan, to_json
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.cohorts import shown_cohorts
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_experiment
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures

VALUES = {
    "name": "held",
    "sources": ["sst2", "mnli"],
    "targets": ["rte", "cb"],
    "methods": ["none", "single", "mpt", {"name": "surrogate", "samples": 4}],
    "seeds": [0, 1],
}


def _config(most: int = 64) -> ExperimentConfig:
    return build_config({**VALUES, "device": {"max_cohort": most}})


def test_a_plan_is_stored_when_an_experiment_is_created_and_reads_back_equal(
    tmp_path: Path,
) -> None:
    config = _config(5)
    experiment = lay_out(config, tmp_path)
    assert stored_plan(experiment, config) == plan(config)
    content = json.loads(experiment.plan_path.read_text())
    assert content["version"] == 1 and content["experiment"] == "held"
    assert content["cohorts"][0]["id"] == "stage1-000" and content["cohorts"][0]["after"] == []
    last = content["cohorts"][-1]
    assert last["id"] == "derived-000" and "transfer-000" in last["after"]
    assert "rte.surrogate-samples4-of-none.s0" in last["runs"]["rte.surrogate-samples4.s0"]
    with_slots = lay_out(build_config({**VALUES, "name": "wide"}), tmp_path, slots=3)
    wide = stored_plan(with_slots, build_config({**VALUES, "name": "wide"}))
    assert wide is not None and wide.slots == 3 and len(wide.transfer) > 3


def test_a_stored_plan_holds_whatever_the_planner_would_do_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _config()
    experiment = create_experiment(config, tmp_path)
    other = plan(_config(3))  # as another planner, or another default of max_cohort, cut them
    experiment.plan_path.write_text(json.dumps(to_json(config, other)))
    before = experiment.plan_path.read_bytes()
    monkeypatch.setattr(module, "plan", lambda *_: pytest.fail("planned again"))
    kept = keep_plan(experiment, config, slots=7)
    assert [c.id for c in kept.cohorts] == [c.id for c in other.cohorts]
    assert len(kept.transfer) > 3 and kept.slots is None
    assert lay_out(config, tmp_path) == experiment and experiment.plan_path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: "{ half", "cannot be read"),
        (lambda c: [], "contains no JSON object"),
        (lambda c: {**c, "version": 2}, "newer dtvg"),
        (lambda c: {**c, "experiment": "other"}, "is the plan of experiment 'other'"),
        (lambda c: {**c, "slots": 0}, "field 'slots' is not what it should be"),
        (lambda c: {**c, "cohorts": c["cohorts"][:-1]}, "lacks a run"),
        (lambda c: {**c, "cohorts": c["cohorts"][1:]}, "starts a run from one"),
        (lambda c: {**c, "cohorts": [*c["cohorts"], _strange()]}, "names a run that"),
        (lambda c: {**c, "cohorts": [*c["cohorts"], _twice(c)]}, "lists a run in two cohorts"),
        (lambda c: {**c, "cohorts": [*c["cohorts"][:-1], _circle(c)]}, "has a circle"),
    ],
)
def test_a_damaged_or_foreign_plan_is_refused_with_what_to_do(
    change, sentence: str, tmp_path: Path
) -> None:
    config = _config()
    experiment = lay_out(config, tmp_path)
    wrong = change(json.loads(experiment.plan_path.read_text()))
    text = wrong if isinstance(wrong, str) else json.dumps(wrong)
    experiment.plan_path.write_text(text)
    with pytest.raises(StoreError, match=sentence) as refused:
        keep_plan(experiment, config)
    told = str(refused.value)
    assert "plan.json" in told
    assert "update dtvg" in told or "Restore the file from a copy" in told
    assert experiment.plan_path.read_text() == text


def _strange() -> dict:
    return {"id": "transfer-009", "after": [], "runs": {"rte.dtvg.s0": []}}


def _twice(content: dict) -> dict:
    return {**content["cohorts"][0], "id": "stage1-009"}


def _circle(content: dict) -> dict:
    last = content["cohorts"][-1]
    name, *_ = last["runs"]
    return {**last, "runs": {**last["runs"], name: [name]}}


def _shown(config: ExperimentConfig) -> dict[str, tuple[str, ...]]:
    return {c.id: tuple(run.name for run in c.runs) for c in plan(config).cohorts}


def test_folders_of_the_same_cut_leave_the_plan_as_it_is() -> None:
    config = _config(5)
    shown = _shown(config)
    half = {id_: runs[:2] for id_, runs in list(shown.items())[:4]}  # the bank had the others
    assert as_shown(config, plan(config), half) == plan(config)
    assert as_shown(config, plan(config), {"transfer-000": ("a-run-added-later",)}) == plan(config)


def test_folders_of_another_cut_stay_and_the_rest_forms_further_cohorts() -> None:
    config, before = _config(64), _shown(_config(7))
    started = {id_: before[id_] for id_ in ("stage1-000", "transfer-000", "transfer-001")}
    made = as_shown(config, plan(_config(3)), started)
    homes = {run.name: c.id for c in made.cohorts for run in c.runs}
    for id_, runs in started.items():
        assert [run.name for c in made.cohorts if c.id == id_ for run in c.runs] == list(runs)
    assert set(homes) == {run.name for run in plan(config).runs}
    rest = [c.id for c in made.transfer if c.id not in started]
    assert rest and rest[0] == "transfer-002"
    assert made.starts == plan(config).starts


# -- through training ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentConfig]:
    """An experiment of before `plan.json`, cut by two, whose second transfer cohort has run."""
    folder = tmp_path_factory.mktemp("old")
    methods = ["none", "target_only", "dtvg", "all_sources"]
    values = tiny_config(folder / "parts", methods=methods, device={"name": "cpu", "max_cohort": 2})
    config = build_config(values)
    experiment = create_experiment(config, folder / "runs")
    second = [run.name for run in plan(config).transfer[1].runs]
    procedures.run_experiment(experiment, only=second, bank=PromptBank(folder / "bank"))
    experiment.plan_path.unlink()
    return folder, config


def test_an_old_experiment_keeps_its_cohorts_and_gets_the_file_at_its_next_start(
    old: tuple[Path, ExperimentConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = old
    experiment = ExperimentDir(folder / "runs" / config.name)
    first, second = ({run.name for run in c.runs} for c in plan(config).transfer)
    assert set(shown_cohorts(experiment)["transfer-001"]) == second
    device = config.device.model_copy(update={"max_cohort": 64})
    wide = plan(config.model_copy(update={"device": device}))
    assert [c.id for c in wide.transfer] == ["transfer-000"]
    monkeypatch.setattr(module, "plan", lambda *_: wide)  # today's planner cuts otherwise
    procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))
    runs = {r.name: r for r in open_experiment(experiment.path).runs}
    assert all(r.state is RunState.FINISHED for r in runs.values())
    assert {runs[name].cohort for name in second} == {"transfer-001"}
    assert {runs[name].cohort for name in first} == {"transfer-000"}
    kept = stored_plan(experiment, config)
    assert kept is not None
    assert {run.name: c.id for c in kept.transfer for run in c.runs} == {
        name: runs[name].cohort for name in first | second
    }


def test_a_damaged_commit_is_no_reason_to_train_elsewhere(tmp_path: Path) -> None:
    config = _config()
    experiment = create_experiment(config, tmp_path)
    cohort = experiment.cohort("transfer-000")
    cohort.path.mkdir(parents=True)
    cohort.state_path.write_bytes(b"half a file")
    with pytest.raises(StoreError, match="is damaged.*Restore it"):
        keep_plan(experiment, config)
    assert not experiment.plan_path.exists()


def test_where_two_folders_claim_a_run_its_status_decides(tmp_path: Path) -> None:
    config = _config()
    experiment = create_experiment(config, tmp_path)
    name = config.runs()[0].name
    for id_ in ("transfer-000", "transfer-001"):
        folder = experiment.cohort(id_).path
        folder.mkdir(parents=True)
        (folder / "process.json").write_text(json.dumps({"runs": [name]}))
    assert shown_cohorts(experiment) == {"transfer-000": (name,)}
    status = experiment.run(name).status_path
    status.write_text(json.dumps({**json.loads(status.read_text()), "cohort": "transfer-001"}))
    assert shown_cohorts(experiment) == {"transfer-001": (name,)}
