"""Where things lie on disk: one function per folder, all under `home()`.

`DTVG_HOME` moves everything that is made at run time; what the repository ships
(`data/demo`, `data/examples`, `data/published`) stays beside the package. No constants, so
that tests can move them with the environment.
"""

from __future__ import annotations

import os
from pathlib import Path


def shipped() -> Path:
    """Return the repository's `data/` folder, which holds what ships with the product."""
    return Path(__file__).resolve().parent.parent / "data"


def home() -> Path:
    """Return the folder for everything made at run time (`DTVG_HOME`, default `data/`)."""
    given = os.environ.get("DTVG_HOME")
    return Path(given).expanduser().resolve() if given else shipped()


def runs() -> Path:
    """Return the default folder of experiments (`<home>/runs`)."""
    return home() / "runs"


def prompts() -> Path:
    """Return the prompt bank (`<home>/prompts`)."""
    return home() / "prompts"


def datasets() -> Path:
    """Return the folder where data sets are looked for first (`<home>/datasets`)."""
    return home() / "datasets"


def demo() -> Path:
    """Return the embedded default: the demo's backbone, tasks and truth table."""
    return shipped() / "demo"


def examples() -> Path:
    """Return the folder of recorded experiments, laid out like a runs folder."""
    return shipped() / "examples"


def published() -> Path:
    """Return the folder of numbers from papers, CSV files with their source."""
    return shipped() / "published"
