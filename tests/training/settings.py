"""Settings of methods beside the paper's, and Stage I prompts for them to differ on."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtvg.store.bank import TaskPrompt
from dtvg.training.stages import to_task_prompt

MEMORIES = [
    {"name": "dtvg", "rule": "fixed"},
    {"name": "dtvg", "regroup_every": 4, "measure": "cosine"},
    {"name": "dtvg", "hysteresis": 0.02},
    {"name": "dtvg", "rule": "exact", "hysteresis": 0.3, "hysteresis_unit": "relative"},
]
CONTROLS = [
    {"name": "dtvg", "rule": "random"},
    {"name": "dtvg", "rule": "largest"},
    {"name": "dtvg", "rule": "farthest", "hysteresis": 0.02},
    {"name": "dtvg", "rule": "random", "regroup_every": 4, "schedule": "random"},
    {"name": "dtvg", "shuffled": True},
    {"name": "dtvg", "init_only": True},
    {"name": "dtvg", "nonnegative_scale": True},
]
MERGING = [
    "consensus",
    {"name": "consensus", "mask_threshold": 0.4, "scale": "source"},
    {"name": "awd", "iterations": 20},
    "ties",
    "dare",
    {"name": "dare", "merge": "ties"},
]
LEARNED = [
    {"name": "taps", "score_start": 0.12, "sparsity": 1.0},
    {"name": "taps", "base": "init"},
    "dmtg",
    "primal_dual",
    {"name": "primal_dual", "skip": 0.5, "rate": 20},
    "relational",
    {"name": "relational", "sample": "hard", "window": 1, "search_share": 0.9},
    {"name": "dmtg", "sample": "hard", "groups": 3, "learn_share": 0.9},
]
INSTANCE_WISE = [{"name": "attempt", "temperature": 0.2, "projection": 8}, "moe"]
STARTS = [
    "spot",
    "mpt",
    {"name": "mpt", "start": "mean"},
    {"name": "spot_dynamic", "regroup_every": 3},
    "tpv_sum",
    {"name": "tpv_sum", "combine": "given", "coefficients": {"sst2": 1, "mrpc": -0.5}},
]
EVERY_METHOD = [*MEMORIES, *CONTROLS, *MERGING, *STARTS, *LEARNED, *INSTANCE_WISE]


def moved_prompt(slot, backbone, key=None) -> TaskPrompt:
    """A Stage I prompt that has moved: a random backbone learns nothing, so all vectors are 0."""
    made = to_task_prompt(slot, backbone, key)
    rng = np.random.default_rng([len(made.task), ord(made.task[0]), made.seed])
    towards = np.random.default_rng(made.seed).normal(size=made.prompt.shape)
    moved = made.prompt + 0.3 * rng.normal(size=made.prompt.shape) + 0.1 * towards
    return dataclasses.replace(made, prompt=moved.astype(np.float32))
