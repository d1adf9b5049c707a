"""Training that does nothing says so: in its status, its events, its result, and when resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.sources import planned_sources, source_health
from dtvg.cli import main as command
from dtvg.config import build_config
from dtvg.store.bank import PromptBank
from dtvg.store.given import misfits
from dtvg.store.health import GUESSING, NO_GRADIENT, UNTOUCHED, Signs, health_of, weak_sources
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_experiment, open_run, read_table
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.cohort import health_of_slot
from tests.training import factory

pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> ExperimentDir:
    """A rate that throws a prompt away at once; sources whose Stage I learns nothing."""
    folder = tmp_path_factory.mktemp("dead")
    values = tiny_config(folder / "parts", methods=["none", "dtvg"], sources=["sst2", "cola"])
    rates = {"lr_prompt": 1e19, "lr_stage1": 1e-30, "schedule": "constant"}
    values["optim"] = {**values["optim"], **rates}
    experiment = create_experiment(build_config(values), folder / "runs")
    procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return experiment


def test_no_gradient_and_no_movement_are_events_and_marks(dead: ExperimentDir) -> None:
    run = next(r for r in open_experiment(dead.path).runs if r.method_name == "none")
    norms = read_table(run, "steps", ["grad_norm"])["grad_norm"].to_pylist()
    zero = sum(norm == 0.0 for norm in norms)
    assert zero > len(norms) / 2, "the case is not what it should be"
    found = {mark.kind: mark.sentence for mark in health_of(run)}
    assert f"{zero} of {len(norms)} steps" in found[NO_GRADIENT]
    assert UNTOUCHED in found and GUESSING in found
    assert run.result is not None and run.result.extra["health"] == found == dict(run.health or {})
    events = read_table(run, "events").to_pylist()
    told = [e["kind"] for e in events]
    assert told.count("no_gradient") == told.count("not_moved") == 1
    assert told.index("no_gradient") < told.index("finished")


def test_weak_sources_are_named_with_how_far_they_count(dead: ExperimentDir) -> None:
    run = open_run(dead.run("rte.dtvg.s0").path)
    assert weak_sources(run) == {"sst2": "did not move", "cola": "did not move"}
    events = [e for e in read_table(run, "events").to_pylist() if e["kind"] == "weak_source"]
    assert {e["subject"] for e in events} == {"sst2", "cola"}
    assert list(source_health(run)["source"]) == ["sst2", "cola"]
    bank = PromptBank(dead.path.parent.parent / "bank")
    config = open_experiment(dead.path).config
    assert config is not None
    assert planned_sources(config, bank.list()) == {
        "sst2": {0: "did not move"},
        "cola": {0: "did not move"},
    }
    other = build_config({**config.to_values(), "optim": {**config.to_values()["optim"],
                                                          "stage1_steps": 7}})  # fmt: skip
    assert planned_sources(other, bank.list()) == {}


def test_tables_and_commands_say_it(
    dead: ExperimentDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    info = compare_info(open_experiment(dead.path).runs)
    assert info.health.notes[0].startswith("No gradient: ")
    assert any("sst2 (did not move, seed 0)" in note for note in info.health.notes)
    where = ["--runs-dir", str(dead.path.parent)]
    assert command(["runs", "list", "tiny", *where]) == 0
    assert "no gradient" in capsys.readouterr().out
    assert command(["runs", "compare", "tiny", *where]) == 0
    assert "No gradient: " in capsys.readouterr().out
    assert command(["runs", "show", "tiny/rte.dtvg.s0", *where]) == 0
    told = [t for t in capsys.readouterr().out.splitlines() if t.startswith("Health: Source")]
    assert any("sst2" in t and ": did not move." in t for t in told)


@pytest.mark.parametrize("count_start", [True, False])
def test_the_start_is_the_best_prompt_only_where_the_run_takes_it_for_the_best(
    count_start: bool,
) -> None:
    """Of equal scores the one with the lower loss is the best; a start may not count."""
    config = factory.experiment(methods=["dtvg"], evaluation={"count_start": count_start}).runs()[0]
    slot = factory.slot(config)
    for step, score in enumerate([0.9, 0.9 if count_start else 0.8, 0.7, 0.7, 0.7]):
        slot.step = slot.evaluated = step
        if slot.would_be_best(score, 1.0 / (step + 1)):
            slot.best_score, slot.best_step, slot.best_loss = score, step, 1.0 / (step + 1)
        slot.signs.add_score(step, score)
    assert (slot.best_step, slot.signs.best_step) == (1, 0)
    assert UNTOUCHED not in {mark.kind for mark in health_of_slot(slot, None, end=False)}
    slot.best_step = 0
    assert UNTOUCHED in {mark.kind for mark in health_of_slot(slot, None, end=False)}


def test_signs_go_on_over_a_resume() -> None:
    signs = Signs()
    signs.add_steps([3.0, 2.0], [1.0, 0.0])
    signs.add_score(2, 0.5)
    again = Signs.from_json(signs.to_json())
    for one in (signs, again):
        one.add_steps([1.0] * 40, [0.0] * 40)
        one.add_score(42, 0.5)
    assert (
        again.to_json() == signs.to_json() and signs.without_gradient == 41 and signs.at_best == 2
    )


def test_given_prompts_that_do_not_fit_are_found_before_a_start(
    dead: ExperimentDir, tmp_path: Path
) -> None:
    import dataclasses

    bank = PromptBank(dead.path.parent.parent / "bank")
    config = open_experiment(dead.path).config
    assert config is not None
    prompt = next(p for p in bank.list() if p.task == "sst2")
    bare = PromptBank(tmp_path / "bare")
    bare.put(dataclasses.replace(prompt, init=None, fingerprint="b" * 16))

    def against(given: dict[str, str], width: int | None = None, **changes: object) -> str:
        values = {**config.to_values(), **changes}
        values["prompt"] = {**values["prompt"], "given": given}
        return " ".join(misfits(build_config(values), bare, width))

    assert "'dtvg' uses task prompt vectors" in against({"sst2": "bbb"})
    assert against({"sst2": "bbb"}, methods=["spot"]) == ""
    assert "cannot be the Stage I prompt of target 'rte'" in against({"rte": "bbb"})
    assert "identity that starts with 'zz'" in against({"sst2": "zz"})
    assert "has width" in against({"sst2": "bbb"}, width=7)
    assert "set prompt.length" in against({"sst2": "bbb"}, prompt={"length": 9})
    revision = "unknown to the experiment's backbone"
    bare.put(dataclasses.replace(prompt, fingerprint="d" * 16, backbone="gpt2",
                                 backbone_revision=revision))  # fmt: skip
    assert "belongs to backbone 'gpt2'" in against({"sst2": "ddd"})
