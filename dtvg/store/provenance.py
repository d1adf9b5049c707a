"""What made a run: versions, code, hardware, command, time."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dtvg import nvml, paths
from dtvg.version import __version__

PACKAGES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "pyarrow", "tokenizers")


@functools.lru_cache(maxsize=1)
def _fixed() -> dict[str, Any]:
    """Return what does not change while a process lives."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "dtvg": __version__,
        "packages": versions,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": [gpu.name for gpu in nvml.gpus()],
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def provenance() -> dict[str, Any]:
    """Return package versions, commit, machine, command line, prompt bank and the time (UTC)."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    threads = os.environ.get("OMP_NUM_THREADS")
    where = {"omp_num_threads": threads, "prompt_bank": str(paths.prompts())}
    return {**_fixed(), **where, "time": now}


def _commit() -> str | None:
    """Return the checkout's commit, marked if files are changed; None outside a checkout."""
    folder = paths.checkout()
    if folder is None or not (folder / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
