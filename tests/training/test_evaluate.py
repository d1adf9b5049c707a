"""Evaluation of a cohort: shared batches, both modes, stored answers, agreement."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.cli import main
from dtvg.config import BackboneConfig, DataConfig, build_config
from dtvg.methods.base import find_method
from dtvg.methods.specs import Attempt
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import open_run, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.methods import random_inputs
from dtvg.testing.tiny_run import make_backbone, make_data, tiny_config
from dtvg.training import evaluate
from dtvg.training.batches import TokenisedTask, tokenise
from dtvg.training.evaluate import Question, answer, example_fingerprint
from dtvg.training.instance import Composer
from dtvg.training.procedures import run_experiment


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="module")
def asked(parts: Path) -> tuple[Backbone, list[TokenisedTask]]:
    make_backbone(parts / "backbone")
    make_data(parts / "data")
    backbone = load_backbone(BackboneConfig(name=str(parts / "backbone")), precision="float64")
    data = DataConfig(folder=str(parts / "data"))
    return backbone, [tokenise(name, backbone, data) for name in ("sst2", "rte")]


@pytest.mark.parametrize("mode", ["generate", "labels"])
@pytest.mark.parametrize("constrained", [False, True])
def test_a_cohort_s_answers_are_those_each_run_has_alone(asked, mode, constrained) -> None:
    backbone, tasks = asked
    questions = [
        Question(backbone.init_prompt(4, s).double() * 9, t, "validation", rows, mode, constrained)
        for s in range(3)
        for t in tasks
        for rows in [np.arange(0, 30, s + 1)]
    ]
    together = answer(backbone, questions, 500)
    for question, found in zip(questions, together, strict=True):
        alone = answer(backbone, [question], 100)[0]
        assert alone.predictions == found.predictions and alone.metrics == found.metrics
        assert (found.margins is not None) == (mode == "labels")
        if found.margins is not None and alone.margins is not None:
            assert np.allclose(found.margins, alone.margins, atol=1e-6)
        if constrained:
            assert set(found.predictions) <= set(question.task.spec.labels)


def test_composed_prompts_are_answered_as_if_each_was_given(asked) -> None:
    """Also beside runs with one prompt, and whatever else is in the batch."""
    backbone, tasks = asked
    inputs = random_inputs(2, 3, 4, backbone.width)
    method = find_method(Attempt(temperature=0.1))
    state = method.prepare(dataclasses.replace(inputs, seeds=(0, 1)))
    composers = [Composer(method, state.keep([i])) for i in range(2)]
    rows = np.arange(0, 16)
    way = ("validation", rows, "labels", True)
    questions = [Question(c, t, *way) for c in composers for t in tasks]
    fixed = Question(inputs.target_prompt[0], tasks[0], *way)
    together = answer(backbone, [questions[0], fixed, *questions[1:]], 300)
    assert together[1].margins.tolist() == answer(backbone, [fixed], 300)[0].margins.tolist()
    for question, found in zip(questions, [together[0], *together[2:]], strict=True):
        for row in rows:
            source = question.task.encoded["validation"][int(row)].source
            prompt = question.prompt.prompts(backbone, [source])[0]
            one = Question(prompt, question.task, "validation", rows[row : row + 1], *way[2:])
            alone = answer(backbone, [one], 300)[0]
            assert alone.predictions[0] == found.predictions[row]
            assert alone.margins[0] == pytest.approx(found.margins[row], abs=1e-6)


def test_runs_that_start_alike_are_answered_once(asked, monkeypatch) -> None:
    backbone, tasks = asked
    counted = []
    generate = backbone.generate
    monkeypatch.setattr(
        backbone, "generate", lambda p, s, *rest: (counted.append(len(s)), generate(p, s, *rest))[1]
    )
    prompt = backbone.init_prompt(4, 0).double()
    questions = [Question(prompt.clone(), tasks[0], "validation", np.arange(20)) for _ in range(5)]
    answers = answer(backbone, questions, 4000)
    assert sum(counted) == 20
    assert len({a.predictions for a in answers}) == 1


def test_out_of_memory_halves_a_batch_and_loses_nothing(asked, monkeypatch) -> None:
    import torch

    backbone, tasks = asked
    question = Question(backbone.init_prompt(4, 0).double(), tasks[0], "validation", np.arange(20))
    wanted = answer(backbone, [question], 4000)[0].predictions
    generate = backbone.generate

    def small_device(prompts, sources, *rest):
        if len(sources) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return generate(prompts, sources, *rest)

    monkeypatch.setattr(backbone, "generate", small_device)
    assert answer(backbone, [question], 4000)[0].predictions == wanted


def _train(parts: Path, folder: Path, **evaluation):
    values = tiny_config(parts, methods=["none", "dtvg"])
    values["evaluation"] = {**values.get("evaluation", {}), **evaluation}
    experiment = create_experiment(build_config(values), folder / "runs")
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return experiment


def test_test_answers_are_stored_and_their_mean_is_the_logged_accuracy(parts, tmp_path) -> None:
    experiment = _train(parts, tmp_path, mode="labels", keep_predictions="all")
    for name in (r.name for r in experiment.runs()):
        run = open_run(experiment.path / name)
        assert verify_run(run.path) == []
        rows = read_table(run, "predictions").to_pandas()
        evals = read_table(run, "evals").to_pandas()
        if run.role != "transfer":
            assert set(rows["split"]) == {"validation"}
            continue
        test = rows[rows["split"] == "test"]
        assert run.result is not None and set(test["step"]) == {run.result.best_step}
        logged = evals[(evals["split"] == "test") & (evals["metric"] == "accuracy")]
        assert test["correct"].mean() == pytest.approx(float(logged["value"].iloc[0]))
        assert (test["margin"] >= 0).all() and test["row"].is_unique
        best = rows[(rows["split"] == "validation") & (rows["step"] == run.result.best_step)]
        assert len(best) and best["correct"].mean() == pytest.approx(run.result.validation_score)


def test_two_runs_are_paired_by_the_content_of_their_rows(parts, tmp_path) -> None:
    experiment = _train(parts, tmp_path)
    runs = [open_run(r.path) for r in experiment.runs()]
    runs = [r for r in runs if r.role == "transfer"]
    tables = [read_table(r, "predictions").to_pandas() for r in runs]
    assert len(tables) == 2 and list(tables[0]["fingerprint"]) == list(tables[1]["fingerprint"])
    assert tables[0]["margin"].isna().all()


def test_nothing_is_stored_where_nothing_should_be_kept(parts, tmp_path) -> None:
    experiment = _train(parts, tmp_path, keep_predictions="none")
    assert not list(experiment.path.glob("*/predictions/*"))


def test_a_task_without_label_words_is_answered_freely_and_the_log_says_so(asked) -> None:
    from dataclasses import replace

    backbone, tasks = asked
    spec = replace(tasks[0].spec, labels=(), metrics=("accuracy",))
    task = replace(tasks[0], spec=spec)
    prompt = backbone.init_prompt(4, 0).double()
    question = Question(prompt, task, "validation", np.arange(8), "labels", True)
    assert "answers are generated freely" in question.note
    free = answer(backbone, [Question(prompt, task, "validation", np.arange(8))], 500)[0]
    found = answer(backbone, [question], 500)[0]
    assert found.predictions == free.predictions and found.margins is None


def test_agreement_is_printed_for_a_finished_run(parts, tmp_path, capsys) -> None:
    experiment = _train(parts, tmp_path)
    run = next(r.path for r in experiment.runs() if open_run(r.path).role == "transfer")
    assert main(["runs", "agreement", str(run), "--split", "validation"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert {"generate", "generate+", "labels", "labels+"} <= set(lines)
    # words and their ends are single tokens here: constrained, both ways must agree
    assert lines["generate+"].split()[-2:] == ["100.0", "%"]


def test_equal_texts_have_equal_fingerprints_and_others_do_not(asked) -> None:
    _, tasks = asked
    examples = list(tasks[0].texts["validation"])
    distinct = {(e.source, e.target, e.references) for e in examples}
    assert len({example_fingerprint(e) for e in examples}) == len(distinct)


def test_the_cpu_s_batches_stay_small() -> None:
    assert evaluate.CPU_BUDGET <= 4096
