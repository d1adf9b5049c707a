"""Wheels of this checkout, and environments of their own to install them in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs the build backend (requirements-dev.txt)")
ROOT = Path(__file__).resolve().parents[2]


def call(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command to its end; return what it printed."""
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Place:
    """An environment with the product installed, and somewhere else to stand."""

    python: Path
    folder: Path

    @property
    def command(self) -> Path:
        """The console script."""
        return self.python.with_name("dtvg")

    @property
    def packages(self) -> Path:
        """Where the product is installed."""
        return next((self.python.parents[1] / "lib").glob("python*/site-packages"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a person who set none: neither PYTHONPATH nor DTVG_HOME."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DTVG_HOME")}
        home = self.folder / "person"
        home.mkdir(exist_ok=True)
        kept |= {"HOME": str(home), "XDG_DATA_HOME": str(home / "share"), "OMP_NUM_THREADS": "1"}
        return kept | {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def dtvg(self, *words: object) -> str:
        """Call the console script from this folder."""
        return call(self.command, *words, cwd=self.folder, env=self.environment)

    def ask(self, code: str) -> str:
        """Run Python code from this folder, with no checkout in its search path."""
        return call(self.python, "-P", "-c", code, cwd=self.folder, env=self.environment).strip()

    def files(self) -> dict[str, tuple[int, int]]:
        """Size and time of every installed file."""
        found = (p for p in self.packages.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Run `dtvg app` on a free port; yield its address once it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with (self.folder / "app.log").open("wb") as log:
            server = subprocess.Popen(
                [str(self.command), "app", "--port", str(port)],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{url}/_stcore/health", timeout=1)
                    break
                except (urllib.error.URLError, OSError):
                    assert server.poll() is None, (self.folder / "app.log").read_text()
                    time.sleep(0.25)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def environment(folder: Path, borrow: bool = True) -> Place:
    """Make a fresh environment.

    Args:
        folder: where.
        borrow: let it use the packages of the one that runs the tests, instead of its own.
    """
    venv.create(folder / "venv", with_pip=not borrow)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    place = Place(folder / "venv" / "bin" / "python", elsewhere)
    if borrow:
        paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (place.packages / "borrowed.pth").write_text("\n".join(sorted(paths)))
    return place


def install(place: Place, what: object, *options: str) -> None:
    """Install one thing and nothing it depends on."""
    pip = [sys.executable, "-m", "pip", "--python", place.python, "install", "--no-deps"]
    call(*pip, "--no-index", "--no-build-isolation", "--ignore-installed", "-q", *options, what)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("built")
    build = (sys.executable, "-m", "hatchling", "build", "-d", folder, "-t")
    call(*build, "sdist", cwd=ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    call(*build, "wheel", cwd=next(p for p in folder.iterdir() if p.is_dir()))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel in an environment of its own that borrows the packages it needs."""
    place = environment(tmp_path_factory.mktemp("installed"))
    install(place, wheel)
    return place
