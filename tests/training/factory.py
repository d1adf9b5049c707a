"""A tiny random T5 and synthetic runs for tests of the engine: no files, no downloads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.decoder_only import DecoderOnly
from dtvg.backbones.encoder_decoder import EncoderDecoder
from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.methods.base import InstanceWise
from dtvg.training.batches import Cutting, TokenisedTask
from dtvg.training.instance import composer_of
from dtvg.training.optim import AdamState, adamw, put
from dtvg.training.state import RunData, RunSlot, Stack, build_stacks
from dtvg.training.step import PADDED, cohort_step

WIDTH, LENGTH, SOURCES = 16, 4, ("alpha", "beta", "gamma", "delta")


class Numbers:
    """A tokenizer stand-in: texts are never needed."""

    all_special_ids = (0, 1)
    pad_token_id, eos_token_id = 0, 1


def tiny_backbone(dtype: torch.dtype = torch.float64) -> EncoderDecoder:
    torch.manual_seed(11)
    config = transformers.T5Config(
        vocab_size=40,
        d_model=WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_decoder_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    model = transformers.T5ForConditionalGeneration(config).to(dtype)
    return EncoderDecoder(model, Numbers(), "tiny", "0")


def tiny_decoder(dtype: torch.dtype = torch.float64) -> DecoderOnly:
    torch.manual_seed(12)
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return DecoderOnly(transformers.LlamaForCausalLM(config).to(dtype), Numbers(), "tiny", "0")


def updated(
    parameters: dict[str, torch.Tensor], gradients: Any, moments: AdamState, *more: Any
) -> None:
    """Update parameters and moments in place."""
    put(parameters, moments, *adamw(parameters, gradients, moments, *more))


def experiment(**changes: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "name": "test",
        "sources": list(SOURCES),
        "targets": ["epsilon"],
        "methods": [
            "none",
            "target_only",
            "single",
            "all_sources",
            "dtvg",
            {"name": "dtvg", "rule": "fixed"},
            "spot",
        ],
        "seeds": [0],
        "prompt": {"length": LENGTH},
        "optim": {
            "batch_size": 6,
            "steps": 100,
            "stage1_steps": 100,
            "lr_prompt": 0.05,
            "lr_scale": 0.05,
            "lr_scale_target": 0.02,
        },
    }
    return build_config({**values, **changes})


def rows(count: int, seed: int) -> list[Encoded]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        source = rng.integers(2, 40, size=rng.integers(3, 12))
        made.append(Encoded(source, np.append(rng.integers(2, 40, size=rng.integers(1, 3)), 1)))
    return made


def slot(config: RunConfig, seed: int | None = None) -> RunSlot:
    """A run whose vectors are random but a function of its seed and sources."""
    rng = np.random.default_rng([5, config.seed if seed is None else seed])
    init = rng.normal(size=(LENGTH, WIDTH)).astype(np.float32)
    own = rng.normal(size=(LENGTH, WIDTH)).astype(np.float32)
    towards = own.mean(0)
    vectors = {
        name: (rng.normal(size=(LENGTH, WIDTH)) + sign * 0.3 * towards).astype(np.float32)
        for name, sign in zip(SOURCES, (1, 1, -1, 0.2), strict=True)
    }
    chosen = [vectors[name] for name in config.sources]
    inputs = {
        "init": init,
        "target_prompt": init + own,
        "source_vectors": np.stack(chosen) if chosen else np.zeros((0, LENGTH, WIDTH), np.float32),
    }
    read = config.sources if config.needs.source_data else ()
    beside = tuple(
        TokenisedTask(None, f"data-{name}", rows(30, 50 + SOURCES.index(name)), {}, {})  # type: ignore[arg-type]
        for name in read
    )
    data = RunData(f"data-{config.target}", rows(40, 1), (), beside=beside)
    return RunSlot(config, data, None, inputs)  # type: ignore[arg-type]


def train(
    backbone: Backbone,
    slots: list[RunSlot],
    steps: int,
    budget: int = 400,
    saved: dict[str, np.ndarray] | None = None,
    cutting: Cutting = PADDED,
) -> tuple[list[Stack], dict[str, list[Any]]]:
    """Step a cohort, from a commit if one is given; return its stacks and, by run, what each
    step decided."""
    stacks = build_stacks(slots, backbone.device, backbone.dtype)
    for stack in stacks:
        stack.load(saved or {})
    seen: dict[str, list[Any]] = {s.name: [] for s in slots}
    for _ in range(steps):
        for record in cohort_step(backbone, stacks, budget, cutting):
            for i, run in enumerate(record.slots):
                weights = record.prompt_step.weights
                group = None if weights is None else tuple((weights[i] > 0).tolist())
                seen[run.name].append((group, float(record.loss[i])))
        for run in slots:
            run.step += 1
    return stacks, seen


def prompts(stacks: list[Stack], backbone: Backbone | None = None) -> dict[str, torch.Tensor]:
    """Every run's mixed prompt; of an instance-wise method those of a few inputs, in a row."""
    found = {}
    for stack in stacks:
        if isinstance(stack.method, InstanceWise):
            inputs = [one.source for one in rows(6, 2)]
            for run in stack.slots:
                made = composer_of(stack, run).prompts(backbone or tiny_backbone(), inputs)
                found[run.name] = made.flatten(0, 1)
            continue
        with torch.no_grad():
            mixed = stack.method.forward(stack.state).prompt
        found.update({run.name: mixed[i] for i, run in enumerate(stack.slots)})
    return found
