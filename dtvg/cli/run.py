"""`dtvg run FILE.yaml`: train an experiment in the foreground and print its table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.cli.places import RUNS_DIR, command_name

if TYPE_CHECKING:
    from dtvg.config import ExperimentConfig, ScaleConfig
    from dtvg.plan import Plan
    from dtvg.store.layout import ExperimentDir


ON_HELP = "inline, local, ray, ray://HOST:PORT, HOST:PORT of a Ray cluster, or slurm"


def add(commands: Any) -> None:
    """Add the `run` command to the command line."""
    command = commands.add_parser("run", help="train an experiment described in YAML")
    command.add_argument("file", type=Path, help="configuration, e.g. data/demo/experiment.yaml")
    add_options(command)
    command.add_argument("--on", metavar="WHERE", help=ON_HELP)
    command.set_defaults(do=run_file)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that `run` and `demo run` share."""
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="a setting that overrides the file, e.g. optim.steps=300 (repeatable)",
    )
    command.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    command.add_argument(
        "--dry-run", action="store_true", help="print the plan and its cost; train nothing"
    )


def run_file(arguments: argparse.Namespace) -> int:
    """Read the configuration, then plan or train."""
    from dtvg.config import load_config

    config = load_config(arguments.file, arguments.overrides)
    return run_config(config, arguments.runs_dir, arguments.dry_run, arguments.on)


def run_config(
    config: ExperimentConfig, runs_dir: Path | None, dry_run: bool, on: str | None = None
) -> int:
    """Print the plan, or train the experiment and print method × target.

    Returns:
        0 if every run finished, 1 if some did not.
    """
    from dtvg import paths
    from dtvg.scale.driver import placed
    from dtvg.store.reader import open_experiment

    root, scale = runs_dir or paths.runs(), placed(config.scale, on)
    if dry_run:
        return plan_only(config, scale, root)
    experiment = make(config, scale, root)
    train(experiment, scale)
    return print_outcome(open_experiment(experiment.path))


def plan_only(config: ExperimentConfig, scale: ScaleConfig, runs_dir: Path) -> int:
    """Print the plan, and what would prevent or surprise a start on this machine.

    Hardware that this machine lacks is a note only: one may plan for another one.

    Raises:
        ConfigError: it cannot start here for another reason; said after the plan.
    """
    from dtvg.jobs.readiness import OF_HARDWARE, refuse, require_tasks, start_findings
    from dtvg.plan import plan

    require_tasks(config)
    found = start_findings(config.model_copy(update={"scale": scale}), runs_dir)
    refuse([one for one in found if one.kind == "no_runs"])
    notes = [
        f"It cannot start on this machine: {one.sentence}" if one.blocks else one.sentence
        for one in found
        if not one.blocks or one.kind in OF_HARDWARE
    ]
    print_plan(config, plan(config, scale.slots), notes)
    refuse([one for one in found if one.blocks and one.kind not in OF_HARDWARE])
    return 0


def make(config: ExperimentConfig, scale: ScaleConfig, runs_dir: Path) -> ExperimentDir:
    """Make an experiment's folder, once nothing is known that would prevent its start.

    Args:
        config: what to train.
        scale: where.
        runs_dir: folder of experiments.

    Raises:
        ConfigError: it cannot start on this machine, or at that place; nothing was written.
        StoreError: the folder cannot be written.
    """
    from dtvg.jobs.readiness import require_ready
    from dtvg.plan.stored import lay_out
    from dtvg.scale.driver import require_place
    from dtvg.store.layout import create_experiment

    here = scale.on in ("inline", "local")
    require_ready(config.model_copy(update={"scale": scale}), runs_dir, but=("device",))
    if here and config.device.name not in ("auto", "cpu"):  # torch may see others than the driver
        from dtvg.training.devices import pick_device

        pick_device(config.device)
    require_place(scale)
    if scale.on == "inline":
        return lay_out(config, runs_dir, scale.slots)
    return create_experiment(config, runs_dir)


def train(
    experiment: ExperimentDir,
    scale: ScaleConfig,
    only: Collection[str] | None = None,
    quiet: bool = False,
) -> bool:
    """Train whatever is unfinished, in this process or on an executor, with progress bars.

    Args:
        experiment: its folder.
        scale: where.
        only: names of transfer runs; None: all.
        quiet: no progress bars.

    Returns:
        Whether it was asked to stop before everything was trained.

    Raises:
        DtvgError: as `run_experiment` and `drive`.
    """
    from contextlib import nullcontext

    from dtvg.cli.terminal import progress_bars
    from dtvg.jobs import alerts
    from dtvg.mirrors.adapter import check_installed
    from dtvg.storage.place import check_place
    from dtvg.store.layout import load_experiment

    config = load_experiment(experiment.path)[1]
    check_installed(config.logging)
    alerts.watch(experiment)
    later = check_place(config.scale.mirror)
    if later:
        print(f"dtvg: {later} Training goes on; copying is tried again.", file=sys.stderr)
    bars = nullcontext(lambda progress: None) if quiet else progress_bars()
    with experiment.lock(), bars as report:  # before torch is loaded, which takes seconds
        if scale.on == "inline":
            from dtvg.training.procedures import run_experiment

            experiment.scale_path.unlink(missing_ok=True)
            return run_experiment(experiment, report, only=only)
        from dtvg.scale.driver import drive

        return drive(experiment, scale, report, only).stopping


