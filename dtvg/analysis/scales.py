"""The learned per-token scales of a run: how strongly each prompt token takes each source.

Must not import torch, plotly or streamlit. arXiv 2503.18063, section 3.2 (α).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.errors import DataError
from dtvg.store.reader import Run, read_prompts

Floats = npt.NDArray[np.float64]
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
    activation = str(getattr(run.config.method, "scale_activation", "identity"))
    return ScaleInfo(run.name, which, names, scale, activation)
