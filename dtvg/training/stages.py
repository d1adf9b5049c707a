"""Stage I and what Stage II starts from: task prompts by identity, tuned once, kept in the bank.

The identity of a task prompt is everything its numbers depend on, so that a prompt in the bank
is the one that training would give again. arXiv 2503.18063, section 3.1; docs/method.md.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtvg import versions
from dtvg.backbones.base import Backbone
from dtvg.config import RunConfig
from dtvg.config.stage_one import tuning_settings
from dtvg.errors import StoreError
from dtvg.methods.specs import STAGE_ONE
from dtvg.store.bank import PromptBank, TaskPrompt, check_compatible, identity
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import score
from dtvg.tasks.metrics import versions as scoring_versions
from dtvg.tasks.spec import TaskSpec, usual_answer
from dtvg.training.batches import join, tokenise
from dtvg.training.evaluate import evaluation_rows
from dtvg.training.few_shot import draw, few_shot
from dtvg.training.state import RunData, RunSlot

VERSION = versions.STAGE_ONE
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
    drawn = None
    if config.data.few_shot is not None:
        drawn = draw(config.target, config.data, config.seed, config.version("few_shot"))
        task = few_shot(task, drawn)
    read = config.sources if config.needs.source_data else ()
    beside = tuple(tokenise(name, backbone, config.data) for name in read)
    return RunData(task.fingerprint, task.train, (task,), drawn, beside)


def initial_prompt(
    config: RunConfig, backbone: Backbone, given: np.ndarray | None = None
) -> np.ndarray:
    """Return P_init `[r d]`, float32: the same for every task of a seed, or the one given."""
    if given is not None:
        return given
    prompt = backbone.init_prompt(config.prompt.length, config.init_seed, config.prompt.vocabulary)
    return np.asarray(prompt.numpy(), dtype=np.float32)


def prompt_identity(
    config: RunConfig,
    backbone: Backbone,
    data: RunData,
    given: np.ndarray | None = None,
    teachers: Sequence[str] = (),
) -> str:
    """Return the identity of the prompt that a Stage I run makes.

    Args:
        config: the run.
        backbone: the frozen model.
        data: what it trains on.
        given: the initial prompt, where it is not drawn.
        teachers: identities of the prompts it learns from.
    """
    init = initial_prompt(config, backbone, given)
    # what is as it was first enters nothing, so that identities of before stay
    more: dict[str, Any] = {f"backbone_{k}": v for k, v in backbone.versions.items()}
    scoring = {task.spec.name: scoring_versions(task.spec) for task in data.tasks}
    if any(scoring.values()):
        more["scoring"] = {name: found for name, found in scoring.items() if found}
    described = {task.spec.name: _as_described(find_task(task.spec.name)) for task in data.tasks}
    if any(described.values()):
        more["described"] = {name: found for name, found in described.items() if found}
    if config.method != STAGE_ONE:
        more |= {"method": config.method.model_dump(mode="json"), "teachers": list(teachers)}
    of_method = config.version(f"method.{config.method.name}")
    if of_method > versions.FIRST:
        more["method_version"] = of_method
    return identity(
        **more,
        version=VERSION if config.versions is None else config.version("stage_one"),
        backbone_revision=backbone.revision,
        task=config.target,
        data=data.fingerprint,
        labels=[task.spec.labels for task in data.tasks],
        seed=config.seed,
        init=hashlib.sha256(init.tobytes()).hexdigest(),
        length=config.prompt.length,
        precision=precision_of(config, backbone),
        settings=tuning_settings(config),
    )


def description_of(task: str) -> str:
    """Return what identifies a description's metrics and answers' length; empty: not described."""
    spec = find_task(task)
    return identity(**_as_described(spec)) if spec.described_in else ""


def _as_described(spec: TaskSpec) -> dict[str, Any]:
    """Return what a person's own task says of its scores and its answers' length, where it is not
    usual: neither is part of its rows, and both can be changed."""
    if not spec.described_in:
        return {}
    found = {"metrics": list(spec.metrics), "max_target_tokens": spec.max_target_tokens}
    usual = {"metrics": ["accuracy"], "max_target_tokens": usual_answer(spec.labels)}
    return {key: value for key, value in found.items() if value != usual[key]}


def precision_of(config: RunConfig, backbone: Backbone) -> str:
    """Return the precision a run is computed in, where `auto` leaves it open the backbone's."""
    asked: str = config.device.precision
    return backbone.precision if asked == "auto" else asked


def to_task_prompt(slot: RunSlot, backbone: Backbone, key: str | None = None) -> TaskPrompt:
    """Build the bank's entry from a finished Stage I run: its best prompt on validation.

    Args:
        slot: the run.
        backbone: the frozen model.
        key: the prompt's identity, where it is known; it must be for runs with teachers.
    """
    config = slot.config
    fingerprint = key or prompt_identity(config, backbone, slot.data, slot.inputs["init"])
    majority, rows = majority_score(slot)
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
        fingerprint=fingerprint,
        precision=precision_of(config, backbone),
        settings=tuning_settings(config),
        created=time.time(),
        majority=majority,
        n_examples=rows,
    )


