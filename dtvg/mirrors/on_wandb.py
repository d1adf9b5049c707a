"""Weights & Biases: offline under `mirrors/wandb`, unless `WANDB_MODE` says otherwise."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

import wandb

from dtvg.mirrors.adapter import Facts, Row


class Wandb:
    """A project of the experiment's name (or `WANDB_PROJECT`), with a run per run."""

    def __init__(self) -> None:
        self._runs: dict[str, Any] = {}

    def open(self, facts: Facts, known: str | None) -> str:
        """Begin a run, or go on with it: offline in another folder, under the same id."""
        key = known or secrets.token_hex(6)
        folder = os.environ.get("WANDB_DIR") or str(facts.folder / "wandb")
        os.makedirs(folder, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        settings = wandb.Settings(
            silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False
        )
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or facts.experiment,
            name=facts.run,
            id=key,
            dir=folder,
            config=dict(facts.settings),
            mode=mode,  # type: ignore[arg-type]
            resume=None if mode == "offline" else "allow",
            reinit="create_new",
            settings=settings,
        )
        run.define_metric("*", step_metric="step")
        self._runs[key] = run
        return key

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Log every step; the test score belongs to an earlier step, so `step` is a value too."""
        for row in rows:
            self._runs[key].log({**row.values, "step": row.step, "_timestamp": row.time})

    def stored(self, key: str) -> None:
        """Offline files cannot be asked."""
        return None

    def close(self, key: str, finished: bool) -> None:
        """End the run; `wandb sync` sends its folder."""
        run = self._runs.pop(key, None)
        if run is not None:
            run.finish(exit_code=0 if finished else 1)
