"""The playground answers as the run was evaluated, and loads its backbone once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from dtvg import paths
from dtvg.backbones.base import Backbone
from dtvg.jobs import playground as asking
from dtvg.store.playground import Asked, Prompted
from dtvg.store.reader import Run, open_experiment, read_table
from dtvg.tasks.reading import load_task
from dtvg.training import playground
from dtvg.training.batches import tokenise
from dtvg.training.playground import Playground, prompt_of


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    found = open_experiment(paths.examples() / "demo-recorded").runs
    wanted = ("trip-mood.dtvg.s0", "trip-mood.dtvg-fixed.s1", "trip-mood.none.s0")
    return {run.name: run for run in found if run.name in wanted}


def test_answers_are_those_of_the_final_test(runs: dict[str, Run]) -> None:
    run = runs["trip-mood.dtvg.s0"]
    config = run.config
    assert config is not None
    rows = read_table(run, "predictions", ["row", "prediction", "split"]).to_pylist()
    rows = [row for row in rows if row["split"] == "test"][:6]
    texts = load_task(run.target, config.data).test
    made = Playground()
    for row in rows:
        asked = Asked(text=texts[row["row"]].source, prompts=[Prompted(run=str(run.path))])
        (told,) = made.answer(asked).told
        assert told.refused == "" and told.answer == row["prediction"]
        assert sum(told.labels.values()) == pytest.approx(1)
    assert made.loads == 1


def test_an_answer_has_the_room_that_it_had_in_training(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, limits = runs["trip-mood.dtvg.s0"], []
    assert run.config is not None
    words = {run.target: ("no " * 9, "yes " * 12)}
    data = run.config.data.model_copy(update={"label_words": words})
    config = run.config.model_copy(update={"data": data})
    monkeypatch.setattr(Run, "config", property(lambda self: config))
    real = Backbone.generate

    def spied(self: Backbone, prompt, sources, limit: int, *more):
        limits.append(limit)
        return real(self, prompt, sources, limit, *more)

    monkeypatch.setattr(Backbone, "generate", spied)
    asked = Asked(text="a good trip", prompts=[Prompted(run=str(run.path))])
    made = Playground()
    (told,) = made.answer(asked).told
    assert told.refused == "" and made._backbone is not None
    trained = tokenise(run.target, made._backbone, data).spec.max_target_tokens
    assert limits == [trained] and trained > 12


def test_a_source_taken_out_changes_the_prompt_by_its_own_vector_alone(
    runs: dict[str, Run],
) -> None:
    run = runs["trip-mood.dtvg.s0"]
    config = run.config
    assert config is not None
    import torch

    cpu = torch.device("cpu")
    whole, group = prompt_of(run, config, "", cpu)
    assert group
    for source in config.sources:
        less, left = prompt_of(run, config, source, cpu)
        assert left == [name for name in group if name != source]
        same = np.allclose(less.numpy(), whole.numpy(), atol=1e-4)
        assert same == (source not in group)


def test_what_cannot_be_asked_says_why(runs: dict[str, Run]) -> None:
    made = Playground()
    path, wrong = str(runs["trip-mood.none.s0"].path), str(runs["trip-mood.dtvg.s0"].path)
    asked = Asked(
        text="x",
        prompts=[
            Prompted(run=path, without="film-mood"),
            Prompted(run=wrong, without="film-mod"),
            Prompted(run="/absent"),
        ],
    )
    none, near, absent = made.answer(asked).told
    assert "no source can be taken out" in none.refused
    assert "Did you mean 'film-mood'" in near.refused
    assert "no readable configuration" in absent.refused


def test_a_living_process_is_asked_and_ends_when_idle(
    runs: dict[str, Run], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(command: list[str], log_path: Path) -> int:
        thread = threading.Thread(target=playground.serve, args=(Path(command[-1]), 1.0))
        started.append(thread)
        thread.start()
        return 0

    monkeypatch.setattr(asking, "detached", start)
    prompts = [Prompted(run=str(runs["trip-mood.dtvg.s0"].path))]
    first = asking.ask("what a lovely trip", prompts)
    again = asking.ask("what a lovely trip", prompts)
    assert first.told == again.told and first.told[0].answer
    assert len(started) == 1  # kept warm
    started[0].join(20)
    assert not started[0].is_alive() and not asking.is_warm()
