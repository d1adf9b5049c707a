"""One piece of work, prompt tuning, done by the cohort engine and by PEFT's usual way."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from dtvg.backbones import products
from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.decoder_only import DecoderOnly
from dtvg.backbones.encoder_decoder import EncoderDecoder
from dtvg.config import RunConfig, build_config
from dtvg.training.batches import TokenisedTask, batch_rows
from dtvg.training.engine import Engine
from dtvg.training.recording import StepLog
from dtvg.training.state import RunData, RunSlot, build_stacks
from dtvg.training.step import cohort_step

SIZES = {
    "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    "small": {"d_model": 256, "d_kv": 32, "d_ff": 1024, "num_layers": 4, "num_heads": 8},
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
"""T5s with random weights."""
DECODERS = {
    "tiny-llama": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
    },
    "smollm2-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}
"""Llamas with random weights; the second has SmolLM2-135M's shapes, and so its speed."""
BACKBONES = (*SIZES, *DECODERS)
SOURCES = ("sst2", "mnli", "qnli", "qqp", "mrpc", "cola")
WARM = 3
"""Steps before the clock starts."""
RECORDED = 60
"""Run-steps more than six steps before it, where steps are recorded as graphs."""


class Numbers:
    """Stands in for a tokenizer: ids are made, texts never needed."""

    all_special_ids = (0, 1)
    pad_token_id, eos_token_id = 0, 1


@dataclass
class Silent:
    """A run's writer that drops its rows."""

    rows: int = 0

    def extend(self, table: str, columns: dict[str, Any]) -> None:
        """Count rows of steps."""
        self.rows += len(columns["step"]) if table == "steps" else 0


def make_model(size: str, device: str, dtype: torch.dtype, vocabulary: int = 32_128) -> Any:
    """Return a T5 or Llama of a size with random weights, without dropout."""
    torch.manual_seed(0)
    with torch.device(device):  # weights are drawn where they will lie
        return _made(size, vocabulary).to(device, dtype)


def _made(size: str, vocabulary: int) -> Any:
    import transformers

    if size in DECODERS:
        shape: dict[str, Any] = dict(DECODERS[size])
        words = 49_152 if size == "smollm2-135m" else 512
        made = transformers.LlamaConfig(vocab_size=words, tie_word_embeddings=True, **shape)
        return transformers.LlamaForCausalLM(made).eval()
    facts: dict[str, Any] = dict(SIZES[size])
    config = transformers.T5Config(
        vocab_size=vocabulary,
        num_decoder_layers=facts["num_layers"],
        decoder_start_token_id=0,
        dropout_rate=0.0,
        **facts,
    )
    return transformers.T5ForConditionalGeneration(config)


def wrapped(model: Any) -> Backbone:
    """Return a model as the engine takes it."""
    family = EncoderDecoder if model.config.is_encoder_decoder else DecoderOnly
    return family(model, Numbers(), "bench", "0")


def lengths(shared: Path | None, count: int) -> np.ndarray:
    """Return input lengths: of real rows (rte and sst2 by the small T5's tokenizer), else drawn."""
    rng = np.random.default_rng(0)
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        if shared is not None:
            import transformers

            tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "models" / "mini-t5")
            files = sorted((shared / "datasets").rglob("*rte*/train*.parquet"))
            files += sorted((shared / "datasets").rglob("*sst2*/train*.parquet"))
            texts: list[str] = []
            for file in files[:2]:
                rows = pq.ParquetFile(file).read_row_group(0).slice(0, count).to_pylist()
                texts += [" ".join(v for v in r.values() if isinstance(v, str)) for r in rows]
            found = [min(256, len(ids)) for ids in tokenizer(texts)["input_ids"]]
            return rng.permutation(np.array(found))[:count]
    return np.clip(rng.lognormal(3.6, 0.6, count), 5, 256).astype(int)


