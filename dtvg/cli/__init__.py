"""The command line: one module per group of commands, each with `add(commands)`.

Only this package prints. Modules import what they need inside their functions, so that
`python -m dtvg --help` is instant and needs no torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from dtvg.errors import DtvgError

GROUPS = ("run", "demo", "runs", "queue", "tasks", "methods", "backbones", "prompts")
"""Modules of this package, in the order `--help` shows them."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all command groups."""
    top = argparse.ArgumentParser(
        prog="python -m dtvg",
        description="Dynamic task vector grouping: train, inspect and compare prompt transfer.",
    )
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens inside")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in GROUPS:
        importlib.import_module(f"dtvg.cli.{name}").add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (2 for something a person can mend)."""
    # two spinning threads on busy cores run many times slower; must be set before torch loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = parser().parse_args(argv)
    level = logging.DEBUG if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(arguments.do(arguments) or 0)
    except DtvgError as error:
        print(f"dtvg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dtvg: interrupted; `python -m dtvg runs resume` goes on.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
