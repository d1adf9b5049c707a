"""The command line: one module per group of commands, each with `add(commands)`.

Only this package prints. Modules import what they need inside their functions, so that
`dtvg --help` is instant and needs no torch.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dtvg import paths
from dtvg.errors import ConfigError, DtvgError, unknown
from dtvg.version import __version__

GROUPS = (
    "app",
    "run",
    "tune",
    "demo",
    "runs",
    "claims",
    "queue",
    "tasks",
    "methods",
    "backbones",
    "prompts",
    "fleet",
    "alerts",
    "cohort",
)
"""Modules of this package, in the order `--help` shows them."""


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what it cannot read."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and end with status 2."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` shows what it accepts.\n")


def parser() -> argparse.ArgumentParser:
    """Build the parser of all command groups."""
    top = _Parser(
        prog="dtvg",
        description="Dynamic task vector grouping: train, inspect and compare prompt transfer.",
    )
    top.add_argument(
        "-v", "--verbose", action="store_true", help="write a detailed log to the terminal"
    )
    top.add_argument("--version", action="version", version=f"dtvg {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in GROUPS:
        importlib.import_module(f"dtvg.cli.{name}").add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (2 for something a person can fix)."""
    # two spinning threads on busy cores run many times slower; must be set before torch loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a sign that the encoding lacks ends no command
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return _command(argv)
    except BrokenPipeError:  # who read, as `head`, has enough
        return 0
    except DtvgError as error:
        print(f"dtvg: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a disk that is full, read-only or somebody else's
        what = f"'{error.filename}'" if error.filename else "A file"
        print(
            f"dtvg: {what} cannot be read or written ({error.strerror or error}); free some space, "
            "or set DTVG_HOME to a folder that can be written.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        goes_on = "; `dtvg runs resume` continues" if _trains(argv) else ""
        print(f"dtvg: interrupted{goes_on}.", file=sys.stderr)
        return 130
    finally:
        _let_go()


def _command(argv: Sequence[str]) -> int:
    """Run one command; what it printed is written when it returns."""
    _check_command(argv)
    top = parser()
    arguments, more = top.parse_known_args(argv)
    if arguments.command == "app":
        arguments.streamlit = more
    elif more:
        top.error(f"unrecognized arguments: {' '.join(more)}")
    for name, value in vars(arguments).items():
        if isinstance(value, Path):  # shells leave the ~ of --out=~/a.csv
            setattr(arguments, name, paths.expanded(value))
    level = logging.DEBUG if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    if os.environ.get("DTVG_RUNS"):
        importlib.import_module("dtvg.cli.storage").look(arguments)
    status = int(arguments.do(arguments) or 0)
    if sys.stdout is not None:
        sys.stdout.flush()
    return status


def _trains(argv: Sequence[str]) -> bool:
    """Whether a command trains, so that what it began can be resumed."""
    words = [a for a in argv if not a.startswith("-")]
    return words[:1] in (["run"], ["tune"], ["cohort"]) or words[:2] in (
        ["demo", "run"], ["runs", "resume"]
    )  # fmt: skip


def _let_go() -> None:
    """Drop what nobody reads or no disk takes, so that Python does not try again as it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def _check_command(argv: Sequence[str]) -> None:
    """Refuse a command there is not, with the nearest one.

    Raises:
        ConfigError: the first word is not a command.
    """
    word = next((a for a in argv if not a.startswith("-")), None)
    if word is not None and word not in GROUPS:
        raise ConfigError(unknown("command", word, GROUPS, "`dtvg --help` describes them."))
