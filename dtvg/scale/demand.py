"""What one cohort asks of a machine, and the variables that tell its worker."""

from __future__ import annotations

from dataclasses import dataclass

from dtvg.config import DeviceConfig, ScaleConfig
from dtvg.errors import ConfigError


@dataclass(frozen=True)
class Demand:
    """What a cohort asks for."""

    cpus: int
    gpus: float
    memory_gib: float | None
    device: str
    """What its worker computes on: `cpu`, `cuda:0` of those it is given, or `mps`."""

    def environment(self) -> dict[str, str]:
        """Return the variables of its worker."""
        return {
            "DTVG_THREADS": str(self.cpus),
            "DTVG_DEVICE": self.device,
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    @property
    def words(self) -> str:
        """Say it: `1 core, 1 GPU, 4 GiB`."""
        parts = [f"{self.cpus} core{'s' * (self.cpus != 1)}"]
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU{'s' * (self.gpus > 1)}")
        if self.memory_gib:
            parts.append(f"{self.memory_gib:g} GiB")
        return ", ".join(parts)


def demand_of(config: DeviceConfig, scale: ScaleConfig, gpu_there: bool) -> Demand:
    """Return what a cohort of an experiment asks for.

    Args:
        config: the experiment's device.
        scale: how it is distributed.
        gpu_there: whether any machine has a GPU.

    Raises:
        ConfigError: `scale.gpus` and `device.name` contradict each other.
    """
    kind = config.name.partition(":")[0]
    if kind in ("cpu", "mps") and scale.gpus:
        raise ConfigError(
            f"scale.gpus is {scale.gpus:g}, but device.name is {config.name}; set "
            "device.name to auto or cuda, or leave scale.gpus empty."
        )
    gpus = scale.gpus
    if gpus is None:
        gpus = 1.0 if kind == "cuda" or (kind == "auto" and gpu_there) else 0.0
    if kind == "cuda" and not gpus:
        raise ConfigError("device.name is cuda, but scale.gpus is 0; set scale.gpus to 1.")
    device = "cuda:0" if gpus else ("mps" if kind == "mps" else "cpu")
    cpus = scale.cpus or config.threads or 1
    return Demand(cpus, gpus, scale.memory_gib, device)


def fits(demand: Demand, cpus: float, gpus: float, memory_gib: float | None) -> int:
    """Return for how many cohorts a machine has room."""
    room = [int(cpus // demand.cpus)]
    if demand.gpus:
        each = int(1 / demand.gpus) if demand.gpus < 1 else 0
        room.append(int(gpus) * each if each else int(gpus // demand.gpus))
    if demand.memory_gib and memory_gib is not None:
        room.append(int(memory_gib // demand.memory_gib))
    return max(0, min(room))


def nowhere(demand: Demand, largest: str, where: str) -> ConfigError:
    """Return the error for a demand that no machine meets.

    Args:
        demand: what was asked for.
        largest: what the largest machine has.
        where: which engine was asked.
    """
    return ConfigError(
        f"A cohort asks for {demand.words}, and no machine of {where} has that much "
        f"({largest}), so it would wait for ever; nothing was started. Lower scale.cpus, "
        "scale.gpus or scale.memory_gib."
    )
