"""Prompts of the bank that an experiment uses instead of tuning them, and whether they fit it.

Looked up before anything is trained: for a plan as well as for a run. docs/prompts.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig
from dtvg.config.sections import PromptConfig
from dtvg.errors import StoreError
from dtvg.store.bank import PromptBank, TaskPrompt


@dataclass(frozen=True)
class Given:
    """Prompts of the bank that an experiment uses instead of tuning their tasks."""

    prompts: dict[str, TaskPrompt] = field(default_factory=dict)
    init: np.ndarray | None = None
    """Their one initial prompt `[r d]`, which every run then starts from."""


def given_prompts(config: PromptConfig, bank: PromptBank) -> Given:
    """Look up the prompts named by `prompt.given`.

    Raises:
        StoreError: one is not in the bank, has another length, or two were tuned from
            different initial prompts.
    """
    found = {task: bank.get(key) for task, key in config.given.items()}
    starts = {p.init_fingerprint: p.init for p in found.values() if p.init is not None}
    if len(starts) > 1:
        told = ", ".join(f"{t}: {p.init_fingerprint or 'none'}" for t, p in found.items())
        raise StoreError(
            f"The prompts of prompt.given were tuned from different initial prompts ({told}), so "
            "their vectors cannot be compared; give prompts that share one initial prompt."
        )
    for task, prompt in found.items():
        if prompt.prompt.shape[0] != config.length:
            raise StoreError(
                f"Prompt '{task}' of prompt.given has length {prompt.prompt.shape[0]}, the "
                f"experiment's prompt.length is {config.length}; set prompt.length to the length "
                "of the prompt."
            )
    return Given(found, next(iter(starts.values()), None))


def misfits(
    config: ExperimentConfig, bank: PromptBank | None = None, width: int | None = None
) -> list[str]:
    """Say why given prompts cannot be used, as training would find out after Stage I.

    Args:
        config: of the experiment.
        bank: where they are; None: the default.
        width: of the backbone's embeddings; None: not known here.
    """
    if not config.prompt.given:
        return []
    bank = bank or PromptBank()
    try:
        given = given_prompts(config.prompt, bank).prompts
    except StoreError as error:
        return [str(error)]
    found = [_of_backbone(task, one, config, bank, width) for task, one in given.items()]
    for run in config.runs():
        found += _in_run(run, given)
    return list(dict.fromkeys(filter(None, found)))


def _of_backbone(
    task: str, prompt: TaskPrompt, config: ExperimentConfig, bank: PromptBank, width: int | None
) -> str:
    """Say why a prompt does not fit the backbone; empty: it does, or that cannot be told here."""
    name = config.backbone.name
    if width is not None and prompt.prompt.shape[1] != width:
        return (
            f"Prompt '{prompt.task}' ({prompt.fingerprint}) of prompt.given for '{task}' has width "
            f"{prompt.prompt.shape[1]}, backbone '{name}' has {width}; give a prompt of that "
            "backbone."
        )
    if prompt.backbone == name:
        return ""
    known = {p.backbone_revision for p in bank.list() if p.backbone == name} - {""}
    if not prompt.backbone_revision or (known and prompt.backbone_revision not in known):
        return (
            f"Prompt '{prompt.task}' ({prompt.fingerprint}) of prompt.given for '{task}' "
            f"belongs to backbone '{prompt.backbone}' (revision "
            f"{prompt.backbone_revision or 'unknown'}), the experiment uses '{name}'; "
            "give a prompt of that backbone."
        )
    return ""


def _in_run(run: RunConfig, given: dict[str, TaskPrompt]) -> list[str]:
    """Say which given prompts a run cannot start from, for want of their initial prompt."""
    found = []
    needed = run.needs
    target = given.get(run.target) if needed.stage_one or needed.mixture is None else None
    if target is not None and target.init is None and run.data.few_shot is None:
        found.append(
            f"Prompt '{target.task}' ({target.fingerprint}) of prompt.given came without its "
            f"initial prompt, so it cannot be the Stage I prompt of target '{run.target}'; import "
            "it again with --init, or leave it out."
        )
    if run.method.has_source_vectors:
        lacking = [n for n in run.sources if n in given and given[n].init is None]
        found += [
            f"Method '{run.method.label}' uses task prompt vectors, but the prompt of source "
            f"'{name}' in prompt.given ({given[name].fingerprint}) came without its initial "
            "prompt, so it has none; import it again with --init, or choose methods that use "
            "prompts themselves (spot, attempt)."
            for name in lacking
        ]
    return found
