"""On a GPU: the law of the cohort, the decision, and a step that never waits for the device."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import decide
from dtvg.training.batches import Cutting
from dtvg.training.engine import Engine
from dtvg.training.recording import StepLog
from dtvg.training.state import build_stacks
from dtvg.training.step import PADDED, cohort_step
from tests.training import factory

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def backbone(dtype: torch.dtype = torch.float64):
    from dtvg.backbones.encoder_decoder import EncoderDecoder

    model = factory.tiny_backbone(dtype).model
    return EncoderDecoder(copy.deepcopy(model).to("cuda"), factory.Numbers(), "tiny", "0")


def test_a_run_in_a_cohort_follows_the_trajectory_it_has_alone_on_cuda() -> None:
    model, configs = backbone(), factory.experiment().runs()
    together, seen = factory.train(model, [factory.slot(c) for c in configs], steps=100)
    mixed = factory.prompts(together)
    for config in configs:
        alone, own = factory.train(model, [factory.slot(config)], steps=100)
        assert [g for g, _ in own[config.name]] == [g for g, _ in seen[config.name]]
        difference = (factory.prompts(alone)[config.name] - mixed[config.name]).abs().max()
        assert float(difference) < 1e-6, config.name


def test_methods_that_read_examples_or_gradients_obey_the_law_on_cuda() -> None:
    methods = ["attempt", "moe", "relational", "primal_dual", {"name": "mpt", "distil": "prompts"}]
    model, configs = backbone(), factory.experiment(methods=methods, seeds=[0, 1]).runs()
    together, _ = factory.train(model, [factory.slot(c) for c in configs], steps=20)
    mixed = factory.prompts(together, model)
    for config in configs[::2]:
        alone, _ = factory.train(model, [factory.slot(config)], steps=20)
        own = factory.prompts(alone, model)[config.name]
        assert float((own - mixed[config.name]).abs().max()) < 1e-6, config.name


@pytest.mark.parametrize("rule", ["greedy", "similarity_only", "consistency_only", "exact"])
def test_the_decision_on_cuda_is_numpys(rule: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8, 16)) + 0.5 * rng.normal(size=(200, 1, 16))
    grams = (vectors @ vectors.transpose(0, 2, 1) / 16).astype(np.float32)
    grams = (grams + grams.transpose(0, 2, 1)) / 2
    ours, theirs = decide_on_device(torch.from_numpy(grams).cuda(), rule), decide(grams, rule)
    assert ours.member.device.type == "cuda"
    for name in ("order", "rank", "n_candidates", "member"):
        assert np.array_equal(getattr(ours, name).cpu().numpy(), getattr(theirs, name)), name
    for name in ("similarity", "consistency_by_prefix"):
        np.testing.assert_allclose(getattr(ours, name).cpu().numpy(), getattr(theirs, name))


def decoder(dtype: torch.dtype = torch.float32):
    from dtvg.backbones.decoder_only import DecoderOnly

    model = factory.tiny_decoder(dtype).model
    return DecoderOnly(copy.deepcopy(model).to("cuda"), factory.Numbers(), "tiny", "0")


def _steps_without_waiting(model) -> None:
    configs = factory.experiment().runs()
    stacks = build_stacks([factory.slot(c) for c in configs], model.device, torch.float32)
    log = StepLog(stacks=len(stacks))
    log.add(cohort_step(model, stacks, 4096, Cutting(30)), 0.0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            log.add(cohort_step(model, stacks, 4096, Cutting(30)), 0.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_composing_updating_and_logging_never_wait_for_the_device() -> None:
    model = backbone(torch.float32)
    model.loss = lambda prompt, batch: (prompt.square().sum((1, 2)), batch.label_mask.sum(-1))
    _steps_without_waiting(model)


@pytest.mark.parametrize("make", [lambda: backbone(torch.float32), decoder])
def test_a_whole_step_through_the_backbone_never_waits_for_the_device(make) -> None:
    _steps_without_waiting(make())


@pytest.mark.parametrize("make", [lambda: backbone(torch.float32), decoder])
def test_a_profile_of_steps_shows_no_synchronising_call(make) -> None:
    from benchmarks import profiling

    model = make()
    model.layers = None
    configs = factory.experiment(methods=["dtvg"]).runs()
    stacks = build_stacks([factory.slot(c) for c in configs], model.device, torch.float32)
    cohort_step(model, stacks, 4096, Cutting(30))
    torch.cuda.synchronize()
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as trace:
        for _ in range(3):
            cohort_step(model, stacks, 4096, Cutting(30))
        found = {e.name for e in trace.profiler.function_events or ()}
    found |= {e.key for e in trace.key_averages() if e.key == "cudaStreamSynchronize"}
    assert not found & {"cudaStreamSynchronize", "cudaEventSynchronize"}, profiling.WAITING


def test_a_resumed_run_goes_on_as_an_unbroken_one_on_cuda() -> None:
    model, configs = backbone(), factory.experiment(methods=["dtvg", "none"]).runs()
    unbroken, _ = factory.train(model, [factory.slot(c) for c in configs], steps=12)
    slots = [factory.slot(c) for c in configs]
    first, _ = factory.train(model, slots, steps=5)
    saved = {k: v.cpu().numpy() for stack in first for k, v in stack.tensors().items()}
    resumed, _ = factory.train(model, slots, steps=7, saved=saved)
    wanted, found = factory.prompts(unbroken), factory.prompts(resumed)
    for name, prompt in wanted.items():
        assert float((found[name] - prompt).abs().max()) < 1e-9, name


def test_layers_compiled_on_cuda_compute_what_they_compute_eagerly() -> None:
    configs = factory.experiment(methods=["dtvg", "none"]).runs()
    eager, compiled = decoder(), decoder()
    compiled.compile_layers()
    wanted, _ = factory.train(eager, [factory.slot(c) for c in configs], steps=5)
    found, _ = factory.train(compiled, [factory.slot(c) for c in configs], steps=5)
    for name, prompt in factory.prompts(wanted).items():
        assert torch.allclose(factory.prompts(found)[name], prompt, atol=1e-3), name


def test_values_on_their_way_to_the_log_lie_in_pinned_memory() -> None:
    model = backbone(torch.float32)
    configs = factory.experiment(methods=["dtvg"]).runs()
    stacks = build_stacks([factory.slot(c) for c in configs], model.device, torch.float32)
    log = StepLog()
    log.add(cohort_step(model, stacks, 4096), 0.0)
    assert all(tensor.is_pinned() for tensor in log.queue[0].tensors.values())


def _graphed(model, dtype: torch.dtype = torch.bfloat16):
    model.record_passes()
    engine = Engine(precision=str(dtype).removeprefix("torch."), graphs=True)
    return model, engine.cutting(model)


def _trained(model, configs, steps: int, cutting: Cutting = PADDED) -> dict[str, torch.Tensor]:
    slots = [factory.slot(c) for c in configs]
    stacks = build_stacks(slots, model.device, torch.float32)
    for _ in range(steps):
        cohort_step(model, stacks, 4096, cutting)
        for slot in slots:
            slot.step += 1
    return factory.prompts(stacks, model)


@pytest.mark.parametrize("make", [backbone, decoder])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_replayed_as_graphs_are_those_launched_one_by_one(make, dtype: torch.dtype) -> None:
    methods = ["dtvg", "none", "attempt"]
    configs = factory.experiment(methods=methods, seeds=[0, 1]).runs()
    plain, (graphed, cutting) = make(dtype), _graphed(make(dtype), dtype)
    wanted, found = _trained(plain, configs, 12), _trained(graphed, configs, 12, cutting)
    assert graphed.passes.records and graphed.passes.replayed >= 4
    by_bounds = dtype is torch.bfloat16 and make is decoder
    assert graphed.packs and getattr(graphed, "_by_bounds", False) == by_bounds
    tolerance = 1e-3 if dtype is torch.float32 else 0.3
    for name, prompt in wanted.items():
        assert float((found[name] - prompt).abs().max()) < tolerance, name


@pytest.mark.parametrize("make", [backbone, decoder])
def test_a_replayed_step_never_waits_for_the_device(make) -> None:
    model, cutting = _graphed(make(torch.bfloat16))
    configs = factory.experiment(methods=["dtvg", "none"]).runs()
    stacks = build_stacks([factory.slot(c) for c in configs], model.device, torch.float32)
    for _ in range(3):  # the same rows, since steps are not counted
        cohort_step(model, stacks, 4096, cutting)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            cohort_step(model, stacks, 4096, cutting)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert model.passes.replayed >= 4 and len(model.passes) == 1


@pytest.mark.parametrize("make", [backbone, decoder])
def test_a_run_that_is_no_number_ends_alone_when_steps_are_replayed(make) -> None:
    model, cutting = _graphed(make(torch.bfloat16))
    slots = [factory.slot(c) for c in factory.experiment(methods=["none"], seeds=[0, 1, 2]).runs()]
    (stack,) = build_stacks(slots, model.device, torch.float32)
    for step in range(4):
        if step == 3:
            with torch.no_grad():
                stack.state.parameters["prompt"][0] = float("inf")
        cohort_step(model, [stack], 4096, cutting)
    assert stack.ended.tolist() == [True, False, False]
