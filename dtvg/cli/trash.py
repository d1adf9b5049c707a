"""`python -m dtvg runs delete|restore|trash`: move runs to the trash and back."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from dtvg.cli.places import locate


def add(actions: Any) -> None:
    """Add the three actions to `runs`."""
    remove = actions.add_parser("delete", help="move experiments or runs to the trash")
    remove.add_argument("places", nargs="+", metavar="EXPERIMENT[/RUN]")
    remove.add_argument("--runs-dir", type=Path, help="folder of experiments")
    remove.set_defaults(do=delete)
    back = actions.add_parser("restore", help="put something back from the trash")
    back.add_argument("names", nargs="+", metavar="NAME")
    back.set_defaults(do=restore)
    actions.add_parser("trash", help="what is in the trash").set_defaults(do=show)


def delete(arguments: argparse.Namespace) -> int:
    """Move things to the trash; each says how to get it back."""
    from dtvg.store import trash

    for place in arguments.places:
        made = trash.delete(*locate(place, arguments.runs_dir))
        print(f"{made.name}: deleted; `python -m dtvg runs restore {made.id}` puts it back.")
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Put things back."""
    from dtvg.store import trash

    for name in arguments.names:
        made = trash.restore(name)
        print(f"{made.name}: back in '{made.origin}'.")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print what is in the trash."""
    from dtvg.store import trash

    found = trash.deleted()
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.time))
        print(f"{one.id:<60} {one.name}  deleted {when}")
    if not found:
        print(f"The trash ('{trash.root()}') is empty.")
    return 0