def make_rows(shared: Path | None, count: int = 400, vocabulary: int = 500) -> list[Encoded]:
    """Return examples with such lengths and random ids."""
    rng = np.random.default_rng(1)
    return [
        Encoded(rng.integers(2, vocabulary, n), np.append(rng.integers(2, vocabulary, 2), 1))
        for n in lengths(shared, count)
    ]


def runs(method: Any, count: int, length: int, batch: int, steps: int) -> Sequence[RunConfig]:
    """Return configurations of that many runs over seeds."""
    return build_config(
        {
            "name": "bench",
            "sources": list(SOURCES),
            "targets": ["rte"],
            "methods": [method],
            "seeds": list(range(count)),
            "prompt": {"length": length},
            "optim": {"batch_size": batch, "steps": steps + WARM},
        }
    ).runs()


def make_slot(config: RunConfig, rows: list[Encoded], width: int) -> RunSlot:
    """Return a run over the rows with random vectors."""
    rng = np.random.default_rng([5, config.seed])
    shape = (config.prompt.length, width)
    init, own = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    sources = rng.normal(size=(len(config.sources), *shape)).astype(np.float32)
    inputs = {"init": init, "target_prompt": init + own, "source_vectors": sources}
    read = config.sources if config.needs.source_data else ()
    beside = tuple(TokenisedTask(None, name, rows, {}, {}) for name in read)  # type: ignore[arg-type]
    data = RunData("bench", rows, (), beside=beside)
    return RunSlot(config, data, Silent(), inputs)  # type: ignore[arg-type]


@contextlib.contextmanager
def watched(device: str) -> Iterator[dict[str, float]]:
    """Measure seconds, processor seconds and peak device memory of a block."""
    found: dict[str, float] = {}
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started, busy = time.perf_counter(), time.process_time()
    yield found
    if device != "cpu":
        torch.cuda.synchronize()
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    found["seconds"] = time.perf_counter() - started
    found["cpu_seconds"] = time.process_time() - busy


def ours(
    model: Any,
    rows: list[Encoded],
    configs: Sequence[RunConfig],
    steps: int,
    budget: int,
    engine: Engine | None = None,
    logged: bool = True,
) -> dict[str, float]:
    """Train a cohort for that many steps; return what it took.

    Args:
        model: a model, or a backbone whose layers may be compiled.
        rows: training rows.
        configs: the runs.
        steps: measured ones.
        budget: padded tokens of a micro-batch.
        engine: None: a new one's.
        logged: whether rows are made of the steps.
    """
    backbone = model if isinstance(model, Backbone) else wrapped(model)
    slots = [make_slot(c, rows, backbone.width) for c in configs]
    return ours_of(backbone, slots, steps, budget, engine, logged)


