"""Out of memory, not-finite numbers and threads: what a device does never changes a trajectory."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dtvg.backbones.graphs import Passes
from dtvg.store.layout import CohortDir, RunDir
from dtvg.training import cohort as cohorts
from dtvg.training import step
from dtvg.training.cohort import LEAST_BUDGET, Cohort
from dtvg.training.engine import Engine
from dtvg.training.state import build_stacks
from tests.training import factory

ROOT = Path(__file__).resolve().parents[2]


class Rows:
    """A run's writer that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.steps: list[int] = []
        self.losses: list[float] = []

    def extend(self, table: str, columns: dict[str, Any]) -> None:
        if table == "events":
            self.events += columns["detail"]
        elif table == "steps":
            self.steps += list(columns["step"])
            self.losses += [float(x) for x in columns["loss"]]


def cohort(folder: Path, backbone: Any, configs: Any, budget: int = 4096) -> Cohort:
    slots = [factory.slot(c) for c in configs]
    for slot in slots:
        slot.writer = Rows()  # type: ignore[assignment]
    nothing = SimpleNamespace(
        update=lambda *a, **k: None,
        submit=lambda s: None,
        wait=lambda: None,
        snapshot=lambda t, m: None,
    )
    stacks = build_stacks(slots, backbone.device, backbone.dtype)
    dirs = {s.name: RunDir(folder / s.name) for s in slots}
    place: Any = CohortDir(folder)
    return Cohort(place, backbone, stacks, dirs, nothing, nothing, nothing, budget)  # type: ignore[arg-type]


class Small:
    """Makes a backbone's loss fail beyond a number of padded tokens, as a small device would."""

    def __init__(self, backbone: Any, tokens: int) -> None:
        self.limit, self.refused, self.largest = tokens, 0, 0
        self.loss = backbone.loss
        backbone.loss = self

    def __call__(self, prompt: torch.Tensor, batch: Any) -> Any:
        tokens = prompt.shape[0] * (prompt.shape[1] + batch.ids.shape[1] + batch.labels.shape[1])
        if tokens > self.limit:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.largest = max(self.largest, tokens)
        return self.loss(prompt, batch)


def test_out_of_memory_halves_the_budget_and_the_trajectory_stays(tmp_path: Path, caplog) -> None:
    configs = factory.experiment(methods=["none", "dtvg"], seeds=[0, 1]).runs()
    ample = factory.tiny_backbone()
    free = cohort(tmp_path, ample, configs)
    tight_backbone = factory.tiny_backbone()
    small = Small(tight_backbone, 120)
    tight = cohort(tmp_path, tight_backbone, configs)
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            free.step()
            tight.step()
    assert small.refused >= 4 and tight.budget <= 256
    assert "token budget halved" in caplog.text
    assert [s.step for s in tight.slots] == [8] * 4
    ours, theirs = factory.prompts(tight.stacks), factory.prompts(free.stacks)
    for name, prompt in ours.items():
        assert torch.allclose(prompt, theirs[name], atol=1e-10), name
    for one in (free, tight):
        one.write_rows()
    for left, right in zip(tight.slots, free.slots, strict=True):
        assert left.writer.steps == list(range(1, 9))  # type: ignore[attr-defined]
        np.testing.assert_allclose(left.writer.losses, right.writer.losses, rtol=1e-6)  # type: ignore[attr-defined]


def test_where_one_example_does_not_fit_only_its_run_fails(tmp_path: Path) -> None:
    backbone = factory.tiny_backbone()
    configs = factory.experiment(methods=["none", "dtvg"]).runs()
    Small(backbone, 30)
    made = cohort(tmp_path, backbone, configs)
    long = factory.rows(40, 1)
    long[:] = [type(e)(np.resize(e.source, 40), e.target) for e in long]
    slot = made.slots[0]
    slot.data = type(slot.data)("long", long, ())
    for _ in range(3):
        made.step()
    made.write_rows()
    assert slot.failure is not None and "Out of memory with a single example" in slot.failure
    assert slot.writer.events == [slot.failure]  # type: ignore[attr-defined]
    assert [s.name for s in made.slots] == [configs[1].name] and made.slots[0].step == 3
    assert slot.step == 0


def graphed(backbone: Any) -> Any:
    """A backbone whose steps are recorded, and then replayed as if nothing changed."""

    def record(call: Any) -> Any:
        writes = call()
        return SimpleNamespace(replay=lambda: None), writes

    backbone.passes = Passes(backbone.loss, record)
    return backbone


def test_graphs_are_given_back_where_scoring_runs_out_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = graphed(factory.tiny_backbone())
    made = cohort(tmp_path, backbone, factory.experiment(methods=["none"]).runs(), LEAST_BUDGET)

    def scored(*given: Any) -> list[Any]:
        if len(backbone.passes):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return []

    monkeypatch.setattr(cohorts, "answer", scored)
    made.engine = Engine(graphs=True)
    for _ in range(2):  # the same rows, since steps are not counted
        made._try()
    assert len(backbone.passes)
    assert made.answers([]) == [] and not len(backbone.passes)


