"""Which code and which torch a driver or a worker has: both must be the same.

Otherwise one experiment would be trained by two programs, and nobody would see it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from dtvg.version import __version__


@functools.lru_cache(maxsize=1)
def own_code() -> dict[str, str]:
    """Return versions of the package and of torch, and a digest of the package's modules."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "none"
    return {"dtvg": __version__, "code": digest.hexdigest()[:10], "torch": torch}


def difference(driver: Mapping[str, str], host: str) -> str:
    """Return one sentence on how this worker's code differs from its driver's; empty: not."""
    mine = own_code()
    if all(mine[name] == driver.get(name, mine[name]) for name in mine):
        return ""
    return (
        f"The worker on host {host} has {_said(mine)}, its driver has {_said(driver)}; install the "
        "same versions on both."
    )


def _said(code: Mapping[str, str]) -> str:
    torch = code.get("torch", "?")
    return f"dtvg {code.get('dtvg', '?')} (code {code.get('code', '?')}) with torch {torch}"
