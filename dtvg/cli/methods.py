"""`python -m dtvg methods list`: the transfer methods by name, title and paper."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the `methods` group to the command line."""
    group = commands.add_parser("methods", help="list the transfer methods")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print every method's name, one a line")
    listing.add_argument("--long", action="store_true", help="with title, summary and paper")
    listing.set_defaults(do=list_methods)


def list_methods(arguments: argparse.Namespace) -> int:
    """Print the names; with `--long` a table."""
    from dtvg.methods.specs import METHODS

    for name, spec in METHODS.items():
        print(f"{name:12}  {spec.title}: {spec.summary} ({spec.paper})" if arguments.long else name)
    return 0
