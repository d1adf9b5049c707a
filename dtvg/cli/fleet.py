"""`dtvg fleet`: machines, what trains where, what waits for what; `dtvg fleet free ON`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the `fleet` command to the command line."""
    command = commands.add_parser("fleet", help="what trains on which machine, and what waits")
    command.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all")
    command.add_argument("--runs-dir", type=Path, help="folder of experiments")
    command.add_argument(
        "--free", metavar="WHERE", help="what is there: local, ray, ray://…, slurm"
    )
    command.set_defaults(do=show)


def show(arguments: argparse.Namespace) -> int:
    """Print the tables that have rows."""
    if arguments.free:
        return _free(arguments.free)
    from rich.console import Console
    from rich.table import Table

    from dtvg import paths
    from dtvg.analysis.overview.fleet import COLUMNS, fleet_info

    info = fleet_info(arguments.runs_dir or paths.runs(), arguments.experiments or None)
    console = Console()
    print(info.sentence)
    for problem in info.problems:
        print(problem)
    for name in COLUMNS:
        rows = getattr(info, name)
        if rows.empty:
            continue
        table = Table(*rows.columns, title=name)
        for row in rows.itertuples(index=False):
            table.add_row(*(_cell(value) for value in row))
        console.print(table)
    return 0


def _free(on: str) -> int:
    """Print a line per machine of an engine."""
    from dtvg.config import ScaleConfig
    from dtvg.scale.driver import placed, places_of

    for place in places_of(placed(ScaleConfig(), on)):
        print(f"{place.host}: {place.title}, {place.state}")
    return 0


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
