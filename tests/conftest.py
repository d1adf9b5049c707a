"""What every test gets: checked shapes, a home, one thread, and the development data or a skip."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import shapes

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

EXAMPLES = int(os.environ.get("DTVG_EXAMPLES", "20"))
"""Random examples of each law; DTVG_EXAMPLES=200 searches longer."""
settings.register_profile("dtvg", deadline=None, derandomize=True, max_examples=EXAMPLES)
settings.load_profile("dtvg")

shapes.install()  # before anything of the package is imported

SHAPES = os.environ.get("DTVG_SHAPES", "some")
"""`some` checks arrays where each function is met once, `all` everywhere, in three times the
time."""
CHECKED = [
    "methods",
    "rule",
    "backbones",
    "exchange",
    "store",
    "figures",
    "test_shapes.py",
    "training/test_experiment.py",
    "training/test_more_methods.py",
]

ROOT = Path(__file__).resolve().parent.parent


LONGEST = ["browser", "wheel", "jobs", "training/test_more_methods.py", "training/test_resume.py"]
"""Begun first, so that no worker has to end one of them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin the longest modules first."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests")
        return next((i for i, p in enumerate(LONGEST) if path.is_relative_to(p)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Check the shapes of arrays in some tests, and in what their fixtures make."""
    path = item.path.relative_to(ROOT / "tests")
    on = SHAPES == "all" or any(path.is_relative_to(place) for place in CHECKED)
    with shapes.unchecked(not on):
        return (yield)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything made at run time goes to a folder of this test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DTVG_HOME", str(home))
    return home


@pytest.fixture(autouse=True, scope="session")
def no_search_for_components() -> Iterator[None]:
    """Starting a page looks for components in all installed packages, half a second each time;
    the app has none of others."""
    try:
        from streamlit.components.v2 import manifest_scanner
    except ModuleNotFoundError:  # a machine that only trains
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda *a, **k: [])
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The development data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("DTVG_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data in {folder} (DTVG_SHARED)")
    return folder
