"""Every run records the versions it is made with; a resume keeps them, or says what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.config import BackboneConfig, build_config
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.files import replace_json
from dtvg.store.fork import fork
from dtvg.store.layout import ExperimentDir, create_experiment, load_experiment
from dtvg.store.playground import Asked, Prompted
from dtvg.store.reader import Run, open_run, read_table
from dtvg.store.versions import changed, in_the_way
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import agreement, loop, one_cohort, playground, procedures, stages
from dtvg.training import recorded as as_made

DTVG, NONE, STAGE = "rte.dtvg.s0", "rte.none.s0", "stage1.rte.s0"


def _made(folder: Path, **more: object) -> ExperimentDir:
    values = tiny_config(folder / "parts", methods=["dtvg", "none"], **more)
    return create_experiment(build_config(values), folder / "runs")


def _train(folder: Path, experiment: ExperimentDir) -> None:
    procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))


def _stopped(folder: Path, role: str = "transfer", step: int = 6) -> ExperimentDir:
    """An experiment stopped as a whole once its runs of a role have made some steps."""
    experiment = _made(folder)
    whole, sent = loop.hold_sources, []

    def hold(cohort) -> None:
        if any(s.config.role == role and s.step == step for s in cohort.slots) and not sent:
            sent.append(True)
            for slot in cohort.slots:
                (cohort.run_dirs[slot.name].control_dir).mkdir(exist_ok=True)
                (cohort.run_dirs[slot.name].control_dir / "stop").touch()
        whole(cohort)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CONTROL_SECONDS", 0.0)
        patch.setattr(loop, "hold_sources", hold)
        _train(folder, experiment)
    assert sent
    return experiment


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    _stopped(folder)
    return folder


@pytest.fixture
def half(once: Path, tmp_path: Path) -> ExperimentDir:
    """A copy of an experiment whose transfer runs were stopped after step 6."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return ExperimentDir(tmp_path / "runs" / "tiny")


def _run(experiment: ExperimentDir, name: str) -> Run:
    return open_run(experiment.run(name).path)


def _forget(experiment: ExperimentDir) -> None:
    """Make the folder one of before versions were recorded."""
    experiment.versions_path.unlink()
    for run in experiment.runs():
        values = yaml.safe_load(run.config_path.read_text())
        del values["versions"]
        run.config_path.write_text(yaml.safe_dump(values, sort_keys=False))
        about = json.loads(run.provenance_path.read_text())
        about.pop("config_sha256", None)
        run.provenance_path.write_text(json.dumps(about))


def test_a_run_records_what_it_is_made_with(tmp_path: Path) -> None:
    experiment = _made(tmp_path)
    config = _run(experiment, DTVG).config
    assert config.versions["stage_one"] == 1 and config.versions["method.dtvg"] == 1
    assert config.versions["text.rte"] == 1 and config.versions["split.rte"] == "size"
    assert "method.none" not in config.versions
    assert json.loads(experiment.versions_path.read_text()).items() >= config.versions.items()


def test_a_folder_without_versions_is_of_version_1_of_everything(tmp_path: Path) -> None:
    experiment = _made(tmp_path)
    _forget(experiment)
    config = _run(experiment, DTVG).config
    assert config.versions == {} and config.version("method.dtvg") == 1
    assert changed({}, {"method.dtvg": 2, "text.rte": 1}) == {"method.dtvg": (1, 2)}
    assert changed({}, {"split.rte": "halved"}) == {"split.rte": ("size", "halved")}
    assert changed({}, {"split.rte": "given", "split.cb": "size"}) == {}


