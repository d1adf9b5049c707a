"""What a benchmark's table says about where it ran."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent


def facts() -> dict[str, Any]:
    """Return date, commit, hardware, load and versions."""
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity()),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    for name in ("torch", "transformers", "peft", "streamlit", "pyarrow", "numpy"):
        try:
            found[name] = __import__("importlib.metadata").metadata.version(name)
        except ImportError:
            continue
    return found


def gpu() -> str | None:
    """Return the GPU's name, or None; loads torch."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def commit() -> str:
    """Return the commit, with a plus where files differ from it."""
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return out.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show() -> None:
    """Print the facts on one line."""
    print(" · ".join(f"{key} {value}" for key, value in facts().items()), flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table; columns as in the first row."""
    if not rows:
        return "(nothing measured)"
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