def test_a_run_that_fits_without_graphs_does_not_fail_for_them(tmp_path: Path) -> None:
    backbone = graphed(factory.tiny_backbone())
    made = cohort(tmp_path, backbone, factory.experiment(methods=["none"]).runs(), 8)
    made.engine = Engine(graphs=True)
    loss = backbone.loss

    def tight(*given: Any) -> Any:
        if len(backbone.passes):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(*given)

    backbone.passes._loss = tight
    for _ in range(12):
        made.step()
    assert [(s.step, s.failure) for s in made.slots] == [(12, None)]
    assert not backbone.passes.records and not len(backbone.passes)


def test_memory_that_does_not_suffice_to_record_a_step_does_not_end_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = graphed(factory.tiny_backbone())
    made = cohort(tmp_path, backbone, factory.experiment(methods=["none"]).runs())
    made.engine = Engine(graphs=True)
    record = backbone.passes._record

    def refused(call: Any) -> Any:
        backbone.passes._record = record
        raise RuntimeError("CUDA error: out of memory")

    backbone.passes._record = refused
    for _ in range(6):
        made.step()
    assert made.budget == 2048 and backbone.passes.records and len(backbone.passes)
    assert "token budget halved" in caplog.text and "kernel by kernel" not in caplog.text


def test_another_error_of_the_device_is_not_taken_for_memory(tmp_path: Path) -> None:
    backbone = factory.tiny_backbone()
    made = cohort(tmp_path, backbone, factory.experiment(methods=["none"]).runs())
    backbone.loss = lambda *a: (_ for _ in ()).throw(RuntimeError("shapes differ"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes differ"):
        made.step()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_that_run_only_with_step_rows_and_group(
    tmp_path: Path, value: float
) -> None:
    backbone = factory.tiny_backbone()
    configs = factory.experiment(methods=["dtvg", "none"]).runs()
    made = cohort(tmp_path, backbone, configs)
    loss = backbone.loss

    def poisoned(prompt: torch.Tensor, batch: Any) -> Any:
        nll, count = loss(prompt, batch)
        extra = torch.zeros_like(nll)
        if made.slots[0].step == 4:  # however often the step is taken
            own = factory.prompts(made.stacks)[configs[0].name]
            extra[(prompt.detach() == own).all(-1).all(-1)] = value
        return nll + extra, count

    backbone.loss = poisoned  # type: ignore[method-assign]
    for _ in range(9):
        made.step()
    made.write_rows()
    assert [s.name for s in made.slots] == [configs[1].name] and made.slots[0].step == 9
    parked = made.parked[configs[0].name][1]
    assert "at step 5" in parked["failure"] and "training rows" in parked["failure"]
    assert "group" in parked["failure"] and parked["step"] == 4


HISTORY = """
import hashlib, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from tests.training import factory
configs = factory.experiment(methods=["dtvg", "all_sources"], seeds=[0, 1]).runs()
stacks, seen = factory.train(
    factory.tiny_backbone(torch.float32), [factory.slot(c) for c in configs], 30)
digest = hashlib.sha256()
for name, prompt in sorted(factory.prompts(stacks).items()):
    digest.update(prompt.numpy().tobytes())
    digest.update(repr(seen[name]).encode())
print(digest.hexdigest())
"""


def _history(threads: int) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    out = subprocess.run(
        [sys.executable, "-c", HISTORY, str(threads)],
        capture_output=True, text=True, cwd=ROOT, check=True, env=environment,
    )  # fmt: skip
    return out.stdout.strip()


@pytest.mark.parametrize("threads", [pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)])
def test_two_processes_with_as_many_threads_have_one_history_bit_for_bit(threads: int) -> None:
    assert _history(threads) == _history(threads)


@pytest.mark.parametrize("at", ["_gradients", "adamw"])
def test_out_of_memory_while_a_later_stack_is_updated_leaves_the_earlier_ones(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = factory.experiment(methods=["none", "dtvg"]).runs()
    free = cohort(tmp_path, factory.tiny_backbone(), configs)
    tight = cohort(tmp_path, factory.tiny_backbone(), configs)
    for _ in range(3):
        free.step()
    real, calls = getattr(step, at), []

    def refused(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:  # the second stack's, in the second step
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*given)

    monkeypatch.setattr(step, at, refused)
    for _ in range(3):
        tight.step()
    assert len(calls) == 8 and tight.budget < free.budget
    ours, theirs = factory.prompts(tight.stacks), factory.prompts(free.stacks)
    for name, prompt in ours.items():
        assert torch.allclose(prompt, theirs[name], atol=1e-10), name


def test_nothing_restarts_of_a_run_that_has_ended() -> None:
    restarted = torch.tensor([[True, False], [True, True]])
    made = step._of_runs(torch.tensor([False, True]), restarted)
    assert made.tolist() == [[False, False], [True, True]]
    assert step._of_runs(torch.tensor([False, True]), restarted[:, 0]).tolist() == [False, True]
