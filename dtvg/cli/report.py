"""`python -m dtvg runs report EXPERIMENT[/RUN] --out FILE.html`: a report that opens offline."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(actions: Any) -> None:
    """Add the `report` action to the `runs` group."""
    made = actions.add_parser("report", help="write chosen views as one HTML file")
    made.add_argument("place", metavar="EXPERIMENT[/RUN]")
    made.add_argument("--out", type=Path, required=True, help="the .html file to write")
    made.add_argument(
        "--views",
        help="comma-separated: scores, curves, transfer, subsets, membership, combinations, "
        "explain",
    )
    made.add_argument("--step", type=int, help="step to explain (default: the newest)")
    made.add_argument("--runs-dir", type=Path, help="folder of experiments")
    made.set_defaults(do=write_report)


def write_report(arguments: argparse.Namespace) -> int:
    """Build the report and write it."""
    from dtvg.extras import require

    require("app", "An HTML report")
    from dtvg import report
    from dtvg.cli.places import locate
    from dtvg.store.files import replace_bytes
    from dtvg.store.reader import open_experiment, open_run

    place, name = locate(arguments.place, arguments.runs_dir)
    experiment = open_experiment(place.path)
    run = open_run(place.path / name) if name else report.typical_run(experiment)
    views = arguments.views.split(",") if arguments.views else tuple(report.VIEWS)
    text = report.build_report(experiment, run, [v.strip() for v in views], arguments.step)
    replace_bytes(arguments.out, text.encode())
    print(f"Report of {experiment.name} is in {arguments.out} ({len(text) / 1e6:.1f} MB).")
    return 0
