"""How an experiment is computed: precision, compiled layers, and how examples are put together.

Chosen when it is first trained and then kept, so that a resumed run computes as it did before.
docs/run_files.md "Engine".
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dtvg import paths
from dtvg.backbones import attention, products
from dtvg.backbones.base import Backbone
from dtvg.backbones.compiling import keep_in, repeated_layers
from dtvg.config import DeviceConfig, ExperimentConfig
from dtvg.errors import StoreError
from dtvg.plan.graph import Plan
from dtvg.store.files import replace_json
from dtvg.store.formats import EngineFile, ForkOf, ProvenanceFile, read_model, read_whole
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.training.batches import Cutting
from dtvg.versions import ENGINE, FIRST

log = logging.getLogger(__name__)

FASTER = 1.2
"""Times as fast as float32 that bfloat16 has to be to be chosen."""
PROBE = (512, 768, 3072)
"""Sizes of the matrix product that is timed."""
PAYS = {"cpu": 1.0e14, "cuda": 3.0e15}
"""Weights of the layers × tokens to train from which on compiling pays: most of an hour of two
cores, of which it saves a tenth or more, or two minutes of a large GPU, of which it saves a quarter
and takes half a minute."""
ALIKE, SHARED_READING, BY_LAYER, PACKED, GRAPHS = 2, 2, 3, 4, 5
"""Versions of the engine since which examples of similar length are put together, a validation
row is read once, a micro-batch's cost is reckoned from the weights of a layer, several examples
stand in a row, and what a GPU's host launches is measured."""
ATTENTION = 3.5
"""What a row of attention costs beside a product with as many weights as d, per token that is seen
and d: two products forward, five backward, against one each way."""
LAUNCHES = {"cpu": (16, 1.2e8), "cuda": (256, 1e11), "graphs": (256, 5e9)}
"""What a micro-batch costs beside its tokens, in padded tokens: reading the weights, and the many
small operations of a layer, as much as so many tokens × weights of a layer. The processor's are
measured with `python -m benchmarks.micro_batches`. On an H100 a T5-base of 24 layers takes 81 ms
where the host launches its kernels one by one; as a graph, compiled, 4.7 ms of the device. Large
cohorts train at 106 to 133 TFLOP/s (benchmarks/results/gpu-2026-11-28.md)."""
GUESSED = (256, 5e9)
"""A GPU's before version 5: those of version 2 for 30 layers."""