def ours_of(
    backbone: Backbone,
    slots: Sequence[RunSlot],
    steps: int,
    budget: int,
    engine: Engine | None = None,
    logged: bool = True,
) -> dict[str, float]:
    """Train new runs as a cohort for that many steps; return what it took.

    Where steps are replayed as graphs the clock starts once most shapes are recorded, as they are
    after the first percent of a training.
    """
    cutting = (engine or Engine()).cutting(backbone)
    stacks = build_stacks(slots, backbone.device, torch.float32)
    log = StepLog(stacks=len(stacks))

    def step() -> None:
        records = cohort_step(backbone, stacks, budget, cutting)
        for slot in slots:
            slot.step += 1
        if logged:
            log.add(records, 0.0)
            if log.full:
                log.drain()

    for _ in range(RECORDED // len(slots) + 6 if backbone.passes is not None else WARM):
        step()
    with watched(backbone.device.type) as found:
        for _ in range(steps):
            step()
        if logged:
            log.drain()
    examples = steps * sum(slot.config.optim.batch_size for slot in slots)
    step_ms = 1e3 * found["seconds"] / steps
    return {**found, "examples_per_s": examples / found["seconds"], "ms_a_step": step_ms}


def flops_per_example(
    backbone: Backbone, rows: list[Encoded], config: RunConfig, steps: int = 4
) -> float:
    """Count the floating point operations that some steps of one run need, per example.

    They are counted without any padding, example by example: what is done beside it is waste.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    slot = make_slot(config, rows, backbone.width)
    stacks = build_stacks([slot], backbone.device, torch.float32)
    # as plain products: the counter knows no fused attention with fewer keys than queries
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for _ in range(steps):
            cohort_step(backbone, stacks, 1)
            slot.step += 1
    return counter.get_total_flops() / config.optim.batch_size / steps


def peft_trainer(
    model: Any, rows: list[Encoded], config: RunConfig, steps: int, folder: Path
) -> dict[str, float]:
    """Do one run's work with PEFT and transformers.Trainer on the same batches."""
    import peft
    import transformers

    transformers.utils.logging.set_verbosity_error()
    both = model.config.is_encoder_decoder
    settings = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM" if both else "CAUSAL_LM",
        num_virtual_tokens=config.prompt.length,
        num_transformer_submodules=1,
        prompt_tuning_init="RANDOM",
        tokenizer_name_or_path=None,
    )
    tuned = peft.get_peft_model(model, settings)
    batch = config.optim.batch_size
    chosen = [
        int(i)
        for step in range(1, steps + WARM + 1)
        for i in batch_rows("bench", config.data.seed, config.seed, batch, step, len(rows))
    ]
    items = [_item(rows[i], both) for i in chosen]
    clock = _Clock(model.device.type)
    trainer = _Sequential(
        model=tuned,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            max_steps=steps + WARM,
            per_device_train_batch_size=batch,
            learning_rate=0.01,
            logging_steps=100_000,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=model.device.type == "cpu",
            remove_unused_columns=False,
            dataloader_pin_memory=model.device.type != "cpu",
        ),
        train_dataset=items,
        data_collator=_collate,
        callbacks=[clock.callback()],
    )
    trainer.train()
    found = clock.found
    return {**found, "examples_per_s": steps * batch / found["seconds"]}


def _item(row: Encoded, both: bool) -> dict[str, np.ndarray]:
    """Return a row as a script would: of a causal model input and answer in one sequence."""
    if both:
        return {"input_ids": row.source, "labels": row.target}
    whole = np.concatenate([row.source, row.target])
    asked = np.arange(len(whole)) < len(row.source)
    return {"input_ids": whole, "labels": np.where(asked, -100, whole)}


def _collate(items: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    def stack(name: str, fill: int) -> torch.Tensor:
        rows = [torch.as_tensor(item[name]) for item in items]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

    ids = stack("input_ids", 0)
    mask = (ids != 0).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": stack("labels", -100)}


class _Clock:
    """Measures a trainer from the end of its warm-up to its last step."""

    def __init__(self, device: str) -> None:
        self.device, self.found = device, {}
        self.block: Any = None

    def callback(self) -> Any:
        """Return a callback for transformers.Trainer."""
        import transformers

        clock = self

        class Callback(transformers.TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
                if state.global_step == WARM:
                    clock.block = watched(clock.device)
                    clock.found = clock.block.__enter__()
                elif state.global_step == state.max_steps:
                    clock.block.__exit__(None, None, None)

        return Callback()


def _trainer_class() -> Any:
    import transformers

    class Sequential(transformers.Trainer):
        """Takes the rows in the order given, so that batches are the same."""

        def _get_train_sampler(self, *more: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return Sequential


def _Sequential(**options: Any) -> Any:  # noqa: N802 - stands for a class made when needed
    return _trainer_class()(**options)


def peak_flops(device: str, dtype: torch.dtype, size: int = 8192) -> float:
    """Return the best rate of a large matrix product measured here."""
    size = size if device != "cpu" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = best(lambda: left @ right, device)
    if dtype is torch.float32 and products.pays(left.device):
        seconds = min(seconds, best(lambda: products.product(left, right), device))
    return 2 * size**3 / seconds


def best(call: Callable[[], object], device: str, repeats: int = 20) -> float:
    """Return the shortest time of a call in seconds."""
    times = []
    for _ in range(repeats):
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times)
