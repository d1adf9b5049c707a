"""One split of a task from the hub, for tasks whose files are not on disk.

Data only, at a pinned commit; no code of a data set is ever executed. `datasets` is imported
when first needed. docs/tasks.md "Where rows come from".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dtvg.errors import DataError
from dtvg.network import hub_left_alone
from dtvg.network import refuse_unreachable_hub as refuse_unknown_host
from dtvg.tasks.files import checked, quoted, reason_of
from dtvg.tasks.spec import TaskSpec


def hub_name(spec: TaskSpec) -> str:
    """Return how a message names the task's place on the hub, e.g. `nyu-mll/glue (rte)`."""
    return f"{spec.dataset} ({spec.config})" if spec.config else spec.dataset


def cached(spec: TaskSpec) -> bool:
    """Whether the hub's client has kept the task's data set on this machine."""
    return (_cache() / spec.dataset.replace("/", "___")).is_dir()


def _cache() -> Path:
    """Return where `datasets` keeps what it loaded, without importing it."""
    own = os.environ.get("HF_DATASETS_CACHE")
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(own or Path(home) / "datasets").expanduser()


def read_hub(spec: TaskSpec, split: str, looked_in: Sequence[Path]) -> pa.Table:
    """Load one split from the hub (or its cache), at the task's pinned commit.

    Args:
        spec: the task.
        split: the split's name on the hub.
        looked_in: the folders that did not exist, for the message.

    Raises:
        DataError: if the hub cannot be reached, wants a login, or has no such data: where files
            may be put instead, and which columns they need.
    """
    try:
        rows = _kept(spec, split)
        if rows is None:
            if not _switched_off():
                refuse_unknown_host()
            rows = _load(spec, split)
        table = rows.with_format("arrow")[:]
        if spec.flatten is not None:
            table = spec.flatten(table)
    except Exception as error:  # noqa: BLE001 - the client raises errors of several libraries
        raise DataError(_refusal(spec, split, looked_in, error)) from None
    return checked(table, spec, f"{hub_name(spec)}, split {split}")


def _load(spec: TaskSpec, split: str) -> Any:
    import datasets

    return datasets.load_dataset(spec.dataset, spec.config, split=split, revision=spec.revision)


def _kept(spec: TaskSpec, split: str) -> Any | None:
    """Return the split from the client's cache at a pinned commit, without asking the hub."""
    if spec.revision is None or not cached(spec):
        return None
    import datasets  # noqa: F401 - loaded first, so that it too is left alone

    try:
        with hub_left_alone():
            return _load(spec, split)
    except Exception:  # noqa: BLE001 - whatever the cache lacks, the hub has it
        return None


def _refusal(spec: TaskSpec, split: str, looked_in: Sequence[Path], error: Exception) -> str:
    """Compose one sentence: what failed and why, and what to do instead."""
    place = f" (there is no folder {quoted(looked_in)})" if looked_in else ""
    what = (
        f"Task {spec.name} is neither on this machine{place} nor loaded from the hub as "
        f"{hub_name(spec)}, split {split} ({reason_of(error)})"
    )
    columns = quoted(spec.columns)
    if spec.described_in:
        files = f"name files with the columns {columns} under 'files' in '{spec.described_in}'"
    else:
        files = (
            f"put train.parquet and validation.parquet with the columns {columns} there, or name "
            f"the folder around '{spec.folder}' as data.folder"
        )
    steps = {
        "gated": "accept its terms on its page and log in with `hf auth login` (or set HF_TOKEN), "
        f"or {files}",
        "offline": f"go online once, without {_switched_off() or SWITCHES[0]}, so that it is "
        f"cached, or {files}",
        "script": "it is a data set script, whose code is never executed here; run it once "
        f"yourself and save its rows, then {files}",
        "unreachable": "run it once where the hub can be reached (HTTPS_PROXY names a proxy, "
        f"HF_ENDPOINT a mirror of the hub), or {files}",
        "other": files,
    }
    return f"{what}; {steps[_kind(error)]}."


SWITCHES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
"""Variables of the environment that keep the hub's clients from asking it."""


def _switched_off() -> str:
    """Return the variable that keeps the hub from being asked; empty: none does."""
    on = ("1", "on", "yes", "true")
    return next((name for name in SWITCHES if os.environ.get(name, "").lower() in on), "")


def _kind(error: Exception) -> str:
    """Sort a failure, from it and its causes.

    Returns:
        `gated`, `offline`, `script`, `unreachable` or `other`.
    """
    names, text = set(), ""
    one: BaseException | None = error
    while one is not None:
        names |= {kind.__name__ for kind in type(one).__mro__}
        text += f" {one}".lower()
        one = one.__cause__ or one.__context__
    if "GatedRepoError" in names or "gated" in text or " 401 " in text or " 403 " in text:
        return "gated"
    if "OfflineModeIsEnabled" in names or "offline" in text:
        return "offline"
    if "dataset scripts are no longer supported" in text or "trust_remote_code" in text:
        return "script"
    unreachable = {"ConnectionError", "ConnectError", "Timeout", "TimeoutException", "gaierror"}
    if not names & unreachable:
        return "other"
    return "offline" if _switched_off() else "unreachable"
