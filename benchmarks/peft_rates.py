"""Plain prompt tuning with PEFT on the rows, batches and starts of finished runs of method none.

`python -m benchmarks.peft_rates FILE.yaml`, after `dtvg run FILE.yaml`, trains every run of the
file again with PEFT's own model, torch's AdamW and a plain loop, scores its final prompt and the
run's by the first token of each label word on the same test rows, and prints both. Rows are
written as they come (`--out`); what is written already is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from dtvg import paths
from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.loading import load_backbone
from dtvg.config import RunConfig, load_config
from dtvg.config.rates import settings_of
from dtvg.store.reader import Run, open_experiment, read_prompts, read_table
from dtvg.training.batches import TokenisedTask, batch_rows, tokenise
from dtvg.training.devices import set_threads
from dtvg.training.evaluate import evaluation_rows
from dtvg.training.optim import rate_factor


def wrap(backbone: Backbone, start: np.ndarray) -> Any:
    """Return PEFT's model around the backbone's, its prompt set to `start` `[r d]`."""
    import peft

    settings = peft.PromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=len(start),
        prompt_tuning_init="RANDOM",
        tokenizer_name_or_path=None,
    )
    wrapped = peft.get_peft_model(backbone.model, settings)  # type: ignore[attr-defined]
    with torch.no_grad():
        prompt_of(wrapped).copy_(torch.as_tensor(start))
    return wrapped


def prompt_of(wrapped: Any) -> torch.nn.Parameter:
    """Return the one trained parameter."""
    (found,) = [p for p in wrapped.parameters() if p.requires_grad]
    return found


def collate(rows: Sequence[Encoded], pad: int) -> dict[str, torch.Tensor]:
    """Return ids, mask and labels of whole sequences, padded at the right."""
    width = max(len(row.source) + len(row.target) for row in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), -100)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        whole = np.concatenate([row.source, row.target])
        ids[i, : len(whole)] = torch.as_tensor(whole)
        labels[i, len(row.source) : len(whole)] = torch.as_tensor(row.target)
        mask[i, : len(whole)] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def rate_of(config: RunConfig, what: str) -> float:
    """Return the run's rate of its prompt, or its `decay`."""
    return float(getattr(config.optim, settings_of(config.method)[what]))


def train(
    wrapped: Any, task: TokenisedTask, config: RunConfig, pad: int, steps: int
) -> list[float]:
    """Tune PEFT's prompt as the run was tuned, for its first steps; return their losses."""
    optim, rate = config.optim, rate_of(config, "prompt")
    prompt = prompt_of(wrapped)
    adam = torch.optim.AdamW([prompt], lr=rate, weight_decay=rate_of(config, "decay"))
    losses = []
    for step in range(1, steps + 1):
        chosen = batch_rows(
            task.fingerprint, config.data.seed, config.seed, optim.batch_size, step, len(task.train)
        )
        batch = collate([task.train[int(row)] for row in chosen], pad)
        loss = wrapped(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([prompt], optim.clip_norm)
        adam.param_groups[0]["lr"] = rate * rate_factor(step, config.total_steps, optim)
        adam.step()
        adam.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def accuracy(wrapped: Any, task: TokenisedTask, config: RunConfig, backbone: Backbone) -> float:
    """Return the share of test rows whose own label word has the likeliest first token.

    The same choice as `mode: labels, constrained: true` where every label is one token.
    """
    words = task.spec.labels
    firsts = torch.tensor([ids[0] for ids in backbone.speech.answers(words)])
    rows = evaluation_rows(task, "test", config.evaluation.max_examples, config.data.seed)
    right = 0
    for row in rows:
        example = task.encoded["test"][int(row)]
        ids = torch.as_tensor(example.source)[None]
        with torch.no_grad():
            logits = wrapped(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        chosen = words[int(logits[firsts].argmax())]
        right += chosen == task.texts["test"][int(row)].target
    return right / len(rows)


def beside(run: Run, backbone: Backbone, first: int | None = None) -> dict[str, Any]:
    """Train one run again with PEFT; return both scores and losses.

    Args:
        run: finished, or trained for `first` steps.
        backbone: the frozen model.
        first: compare the losses of that many steps only; None: all of them, and the scores.
    """
    config = run.config
    if config is None:
        raise SystemExit(f"The configuration of '{run.name}' cannot be read.")
    task = tokenise(config.target, backbone, config.data)
    wrapped = wrap(backbone, read_prompts(run, "initial")["mixed_prompt"])
    losses = train(wrapped, task, config, backbone.pad_id, first or config.total_steps)
    ours = read_table(run, "steps").column("loss").to_pylist()[: len(losses)]
    row: dict[str, Any] = {"run": run.name, "rate": rate_of(config, "prompt"), "steps": len(losses)}
    apart = np.abs(np.array(ours) - np.array(losses))
    row["largest difference of losses"] = float(apart.max())
    last = max(1, len(losses) // 10)
    row["our loss, last tenth"] = float(np.mean(ours[-last:]))
    row["PEFT loss, last tenth"] = float(np.mean(losses[-last:]))
    if first is None:
        row["PEFT, test"] = accuracy(wrapped, task, config, backbone)
        final = read_prompts(run, "final")["mixed_prompt"]
        with torch.no_grad():
            prompt_of(wrapped).copy_(torch.as_tensor(final))
        row["ours, test"] = accuracy(wrapped, task, config, backbone)
    return row


def main() -> None:
    """Print one row per finished run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--runs-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("peft_rates.json"))
    parser.add_argument("--run", help="only this run")
    parser.add_argument("--steps", type=int, help="only the losses of the first steps, no scores")
    options = parser.parse_args()
    config = load_config(options.file, options.overrides)
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    done = {row["run"] for row in rows}
    runs = open_experiment((options.runs_dir or paths.runs()) / config.name).runs
    todo = [r for r in runs if r.role == "transfer" and r.name not in done]
    todo = [r for r in todo if options.run in (None, r.name) and (options.steps or r.result)]
    if todo:
        set_threads(config.device)
        backbone = load_backbone(config.backbone, "cpu", config.device.precision)
        for run in todo:
            rows.append(beside(run, backbone, options.steps))
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    machine.show()
    print(machine.table(rows))


if __name__ == "__main__":
    main()
