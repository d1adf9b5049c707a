"""Optional packages: which extra of the installation brings each, and one sentence without it.

Imports nothing of the package but errors.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from dtvg.errors import ConfigError

EXTRAS = {
    "app": ("streamlit", "plotly"),
    "images": ("kaleido", "plotly"),
    "nlg": ("rouge_score", "sacrebleu", "nltk"),
    "quantized": ("bitsandbytes", "accelerate"),
    "gguf": ("gguf", "accelerate"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "s3": ("s3fs",),
    "gs": ("gcsfs",),
    "abfs": ("adlfs",),
    "sftp": ("paramiko",),
    "server": ("streamlit", "plotly", "authlib"),
}
"""Extra of `pyproject.toml` → the modules that come with it."""


def missing(extra: str) -> list[str]:
    """Return the modules of an extra that are not installed."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def command(extra: str) -> str:
    """Return what installs an extra: beside the checkout that is used, else into what is installed.

    Args:
        extra: one of `EXTRAS`.
    """
    installed = (Path(__file__).parent / "_data").is_dir()  # a wheel carries its data
    return f"pip install 'dtvg[{extra}]'" if installed else f"pip install -e '.[{extra}]'"


def require(extra: str, what: str) -> None:
    """Refuse what needs an extra that is not installed.

    Args:
        extra: one of `EXTRAS`.
        what: what needs it, the subject of the sentence, e.g. "The app".

    Raises:
        ConfigError: a package of the extra is missing.
    """
    lacking = missing(extra)
    if lacking:
        names = " and ".join(name.replace("_", "-") for name in lacking)
        raise ConfigError(
            f"{what} needs {names}, which {'is' if len(lacking) == 1 else 'are'} not installed; "
            f"`{command(extra)}` installs what is missing."
        )
