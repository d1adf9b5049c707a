"""`dtvg claims EXPERIMENT…`: the paper's claims, each as a number with interval and verdict."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.cli.compare import add_apart, pooled_runs
from dtvg.cli.places import RUNS_DIR

if TYPE_CHECKING:
    from dtvg.analysis.claims.info import ClaimsInfo

STYLES = {"supported": "green", "contradicted": "red", "cannot tell": "dim"}


def add(commands: Any) -> None:
    """Add the `claims` command to the command line."""
    made = commands.add_parser(
        "claims",
        help="test the paper's claims on recorded experiments",
        description="Each claim of the paper as a number computed from stored runs, with its "
        "interval and verdict (docs/claims.md). Experiments that differ in targets, methods and "
        "seeds alone are read together.",
    )
    made.add_argument("places", nargs="+", metavar="EXPERIMENT")
    add_apart(made)
    made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    made.add_argument(
        "--margin",
        type=float,
        metavar="POINTS",
        help="difference of scores that would matter (default: as declared, else 1)",
    )
    made.add_argument(
        "--format", choices=("table", "csv", "json", "md", "latex", "parquet"), default="table"
    )
    made.add_argument(
        "--parts",
        action="store_true",
        help="every comparison of every claim: below the claims (table, md), in their place (csv, "
        "parquet); json always has them, latex cannot",
    )
    made.add_argument(
        "--out", type=Path, help="file to write, a table as Markdown (default: print)"
    )
    made.set_defaults(do=claims)


def claims(arguments: argparse.Namespace) -> int:
    """Compute the claims and print or write them."""
    from dtvg.analysis.claims.info import claims_info
    from dtvg.cli.out import check_out, written
    from dtvg.errors import ConfigError
    from dtvg.export import check_parts, claims_text

    if arguments.out is not None:
        check_out(arguments.out)
    if arguments.margin is not None and not 0 <= arguments.margin <= 100:
        raise ConfigError(f"--margin takes points from 0 to 100, got {arguments.margin:g}.")
    if arguments.parts:
        check_parts(arguments.format)
    found, said = pooled_runs(arguments.places, arguments.runs_dir, arguments.apart)
    margin = None if arguments.margin is None else arguments.margin / 100
    info = claims_info(found, margin)
    info = replace(info, notes=(*said, *info.notes))
    title = ", ".join(dict.fromkeys(r.experiment for r in found))
    if arguments.format == "table" and arguments.out is None:
        _print(info, title, arguments.parts)
        return 0
    if arguments.format == "parquet":
        if arguments.out is None:
            raise ConfigError("Parquet is not text; name the file to write with --out.")
        content = bytes((info.parts if arguments.parts else info.table).to_parquet(index=False))
    else:
        form = "md" if arguments.format == "table" else arguments.format
        text = claims_text(info, form, arguments.parts, title)
        if arguments.out is None:
            print(text, end="")
            return 0
        content = text.encode()
    written(arguments.out, content)
    print(f"The claims on {title} are in {arguments.out}.")
    return 0


def _print(info: ClaimsInfo, title: str, parts: bool) -> None:
    """Print the claims in the terminal: a table, then a sentence for each."""
    from rich.markup import escape
    from rich.table import Table

    from dtvg.analysis.claims.lines import claims_shown, parts_shown
    from dtvg.cli.terminal import console_for_tables, whole

    console = console_for_tables()
    frame = claims_shown(info).drop(columns="what it would take")
    table = Table(*map(escape, frame.columns), title=escape(f"The claims on {title}"))
    for claim, row in zip(info.claims, frame.to_numpy(), strict=True):
        cells = [escape(str(cell)) for cell in row]
        cells[2] = f"[{STYLES[claim.verdict]}]{cells[2]}[/]"
        table.add_row(*cells)
    console.print(whole(table))
    for claim in info.claims:
        said = " ".join(filter(None, (claim.wording.statement, claim.found, claim.takes)))
        console.print(f"[bold]({claim.key})[/] {escape(said)}", highlight=False)
        if parts and len(claim.parts):
            shown = parts_shown(claim)
            of_claim = Table(*map(escape, shown.columns))
            for row in shown.to_numpy():
                of_claim.add_row(*(escape(str(cell)) for cell in row))
            console.print(whole(of_claim))
    console.print(escape("\n".join(info.notes)), highlight=False)
