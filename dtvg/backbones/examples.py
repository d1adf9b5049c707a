"""Examples as token ids, and as tensors of one forward pass on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtvg.backbones.packing import Packed


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: what is read and what is answered (with its end mark)."""

    source: np.ndarray
    target: np.ndarray

    @property
    def tokens(self) -> int:
        """Input and target tokens, without prompt or padding."""
        return len(self.source) + len(self.target)


@dataclass(frozen=True)
class TokenBatch:
    """Examples padded for one forward pass, on the device."""

    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    labels: Int[Tensor, "b u"]
    label_mask: Bool[Tensor, "b u"]
    filled_up: bool = True
    """Whether `ids` may hold padding; known without asking the device."""
    packed: Packed | None = None
    """Rows that are computed in place of the padded ones."""


def padded(
    rows: Sequence[np.ndarray],
    fill: int,
    left: bool = False,
    shape: tuple[int, int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Stack rows of ids into `[b t]` with a bool mask; padding at the right unless `left`.

    Args:
        rows: of ids.
        fill: id of padding.
        left: pad at the left.
        shape: of the result; None: as small as it can be.
    """
    width = max((len(row) for row in rows), default=0) if shape is None else shape[1]
    ids = np.full((shape[0] if shape else len(rows), width), fill, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = row
        mask[i, place] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


def place(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to the device without waiting for it, which needs pinned memory."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def take(values: Float[Tensor, "b t x"], places: Int[Tensor, "b u"]) -> Float[Tensor, "b u x"]:
    """Pick places of each row."""
    return torch.gather(values, 1, places[..., None].expand(-1, -1, values.shape[-1]))
