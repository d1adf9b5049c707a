"""`dtvg methods list`: the transfer methods by name, title and paper."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the `methods` group to the command line."""
    group = commands.add_parser("methods", help="list the transfer methods")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print every method's name, title and paper")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--long", action="store_true", help="also say what each method does")
    form.add_argument("--names", action="store_true", help="only the names, for scripts")
    listing.set_defaults(do=list_methods)


def list_methods(arguments: argparse.Namespace) -> int:
    """Print a method a line: its name, title and paper; maybe less, maybe its summary too."""
    from dtvg.methods.specs import METHODS

    wide = max(map(len, METHODS))
    titles = max(len(spec.title) for spec in METHODS.values())
    for name, spec in METHODS.items():
        if arguments.names:
            print(name)
        elif arguments.long:
            print(f"{name:{wide}}  {spec.title}: {spec.summary} ({spec.paper})")
        else:
            print(f"{name:{wide}}  {spec.title:{titles}}  {spec.paper}")
    return 0
