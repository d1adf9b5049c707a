"""Where things lie on disk: one function per folder, in a checkout and where a wheel is installed.

What is made at run time lies under `home()`; what ships with the product lies beside the package
in a checkout (also an editable install) and inside it where a wheel was installed. No constants,
so that tests can move them with the environment.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs


def _package() -> Path:
    return Path(__file__).resolve().parent


def expanded(path: str | Path) -> Path:
    """Return a path with `~` put in; where nobody has that home folder it stays, as in a shell."""
    return Path(os.path.expanduser(path))


def checkout() -> Path | None:
    """Return the checkout the package is used from; None where it was installed as a wheel.

    A wheel carries the data inside the package (`dtvg/_data`), a checkout beside it.
    """
    package = _package()
    if (package / "_data").is_dir() or not (package.parent / "app.py").is_file():
        return None
    return package.parent


def shipped() -> Path:
    """Return the folder of the data that ship with the product (`data/` of a checkout)."""
    root = checkout()
    return root / "data" if root else _package() / "_data"


def app() -> Path:
    """Return the app's script, beside which lie its `pages/` and `.streamlit/`."""
    root = checkout()
    return (root or _package() / "_app") / "app.py"


def home() -> Path:
    """Return the folder for everything made at run time.

    `DTVG_HOME`; else `data/` of a checkout; else the platform's folder for a person's data.
    """
    given = os.environ.get("DTVG_HOME")
    if given:
        return expanded(given).resolve()
    root = checkout()
    return root / "data" if root else platformdirs.user_data_path("dtvg", appauthor=False)


def mirrored_uri() -> str | None:
    """Return the URI of the storage mirror that is read (`DTVG_RUNS`); None: own runs are."""
    given = os.environ.get("DTVG_RUNS", "").strip()
    return given.rstrip("/") if "://" in given else None


def mirrored() -> Path:
    """Return the folder of the read-only copy of the storage mirror that `DTVG_RUNS` names."""
    digest = hashlib.sha256((mirrored_uri() or "").encode()).hexdigest()[:16]
    return home() / "mirrored" / digest


def runs() -> Path:
    """Return the default folder of experiments.

    The folder that `DTVG_RUNS` names, or the copy of the storage mirror that it names by a URI;
    else `<home>/runs`.
    """
    if mirrored_uri():
        return mirrored() / "runs"
    given = os.environ.get("DTVG_RUNS", "").strip()
    return expanded(given).resolve() if given else own_runs()


def own_runs() -> Path:
    """Return this machine's folder of experiments (`<home>/runs`), whatever is looked at."""
    return home() / "runs"


def prompts() -> Path:
    """Return the prompt bank: `<home>/prompts`, or that of the storage mirror in `DTVG_RUNS`."""
    return mirrored() / "prompts" if mirrored_uri() else own_prompts()


def own_prompts() -> Path:
    """Return this machine's prompt bank (`<home>/prompts`), whatever is looked at."""
    return home() / "prompts"


def datasets() -> Path:
    """Return the folder where data sets are looked for first (`<home>/datasets`)."""
    return home() / "datasets"


def models() -> Path:
    """Return the folder of backbones kept on this machine (`<home>/models`)."""
    return home() / "models"


def compiled() -> Path:
    """Return the folder of compiled layers, which any process may use again (`<home>/compiled`)."""
    return home() / "compiled"


def demo() -> Path:
    """Return the embedded default: the demo's backbone, tasks and truth table."""
    return shipped() / "demo"


def examples() -> Path:
    """Return the folder of recorded experiments, laid out like a runs folder."""
    return shipped() / "examples"


def published() -> Path:
    """Return the folder of numbers from papers, CSV files with their source."""
    return shipped() / "published"
