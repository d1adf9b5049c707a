"""`python -m dtvg prompts list`: what the prompt bank holds."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the `prompts` group to the command line."""
    group = commands.add_parser("prompts", help="the bank of tuned task prompts")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every prompt with task, seed, score and identity")
    listing.set_defaults(do=list_prompts)


def list_prompts(arguments: argparse.Namespace) -> int:
    """Print one line per prompt."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from dtvg.store.bank import PromptBank

    bank = PromptBank()
    found = bank.list()
    if not found:
        print(f"The prompt bank '{bank.root}' is empty; the first experiment fills it.")
        return 0
    table = Table(
        "task", "seed", "validation", "length", "‖vector‖", "steps", "backbone", "identity"
    )
    for prompt in found:
        table.add_row(
            prompt.task,
            str(prompt.seed),
            f"{prompt.score:.4f}",
            str(prompt.prompt.shape[0]),
            f"{np.linalg.norm(prompt.vector):.3g}",
            str(prompt.settings.get("steps", "")),
            prompt.backbone,
            prompt.fingerprint,
        )
    Console().print(table)
    return 0
