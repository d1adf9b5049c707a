"""The settings that a Stage I prompt depends on: part of its identity, and by which it is found.

docs/run_files.md.
"""

from __future__ import annotations

from typing import Any

from dtvg.config.experiment import RunConfig


def tuning_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings Stage I's numbers depend on, beside data, seed and backbone."""
    optim, data, evaluation = config.optim, config.data, config.evaluation
    way = (evaluation.mode, evaluation.constrained)
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
        # the way of scoring decides which step was the best; identities of the default stay
        **({} if way == ("generate", False) else {"evaluation_way": way}),
        **({} if data.template == "plain" else {"template": data.template}),
    }
