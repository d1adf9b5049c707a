"""How many positions a model has, where it looks them up in a table of fixed length."""

from __future__ import annotations

import torch

TABLES = ("wpe", "embed_positions", "position_embeddings", "positions_embed")
"""What models call their tables of positions: learned ones, and GPT-J's of fixed length. MPT's
attention has a length instead."""


def positions_of(model: torch.nn.Module) -> int | None:
    """Return how many positions a table of them has, learned or not; None where there is none.

    Args:
        model: the part of a model in which prompt and text have positions.
    """
    modules = dict(model.named_modules())
    sizes = [
        module.num_embeddings - int(getattr(module, "offset", 0))
        for name, module in modules.items()
        if isinstance(module, torch.nn.Embedding) and _is_table(name)
    ]
    sizes += [len(t) for name, t in model.named_buffers() if t.dim() == 2 and _is_table(name)]
    sizes += [int(m.max_seq_length) for m in modules.values() if hasattr(m, "max_seq_length")]
    return min(sizes) if sizes else None


def _is_table(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in TABLES
