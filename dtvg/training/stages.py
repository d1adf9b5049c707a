"""Stage I and what Stage II starts from: task prompts by identity, tuned once, kept in the bank.

The identity of a task prompt is everything its numbers depend on, so that a prompt in the
bank is the one that training would give again. Must not import streamlit or plotly.
arXiv 2503.18063, section 3.1; METHOD.md, Stage I.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from dtvg.backbones.base import Backbone
from dtvg.config import RunConfig
from dtvg.errors import StoreError
from dtvg.store.bank import PromptBank, TaskPrompt, check_compatible, identity
from dtvg.training.batches import join, tokenise
from dtvg.training.state import RunData, RunSlot

VERSION = 1
"""Raised when a change alters the numbers of Stage I; enters every identity."""


def run_data(config: RunConfig, backbone: Backbone) -> RunData:
    """Read and tokenise what a run trains and is scored on.

    Raises:
        ConfigError, DataError: as `load_task`.
    """
    if config.role == "mixture":
        tasks = tuple(tokenise(name, backbone, config.data) for name in config.sources)
        fingerprint, rows = join(tasks)
        return RunData(fingerprint, rows, tasks)
    task = tokenise(config.target, backbone, config.data)
    return RunData(task.fingerprint, task.train, (task,))


def initial_prompt(config: RunConfig, backbone: Backbone) -> np.ndarray:
    """Return P_init `[r d]`, float32: the same for every task of a seed."""
    prompt = backbone.init_prompt(config.prompt.length, config.init_seed, config.prompt.vocabulary)
    return np.asarray(prompt.numpy(), dtype=np.float32)


def tuning_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings Stage I's numbers depend on, beside data, seed and backbone."""
    optim, data, evaluation = config.optim, config.data, config.evaluation
    return {
        "steps": optim.stage1_steps,
        "batch_size": optim.batch_size,
        "lr": optim.lr_stage1,
        "weight_decay": optim.weight_decay_stage1,
        "warmup_steps": optim.warmup_steps,
        "schedule": optim.schedule,
        "clip_norm": optim.clip_norm,
        "patience": optim.patience,
        "evaluation_every": evaluation.every,
        "evaluation_examples": evaluation.max_examples,
        "data_seed": data.seed,
        "split": data.split,
        "max_train_examples": data.max_train_examples,
        "max_source_tokens": data.max_source_tokens,
        "dropout": config.backbone.dropout,
        "init_seed": config.init_seed,
        "init_vocabulary": config.prompt.vocabulary,
    }


def prompt_identity(config: RunConfig, backbone: Backbone, data: RunData) -> str:
    """Return the identity of the task prompt that a Stage I run makes."""
    init = initial_prompt(config, backbone)
    return identity(
        version=VERSION,
        backbone_revision=backbone.revision,
        task=config.target,
        data=data.fingerprint,
        labels=[task.spec.labels for task in data.tasks],
        seed=config.seed,
        init=hashlib.sha256(init.tobytes()).hexdigest(),
        length=config.prompt.length,
        precision=config.device.precision,
        settings=tuning_settings(config),
    )


def to_task_prompt(slot: RunSlot, backbone: Backbone) -> TaskPrompt:
    """Build the bank's entry from a finished Stage I run: its best prompt on validation."""
    config = slot.config
    return TaskPrompt(
        task=config.target,
        labels=tuple(word for task in slot.data.tasks for word in task.spec.labels),
        backbone=backbone.name,
        backbone_revision=backbone.revision,
        seed=config.seed,
        init=slot.inputs["init"],
        prompt=np.ascontiguousarray(slot.best["mixed_prompt"].float().numpy()),
        score=slot.best_score,
        metric_values=dict((slot.result or {}).get("metrics", {})),
        fingerprint=prompt_identity(config, backbone, slot.data),
        precision=config.device.precision,
        settings=tuning_settings(config),
        created=time.time(),
    )


def stage_one_inputs(config: RunConfig, backbone: Backbone) -> dict[str, np.ndarray]:
    """Return what a Stage I run starts from: the initial prompt, twice."""
    init = initial_prompt(config, backbone)
    empty = np.zeros((0, *init.shape), dtype=np.float32)
    return {"init": init, "target_prompt": init, "source_vectors": empty}


def transfer_inputs(
    config: RunConfig, found: dict[str, TaskPrompt], mixture: TaskPrompt | None
) -> dict[str, np.ndarray]:
    """Collect what a transfer run starts from.

    Args:
        config: the run.
        found: Stage I prompts of this run's seed by task.
        mixture: the prompt of the sources' mixture, for `all_for_one`.

    Returns:
        `init [r d]`, `target_prompt [r d]`, `source_vectors [n r d]`, maybe `mixture_prompt`.

    Raises:
        StoreError: a prompt is missing, or source and target do not fit (both named).
    """
    if mixture is not None:
        empty = np.zeros((0, *mixture.init.shape), dtype=np.float32)
        return {
            "init": mixture.init,
            "target_prompt": mixture.prompt,
            "source_vectors": empty,
            "mixture_prompt": mixture.prompt,
        }
    missing = [task for task in (config.target, *config.sources) if task not in found]
    if missing:
        raise StoreError(
            f"Run '{config.name}' starts from the Stage I prompt of {', '.join(missing)} "
            f"(seed {config.seed}), which did not finish; resume the experiment to tune it."
        )
    target = found[config.target]
    sources = [found[name] for name in config.sources]
    for source in sources:
        check_compatible(target, source)
    vectors = (
        np.stack([s.vector for s in sources]) if sources else np.zeros((0, *target.init.shape))
    )
    return {
        "init": target.init,
        "target_prompt": target.prompt,
        "source_vectors": np.ascontiguousarray(vectors, dtype=np.float32),
    }


def bank_get(bank: PromptBank, key: str) -> TaskPrompt | None:
    """Return a prompt of the bank, or None; a damaged entry counts as absent."""
    try:
        return bank.find(key)
    except StoreError:
        return None
