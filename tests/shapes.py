"""What is checked of arrays under pytest: each shape and type that a signature or record names.

Only array annotations are checked, so that a test may hand anything else a double or a wrong word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
from beartype import beartype
from jaxtyping import AbstractArray, config, install_import_hook

ROOT = Path(__file__).resolve().parent.parent
MENTION = re.compile(r"^(from jaxtyping import|import numpy\.typing|from numpy\.typing)", re.M)


def modules() -> list[str]:
    """Return the names of the package's modules that annotate arrays."""
    files = [p for p in sorted((ROOT / "dtvg").rglob("*.py")) if MENTION.search(p.read_text())]
    return [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files]


def install() -> None:
    """Check arrays from now on, in every module that is imported after this."""
    install_import_hook(modules(), "tests.shapes.checked")


@contextmanager
def unchecked(off: bool = True) -> Iterator[None]:
    """Check no shapes where a law is tried over and over: it made those tests a hundred times
    slower."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", before or off)
    yield
    config.update("jaxtyping_disable", before)


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that checks its arrays; it loses its other annotations."""
    hints = function.__annotations__
    function.__annotations__ = {k: h if _tells_array(h) else Any for k, h in hints.items()}
    return beartype(function)


def _tells_array(hint: Any) -> bool:
    """Whether an annotation names an array, itself or in a container or union."""
    if get_origin(hint) is np.ndarray:
        return True
    if isinstance(hint, type) and not get_args(hint):
        return issubclass(hint, AbstractArray)
    return any(_tells_array(part) for part in get_args(hint))
