"""`dtvg runs …`: list, show, verify, export, stop and resume what was trained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.cli import compare, mirror, pack, storage
from dtvg.cli import compare as agreement
from dtvg.cli import compare as report
from dtvg.cli.places import (
    RUNS_DIR,
    by_experiment,
    command_name,
    in_folder,
    locate,
    locate_own,
    locate_whole,
)
from dtvg.cli.run import ON_HELP
from dtvg.errors import ConfigError
from dtvg.records import TABLES

if TYPE_CHECKING:
    from rich.console import Console

    from dtvg.store.reader import Experiment, Run
import time


def add(commands: Any) -> None:
    """Add the `runs` group to the command line."""
    group = commands.add_parser("runs", help="list, show, check, export, stop and resume runs")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, what: str, do: Any, many: str | None = None, of: str = "EXPERIMENT[/RUN]"
    ) -> Any:
        made = actions.add_parser(name, help=what)
        if many is not None:
            made.add_argument("places", nargs=many, metavar=of)
        made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
        made.set_defaults(do=do)
        return made

    listing = action("list", "every run with its state, step and score", list_runs, "*")
    listing.add_argument("--all", action="store_true", help="Stage I runs too")
    action("show", "one run or experiment: settings, state, result, events", show, "+")
    action("story", "a run in plain sentences; of an experiment, each run in one", tell, "+")
    action("verify", "check run folders against the specification of the log", verify, "+")
    pack.add(action, tuple(TABLES), export_table)
    agreement.add_agreement(actions)
    compare.add(actions)
    action("stop", "ask runs to commit and to stop after their next step", stop, "+")
    action(
        "release", "say that the process of an experiment has ended, where none can tell", release,
        "+", "EXPERIMENT",
    )  # fmt: skip
    for kind, what in HOLDS.items():
        hold = action(kind, what, hold_source)
        hold.add_argument("place", metavar="EXPERIMENT/RUN")
        hold.add_argument("source", help="a source of the run")
        hold.set_defaults(kind=kind)
    _add_fork(action)
    _add_trash(actions)
    resume = action("resume", "continue whatever is unfinished", resume_runs, "+")
    resume.add_argument("--on", metavar="WHERE", help=f"{ON_HELP}; default: as before")
    resume.add_argument("--quiet", action="store_true", help="no progress bars")
    report.add_report(actions)
    mirror.add(action)
    storage.add(actions)
    _add_merge(actions)


def _add_fork(action: Any) -> None:
    """Add `runs fork`."""
    split = action(
        "fork", "make a new experiment that continues from a run's newest commit", fork_run
    )
    split.add_argument("place", metavar="EXPERIMENT/RUN")
    split.add_argument("--name", help="name of the new experiment")
    split.add_argument(
        "--at",
        type=int,
        metavar="STEP",
        help="continue from the last kept commit at or before this step",
    )
    split.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", dest="changes",
        help="settings that differ, e.g. optim.lr_prompt=0.1 (repeatable)",
    )  # fmt: skip


HOLDS = {
    "pin": "always keep a source in the group of a training run",
    "ban": "always keep a source out of the group of a training run",
    "free": "let the rule decide again about a source of a training run",
}


def _runs(arguments: argparse.Namespace) -> list[Run]:
    """Return the runs the given places name, in order, each once."""
    from dtvg.store.reader import open_experiment, open_run

    found: dict[Path, Run] = {}
    for place in arguments.places:
        experiment, name = locate(place, arguments.runs_dir)
        if name is None:
            of = open_experiment(experiment.path).runs
        else:
            of = (open_run(experiment.path / name),)
        found |= {run.path: run for run in of if run.path not in found}
    return list(found.values())


def list_runs(arguments: argparse.Namespace) -> int:
    """Print one line per run, and below them what the runs have to say."""
    from dtvg import paths
    from dtvg.cli.terminal import messages, print_rows
    from dtvg.store.health import health_of
    from dtvg.store.reader import foreign_folders, foreign_sentence
    from dtvg.store.reader import list_runs as read_all

    root = arguments.runs_dir or paths.runs()
    runs = _runs(arguments) if arguments.places else read_all(root)
    shown = [r for r in runs if r.role == "transfer" or arguments.all or r.problem is not None]
    rows = [
        (
            f"{run.experiment}/{run.name}",
            run.state.value,
            f"{run.step}/{run.total_steps}",
            "" if run.score is None else f"{run.score:.4f}",
            "" if run.test_score is None else f"{run.test_score:.4f}",
            ", ".join(mark.kind for mark in health_of(run)),
        )
        for run in shown
    ]
    if rows:
        headings = ("experiment/run", "state", "step", "validation", "test", "health")
        print_rows(headings, rows, wrapped=("health",))
    elif runs:
        print(f"No transfer runs; --all also lists {len(runs)} of Stage I.")
    else:
        print(f"No runs in '{root}'. `dtvg demo run` trains the demo experiment.")
    said = messages(shown)
    if said:
        print("", *said, sep="\n")
    left_out = "" if arguments.places else foreign_sentence(foreign_folders(root))
    if left_out:
        print(left_out)
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print settings, state, result and events."""
    import json

    from dtvg.analysis.sources import source_health, source_sentences
    from dtvg.cli.terminal import console_for_tables
    from dtvg.store.health import health_of
    from dtvg.store.reader import open_experiment, open_run, read_table, to_json

    console = console_for_tables()
    for place in arguments.places:
        experiment, name = locate(place, arguments.runs_dir)
        if name is None:
            _show_experiment(console, open_experiment(experiment.path))
            continue
        run = open_run(experiment.path / name)
        console.print_json(json.dumps(json.loads(to_json(run))))
        if run.config is not None:
            print(run.config.to_yaml())
        for mark in health_of(run):
            print(f"Health: {mark.kind}. {mark.sentence}")
        for sentence in source_sentences(source_health(run)):
            print(f"Health: {sentence}")
        for row in read_table(run, "events").to_pylist():
            print(f"step {row['step']:>6}  {row['kind']:<14} {row['detail']}")
    return 0


