"""Whether the ways of evaluation agree: one run's best prompt answered in each of them.

docs/backbones.md "Evaluation".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.loading import load_backbone
from dtvg.config import RunConfig
from dtvg.errors import ConfigError
from dtvg.methods.base import Inputs, InstanceWise, find_method
from dtvg.store.reader import Run, read_prompts, read_provenance
from dtvg.training.devices import device_named, pick_device, set_threads, token_budget
from dtvg.training.engine import choose_precision
from dtvg.training.evaluate import Answer, Question, answer, evaluation_rows
from dtvg.training.instance import Composer, with_parameters
from dtvg.training.recorded import backbone_of, with_recorded_splits
from dtvg.training.stages import run_data

WAYS = (("generate", False), ("generate", True), ("labels", False), ("labels", True))
"""(mode, constrained)."""


@dataclass(frozen=True)
class Agreement:
    """One task's answers in every way of evaluation, on the same rows."""

    task: str
    split: str
    n_examples: int
    names: tuple[str, ...]
    scores: tuple[float, ...]
    seconds: tuple[float, ...]
    equal: tuple[tuple[float, ...], ...]
    """Share of examples with the same answer, way by way."""


def way_name(mode: str, constrained: bool) -> str:
    """Return how a way is called in tables: a plus means constrained to label words."""
    return f"{mode}+" if constrained else mode


def compare_answers(task: str, split: str, answers: list[Answer]) -> Agreement:
    """Count equal answers between ways.

    Args:
        task: its name.
        split: the rows' split.
        answers: one per entry of `WAYS`, on the same rows.
    """
    texts = [[" ".join(p.split()) for p in a.predictions] for a in answers]
    count = len(texts[0])

    def share(a: list[str], b: list[str]) -> float:
        return sum(x == y for x, y in zip(a, b, strict=True)) / count

    return Agreement(
        task,
        split,
        count,
        tuple(way_name(*way) for way in WAYS),
        tuple(a.metrics["score"] for a in answers),
        tuple(a.seconds for a in answers),
        tuple(tuple(share(a, b) for b in texts) for a in texts),
    )


def agreement(
    run: Run, split: str = "test", max_examples: int | None = None, device: str = "auto"
) -> list[Agreement]:
    """Answer a finished run's tasks with its best prompt in every way.

    Args:
        run: a run that has written its best prompt.
        split: `validation` or `test`.
        max_examples: rows at most; None: as the run was configured.
        device: a device name.

    Raises:
        ConfigError: no configuration, or none of the run's tasks has label words.
        StoreError: the run has no best prompt yet.
    """
    config = run.config
    if config is None:
        raise ConfigError(f"Run '{run.name}' has no readable configuration.")
    config = with_recorded_splits(config)
    tensors = read_prompts(run, "best")
    place = device_named(device, config.device.precision)
    found = pick_device(place)
    set_threads(place)
    precision = str(read_provenance(run).get("engine", {}).get("precision", ""))
    precision = precision or choose_precision(place, found).precision
    named, template = backbone_of(run, config), config.data.template
    backbone = load_backbone(named, str(found), precision, template)
    prompt = asked_of(run, config, tensors, found)
    results = []
    for number, task in enumerate(run_data(config, backbone).tasks):
        if not task.spec.labels:
            continue
        rows = evaluation_rows(task, split, max_examples or _rows_of(config), config.data.seed)
        if isinstance(prompt, Composer):
            prompt = replace(prompt, task=number)
        asked = [Question(prompt, task, split, rows, mode, bound) for mode, bound in WAYS]
        budget = token_budget(place, found) * 2
        answers = [answer(backbone, [question], budget)[0] for question in asked]
        results.append(compare_answers(task.spec.name, split, answers))
    if not results:
        raise ConfigError(
            f"The tasks of run '{run.name}' have no label words, so there is only one way to "
            "evaluate them."
        )
    return results


def asked_of(
    run: Run, config: RunConfig, tensors: Mapping[str, np.ndarray], device: torch.device
) -> Tensor | Composer:
    """Return the run's one prompt, or its instance-wise method as its files left it."""
    moved = {name: torch.as_tensor(value).to(device) for name, value in tensors.items()}
    method = find_method(config.method, config.versions)
    if not isinstance(method, InstanceWise):
        return moved["mixed_prompt"]
    dtype = moved["mixed_prompt"].dtype
    start = read_prompts(run, "initial")
    init, target_prompt, source_vectors = (
        torch.as_tensor(start[name])[None].to(device, dtype)
        for name in ("init", "target_prompt", "source_vectors")
    )
    names, seeds = (config.sources,), (config.seed,)
    state = method.prepare(
        Inputs(init, target_prompt, source_vectors, source_names=names, seeds=seeds)
    )
    return Composer(method, with_parameters(state, moved))


def _rows_of(config: RunConfig) -> int:
    return config.evaluation.max_examples