def test_an_experiment_of_which_nothing_is_trained_is_made_with_today_s_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = _made(tmp_path)
    _forget(experiment)
    monkeypatch.setattr(METHODS["dtvg"], "version", 2)
    _train(tmp_path, experiment)
    run = _run(experiment, DTVG)
    assert run.state is RunState.FINISHED and run.config.versions["method.dtvg"] == 2


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_higher_version_of_stage_one_leaves_a_half_trained_run_as_it_is(
    half: ExperimentDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    experiment = half
    if forgotten:
        _forget(experiment)
    before = sorted(p.name for p in (tmp_path / "bank").iterdir())
    monkeypatch.setattr(stages, "VERSION", 2)
    _train(tmp_path, experiment)
    assert {_run(experiment, n).state for n in (DTVG, NONE)} == {RunState.FINISHED}
    assert sorted(p.name for p in (tmp_path / "bank").iterdir()) == before
    fresh = _made(tmp_path, name="fresh")
    _train(tmp_path, fresh)
    assert _run(fresh, DTVG).config.versions["stage_one"] == 2
    assert len(list((tmp_path / "bank").glob("*-*"))) == 2 * sum("-" in name for name in before)


def test_half_of_stage_one_is_not_finished_under_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = _stopped(tmp_path, "stage1", 2)
    monkeypatch.setattr(stages, "VERSION", 2)
    _train(tmp_path, experiment)
    for name in (STAGE, DTVG):
        run = _run(experiment, name)
        assert run.state is RunState.FAILED
        assert "Stage I (version 1, now 2)" in run.message and "--set name=" in run.message
    monkeypatch.setattr(stages, "VERSION", 1)
    _train(tmp_path, experiment)
    assert _run(experiment, DTVG).state is RunState.FINISHED


def test_a_changed_method_stops_its_own_runs_and_a_fork_goes_on(
    half: ExperimentDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = half
    monkeypatch.setattr(METHODS["dtvg"], "version", 2)
    _train(tmp_path, experiment)
    run = _run(experiment, DTVG)
    assert _run(experiment, NONE).state is RunState.FINISHED
    assert run.state is RunState.FAILED and "method dtvg (version 1, now 2)" in run.message
    assert f"dtvg runs fork tiny/{DTVG}" in run.message
    made = fork(run)
    _train(tmp_path, made)
    child = _run(made, DTVG)
    assert child.state is RunState.FINISHED and child.config.versions["method.dtvg"] == 2
    assert len(read_table(child, "steps")) == 12


def test_code_that_still_has_an_earlier_version_goes_on_with_it(
    half: ExperimentDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, seen = half, {}
    monkeypatch.setattr(METHODS["dtvg"], "version", 2)
    monkeypatch.setattr(METHODS["dtvg"], "earlier", (1,))
    code = one_cohort.build_stacks

    def watched(slots, *more):
        made = code(slots, *more)
        seen.update({s.method.config.name: s.method.version for s in made})
        return made

    monkeypatch.setattr(one_cohort, "build_stacks", watched)
    parent = _run(experiment, DTVG)
    made = fork(parent)
    _train(tmp_path, experiment)
    assert _run(experiment, DTVG).state is RunState.FINISHED and seen["dtvg"] == 1
    assert _run(made, DTVG).config.versions["method.dtvg"] == 1


def test_a_changed_text_of_the_target_is_said(
    half: ExperimentDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.store import versions

    experiment = half
    whole = versions.versions_of
    newer = {"text.rte": 2, "text.sst2": 2}
    monkeypatch.setattr(versions, "versions_of", lambda *a: {**whole(*a), **newer})
    _train(tmp_path, experiment)
    run = _run(experiment, DTVG)
    assert run.state is RunState.FAILED and "the text of rte (version 1, now 2)" in run.message
    assert "sst2" not in run.message  # its own copy of the source's prompt is at hand


def test_a_prompt_taken_out_of_the_bank_is_put_back_from_its_run(
    half: ExperimentDir, tmp_path: Path
) -> None:
    experiment = half
    shutil.rmtree(tmp_path / "bank")
    for name in (DTVG, NONE):
        shutil.rmtree(experiment.run(name).path)
    _train(tmp_path, experiment)
    assert _run(experiment, DTVG).state is RunState.FINISHED
    steps = read_table(_run(experiment, STAGE), "steps").column("step").to_pylist()
    assert steps == sorted(set(steps))


def test_a_stage_one_run_of_other_data_is_not_taken_for_the_wanted_prompt(
    half: ExperimentDir,
    tmp_path: Path,
) -> None:
    experiment = half
    shutil.rmtree(tmp_path / "bank")
    shutil.rmtree(experiment.run(DTVG).path)
    path = experiment.run(STAGE).result_path
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "extra": {}}))
    _train(tmp_path, experiment)
    run = _run(experiment, DTVG)
    assert run.state is RunState.FAILED and f"dtvg runs delete tiny/{STAGE}" in run.message


def test_a_task_s_own_split_rule_and_metrics_are_recorded(tmp_path: Path) -> None:
    from dtvg.store.versions import versions_of

    values = tiny_config(tmp_path / "parts", methods=["dtvg"])
    values |= {"targets": ["multirc"], "sources": ["cb", "paws"]}
    found = versions_of(build_config(values).runs()[0])
    assert found["split.multirc"] == "halved" and found["split.paws"] == "official"
    assert found["scoring.cb"] == found["scoring.multirc"] == 2 and "scoring.paws" not in found
    assert found["backbone"] == 2 and "few_shot" not in found
    few = {"few_shot": 4, "split_rules": {"multirc": "size"}}
    values["data"] = {**values["data"], **few}
    found = versions_of(build_config(values).runs()[0])
    assert found["split.multirc"] == "size" and found["few_shot"] == 2


def test_a_few_shot_run_of_before_keeps_the_rows_it_drew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dtvg.training import few_shot

    run = build_config(tiny_config(tmp_path / "parts", methods=["none"])).runs()[0]
    data = run.data.model_copy(update={"few_shot": 4})
    asked = []
    monkeypatch.setattr(stages, "draw", lambda *a: asked.append(a[3]) or few_shot.draw(*a))
    backbone = load_backbone(run.backbone)
    for recorded in ({}, {"few_shot": 2}, None):
        stages.run_data(run.model_copy(update={"data": data, "versions": recorded}), backbone)
    assert asked == [1, 2, 2]


def test_only_a_backbone_whose_answers_changed_stops_a_run_of_before(
    half: ExperimentDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = half
    _forget(experiment)
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "versions", {"answers": 2})
        _train(tmp_path, experiment)
    run = _run(experiment, DTVG)
    assert run.state is RunState.FAILED
    assert "how answers and inputs become tokens of this backbone (version 1, now" in run.message
    _train(tmp_path, experiment)
    assert _run(experiment, DTVG).state is RunState.FINISHED


@pytest.mark.parametrize(("asked", "before"), [(None, "unknown"), ("next", "next")])
def test_a_hubs_commit_is_recorded_and_loaded_again(
    tmp_path: Path, asked: str | None, before: str
) -> None:
    config = build_config(tiny_config(tmp_path, name="hubbed"))
    of_branch = config.backbone.model_copy(update={"revision": asked})
    config = config.model_copy(update={"backbone": of_branch})
    experiment = create_experiment(config, tmp_path / "runs")
    backbone = SimpleNamespace(commit="c1", revision="c1")
    assert as_made.pinned(experiment, config) == config.backbone
    as_made.keep_commit(experiment, backbone, asked)
    assert experiment.versions[as_made.HUB_COMMIT] == "c1" and backbone.revision == "c1"
    begun = experiment.cohort("transfer-000").state_path
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"x")
    assert as_made.pinned(experiment, config).revision == "c1"
    older = {k: v for k, v in experiment.versions.items() if k != as_made.HUB_COMMIT}
    replace_json(experiment.versions_path, older)
    as_made.keep_commit(experiment, backbone, asked)
    assert backbone.revision == before  # so that its prompts keep their identities