def _show_experiment(console: Console, view: Experiment) -> None:
    """Print the runs of an experiment, what they have to say, and their scores."""
    from dtvg.cli.terminal import messages, score_table
    from dtvg.store.health import health_of

    print(f"{view.name}: {view.path}")
    if view.problem:
        print(view.problem)
    for run in view.runs:
        score = "" if run.score is None else f"  validation {run.score:.4f}"
        marks = ", ".join(mark.kind for mark in health_of(run))
        print(
            f"  {run.name:<40} {run.state.value:<9} {run.step}/{run.total_steps}{score}"
            + (f"  {marks}" if marks else "")
        )
    for said in messages(view.runs, experiments=False):
        print(said)
    console.print(score_table([r for r in view.runs if r.role == "transfer"]))


def tell(arguments: argparse.Namespace) -> int:
    """Print the story of runs; of an experiment, one sentence for each run that logs groups."""
    from dtvg.analysis.run.groups import memberships
    from dtvg.analysis.run.story import siblings, story_info
    from dtvg.store.reader import open_experiment, open_run

    for place in arguments.places:
        experiment, name = locate(place, arguments.runs_dir)
        runs = open_experiment(experiment.path).runs
        if name is not None:
            run = open_run(experiment.path / name)
            others = memberships(siblings(run, runs))
            print(f"{run.experiment}/{run.name}\n{story_info(run, others=others).text}")
            continue
        told = [r for r in runs if r.config is not None and r.config.logs_sources]
        for run in told:
            print(f"{run.name}: {story_info(run).sentence}")
        if not told:
            print(f"{experiment.name}: no run has recorded groups.")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Print what is wrong with run folders; 1 if anything is."""
    from dtvg.store.verify import verify_run, written_before_digests

    wrong = 0
    runs = _runs(arguments)
    for run in runs:
        problems = verify_run(run.path)
        wrong += bool(problems)
        said = "NOT ok" if problems else "ok"
        if not problems and written_before_digests(run.path):
            said = "ok, written before digests"
        print(f"{run.experiment}/{run.name}: {said}")
        for problem in problems:
            print(f"  {problem}")
    print(f"{len(runs)} checked, {wrong} with problems.")
    return 1 if wrong else 0


def export_table(arguments: argparse.Namespace) -> int:
    """Write one table of all named runs, with experiment and run columns in front."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv
    import pyarrow.parquet as pq

    from dtvg.analysis.words import counted
    from dtvg.cli.out import check_out, written
    from dtvg.export import plain_cell
    from dtvg.store.reader import read_table

    check_out(arguments.out, endings=(".csv", ".parquet"))
    kind = arguments.out.suffix.lower()
    parts = []
    for run in _runs(arguments):
        if run.problem is not None and not (run.path / arguments.table).is_dir():
            continue
        data = read_table(run, arguments.table)
        names = {"experiment": run.experiment, "run": run.name}
        for place, (name, value) in enumerate(names.items()):
            data = data.add_column(place, name, pa.array([value] * data.num_rows, pa.string()))
        parts.append(data)
    if not parts:
        raise ConfigError(f"None of {', '.join(arguments.places)} has a table to export.")
    data = pa.concat_tables(parts)
    if kind == ".parquet":
        written(arguments.out, lambda path: pq.write_table(data, path))
    else:
        if "gram" in data.column_names:
            texts = [
                None if g is None else " ".join(map(repr, g))
                for g in data.column("gram").to_pylist()
            ]
            place = data.column_names.index("gram")
            data = data.set_column(place, "gram", pa.array(texts, pa.string()))
        for place, field in enumerate(data.schema):
            if pa.types.is_string(field.type):
                texts = [plain_cell(cell) for cell in data.column(place).to_pylist()]
                data = data.set_column(place, field.name, pa.array(texts, pa.string()))
        written(arguments.out, lambda path: arrow_csv.write_csv(data, path))
    print(f"{counted(data.num_rows, 'row')} of '{arguments.table}' written to {arguments.out}")
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """Ask the named runs to stop."""
    from dtvg.analysis.words import counted
    from dtvg.jobs import launcher

    for place in arguments.places:
        experiment, name = locate_own(place, arguments.runs_dir)
        working = launcher.may_be_working(experiment)
        asked = launcher.stop(experiment, [name] if name else [])
        if asked:
            many = counted(len(asked), "run")
            print(f"{experiment.name}: asked {many} to stop after the next step.")
        elif working and name is None:
            print(f"{experiment.name}: asked its process to stop; no run trains yet.")
        else:
            print(f"{experiment.name}: no run is training, so there is nothing to stop.")
    return 0


