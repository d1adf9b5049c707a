"""What the task tests share: where the development data lie, and tasks made up on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtvg.config import DataConfig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shared_data() -> DataConfig:
    """Settings that read the development data; the test is skipped where they are absent."""
    shared = Path(os.environ.get("DTVG_SHARED", ROOT / ".." / "shared")) / "datasets"
    if not shared.is_dir():
        pytest.skip("no development data (DTVG_SHARED)")
    return DataConfig(folder=str(shared))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move the home folder away and keep the hub's client off the network."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DTVG_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return home


Rows = Mapping[str, Sequence[object]]


@pytest.fixture
def rte_folder(tmp_path: Path) -> Callable[..., DataConfig]:
    """Write a small `glue_rte` as Parquet; any split can be replaced by other columns."""

    def write(**splits: Rows | None) -> DataConfig:
        folder = tmp_path / "data" / "glue_rte"
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in {"train": 8, "validation": 6}.items():
            columns = splits.get(split) or rte_rows(rows, split)
            pq.write_table(pa.table(dict(columns)), folder / f"{split}.parquet")
        return DataConfig(folder=str(tmp_path / "data"))

    return write


def rte_rows(count: int, stem: str = "row") -> dict[str, list[object]]:
    """Return `count` rows in RTE's columns."""
    return {
        "sentence1": [f"{stem} premise {i}" for i in range(count)],
        "sentence2": [f"{stem} hypothesis {i}" for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }
