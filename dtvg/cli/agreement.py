"""`python -m dtvg runs agreement …`: do free answers and label scoring choose the same?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dtvg.cli.places import locate
from dtvg.errors import ConfigError


def add(actions: Any) -> None:
    """Add the action to the group `runs`."""
    made = actions.add_parser(
        "agreement", help="answer a finished run's rows by generation and by label scoring"
    )
    made.add_argument("places", nargs="+", metavar="EXPERIMENT/RUN")
    made.add_argument("--runs-dir", type=Path, help="folder of experiments")
    made.add_argument("--split", choices=("validation", "test"), default="test")
    made.add_argument("--max-examples", type=int, help="rows at most (default: the run's own)")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, ...")
    made.set_defaults(do=agree)


def agree(arguments: argparse.Namespace) -> int:
    """Print scores, seconds and the share of equal answers between ways of evaluation."""
    from rich.console import Console
    from rich.table import Table

    from dtvg.store.reader import open_run
    from dtvg.training.agreement import agreement

    for place in arguments.places:
        experiment, name = locate(place, arguments.runs_dir)
        if name is None:
            raise ConfigError(f"'{place}' is an experiment; name a run, EXPERIMENT/RUN.")
        run = open_run(experiment.path / name)
        found = agreement(run, arguments.split, arguments.max_examples, arguments.device)
        for result in found:
            table = Table(
                "way",
                "score",
                "examples/s",
                *(f"= {name}" for name in result.names),
                title=f"{run.name}: {result.task} {result.split}, {result.n_examples} examples",
                caption="+ = evaluation.constrained; = X: share of examples answered as by X",
                box=None,
            )
            for i, name in enumerate(result.names):
                shares = [f"{100 * share:.1f} %" for share in result.equal[i]]
                rate = result.n_examples / max(result.seconds[i], 1e-9)
                table.add_row(name, f"{result.scores[i]:.4f}", f"{rate:.0f}", *shares)
            Console().print(table)
    return 0
