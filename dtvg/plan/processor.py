"""How fast this machine's processor trains, for estimates: from its cores and what they can do.

Not measured: a measurement on a busy machine says days where an hour is needed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dtvg.backbones.specs import facts
from dtvg.config import ExperimentConfig
from dtvg.store.processes import cores

HALF, WIDE, NARROW = 1.2e11, 4e10, 1.5e10
"""Operations a second of a training step on one core: in bfloat16 where the processor multiplies it
natively, on one with AVX-512, and on any other. As slow as was measured on busy cores, so that an
estimate is rather too long (docs/log.md)."""
LARGE = 512
"""Width from which on `device.precision: auto` takes bfloat16 on such a processor."""
_INFO = Path("/proc/cpuinfo")


def processor_flops(config: ExperimentConfig) -> float:
    """Return what the cores that an experiment may use do in a second of a training step.

    Args:
        config: of which `device.threads`, `device.precision` and the backbone's width are read.
    """
    here = cores()
    used = min(config.device.threads or here, here)
    told = _flags()
    if _in_half(config) and told & {"avx512_bf16", "amx_bf16"}:
        return used * HALF
    return used * (WIDE if "avx512f" in told else NARROW)


def _in_half(config: ExperimentConfig) -> bool:
    if config.device.precision == "auto":
        sizes = facts(config.backbone.name)
        return sizes is not None and sizes.width >= LARGE
    return config.device.precision == "bfloat16"


@lru_cache(maxsize=1)
def _flags() -> frozenset[str]:
    """Return what the processor says it can do; nothing where it does not say."""
    try:
        text = _INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    return frozenset(next(lines, "").partition(":")[2].split())


__all__ = ["processor_flops"]