def guessing(slot: RunSlot) -> dict[str, float | None] | None:
    """Return what always giving the commonest answer scores on validation and on test.

    As `dtvg.store.health.Guess`; None where a task has no label words, so that one answer for all
    rows means nothing.
    """
    if not all(task.spec.labels for task in slot.data.tasks):
        return None
    score_there, rows = majority_score(slot)
    found: dict[str, float | None] = {"validation": score_there, "n_validation": rows}
    if slot.config.role == "transfer" and slot.config.evaluation.at_end == "test":
        found["test"], found["n_test"] = majority_score(slot, "test")
    return found


def majority_score(slot: RunSlot, split: str = "validation") -> tuple[float, int]:
    """Return what always giving the commonest answer scores on the rows a run is scored on.

    Returns:
        The mean over the run's tasks, and how many rows were scored.
    """
    scores, count = [], 0
    for task in slot.data.tasks:
        evaluation = slot.config.evaluation
        rows = evaluation_rows(task, split, evaluation.max_examples, slot.config.data.seed)
        examples = [task.texts[split][int(row)] for row in rows]
        commonest = Counter(e.target for e in examples).most_common(1)[0][0]
        scores.append(score(task.spec, [commonest] * len(examples), examples)["score"])
        count += len(examples)
    return float(np.mean(scores)), count


def stage_one_inputs(
    config: RunConfig, backbone: Backbone, given: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return what a Stage I run starts from: the initial prompt, twice."""
    init = initial_prompt(config, backbone, given)
    empty = np.zeros((0, *init.shape), dtype=np.float32)
    return {"init": init, "target_prompt": init, "source_vectors": empty}


def transfer_inputs(
    config: RunConfig,
    found: dict[str, TaskPrompt],
    mixture: TaskPrompt | None,
    own: TaskPrompt | None = None,
) -> dict[str, np.ndarray]:
    """Collect what a transfer run starts from.

    Args:
        config: the run.
        found: Stage I prompts of this run's seed by task.
        mixture: the prompt trained on the sources' mixture, where the method has one.
        own: the target's prompt where it was tuned apart, as a few-shot target.

    Returns:
        `init [r d]`, `target_prompt [r d]`, `source_vectors [n r d]`, maybe `mixture_prompt` or
        `chosen [n]`.

    Raises:
        StoreError: a prompt is missing, or source and target do not fit (both named).
    """
    if mixture is not None and not config.needs.stage_one:
        start = _start_of(mixture)
        empty = np.zeros((0, *start.shape), dtype=np.float32)
        return {
            "init": start,
            "target_prompt": mixture.prompt,
            "source_vectors": empty,
            "mixture_prompt": mixture.prompt,
        }
    wanted = config.sources if own is not None else (config.target, *config.sources)
    missing = [task for task in wanted if task not in found]
    if missing:
        raise StoreError(
            f"Run '{config.name}' starts from the Stage I prompt of {', '.join(missing)} "
            f"(seed {config.seed}), which did not finish; resume the experiment to tune it."
        )
    target = found[config.target] if own is None else own
    start = _start_of(target)
    vectors = [np.zeros((0, *start.shape), dtype=np.float32)]
    for source in (found[name] for name in config.sources):
        check_compatible(target, source, vectors=config.method.has_source_vectors)
        # a prompt without its own start is only used as a prompt, so any start gives it back
        vectors.append((source.prompt - start if source.init is None else source.vector)[None])
    found_inputs = {
        "init": start,
        "target_prompt": target.prompt,
        "source_vectors": np.ascontiguousarray(np.concatenate(vectors), dtype=np.float32),
    }
    chosen = config.method.chosen(config.sources)
    if chosen is not None:
        found_inputs["chosen"] = np.array(chosen, dtype=np.float32)
    if mixture is not None:
        found_inputs["mixture_prompt"] = mixture.prompt
    return found_inputs


def pupil_inputs(
    config: RunConfig, init: np.ndarray, found: dict[str, TaskPrompt]
) -> dict[str, np.ndarray]:
    """Collect what a run on a mixture starts from that learns from the sources' prompts.

    Args:
        config: the run.
        init: the experiment's initial prompt for its seed.
        found: Stage I prompts by task.

    Raises:
        StoreError: a teacher is missing, or does not fit.
    """
    missing = [task for task in config.sources if task not in found]
    if missing:
        raise StoreError(
            f"Run '{config.name}' learns from the Stage I prompt of {', '.join(missing)} "
            f"(seed {config.seed}), which did not finish; resume the experiment to tune it."
        )
    teachers = np.stack([found[task].prompt for task in config.sources])
    vectors = np.ascontiguousarray(teachers - init, dtype=np.float32)
    return {"init": init, "target_prompt": init, "source_vectors": vectors}


def _start_of(prompt: TaskPrompt) -> np.ndarray:
    """Return the initial prompt of a target or mixture, which must have one."""
    if prompt.init is None:
        raise StoreError(
            f"Prompt '{prompt.task}' ({prompt.fingerprint}) came without its initial prompt and "
            "cannot be a target's Stage I prompt; import it again with --init."
        )
    return prompt.init


def bank_get(bank: PromptBank, key: str) -> TaskPrompt | None:
    """Return a prompt of the bank, or None; a damaged entry counts as absent."""
    try:
        return bank.find(key)
    except StoreError:
        return None