def _sentences(config: ExperimentConfig) -> list[str]:
    """Return what is worth knowing before a start: settings, tasks, sources that are weak."""
    from dtvg.analysis.sources import planned_sentences, planned_sources
    from dtvg.config.reading import notes_on
    from dtvg.jobs.answers import task_notes
    from dtvg.store.bank import PromptBank

    noted = [note.sentence for note in notes_on(config)]
    noted += [note.sentence for note in task_notes(config)]
    return [*noted, *planned_sentences(planned_sources(config, PromptBank().list()))]


def _trained_text(counts: Iterable[int]) -> str:
    """Return a line with how many parameters a run trains; empty where that is not known."""
    found = sorted(set(counts))
    if not found or not found[-1]:
        return ""
    least = f"{found[0]:,} to " if len(found) > 1 else ""
    return f"Trained parameters per run: {least}{found[-1]:,}.\n"


def print_plan(config: ExperimentConfig, made: Plan, notes: Sequence[str] = ()) -> None:
    """Print cohorts, runs, steps, parameters, estimated time and memory.

    Args:
        config: the experiment.
        made: its plan.
        notes: more sentences to know before a start.
    """
    from rich.markup import escape
    from rich.table import Table

    from dtvg.analysis.words import counted
    from dtvg.cli.terminal import console_for_tables, whole
    from dtvg.plan.estimate import duration, estimate, slots_text, wall_times
    from dtvg.plan.processor import processor_flops
    from dtvg.plan.words import (
        RATE_COLUMNS,
        CohortRow,
        budget_note,
        cohort_rows,
        rate_cells,
        rate_rows,
    )

    console, speed = console_for_tables(), processor_flops(config)
    cost = estimate(config, made, speed)
    table = Table(*CohortRow._fields, title=f"Plan of '{config.name}'")
    above = ""
    for row in cohort_rows(made):
        shown = "the same" if row.what == above else row.what
        table.add_row(*map(str, row._replace(what=shown)))
        above = row.what
    console.print(whole(table))
    rates = rate_rows(made)
    table = Table(*RATE_COLUMNS, title="Rates and budgets")
    for rated in rates:
        table.add_row(*(f"{x:,}" if isinstance(x, int) else escape(x) for x in rate_cells(rated)))
    console.print(whole(table))
    if budget_note(rates):
        console.print(escape(budget_note(rates)))
    runs = sum(len(c.runs) for c in made.transfer)
    first = sum(len(c.runs) for c in made.stage_one)
    console.print(
        f"{counted(runs, 'transfer run')} and at most {counted(first, 'Stage I run')} (those "
        "already in the prompt bank are not tuned again), "
        f"{counted(made.run_steps, 'run step')} in all."
    )
    console.print(_trained_text(cost.trained_parameters.values()), end="")
    for sentence in (*_sentences(config), *notes):
        console.print(f"Note: {sentence}", markup=False)
    if cost.seconds is None:
        console.print("Trained parameters, time and memory: unknown before the backbone is here.")
    else:
        console.print(f"Rough estimate: {duration(cost.seconds)}, {cost.memory_gib or 0:.1f} GiB.")
        console.print(slots_text(wall_times(config, processor=speed)))


def print_outcome(experiment: Any) -> int:
    """Print method × target with mean ± std over seeds, and what did not finish."""
    from dtvg.analysis.compare.info import compare_info
    from dtvg.analysis.compare.split_rules import split_notes
    from dtvg.cli.terminal import console_for_tables, score_table
    from dtvg.records import RunState

    console = console_for_tables()
    runs = [run for run in experiment.runs if run.role == "transfer"]
    if any(run.result is not None for run in runs):
        console.print(score_table(runs))
    for note in [*split_notes(runs), *compare_info(runs).health.notes]:
        console.print(note, markup=False)
    open_ends = [run for run in runs if run.state is not RunState.FINISHED]
    for run in open_ends[:10]:
        said = run.problem or run.message
        console.print(f"{run.name}: {run.state.value}. {said}", markup=False)
    if open_ends:
        console.print(
            f"{len(open_ends)} of {len(runs)} runs did not finish; "
            f"`dtvg runs resume {command_name(experiment.path)}` continues them.",
            markup=False,
            soft_wrap=True,  # a command or a path that is cut by a line's end cannot be copied
        )
    console.print(f"Recorded in {experiment.path}", markup=False, soft_wrap=True)
    return 1 if open_ends else 0
