"""One split of a task from the hub, for tasks of which no files are at hand.

Data only, at a pinned commit; no code of a data set is ever executed. Must not import torch
or pandas; `datasets` is imported when first needed.
"""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from dtvg.errors import DataError
from dtvg.tasks.files import checked, quoted, reason_of
from dtvg.tasks.spec import TaskSpec


def hub_name(spec: TaskSpec) -> str:
    """Return how a message names the task's place on the hub, e.g. `nyu-mll/glue (rte)`."""
    return f"{spec.dataset} ({spec.config})" if spec.config else spec.dataset


def read_hub(spec: TaskSpec, split: str, looked_in: Sequence[Path]) -> pa.Table:
    """Load one split from the hub (or its cache), at the task's pinned commit.

    Args:
        spec: the task.
        split: the split's name on the hub.
        looked_in: the folders that did not exist, for the message.

    Raises:
        DataError: if the hub cannot be reached or has no such data: where files may be put
            instead, and which columns they need.
    """
    try:
        import datasets

        cached = Path(datasets.config.HF_DATASETS_CACHE) / spec.dataset.replace("/", "___")
        if not cached.is_dir():
            refuse_unknown_host()
        rows = datasets.load_dataset(spec.dataset, spec.config, split=split, revision=spec.revision)
        table = rows.with_format("arrow")[:]
    except Exception as error:  # noqa: BLE001 - the client raises errors of several libraries
        raise DataError(
            f"Task {spec.name} is neither at hand (there is no folder {quoted(looked_in)}) nor "
            f"loaded from the hub as {hub_name(spec)}, split {split} ({reason_of(error)}); put "
            f"train.parquet and validation.parquet with the columns {quoted(spec.columns)} "
            f"there, or name the folder around '{spec.folder}' as data.folder."
        ) from None
    return checked(table, spec, f"{hub_name(spec)}, split {split}")


def refuse_unknown_host() -> None:
    """Fail at once where the hub's name cannot be resolved, instead of after many retries.

    Raises:
        ConnectionError: naming the host; never behind a proxy, which resolves by itself.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    if urllib.request.getproxies() or not host:
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise ConnectionError(f"{host} cannot be reached from here") from None
