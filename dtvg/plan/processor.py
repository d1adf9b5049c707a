"""How fast this machine's processor trains, for estimates: from its cores and what they can do.

Not measured: a measurement on a busy machine says days where an hour is needed.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

WIDE, NARROW = 4e10, 1.5e10
"""Operations a second of a training step on one core with AVX-512, and on any other: as slow as was
measured on busy cores, so that an estimate is rather too long (docs/log.md)."""
_INFO = Path("/proc/cpuinfo")


def processor_flops(threads: int | None = None) -> float:
    """Return what the cores that this process may use do in a second of a training step.

    Args:
        threads: that are used, `device.threads`; None: all.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    used = min(threads or cores or 1, cores or 1)
    return used * (WIDE if _is_wide() else NARROW)


@lru_cache(maxsize=1)
def _is_wide() -> bool:
    try:
        return "avx512f" in _INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


__all__ = ["processor_flops"]
