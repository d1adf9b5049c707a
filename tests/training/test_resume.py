"""Every method, stopped in the middle and resumed through its files, goes on as if unbroken."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dtvg.config import build_config
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import Run, list_runs, read_prompts, read_table
from dtvg.store.status import request as ask
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import loop, procedures

from .settings import EVERY_METHOD, MEMORIES, moved_prompt

METHODS = ["none", "single", "all_sources", "all_for_one", "dtvg", "forkmerge", *EVERY_METHOD]
ONCE = [*{str(m if isinstance(m, str) else m["name"]): m for m in METHODS}.values(), *MEMORIES]
"""Each method in one of its settings, and the rules with memory."""
STOPPED_AFTER = 7
MEASURED = ["seconds", "step_ms", "device_mem_gib"]


def _train(folder: Path, parts: Path, bank: PromptBank, name: str, methods: list) -> ExperimentDir:
    config = build_config(tiny_config(parts, name=name, methods=methods))
    experiment = create_experiment(config, folder)
    procedures.run_experiment(experiment, bank=bank)
    return experiment


def _transfers(folder: Path, name: str) -> dict[str, Run]:
    runs = [r for r in list_runs(folder) if r.role == "transfer" and r.path.parent.name == name]
    return {run.name: run for run in runs}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ONCE, id="each once"),
        pytest.param(METHODS, id="every setting", marks=pytest.mark.slow),
    ],
)
def pair(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[dict[str, Run], dict[str, Run]]:
    """The same runs, trained without a break and with one after step 7."""
    methods = request.param
    folder = tmp_path_factory.mktemp("resume")
    bank, whole = PromptBank(folder / "bank"), loop.hold_sources

    def stop_in_the_middle(cohort) -> None:
        for slot in cohort.slots:
            if slot.config.role == "transfer" and slot.step == STOPPED_AFTER:
                ask(cohort.run_dirs[slot.name], "stop")
        whole(cohort)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        _train(folder / "runs", folder / "parts", bank, "unbroken", methods)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(loop, "CONTROL_SECONDS", 0.0)
            inner.setattr(loop, "hold_sources", stop_in_the_middle)
            broken = _train(folder / "runs", folder / "parts", bank, "broken", methods)
        stopped = _transfers(folder / "runs", "broken").values()
        assert {run.state for run in stopped} == {RunState.STOPPED}
        assert len(stopped) >= len(methods)
        procedures.run_experiment(broken, bank=bank)
    return _transfers(folder / "runs", "unbroken"), _transfers(folder / "runs", "broken")


def test_every_run_was_stopped_and_finished_later(pair) -> None:
    unbroken, broken = pair
    assert unbroken.keys() == broken.keys()
    for name, run in broken.items():
        assert run.state is RunState.FINISHED, (name, run.problem)
        events = read_table(run, "events").column("kind").to_pylist()
        assert events.count("started") == 1 and "resumed" in events, name


def test_the_rows_of_a_resumed_run_are_those_of_an_unbroken_one(pair) -> None:
    unbroken, broken = pair
    for name, run in broken.items():
        for table in ("steps", "sources", "evals"):
            here, there = (
                read_table(which, table).to_pandas().drop(columns=MEASURED, errors="ignore")
                for which in (run, unbroken[name])
            )
            pd.testing.assert_frame_equal(here, there, check_exact=True, obj=f"{name} {table}")


def test_the_prompts_of_a_resumed_run_are_those_of_an_unbroken_one(pair) -> None:
    unbroken, broken = pair
    for name, run in broken.items():
        for which in ("best", "final"):
            here, there = read_prompts(run, which), read_prompts(unbroken[name], which)
            assert here.keys() == there.keys(), name
            for key, value in here.items():
                assert value.shape == there[key].shape, (name, which, key)
                assert (value == there[key]).all(), (name, which, key)
