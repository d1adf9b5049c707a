"""The hub is asked only when nothing is on disk, at a pinned commit, and fails in one sentence."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dtvg.config import DataConfig
from dtvg.errors import DataError
from dtvg.tasks import hub
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.reading import load_task


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's name resolve, whatever the machine's network."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])


def rte_rows(count: int, stem: str) -> dict[str, list[Any]]:
    return {
        "sentence1": [f"{stem} premise {i}" for i in range(count)],
        "sentence2": [f"{stem} hypothesis {i}" for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }


def refusal(data: DataConfig) -> str:
    with pytest.raises(DataError) as caught:
        load_task("rte", data)
    message = str(caught.value)
    assert message.endswith(".") and ". " not in message
    return message


def test_the_hub_is_asked_at_the_pinned_revision_when_nothing_is_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets

    asked = []

    def load(path: str, config: str, *, split: str, revision: str) -> Any:
        asked.append((path, config, split, revision))
        rows = rte_rows(6, split)
        return datasets.Dataset.from_dict({**rows, "idx": list(range(6))})

    monkeypatch.setattr(datasets, "load_dataset", load)
    data = load_task("rte", DataConfig(seed=7))
    spec = find_task("rte")
    assert asked == [
        ("nyu-mll/glue", "rte", split, spec.revision) for split in ("train", "validation")
    ]
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 3, 3)
    assert data.origin == "nyu-mll/glue (rte)"


def test_an_unreachable_hub_is_one_sentence_with_folder_and_columns(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    import datasets

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route. Try again.")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    message = refusal(DataConfig(seed=8))
    assert str(own_home / "datasets" / "glue_rte") in message
    assert "'sentence1', 'sentence2', 'label'" in message
    assert "nyu-mll/glue (rte)" in message


def test_a_host_that_does_not_resolve_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror("no such name")

    for name in hub.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    with pytest.raises(ConnectionError, match="hub.example cannot be reached"):
        hub.refuse_unknown_host()
    said = refusal(DataConfig(seed=9))
    assert said.count("cannot be reached") == 1 and "hub.example cannot be reached" in said
    assert "HF_ENDPOINT a mirror of the hub), or put train.parquet" in said
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy"})
    hub.refuse_unknown_host()


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (ValueError("Dataset 'x' is a gated dataset on the Hub"), "log in with `hf auth login`"),
        (OSError("401 Client Error: Access is restricted, gated"), "accept its terms"),
        (ConnectionError("Offline mode is enabled"), "go online once, without HF_HUB_OFFLINE,"),
        (ConnectionError("no route"), "run it once where the hub can be reached"),
        (ValueError("no such split"), "name the folder around 'glue_rte' as data.folder"),
    ],
)
def test_each_way_in_which_the_hub_fails_names_its_own_way_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception, part: str
) -> None:
    import datasets

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in hub.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "refuse_unknown_host", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", fail)
    message = refusal(DataConfig(seed=hash(part) % 10_000))
    assert part in message and "data.folder" in message


@pytest.mark.parametrize("name", hub.SWITCHES)
def test_a_switch_that_keeps_the_hub_from_being_asked_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import datasets

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nyu-mll/glue' on the Hub")

    for one in hub.SWITCHES:
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(hub, "refuse_unknown_host", lambda: pytest.fail("the hub was asked"))
    monkeypatch.setattr(datasets, "load_dataset", fail)
    message = refusal(DataConfig(seed=31))
    assert f"go online once, without {name}, so that it is cached, or put" in message


def test_a_task_kept_by_the_hubs_client_is_known_to_be_at_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dtvg.tasks.sources import at_hand

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    spec = find_task("rte")
    assert at_hand(spec, None) == "no, only on the hub"
    (tmp_path / "nyu-mll___glue").mkdir()
    assert at_hand(spec, None) == "yes, in the hub's cache"


def test_a_host_that_refuses_connections_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [place])
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectionError, match=r"127.0.0.1 cannot be reached"):
            hub.refuse_unknown_host()
        taken.listen()
        hub.refuse_unknown_host()


def test_a_data_set_in_the_cache_is_read_without_asking_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets
    import huggingface_hub

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "nyu-mll___glue").mkdir()
    alone: list[bool] = []

    def load(path: str, config: str, *, split: str, revision: str) -> Any:
        alone.append(
            bool(huggingface_hub.constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE)
        )
        if lacking and alone[-1]:
            raise ConnectionError("not in the cache")
        return datasets.Dataset.from_dict({**rte_rows(6, split), "idx": list(range(6))})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    lacking = False
    hub.read_hub(find_task("rte"), "train", ())
    assert alone == [True]
    lacking = True
    hub.read_hub(find_task("rte"), "train", ())
    assert alone == [True, True, False]
