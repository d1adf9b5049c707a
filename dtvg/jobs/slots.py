"""How many jobs may run at once on each device, and which devices are taken. docs/launch.md."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dtvg import paths
from dtvg.errors import ConfigError, StoreError
from dtvg.jobs import devices
from dtvg.jobs.queue_files import Job, JobState, changing, jobs, settings_path
from dtvg.store.files import replace_json
from dtvg.store.formats import SlotsFile, read_model
from dtvg.store.layout import load_experiment
from dtvg.store.liveness import Sign, look
from dtvg.store.processes import cores

MOST_SLOTS = 64


def slots() -> dict[str, int]:
    """Return how many jobs may run at once on each device of this machine."""
    try:
        given = _settings().slots
    except StoreError:  # the queue's list says what is wrong
        given = {}
    found = {}
    for device in machine():
        own = max(1, cores() // 2) if device.kind == "cpu" else 1
        found[device.name] = given.get(device.name, own)
    return found


def set_slots(device: str, count: int) -> None:
    """Set how many jobs may run at once on a device.

    Raises:
        ConfigError: no such device, or a number that makes no sense.
    """
    known = slots()
    if device not in known:
        raise ConfigError(f"Device '{device}' is not on this machine. Allowed: {', '.join(known)}.")
    if not 1 <= count <= MOST_SLOTS:
        raise ConfigError(f"{count} slots are not possible; give 1 to {MOST_SLOTS}.")
    with changing():
        content = _settings()
        given = {**content.slots, device: count}
        replace_json(settings_path(), {**content.model_dump(), "slots": given})


def _settings() -> SlotsFile:
    return read_model(settings_path(), SlotsFile) or SlotsFile()


def machine() -> list[devices.Device]:
    """Return the machine's devices; which there are is asked again every half minute."""
    return _machine(int(time.monotonic() / 30))


@lru_cache(maxsize=1)
def _machine(moment: int) -> list[devices.Device]:
    return devices.list_devices()


def may_use(device: str) -> list[str]:
    """Return the devices a setting can stand for, the first choice first."""
    here = machine()
    gpus = [d.name for d in here if d.kind == "cuda"]
    if device == "auto" and len(gpus) > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return gpus
    found = devices.pick(device, here)
    return [found.name if found else device]


def taken(known: Sequence[Job] | None = None) -> dict[str, list[str]]:
    """Return what trains on each device: jobs, and experiments started in another way.

    Args:
        known: jobs as `jobs` returns them; None: read them.
    """
    found: dict[str, list[str]] = {}
    counted = set()
    for job in jobs() if known is None else known:
        if job.state is JobState.RUNNING:
            counted.add(Path(job.path))
            found.setdefault(job.on or may_use(job.device)[0], []).append(job.experiment.name)
    for path in _working(paths.runs()):
        if path not in counted:
            with contextlib.suppress(StoreError):
                device = load_experiment(path)[1].device.name
                found.setdefault(may_use(device)[0], []).append(path.name)
    return found


def _working(root: Path) -> list[Path]:
    try:
        folders = [Path(entry.path) for entry in os.scandir(root) if entry.is_dir()]
    except OSError:
        return []
    signs = {path: look(path) for path in folders if not path.name.startswith(".")}
    return [path for path, sign in signs.items() if sign.held and _is_here(sign)]


def _is_here(sign: Sign) -> bool:
    """Whether what trains takes a device of this machine."""
    return sign.holder is None or not sign.holder.host or sign.holder.on_this_boot


def free_device(device: str, known: Sequence[Job]) -> str | None:
    """Return a device with a free slot that a setting can stand for; None: all are taken.

    Args:
        device: as configured.
        known: jobs as `jobs` returns them.
    """
    room, used = slots(), taken(known)
    for name in may_use(device):
        if len(used.get(name, ())) < room.get(name, 1):
            return name
    return None