def test_a_fork_goes_on_with_the_hubs_commit_of_its_parent(half: ExperimentDir) -> None:
    replace_json(half.versions_path, {**half.versions, as_made.HUB_COMMIT: "c1"})
    made = fork(_run(half, DTVG))
    _, config = load_experiment(made.path)
    assert as_made.pinned(made, config).revision == "c1"


def test_a_run_that_is_asked_again_is_asked_with_the_hubs_commit_of_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = build_config(tiny_config(tmp_path / "parts", name="hubbed", methods=["none"]))
    experiment = create_experiment(config, tmp_path / "runs")
    _train(tmp_path, experiment)
    run = open_run(experiment.run(NONE).path)
    replace_json(experiment.versions_path, {**experiment.versions, as_made.HUB_COMMIT: "c1"})

    def load(backbone: BackboneConfig, *more: str) -> Backbone:
        raise ConfigError(f"commit {backbone.revision}")

    for place in (agreement, playground):
        monkeypatch.setattr(place, "load_backbone", load)
    with pytest.raises(ConfigError, match="commit c1"):
        agreement.agreement(run)
    asked = Asked(text="x", prompts=[Prompted(run=str(run.path))])
    assert playground.Playground().answer(asked).told[0].refused == "commit c1"


@pytest.mark.parametrize("versions", [{}, {"split.paws": "size", "split.multirc": "size"}])
def test_splits_go_on_as_they_were_recorded(tmp_path: Path, versions: dict) -> None:
    values = tiny_config(tmp_path, targets=["paws"], sources=["multirc"], methods=["dtvg"])
    made = build_config(values).runs()[0].model_copy(update={"versions": versions})
    parts = ["split.paws", "split.multirc"]
    assert set(in_the_way(made, as_made.today(made), parts)) == set(parts)
    run = as_made.with_recorded_splits(made)
    assert run.data.split_rules == {"paws": "size", "multirc": "size"}
    assert in_the_way(run, as_made.today(run), parts) == {}
    now = made.model_copy(update={"versions": as_made.today(made)})
    assert as_made.with_recorded_splits(now) == now
