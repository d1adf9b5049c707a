"""`dtvg runs export` and `dtvg runs import`: a table, or a whole experiment as one file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dtvg.cli.places import locate
from dtvg.errors import ConfigError


def add(
    action: Any, tables: Sequence[str], export_table: Callable[[argparse.Namespace], int]
) -> None:
    """Add both actions to `runs`.

    Args:
        action: makes one.
        tables: that can be written.
        export_table: writes one.
    """
    self_made = export(export_table)
    out = action("export", "write a table, or with --to the whole experiment", self_made, "+")
    out.add_argument("--table", choices=tables, default="steps", help="default: steps")
    where = out.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="a .csv or .parquet file for the table")
    where.add_argument(
        "--to", type=Path, metavar="FILE.zip", help="everything of an experiment, with digests"
    )
    back = action("import", "import an experiment that `runs export --to` wrote", bring)
    back.add_argument("file", type=Path, metavar="FILE.zip")
    back.add_argument("--name", help="a new name for it")


def export(
    export_table: Callable[[argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    """Return what `runs export` does: a table with --out, an experiment with --to."""

    def do(arguments: argparse.Namespace) -> int:
        if arguments.to is None:
            return export_table(arguments)
        from dtvg.analysis.words import counted
        from dtvg.cli.out import check_out
        from dtvg.exchange.experiments import pack
        from dtvg.store.files import size_text

        if (
            len(arguments.places) != 1
            or (found := locate(arguments.places[0], arguments.runs_dir))[1]
        ):
            raise ConfigError("--to takes one whole experiment; name one, without a run.")
        check_out(arguments.to, "--to", (".zip",))
        made = pack(found[0], arguments.to)
        size = f"{counted(made.files, 'file')}, {size_text(made.size)}"
        print(f"{found[0].name}: {size}, in '{made.path}'")
        if made.tasks:
            kind = "task travels" if len(made.tasks) == 1 else "tasks travel"
            print(f"Your {kind} with it: {', '.join(made.tasks)}.")
        if made.without_data:
            why = "a file is not there, or they have more than 1 GiB"
            print(f"Their data do not, of {', '.join(made.without_data)} ({why}).")
        return 0

    return do


def bring(arguments: argparse.Namespace) -> int:
    """Import an experiment."""
    from dtvg import paths
    from dtvg.exchange.experiments import bring as take

    made = take(arguments.file, arguments.runs_dir or paths.runs(), arguments.name, print)
    print(f"{made.name}: every file is as its SHA-256 says; it is in '{made.path}'.")
    return 0
