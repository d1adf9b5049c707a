"""`dtvg tune FILE.yaml --on TASK`: choose every method's rates on a development target."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtvg.tuning import Trials, Tuning


def add(commands: Any) -> None:
    """Add the `tune` command to the command line."""
    from dtvg.cli.run import add_options

    command = commands.add_parser(
        "tune", help="choose the rates of an experiment's methods on a development target"
    )
    command.add_argument("file", type=Path, help="configuration of the experiment to be tuned")
    command.add_argument(
        "--on", required=True, metavar="TASK[,TASK]", help="development targets, none of its own"
    )
    command.add_argument("--trials", type=int, help="trials of each method (default: 8)")
    command.add_argument(
        "--span", type=float, help="times higher and lower that the trials reach (default: 10)"
    )
    command.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="METHOD.FIELD=V,V",
        help="values to try instead, e.g. attempt.lr=0.1,0.3 (repeatable; equally many for all)",
    )
    command.add_argument("--seeds", help="seeds of the trials (default: the experiment's first)")
    command.add_argument("--name", help="name of the tuning experiment (default: NAME-tune)")
    command.add_argument(
        "--out", type=Path, help="file to write with the chosen rates (default: the file itself)"
    )
    add_options(command)
    command.set_defaults(do=tune)


def tune(arguments: argparse.Namespace) -> int:
    """Train the trials, choose, and write the rates into the file."""
    from dtvg import paths, tuning
    from dtvg.cli.out import check_out, written
    from dtvg.cli.run import plan_only
    from dtvg.config import load_config
    from dtvg.errors import ConfigError
    from dtvg.jobs.readiness import require_tasks

    if arguments.out is not None:
        check_out(arguments.out)
    if arguments.grid and (arguments.trials is not None or arguments.span is not None):
        raise ConfigError("--grid says what is tried; leave --trials and --span out, or --grid.")
    config = load_config(arguments.file, arguments.overrides)
    if arguments.out is None and any(o.startswith("methods") for o in arguments.overrides):
        raise ConfigError(
            "--set changes the methods, so the file's own would be overwritten by others; name a "
            "file to write with --out."
        )
    trials = tuning.trials_of(
        config,
        [task.strip() for task in arguments.on.split(",") if task.strip()],
        tuning.TRIALS if arguments.trials is None else arguments.trials,
        tuning.SPAN if arguments.span is None else arguments.span,
        _grid(arguments.grid),
        _seeds(arguments.seeds),
        arguments.name,
    )
    require_tasks(trials.config)
    if arguments.dry_run:
        return plan_only(trials.config, trials.config.scale, arguments.runs_dir or paths.runs())
    made = run_trials(trials, arguments.runs_dir)
    _print(made, trials)
    text = arguments.file.read_text(encoding="utf-8")
    out = arguments.out or arguments.file
    written(out, tuning.written_into(text, made.chosen, config).encode())
    print(f"The chosen rates are in {out}, with where they came from.")
    return 0


def run_trials(trials: Trials, runs_dir: Path | None, progress: bool = True) -> Tuning:
    """Train what is unfinished of the trials, then choose.

    Args:
        trials: what is tried.
        runs_dir: folder of experiments; None: the default.
        progress: show progress bars.

    Raises:
        DtvgError: as `make`, `train` and `choose`.
    """
    from dtvg import paths, tuning
    from dtvg.cli.run import make, train
    from dtvg.store.reader import open_experiment

    scale = trials.config.scale
    experiment = make(trials.config, scale, runs_dir or paths.runs())
    train(experiment, scale, quiet=not progress)
    return tuning.choose(trials, open_experiment(experiment.path))


def _grid(texts: list[str]) -> dict[str, dict[str, list[float]]] | None:
    """Read `METHOD.FIELD=V,V`; None where nothing is given."""
    from dtvg.errors import ConfigError

    found: dict[str, dict[str, list[float]]] = {}
    for text in texts:
        place, equals, values = text.partition("=")
        method, dot, field = place.strip().partition(".")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not equals or not dot or not numbers:
            raise ConfigError(f"'{text}' is no grid of rates; write attempt.lr=0.1,0.3.")
        found.setdefault(method, {})[field] = numbers
    return found or None


def _seeds(text: str | None) -> list[int] | None:
    from dtvg.config import ExperimentConfig, settings_path
    from dtvg.errors import ConfigError

    if text is None:
        return None
    found = settings_path.parse(settings_path.find("seeds", ExperimentConfig), text)
    if not isinstance(found, list) or not all(isinstance(seed, int) for seed in found):
        raise ConfigError(f"'{text}' is no list of seeds; write 0,1 or 0-4.")
    return found


def _print(made: Tuning, trials: Trials) -> None:
    """Print every trial with what it scored; the chosen one is marked."""
    from rich.table import Table

    from dtvg.analysis.words import counted
    from dtvg.cli.terminal import console_for_tables, whole

    shown = made.table.drop(columns="chosen")
    title = f"{counted(trials.count, 'trial')} of each method on {', '.join(trials.on)}"
    table = Table(*shown.columns, title=title)
    for row, chosen in zip(shown.to_dict("records"), made.table["chosen"], strict=True):
        cells = [_cell(value) for value in row.values()]
        table.add_row(*cells, style="bold" if chosen else None)
    console = console_for_tables()
    console.print(whole(table))
    console.print("Scores and losses are of the validation rows; the chosen trials are bold.")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)