def release(arguments: argparse.Namespace) -> int:
    """Count as lost what cannot be asked."""
    from dtvg.jobs import launcher
    from dtvg.store.reader import open_experiment

    for place in arguments.places:
        experiment = locate_whole(place, arguments.runs_dir, own=True)
        before = launcher.give_free(experiment)
        known = f" ({before.last_sign})" if before.held is None else ""
        open_ends = any(run.state.resumable for run in open_experiment(experiment.path).runs)
        print(
            f"{experiment.name}: counts as lost now{known}; `dtvg runs resume "
            f"{command_name(experiment.path)}` continues it."
            if open_ends
            else f"{experiment.name}: nobody trains it{known}, and all its runs have finished, so "
            "there is nothing to resume."
        )
    return 0


def fork_run(arguments: argparse.Namespace) -> int:
    """Fork a run; `runs resume` of the new experiment trains on."""
    from dtvg import paths
    from dtvg.store.files import is_shipped
    from dtvg.store.fork import fork
    from dtvg.store.reader import open_run

    experiment, name = locate(arguments.place, arguments.runs_dir)
    if name is None:
        raise ConfigError(f"'{arguments.place}' does not name a run; write {experiment.name}/RUN.")
    run = open_run(experiment.path / name)
    shipped = is_shipped(experiment.path.parent)
    folder = arguments.runs_dir or paths.runs() if shipped else None
    made = fork(run, arguments.name, arguments.changes, folder, arguments.at)
    print(f"'{made.name}' continues from it: `dtvg runs resume {command_name(made.path)}`")
    return 0


def hold_source(arguments: argparse.Namespace) -> int:
    """Ask a run to pin, ban or free a source at its next step."""
    from dtvg.store import holds
    from dtvg.store.reader import open_run

    experiment, name = locate_own(arguments.place, arguments.runs_dir)
    if name is None:
        raise ConfigError(f"'{arguments.place}' does not name a run; write {experiment.name}/RUN.")
    holds.ask(open_run(experiment.path / name), arguments.source, arguments.kind)
    print(f"{experiment.name}/{name}: asked to {arguments.kind} {arguments.source}.")
    return 0


def resume_runs(arguments: argparse.Namespace) -> int:
    """Go on with the named experiments or runs, in the foreground."""
    from dtvg.cli.run import print_outcome, train
    from dtvg.scale.driver import last_place, placed
    from dtvg.store.layout import load_experiment
    from dtvg.store.reader import open_experiment

    places = storage.fetched(arguments.places, arguments.runs_dir)
    wanted = by_experiment(locate_own(place, arguments.runs_dir) for place in places)
    status, left = 0, list(wanted)
    for path, names in wanted.items():
        experiment = locate(str(path), None)[0]
        scale = placed(last_place(*load_experiment(path)), arguments.on)
        stopped = train(experiment, scale, names, arguments.quiet)
        status = max(status, print_outcome(open_experiment(path)))
        left.remove(path)
        if stopped and left:
            waiting = ", ".join(other.name for other in left)
            print(f"Asked to stop, so nothing else was begun: {waiting}.")
            return 1
    return status


