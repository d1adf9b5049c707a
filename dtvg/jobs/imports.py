"""Importing a prompt as a job: `.pt` files need torch, which the desk never loads."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from dtvg.errors import JobError, StoreError
from dtvg.jobs.launcher import own_command, own_environment

TIMEOUT = 120.0


def run_import(path: Path, options: Sequence[str]) -> str:
    """Run `python -m dtvg prompts import PATH OPTIONS` and return what it printed.

    Raises:
        StoreError: with the command's own sentence, where it refused.
        JobError: the process could not be run or took too long.
    """
    try:
        done = subprocess.run(
            own_command("prompts", "import", str(path), *options),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            env=own_environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"The import could not be run ({error}); try the command line.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["nothing was said"]
        raise StoreError(lines[-1].removeprefix("dtvg: "))
    return done.stdout.strip()
