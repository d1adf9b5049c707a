"""`dtvg demo build|run`: make the embedded default, or train its experiment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add the `demo` group to the command line."""
    group = commands.add_parser("demo", help="the demo's backbone, tasks and experiment")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser(
        "build", help="make the backbone, the tasks and the truth table again"
    )
    build.add_argument(
        "--into", type=Path, help="folder to write (default: the checkout's data/demo)"
    )
    build.set_defaults(do=build_demo)
    run = actions.add_parser("run", help="train the demo experiment and print its table")
    from dtvg.cli.run import ON_HELP, add_options

    add_options(run)
    run.add_argument("--on", metavar="WHERE", help=ON_HELP)
    run.set_defaults(do=run_demo)


def build_demo(arguments: argparse.Namespace) -> int:
    """Build everything under data/demo, with a progress line."""
    from dtvg import paths
    from dtvg.errors import ConfigError

    if arguments.into is None and paths.checkout() is None:
        raise ConfigError(
            "The demo of an installed package cannot be replaced in place; give a folder, e.g. "
            "`dtvg demo build --into demo`."
        )
    from rich.console import Console
    from rich.progress import Progress

    from dtvg.backbones import tiny

    folder = arguments.into or paths.demo()
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("demo", total=1.0)

        def report(what: str, share: float) -> None:
            bars.update(task, description=what, completed=share)

        tiny.build_demo(folder, report)
    print(f"Backbone, tasks and truth table are in {folder}.")
    return 0


def run_demo(arguments: argparse.Namespace) -> int:
    """Train the demo experiment."""
    from dtvg import paths
    from dtvg.cli.run import run_config
    from dtvg.config import load_config

    config = load_config(paths.demo() / "experiment.yaml", arguments.overrides)
    return run_config(config, arguments.runs_dir, arguments.dry_run, arguments.on)
