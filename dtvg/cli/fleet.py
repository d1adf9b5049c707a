"""`dtvg fleet`: machines, what trains where, what waits for what; `dtvg fleet free ON`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtvg.cli.places import RUNS_DIR
from dtvg.errors import ConfigError


def add(commands: Any) -> None:
    """Add the `fleet` command to the command line."""
    command = commands.add_parser("fleet", help="what trains on which machine, and what waits")
    command.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all")
    command.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    command.add_argument(
        "--free", metavar="WHERE", help="what is there: local, ray, ray://…, slurm"
    )
    command.set_defaults(do=show)


def show(arguments: argparse.Namespace) -> int:
    """Print the tables that have rows."""
    if arguments.free and arguments.experiments:
        raise ConfigError("--free lists machines, whatever trains; leave experiments out.")
    if arguments.free:
        return _free(arguments.free)
    from dtvg.analysis.overview.fleet import COLUMNS, fleet_info
    from dtvg.cli.terminal import print_rows

    info = fleet_info(*_named(arguments.experiments, arguments.runs_dir))
    print(info.sentence)
    for problem in info.problems:
        print(problem)
    for name in COLUMNS:
        rows = getattr(info, name)
        if not rows.empty:
            cells = [[_cell(value) for value in row] for row in rows.itertuples(index=False)]
            print()
            print_rows(list(rows.columns), cells, name, wrapped=("why",))
    return 0


def _named(places: Sequence[str], runs_dir: Path | None) -> tuple[Path, list[str] | None]:
    """Return the folder of experiments and the names of those that were asked for; None: all.

    Raises:
        StoreError: there is no such experiment.
        ConfigError: they lie in several folders, or a run is named.
    """
    from dtvg import paths
    from dtvg.cli.places import locate_whole

    if not places:
        return runs_dir or paths.runs(), None
    found = [locate_whole(place, runs_dir).path for place in places]
    roots = {path.parent for path in found}
    if len(roots) > 1:
        raise ConfigError(
            f"The experiments lie in {len(roots)} folders; name those of one folder at a time."
        )
    return roots.pop(), [path.name for path in found]


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