def _add_merge(actions: Any) -> None:
    """Add the action to the group `runs`."""
    what = "make one experiment of several that differ only in seeds, targets or methods"
    made = actions.add_parser("merge", help=what)
    made.add_argument("places", nargs="+", metavar="EXPERIMENT")
    made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    made.add_argument("--name", required=True, help="name of the new experiment")
    made.set_defaults(do=merge_runs)


def merge_runs(arguments: argparse.Namespace) -> int:
    """Copy the finished runs of experiments into one, and say what is left to train."""
    from dtvg import paths
    from dtvg.analysis.pools import merged_config, pool, why_apart
    from dtvg.config import build_config
    from dtvg.errors import ConfigError
    from dtvg.names import check_name
    from dtvg.store.layout import ExperimentDir
    from dtvg.store.merge import merge
    from dtvg.store.reader import open_experiment

    check_name(arguments.name, "name of the experiment")
    found = [locate(place, arguments.runs_dir) for place in arguments.places]
    if any(name for _, name in found) or len({e.path for e, _ in found}) < 2:
        raise ConfigError("Name two or more experiments, not runs, to make one of them.")
    opened = [open_experiment(e.path) for e, _ in found]
    made = pool(opened)
    if len(made.pools) > 1:
        one, other = (p.members[0] for p in made.pools[:2])
        keys = ", ".join(why_apart(one, other)[:6])
        raise ConfigError(
            f"'{one.name}' and '{other.name}' differ in more than seeds, targets and methods "
            f"({keys}), so they cannot become one experiment; `dtvg runs compare` sets them side "
            "by side."
        )
    config = build_config(merged_config(opened, arguments.name).to_values(), "merge")
    versions = {k: v for e in opened for k, v in ExperimentDir(e.path).versions.items()}
    merged = merge(config, made.runs, arguments.runs_dir or paths.runs(), versions)
    for note in made.notes:
        print(note)
    left = sum(1 for run in config.runs() if not merged.run(run.name).result_path.exists())
    rest = f"; `dtvg runs resume {command_name(merged.path)}` trains the rest" if left else ""
    total = len(config.runs())
    print(f"{config.name}: {total - left} of {total} runs are finished{rest}. The originals stay.")
    return 0


def _add_trash(actions: Any) -> None:
    """Add the three actions to `runs`."""
    remove = actions.add_parser("delete", help="move experiments or runs to the trash")
    remove.add_argument("places", nargs="+", metavar="EXPERIMENT[/RUN]")
    remove.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    remove.set_defaults(do=delete)
    back = actions.add_parser("restore", help="restore something from the trash")
    back.add_argument("names", nargs="+", metavar="NAME")
    back.add_argument("--runs-dir", type=Path, help="folder of experiments it lay in")
    back.set_defaults(do=restore)
    shown = actions.add_parser("trash", help="list the trash, or erase what is in it")
    shown.add_argument(
        "--empty",
        nargs="*",
        metavar="NAME",
        help="erase what is in the trash for good: everything, or the named entries",
    )
    shown.set_defaults(do=show_trash)


def delete(arguments: argparse.Namespace) -> int:
    """Move things to the trash; each says how to get it back."""
    from dtvg.store import trash

    for place in arguments.places:
        experiment, name = locate_own(place, arguments.runs_dir)
        made = trash.delete(experiment, name)
        back = f"dtvg runs restore {made.id}{in_folder(experiment.path.parent)}"
        print(f"{made.name}: deleted; `{back}` restores it.")
    gone = trash.prune()
    if gone:
        print(trash.pruned_text(gone))
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Put things back."""
    from dtvg.store import trash

    for name in arguments.names:
        made = trash.restore(name, arguments.runs_dir)
        print(f"{made.name}: back in '{made.origin}'.")
    return 0


def show_trash(arguments: argparse.Namespace) -> int:
    """Print what is in the trash, or erase it."""
    from dtvg.store import trash
    from dtvg.store.files import size_text

    if arguments.empty is not None:
        gone = trash.empty(arguments.empty)
        for one in gone:
            print(f"{one.name}: erased.")
        if not gone:
            print(f"The trash ('{trash.root()}') is empty.")
        return 0
    found = trash.deleted()
    for sentence in trash.unreadable():
        print(sentence)
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.time))
        print(f"{one.id:<60} {one.name}  deleted {when}, {size_text(one.size)}")
    if not found:
        print(f"The trash ('{trash.root()}') is empty.")
        return 0
    print(f"{trash.RULE} `dtvg runs trash --empty [NAME ...]` erases immediately.")
    return 0
