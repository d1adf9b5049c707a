"""The target's path among the source vectors, and the learned scales of the sources.

The path comes from the logged Gram matrices. Its axes are fixed combinations of the source
vectors: the two principal directions of the sources at the newest step. A Gram matrix holds every
inner product, so each step's vectors are projected on them exactly, without the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.errors import DataError
from dtvg.store.reader import Run, read_grams, read_prompts, read_table

Floats = npt.NDArray[np.float64]
MOST_STEPS = 120
"""Steps of the path at most, evenly spaced, the first and the newest included."""


@dataclass(frozen=True, eq=False)
class TrajectoryInfo:
    """Places in the plane over steps; `[K]` steps, n sources."""

    run: str
    target: str
    sources: tuple[str, ...]
    steps: npt.NDArray[np.int64]
    place: Floats
    """`[K m 2]`: target first; units of √(⟨v, v⟩ / d)."""
    length: Floats
    """`[K m]`: √(⟨v, v⟩ / d)."""
    in_plane: Floats
    """`[K]`: share of the target's squared length that the plane shows."""
    explained: tuple[float, float]
    """Share of the sources' summed squared lengths along each axis, at the newest step."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """`step, name, x, y, length, in_plane`: the points as plotted."""
        names = [f"{self.target} (target)", *self.sources]
        k, m = self.length.shape
        return pd.DataFrame(
            {
                "step": np.repeat(self.steps, m),
                "name": np.tile(np.array(names, dtype=object), k),
                "x": self.place[..., 0].ravel(),
                "y": self.place[..., 1].ravel(),
                "length": self.length.ravel(),
                "in_plane": np.repeat(self.in_plane, m),
            }
        )


def trajectory_info(run: Run, most: int = MOST_STEPS) -> TrajectoryInfo:
    """Project a run's vectors on the plane of its sources, step by step.

    Args:
        run: a run whose method has source vectors.
        most: steps shown at most.

    Raises:
        DataError: fewer than two sources, or no Gram matrix is logged yet.
    """
    sources = tuple(run.config.sources) if run.config is not None else run.sources
    if len(sources) < 2:
        raise DataError("A map needs at least two sources; this run has fewer.")
    there = read_table(run, "steps", ["step"]).column("step").to_numpy()
    every = max(1, -(-len(there) // most))
    steps, grams = read_grams(run, every=every)
    if not len(steps):
        raise DataError(f"Run '{run.name}' has no Gram matrix committed yet.")
    if steps[-1] != there[-1]:
        last, newest = read_grams(run, int(there[-1]), int(there[-1]))
        steps, grams = np.append(steps, last), np.concatenate([grams, newest])
    wide = grams.astype(np.float64)
    values, vectors = np.linalg.eigh(wide[-1, 1:, 1:])
    order = np.argsort(values)[::-1][:2]
    axes = _signed(vectors[:, order])
    between = np.einsum("sa,kst,tb->kab", axes, wide[:, 1:, 1:], axes)
    place = _orthogonal(np.einsum("kms,sa->kma", wide[:, :, 1:], axes), between)
    length = np.sqrt(np.clip(np.diagonal(wide, axis1=1, axis2=2), 0.0, None))
    whole = np.clip(values, 0, None).sum() or 1.0
    shares = np.clip(values[order], 0, None) / whole
    shown = (place[:, 0] ** 2).sum(-1)
    in_plane = np.divide(shown, length[:, 0] ** 2, out=np.zeros(len(steps)), where=length[:, 0] > 0)
    return TrajectoryInfo(
        run=run.name,
        target=run.target,
        sources=sources,
        steps=steps,
        place=place,
        length=length,
        in_plane=np.clip(in_plane, 0.0, 1.0),
        explained=(float(shares[0]), float(shares[1])),
    )


def _orthogonal(along: Floats, between: Floats) -> Floats:
    """Return places in the plane of two axes from inner products with them.

    The axes are fixed sums of the sources, orthogonal at the newest step alone: the second is
    taken without its part along the first.

    Args:
        along: `[K m 2]`, with each axis.
        between: `[K 2 2]`, of the axes with each other.
    """
    first = np.sqrt(np.clip(between[:, 0, 0], 1e-30, None))
    shared = between[:, 0, 1] / first
    rest = between[:, 1, 1] - shared**2
    second = np.sqrt(np.clip(rest, 1e-30, None))
    x = along[..., 0] / first[:, None]
    y = (along[..., 1] - shared[:, None] * x) / second[:, None]
    flat = rest <= 1e-12 * np.clip(between[:, 1, 1], 1e-30, None)
    return np.stack([x, np.where(flat[:, None], 0.0, y)], axis=-1)


def _signed(axes: Floats) -> Floats:
    """Fix the sign of each axis: its largest entry is positive."""
    largest = np.abs(axes).argmax(0)
    signs = np.sign(axes[largest, np.arange(axes.shape[1])])
    return axes * np.where(signs == 0, 1.0, signs)


SOURCES, TARGET = "parameter.scale_sources", "parameter.scale_target"


@dataclass(frozen=True, eq=False)
class ScaleInfo:
    """Scales as stored: rows are the target and the sources, columns prompt tokens."""

    run: str
    which: str
    names: tuple[str, ...]
    scale: Floats
    """`[m r]`: target first."""
    activation: str
    """What they pass through before use; `identity` where that is nothing."""

    @property
    def table(self) -> pd.DataFrame:
        """`name, token, scale`, tokens counted from 1."""
        m, r = self.scale.shape
        return pd.DataFrame(
            {
                "name": np.repeat(np.array(self.names, dtype=object), r),
                "token": np.tile(np.arange(1, r + 1), m),
                "scale": self.scale.ravel(),
            }
        )


def scale_info(run: Run, which: str = "best") -> ScaleInfo:
    """Read the scales of a run's best or final prompt.

    Raises:
        DataError: the method learns no scale per source.
        StoreError: the run has not finished, so nothing is stored yet.
    """
    tensors = read_prompts(run, which)
    if SOURCES not in tensors or TARGET not in tensors or run.config is None:
        raise DataError(f"Method '{run.method}' learns no scale per source and token.")
    scale = np.concatenate([tensors[TARGET][None], tensors[SOURCES]]).astype(np.float64)
    names = (f"{run.target} (target)", *run.config.sources)
    activation = str(getattr(run.config.method, "scales_pass", "identity"))
    return ScaleInfo(run.name, which, names, scale, activation)
