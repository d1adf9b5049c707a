"""How long until every row of a task is token ids: cold (nothing kept) and warm (second start).

`python benchmarks/tokenising.py --data DIR [--tasks rte sst2 squad] [--tokenizer FOLDER]` starts a
new process for each measurement, with a cache folder of its own, and prints a table. Only the
tokenizer of the folder is used, no weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def measure(task: str, data: str | None, folder: str) -> dict[str, Any]:
    """Read and tokenise one task in this process; return seconds and sizes."""
    import time

    import transformers

    from dtvg.backbones.encoder_decoder import EncoderDecoder
    from dtvg.config import DataConfig
    from dtvg.training.batches import tokenise

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 1}
    config = transformers.T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **small)
    model = transformers.T5ForConditionalGeneration(config)
    made = EncoderDecoder(model, tokenizer, folder, "tokenizer only")
    made.tokenizer(["the first call sets the tokenizer up"])
    began = time.perf_counter()
    found = tokenise(task, made, DataConfig(folder=data))
    read = time.perf_counter()
    splits = [found.train, *found.encoded.values()]
    for split in splits:
        for row in range(0, len(split), 256):
            split[row]  # every block, as a long run needs them
    done = time.perf_counter()
    return {
        "seconds": done - began,
        "read_seconds": read - began,
        "rows": sum(len(split) for split in splits),
        "tokens": sum(row.tokens for split in splits for row in split),
    }


def main() -> None:
    """Measure each task twice and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", help="folder of data sets")
    options.add_argument("--tasks", nargs="+", default=["rte", "sst2", "mnli"])
    options.add_argument("--tokenizer", default=str(ROOT / "data" / "demo" / "backbone"))
    options.add_argument("--one", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.data, given.tokenizer)))
        return
    print("task        rows     tokens    cold s   warm s   ratio   read cold s   read warm s")
    for task in given.tasks:
        with tempfile.TemporaryDirectory() as home:
            cold, warm = (_process(task, given, home) for _ in range(2))
        print(
            f"{task:10} {cold['rows']:6,} {cold['tokens']:10,} {cold['seconds']:9.2f} "
            f"{warm['seconds']:8.3f} {cold['seconds'] / warm['seconds']:7.0f} "
            f"{cold['read_seconds']:13.2f} {warm['read_seconds']:13.3f}"
        )


def _process(task: str, given: argparse.Namespace, home: str) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.tokenising",
        "--one",
        task,
        "--tokenizer",
        given.tokenizer,
    ]
    command += ["--data", given.data] if given.data else []
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "DTVG_HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
