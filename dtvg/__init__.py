"""DTVG: dynamic task vector grouping for multi-task prompt tuning (arXiv 2503.18063).

Importing the package loads nothing heavy: the Python interface (`load_config`, `run`,
`open_run`, `open_experiment`) is imported from `dtvg.api` on first use.
"""

from __future__ import annotations

from typing import Any

from dtvg.version import __version__

_API = ("build_config", "claims", "load_config", "open_experiment", "open_run", "run", "tune")
__all__ = ["__version__", *_API]


def __getattr__(name: str) -> Any:
    if name in _API:
        from dtvg import api

        return getattr(api, name)
    raise AttributeError(f"module 'dtvg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
