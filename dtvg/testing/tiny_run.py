"""A whole experiment in miniature, made on the spot: backbone, tokenizer, data, configuration.

For tests of everything between a YAML file and the log, without network or shared data. The
random backbone learns nothing; what matters is that every part really runs. Imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtvg.methods.specs import AllSources, Dtvg, NoTransfer, Single

WORDS = [
    "the",
    "a",
    "good",
    "bad",
    "fine",
    "dull",
    "film",
    "plot",
    "is",
    "was",
    "not",
    "very",
    "this",
    "that",
    "story",
    "end",
]
TASKS = {"sst2": "glue_sst2", "cola": "glue_cola", "rte": "glue_rte", "mrpc": "glue_mrpc"}


def make_backbone(folder: Path) -> Path:
    """Write a random one-layer T5 with a word tokenizer; returns the folder."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    marks = ["<pad>", "</s>", "<unk>"]
    extra = [*"0123456789:", *TASKS, "sentence", "sentence1", "sentence2"]
    vocabulary = {word: i for i, word in enumerate([*marks, *extra, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(vocabulary),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        num_decoder_layers=1,
        decoder_start_token_id=0,  # type: ignore[call-arg]
        dropout_rate=0.0,
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_data(folder: Path, rows: int = 60) -> Path:
    """Write train and validation files of four tasks in the hub's columns."""
    rng = np.random.default_rng(0)

    def sentence() -> str:
        return " ".join(rng.choice(WORDS, size=rng.integers(3, 9)))

    for task, sub in TASKS.items():
        columns = ["sentence1", "sentence2"] if task in ("rte", "mrpc") else ["sentence"]
        for split in ("train", "validation"):
            data: dict[str, list[Any]] = {c: [sentence() for _ in range(rows)] for c in columns}
            data["label"] = [int(x) for x in rng.integers(0, 2, rows)]
            data["idx"] = list(range(rows))
            place = folder / sub
            place.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(data), place / f"{split}.parquet")
    return folder


def tiny_config(folder: Path, **changes: Any) -> dict[str, Any]:
    """Make backbone and data under a folder; return an experiment's settings as plain values.

    Args:
        folder: where to put them.
        changes: top-level settings that replace the defaults.
    """
    if not (folder / "backbone").exists():
        make_backbone(folder / "backbone")
        make_data(folder / "data")
    values: dict[str, Any] = {
        "name": "tiny",
        "backbone": str(folder / "backbone"),
        "sources": ["sst2", "cola", "mrpc"],
        "targets": ["rte"],
        "methods": [
            *(spec.name for spec in (NoTransfer(), Single(), AllSources(), Dtvg())),
            {"name": Dtvg().name, "rule": "fixed"},
        ],
        "seeds": [0],
        "prompt": {"length": 4},
        "optim": {
            "stage1_steps": 6,
            "steps": 12,
            "batch_size": 4,
            "lr_prompt": 0.05,
            "lr_scale": 0.05,
            "lr_scale_target": 0.05,
        },
        "data": {"folder": str(folder / "data")},
        "evaluation": {"every": 5, "max_examples": 12},
        "logging": {"commit_seconds": 0.05, "commit_share": 1.0},
        "device": {"name": "cpu", "threads": 1},
    }
    return {**values, **changes}
