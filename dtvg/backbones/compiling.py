"""Compiling a backbone's repeated layer once, for training steps; everything else stays eager.

A model's layers share one graph of forward and one of backward, made for any batch and length
before training starts, so that the same shapes are always computed by the same code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

WARM_SHAPES = ((3, 19), (5, 31))
"""Examples and input lengths of the batches that layers are compiled on."""

FILLED_SHAPES = ((9, 40), (14, 70))
"""The same where rows are filled up: several rows each, since one is a case of its own."""
WARM_LENGTH = 4
"""Length of their prompts."""


def repeated_layers(model: Any) -> list[torch.nn.Module]:
    """Return the layers that a model repeats: of each list of layers those built alike.

    The first block of a T5 stack holds the table of positions and is left out.
    """
    found: list[torch.nn.Module] = []
    inside: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or any(map(name.startswith, inside)):
            continue
        groups: dict[tuple[object, ...], list[torch.nn.Module]] = {}
        for layer in module:
            groups.setdefault(_built(layer), []).append(layer)
        largest = max(groups.values(), key=len, default=[])
        if len(largest) > 1:
            found += largest
            inside.append(f"{name}.")
    return found


def _built(layer: torch.nn.Module) -> tuple[object, ...]:
    """Return what layers of one graph share: their class, and names and shapes of their weights."""
    return (type(layer), *((name, weight.shape) for name, weight in layer.named_parameters()))


def keep_in(folder: Path) -> None:
    """Let compiled code be kept in a folder, unless the environment names another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


class CompiledLayers:
    """A model's repeated layers, compiled; they are used inside `active` only."""

    def __init__(
        self, model: Any, passes: Sequence[Callable[[], None]], backend: str = "inductor"
    ) -> None:
        """Compile the layers.

        Args:
            model: its layers are called as they are outside `active`.
            passes: each goes forward and back once on a batch of another shape, as training does.
            backend: of `torch.compile`.

        Raises:
            Exception: whatever the compiler raises; the model is as it was.
        """
        from torch.fx.experimental import _config as symbols

        self.layers = repeated_layers(model)
        self.in_use = False
        self._forwards = [
            torch.compile(layer.forward, dynamic=True, backend=backend) for layer in self.layers
        ]
        # sizes that happen to be equal are not taken for the same size
        with symbols.patch(use_duck_shape=False), self._swapped():  # type: ignore[attr-defined]
            for one_pass in passes:
                one_pass()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use the compiled layers; what they were not compiled for (a single row) runs eagerly."""
        with self._swapped(), torch.compiler.set_stance("eager_on_recompile"):
            yield

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        self.in_use = True
        for layer, forward in zip(self.layers, self._forwards, strict=True):
            layer.forward = forward
        try:
            yield
        finally:
            self.in_use = False
            for layer in self.layers:
                del layer.forward
