"""Evaluation's speed: every way of answering, beside the library's own `generate`.

`python benchmarks/evaluation.py --backbone DIR --data DIR --tasks sst2 rte --rows 200` prints a
table, measured side by side in one process (CPU seconds, the best of `--times`). A large backbone
takes minutes: give it few rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dtvg.backbones.base import Backbone
from dtvg.backbones.examples import padded
from dtvg.backbones.loading import load_backbone
from dtvg.config import BackboneConfig, DataConfig
from dtvg.training.batches import TokenisedTask, cut, tokenise
from dtvg.training.evaluate import Question, answer

WAYS = (("generate", False), ("generate", True), ("labels", False), ("labels", True))
BUDGET = 8192


def library(
    backbone: Backbone, prompt: torch.Tensor, task: TokenisedTask, split: str, rows: np.ndarray
) -> None:
    """Answer with `model.generate` over batches sorted by length, as a plain script would."""
    encoded = [task.encoded[split][int(row)] for row in rows]
    left = backbone.family == "decoder_only"
    for piece in cut([len(e.source) for e in encoded], len(prompt), BUDGET):
        ids, mask = padded([encoded[p].source for p in piece], backbone.pad_id, left=left)
        front = prompt.expand(len(piece), -1, -1)
        embeds = torch.cat([front, backbone.embed(ids)], 1)
        whole = torch.cat([torch.ones(front.shape[:2], dtype=torch.long), mask.long()], 1)
        with torch.no_grad():
            backbone.model.generate(
                inputs_embeds=embeds,
                attention_mask=whole,
                max_new_tokens=task.spec.max_target_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=backbone.pad_id,
            )


def best(do: Callable[[], object], times: int) -> float:
    """Return CPU seconds of the fastest of some calls, after one to warm up."""
    do()
    found = []
    for _ in range(times):
        started = time.process_time()
        do()
        found.append(time.process_time() - started)
    return min(found)


def main() -> None:
    """Print examples per second of every way, and the ratio to the library's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--data", help="folder of data sets")
    parser.add_argument("--tasks", nargs="+", default=["sst2"])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--length", type=int, default=100, help="prompt length")
    parser.add_argument("--times", type=int, default=3, help="calls, the fastest counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    times = arguments.times
    backbone = load_backbone(BackboneConfig(name=arguments.backbone))
    prompt = backbone.init_prompt(arguments.length, 0)
    table = Table("task", "way", "examples/s", "times the library's")
    for name in arguments.tasks:
        task = tokenise(name, backbone, DataConfig(folder=arguments.data))
        split = max(("validation", "test"), key=lambda s: len(task.texts[s]))
        rows = np.arange(min(arguments.rows, len(task.texts[split])))
        plain = best(lambda t=task, s=split, r=rows: library(backbone, prompt, t, s, r), times)
        table.add_row(name, "library's generate", f"{len(rows) / plain:.3g}", "1.00")
        for mode, bound in WAYS:
            question = Question(prompt, task, split, rows, mode, bound)
            label = f"{mode}, constrained" if bound else mode
            asked = {label: ([question], True)}
            scored = replace(question, with_loss=True)
            asked[f"{label}, with loss"] = ([scored], True)
            asked[f"{label}, with loss, read twice"] = ([scored], False)
            others = [replace(question, prompt=prompt + 0.01 * k) for k in range(4)]
            asked[f"{label}, cohort of 4"] = (others, True)
            for said, (questions, sharing) in asked.items():
                seconds = best(lambda q=questions, s=sharing: answer(backbone, q, BUDGET, s), times)
                rate = len(questions) * len(rows) / seconds
                table.add_row(name, said, f"{rate:.3g}", f"{rate * plain / len(rows):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
