"""What an evaluation really asks of methods that compose per example or per task."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dtvg.config import build_config
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import list_runs, read_prompts
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import cohort, procedures
from dtvg.training.agreement import asked_of
from dtvg.training.instance import Composer
from tests.training.settings import moved_prompt


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A finished experiment whose second evaluation is the best, and every question asked."""
    folder = tmp_path_factory.mktemp("asked")
    config = build_config(tiny_config(folder / "parts", methods=["attempt", "mpt"]))
    experiment = create_experiment(config, folder / "runs")
    questions, times = [], {}

    def answer(backbone, several, budget, sharing):
        questions.extend(several)
        made = real(backbone, several, budget, sharing)
        if several and several[0].split == "validation":
            for place, question in enumerate(several):
                key = (len(several), place, question.task.spec.name)
                times[key] = times.get(key, 0) + 1
                score = {2: 0.9}.get(times[key], 0.1)
                metrics = {**made[place].metrics, "score": score}
                made[place] = dataclasses.replace(made[place], metrics=metrics)
        return made

    real = cohort.answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        patch.setattr(cohort, "answer", answer)
        procedures.run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return {run.method_name: run for run in list_runs(folder / "runs")}, questions


def test_the_test_score_is_that_of_the_best_step_s_own_parameters(asked) -> None:
    runs, questions = asked
    run = runs["attempt"]
    assert run.result.best_step == 5 < run.result.steps
    best, final = read_prompts(run, "best"), read_prompts(run, "final")
    tested = [q for q in questions if q.split == "test" and isinstance(q.prompt, Composer)]
    assert len(tested) == 1
    for name, value in tested[0].prompt.state.parameters.items():
        kept = torch.as_tensor(best[f"parameter.{name}"])
        assert torch.equal(value[0], kept), name
        assert not torch.equal(value[0], torch.as_tensor(final[f"parameter.{name}"])), name
    again = asked_of(run, run.config, best, torch.device("cpu"))
    for name, value in again.state.parameters.items():
        assert torch.equal(value[0], torch.as_tensor(best[f"parameter.{name}"])), name
    assert again.identity == tested[0].prompt.identity


def test_every_task_of_a_mixture_is_asked_as_itself(asked) -> None:
    _, questions = asked
    mixture = [
        q
        for q in questions
        if isinstance(q.prompt, Composer) and q.prompt.method.config.name == "mpt_sources"
    ]
    found = [(q.task.spec.name, q.prompt.task) for q in mixture]
    assert found[:3] == [("sst2", 0), ("cola", 1), ("mrpc", 2)]
    assert set(found) == set(found[:3])
