"""Where things lie: in a checkout, where a wheel is installed, and where DTVG_HOME says."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg import paths

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A person's folder, and no DTVG_HOME."""
    monkeypatch.delenv("DTVG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return tmp_path


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A package as a wheel lays it out."""
    package = folder / "site-packages" / "dtvg"
    (package / "_data").mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    return package


def test_a_checkout_uses_its_own_data_and_app(no_home: Path) -> None:
    assert paths.checkout() == ROOT
    assert paths.home() == paths.shipped() == ROOT / "data"
    assert paths.app() == ROOT / "app.py"
    assert (paths.demo() / "experiment.yaml").is_file() and paths.examples().is_dir()


def test_an_installed_wheel_writes_to_a_folder_of_the_person(
    no_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = installed(monkeypatch, no_home)
    assert paths.checkout() is None
    assert paths.shipped() == package / "_data"
    assert paths.app() == package / "_app" / "app.py"
    assert paths.home().name == "dtvg" and paths.home().is_relative_to(no_home)
    assert not paths.home().is_relative_to(package)
    for folder in (paths.runs(), paths.prompts(), paths.datasets()):
        assert folder.parent == paths.home()


def test_a_file_app_py_beside_an_installed_package_makes_no_checkout(
    no_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = installed(monkeypatch, no_home)
    (package.parent / "app.py").write_text("")
    assert paths.checkout() is None


@pytest.mark.parametrize("wheel", [False, True])
def test_the_home_that_is_given_wins(
    wheel: bool, no_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wheel:
        installed(monkeypatch, no_home)
    monkeypatch.setenv("DTVG_HOME", "~/mine")
    assert paths.home() == no_home / "mine" and paths.runs() == no_home / "mine" / "runs"