@dataclass(frozen=True)
class Engine:
    """How an experiment is computed."""

    version: int = ENGINE
    """See `dtvg.versions.ENGINE`."""
    precision: str = "float32"
    """Of the backbone; never `auto`."""
    compiled: bool = False
    """Whether the backbone's repeated layers are compiled for training steps."""
    because: str = ""
    """What was found out, in whole sentences."""
    onednn: bool = False
    """Whether frozen float32 layers multiply with oneDNN; see `dtvg.backbones.products`."""
    widened: bool = False
    """Whether half-precision layers attend in float32; see `dtvg.backbones.attention`."""
    graphs: bool = False
    """Whether a GPU's steps are replayed as graphs; see `dtvg.backbones.graphs`."""

    @property
    def dtype(self) -> torch.dtype:
        """Of prompts, scales and decisions: float32, or float64 with a float64 backbone."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def shares_reading(self) -> bool:
        """Whether a validation row is read once for its answer and its loss."""
        return self.version >= SHARED_READING

    def apart(self, backbone: Backbone) -> int | None:
        """Return what one more micro-batch costs, in padded tokens; None: none is cut for length.

        A function of the backbone alone, never of a measurement, so that the cut is repeatable.
        """
        if self.version < ALIKE:
            return None
        layers = repeated_layers(backbone.model) or [backbone.model]
        weights = max(1, sum(p.numel() for layer in layers for p in layer.parameters()))
        if self.version < BY_LAYER:
            least, launches = (256, 1.5e11) if backbone.device.type == "cuda" else (32, 7.5e7)
            return int(least + launches / weights)
        kind = "graphs" if self.graphs else backbone.device.type
        least, launches = LAUNCHES.get(kind, LAUNCHES["cpu"])
        if kind == "cuda" and self.version < GRAPHS:
            least, launches = GUESSED
        return int(least + launches * len(layers) / weights)

    def reach(self, backbone: Backbone) -> float | None:
        """Return the length of a row at which attention costs as much as everything else.

        None where each example has a row of its own: on a GPU without graphs, and for models that
        tell examples of one row apart by nothing. A function of the backbone alone, as `apart`.
        """
        if self.version < PACKED or not (self.graphs or backbone.device.type == "cpu"):
            return None
        if not backbone.packs:
            return None
        layers = repeated_layers(backbone.model) or [backbone.model]
        weights = max(1, sum(p.numel() for layer in layers for p in layer.parameters()))
        return weights / (len(layers) * ATTENTION * backbone.width)

    def cutting(self, backbone: Backbone) -> Cutting:
        """Return how the examples of a step become micro-batches."""
        return Cutting(self.apart(backbone), self.reach(backbone), self.graphs)

    def sentence(self) -> str:
        """Say how it is computed."""
        how = "its layers compiled" if self.compiled else "layer by layer"
        how += ", products by oneDNN" if self.onednn else ""
        how += ", attention in float32" if self.widened else ""
        how += ", steps as CUDA graphs" if self.graphs else ""
        return f"Computed in {self.precision}, {how}. {self.because}".strip()


def recorded(experiment: ExperimentDir, config: DeviceConfig) -> Engine | None:
    """Return the engine an experiment was begun with; None: nothing of it is trained yet.

    Where its file is gone the runs tell, which note it too. One that was begun before engines
    were recorded goes on as they computed then; a fork to another device is as one not begun.

    Raises:
        StoreError: the file is damaged.
    """
    found = read_whole(
        experiment.engine_path,
        EngineFile,
        "Restore it from a copy, or delete it: then the experiment goes on as its runs noted.",
    )
    if found is None:
        found = _noted_with_runs(experiment)
    if found is not None:
        return Engine(**found.model_dump())
    if config.precision == "auto" or not any(c.state_path.exists() for c in experiment.cohorts()):
        return None
    if any(of is not None and of.other_device for of in map(_forked_from, experiment.runs())):
        return None
    return Engine(FIRST, config.precision)


def _noted_with_runs(experiment: ExperimentDir) -> EngineFile | None:
    """Return the engine that a run of an experiment was first computed with."""
    for made in map(_made, experiment.runs()):
        if made is not None and made.engine is not None and not made.merged_from:
            return made.engine
    return None


def _forked_from(run: RunDir) -> ForkOf | None:
    made = _made(run)
    return None if made is None else made.fork_of


def _made(run: RunDir) -> ProvenanceFile | None:
    """Return what made a run; None where that cannot be read."""
    try:
        return read_model(run.provenance_path, ProvenanceFile)
    except StoreError:
        return None


def record(experiment: ExperimentDir, engine: Engine) -> None:
    """Write down how an experiment is computed."""
    if not experiment.engine_path.exists():
        replace_json(experiment.engine_path, as_json(engine))


def as_json(engine: Engine) -> dict[str, Any]:
    """Return an engine's fields."""
    return dataclasses.asdict(engine)


def choose_precision(config: DeviceConfig, device: torch.device) -> Engine:
    """Return the engine for a precision as asked, or as a probe finds it faster.

    Args:
        config: its `precision`.
        device: where it will be computed; its threads are set.
    """
    if config.precision != "auto":
        return Engine(precision=config.precision)
    if not has_bfloat16(device):
        return Engine(because=f"The processor of {device} has no bfloat16 of its own.")
    times = probe(device)
    ratio = times["float32"] / times["bfloat16"]
    precision = "bfloat16" if ratio >= FASTER else "float32"
    return Engine(precision=precision, because=f"A probe found bfloat16 {ratio:.1f} times as fast.")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies matrices in bfloat16 by itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def probe(device: torch.device, repeats: int = 5) -> dict[str, float]:
    """Return the seconds of a matrix product in float32 and in bfloat16, the best of some.

    As frozen layers multiply: in float32 by oneDNN where that is the faster.
    """
    rows, inner, columns = PROBE
    return {
        name: _best(
            torch.randn(rows, inner, device=device).to(dtype),
            torch.randn(inner, columns, device=device).to(dtype),
            repeats,
        )
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }


def _best(left: torch.Tensor, right: torch.Tensor, repeats: int) -> float:
    wait: Callable[[], None] = (
        torch.cuda.synchronize if left.device.type == "cuda" else (lambda: None)
    )
    by_onednn = left.dtype is torch.float32 and products.pays(left.device)

    def multiply() -> object:
        return products.product(left, right.t()) if by_onednn else left @ right

    multiply()
    times = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        multiply()
        wait()
        times.append(time.perf_counter() - started)
    return min(times)


