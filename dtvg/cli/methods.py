"""`dtvg methods list`: the transfer methods by name, title and paper."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from dtvg.methods.specs import MethodConfig


def add(commands: Any) -> None:
    """Add the `methods` group to the command line."""
    group = commands.add_parser("methods", help="list the transfer methods")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print every method's name, title and paper")
    form = listing.add_mutually_exclusive_group()
    form.add_argument(
        "--long", action="store_true", help="also say what each method does, and its settings"
    )
    form.add_argument("--names", action="store_true", help="only the names, for scripts")
    listing.set_defaults(do=list_methods)


def list_methods(arguments: argparse.Namespace) -> int:
    """Print a method a line: its name, title and paper; maybe less, maybe its summary and its
    settings too."""
    from dtvg.methods.specs import METHODS

    wide = max(map(len, METHODS))
    titles = max(len(spec.title) for spec in METHODS.values())
    for name, spec in METHODS.items():
        if arguments.names:
            print(name)
        elif arguments.long:
            print(f"{name:{wide}}  {spec.title}: {spec.summary} ({spec.paper}){_settings(spec)}")
        else:
            print(f"{name:{wide}}  {spec.title:{titles}}  {spec.paper}")
    return 0


def _settings(spec: type[MethodConfig]) -> str:
    """Name a method's settings, and what those take that choose among words."""
    named = []
    for name, field in spec.model_fields.items():
        words = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if name != "name":
            named.append(f"{name} ({', '.join(map(str, words))})" if words else name)
    return f"; settings: {', '.join(named)}" if named else ""
