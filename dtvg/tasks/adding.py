"""Checking and keeping a task that somebody gives as text and files, e.g. on the tasks page.

Checked in a folder of its own first, so that nothing is half imported. Must not import torch,
pandas or streamlit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dtvg import paths
from dtvg.errors import ConfigError, DataError
from dtvg.tasks.checking import Check, check_task
from dtvg.tasks.custom import NAME, parse_description
from dtvg.tasks.files import ENDINGS
from dtvg.tasks.reading import DataSettings

FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._ -]{0,99}")


def check_given(
    name: str, text: str, uploads: Mapping[str, bytes], data: DataSettings, limit: int = 20
) -> Check:
    """Check a description and the files given with it; nothing is kept.

    Args:
        name: of the task; its description may say otherwise.
        text: the YAML.
        uploads: files by name, which lie beside the description.
        data: data seed and label words.
        limit: problems listed at most.

    Raises:
        ConfigError, DataError: for a description or name that cannot be used.
    """
    _allowed(name, uploads)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in uploads.items():
            (Path(folder) / file).write_bytes(content)
        # what is not given now may lie in the folder of descriptions already
        for there in (paths.home() / "tasks").glob("*"):
            if there.suffix in ENDINGS and there.name not in uploads:
                (Path(folder) / there.name).symlink_to(there)
        try:
            spec = parse_description(text, Path(folder) / f"{name}.yaml")
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{folder}/", "")) from None
        done = check_task(spec, data, limit)
        named = tuple(problem.replace(f"{folder}/", "") for problem in done.problems)
        return replace(done, problems=named)


def keep_given(name: str, text: str, uploads: Mapping[str, bytes], data: DataSettings) -> Path:
    """Keep a description and its files under `<home>/tasks`, if everything about them is right.

    Returns:
        The description's file.

    Raises:
        ConfigError, DataError: if there is a problem, or something of that name is there.
    """
    done = check_given(name, text, uploads, data)
    if not done.sound:
        raise DataError(done.problems[0])
    from dtvg.tasks.spec import all_tasks

    folder = paths.home() / "tasks"
    path = folder / f"{done.spec.name}.yaml"
    if done.spec.name in all_tasks() or path.exists():
        raise ConfigError(f"There is a task '{done.spec.name}' already; give yours another name.")
    there = [file for file in uploads if (folder / file).exists()]
    if there:
        raise ConfigError(f"'{folder / there[0]}' is there already; give your file another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in uploads.items():
            (folder / file).write_bytes(content)
        path.write_text(text, encoding="utf-8")  # last, so that it never names what is not there
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written ({error.strerror}).") from None
    return path


def _allowed(name: str, uploads: Mapping[str, bytes]) -> None:
    """Refuse names that leave the folder or are no data files."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"Task name '{name}' cannot be used; take 1-80 characters of a-z, 0-9, '.', '_' and "
            "'-', not starting with '.'."
        )
    for file in uploads:
        if not FILE.fullmatch(file) or Path(file).suffix not in ENDINGS:
            raise DataError(
                f"'{file[:100]}' cannot be taken; give files called like train.csv, of "
                f"{', '.join(ENDINGS)}."
            )