def with_layers(
    engine: Engine, config: ExperimentConfig, plan: Plan, backbone: Backbone, begun: bool
) -> Engine:
    """Compile a backbone's layers where it pays, or where the experiment was begun so.

    Args:
        engine: its precision is the backbone's.
        config: its `device.compile`.
        plan: how much there is to train.
        backbone: changed.
        begun: whether the engine is as it was recorded.

    Returns:
        The engine as it is computed now. Where the compiler fails everything runs layer by layer,
        which gives the same numbers up to rounding.
    """
    if begun:
        wanted = engine.compiled
    else:
        wanted = config.device.compile == "auto" and can_compile(engine, backbone)
        wanted = wanted and pays(plan, backbone)
        # compiled layers do not multiply with oneDNN, which gains more than compiling does
        wanted = wanted and not (engine.precision == "float32" and products.pays(backbone.device))
    if not wanted:
        return dataclasses.replace(engine, compiled=False)
    keep_in(paths.compiled())
    started = time.perf_counter()
    try:
        backbone.compile_layers(packing=engine.cutting(backbone).packing)
    except Exception as error:  # noqa: BLE001 - of the compiler, which is not needed
        log.warning("layers could not be compiled (%s)", error, exc_info=True)
        why = f"Its layers could not be compiled ({type(error).__name__})."
        return dataclasses.replace(
            engine, compiled=False, because=f"{engine.because} {why}".strip()
        )
    log.info("layers compiled in %.0f s", time.perf_counter() - started)
    return dataclasses.replace(engine, compiled=True)


def with_faster_parts(engine: Engine, backbone: Backbone, begun: bool) -> Engine:
    """Let a backbone multiply with oneDNN and attend in float32 where it pays, or was begun so.

    Products are those of float32 layers, attention that of half-precision ones.

    Args:
        engine: whether layers are compiled is known: compiled ones keep what they were given.
        backbone: changed.
        begun: whether the engine is as it was recorded.

    Returns:
        The engine as it is computed now.
    """
    pays = products.pays(backbone.device)
    onednn, widened = (engine.onednn, engine.widened) if begun else (pays, pays)
    onednn = onednn and engine.precision == "float32" and torch.backends.mkldnn.is_available()
    widened = widened and engine.precision in ("bfloat16", "float16")
    model, plain = backbone.model, not engine.compiled
    return dataclasses.replace(
        engine,
        onednn=onednn and plain and products.use(model) > 0,
        widened=widened and plain and attention.use(model) > 0,
    )


def with_graphs(engine: Engine, config: DeviceConfig, backbone: Backbone, begun: bool) -> Engine:
    """Let a GPU replay steps as graphs, where the experiment was begun so or nothing forbids it.

    Args:
        engine: everything else of it is known.
        config: its `graphs`.
        backbone: changed.
        begun: whether the engine is as it was recorded.

    Returns:
        The engine as it is computed now.
    """
    plain = engine.precision in ("float32", "bfloat16", "float16") and backbone.dropout == 0
    wanted = engine.graphs if begun else config.graphs == "auto" and plain
    wanted = wanted and backbone.device.type == "cuda"
    if wanted:
        backbone.record_passes()
    return dataclasses.replace(engine, graphs=wanted)


def can_compile(engine: Engine, backbone: Backbone) -> bool:
    """Whether the layers' compiled code computes what they compute: no dropout, plain floats."""
    plain = engine.precision in ("float32", "bfloat16", "float16")
    plain = plain and bool(repeated_layers(backbone.model))
    return plain and backbone.dropout == 0 and backbone.device.type in PAYS


def pays(plan: Plan, backbone: Backbone) -> bool:
    """Whether an experiment trains long enough for compiling to save more than it costs."""
    weights = sum(
        p.numel() for layer in repeated_layers(backbone.model) for p in layer.parameters()
    )
    tokens = 0
    for run in (run for cohort in plan.cohorts for run in cohort.runs):
        usual = run.prompt.length + run.data.max_source_tokens // 4
        tokens += run.total_steps * run.optim.batch_size * run.needs.batches * usual
    return weights * tokens >= PAYS[backbone.device.type]
