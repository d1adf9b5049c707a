"""`dtvg queue …`: what waits for a free device, in which order, and slots."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtvg.cli.places import RUNS_DIR, by_experiment, locate
from dtvg.errors import ConfigError

FILES = (".yaml", ".yml")
"""Endings of the places that are files."""


def add(commands: Any) -> None:
    """Add the `queue` group to the command line."""
    group = commands.add_parser("queue", help="experiments that wait for a free device")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="jobs with their state and place")
    listing.set_defaults(do=show)

    adding = actions.add_parser("add", help="queue experiments: YAML files, or unfinished ones")
    adding.add_argument("places", nargs="+", metavar="FILE.yaml|EXPERIMENT[/RUN]")
    adding.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="a setting that overrides the YAML files; an EXPERIMENT keeps its own (repeatable)",
    )
    adding.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    adding.add_argument(
        "--now", action="store_true", help="start it at once, whatever else is running"
    )
    adding.set_defaults(do=enter)

    removing = actions.add_parser(
        "remove", help="remove waiting jobs, or clear ended ones from the list"
    )
    removing.add_argument("ids", nargs="+", metavar="JOB")
    removing.set_defaults(do=remove)

    moving = actions.add_parser("move", help="change the order of waiting jobs")
    moving.add_argument("id", metavar="JOB")
    moving.add_argument("where", choices=("up", "down", "first", "last"))
    moving.set_defaults(do=move)

    room = actions.add_parser("slots", help="show or set how many jobs a device runs at once")
    room.add_argument("device", nargs="?", help="e.g. cuda:0 or cpu")
    room.add_argument("count", nargs="?", type=int)
    room.set_defaults(do=set_slots)

    serving = actions.add_parser(
        "work", help="serve the queue until it is empty (the workbench starts this itself)"
    )
    serving.set_defaults(do=work)


def show(arguments: argparse.Namespace) -> int:
    """Print one line per job."""
    from dtvg.analysis.words import counted
    from dtvg.cli.terminal import print_rows
    from dtvg.jobs import queue
    from dtvg.jobs.queue_files import jobs, unreadable

    queue.ensure()
    known = jobs()
    for sentence in unreadable():
        print(sentence)
    if not known:
        print("The queue is empty; `dtvg queue add FILE.yaml` adds an experiment.")
        return 0
    rows = []
    for job in known:
        of = f" ({counted(len(job.runs), 'run')})" if job.runs else ""
        name = job.experiment.name + of
        place = str(job.place or "")
        rows.append((job.id, name, job.state.value, place, job.on or job.device, job.message))
    headings = ("job", "experiment", "state", "place", "device", "what")
    print_rows(headings, rows, wrapped=("what",))
    return 0


def enter(arguments: argparse.Namespace) -> int:
    """Queue experiments and say what became of each."""
    from dtvg import paths
    from dtvg.config import load_config
    from dtvg.jobs import queue
    from dtvg.jobs.readiness import require_ready, require_tasks

    if arguments.overrides:
        _check_files(arguments.places)
    runs_dir, found, configs = arguments.runs_dir or paths.runs(), [], []
    for place in arguments.places:
        if place.endswith(FILES):
            config = load_config(place, arguments.overrides)
            require_tasks(config)
            require_ready(config, runs_dir)
            configs.append(config)
            continue
        found.append(locate(place, arguments.runs_dir))
    for config in configs:
        _said(queue.enter(config, runs_dir, arguments.now))
    for path, names in by_experiment(found).items():
        _said(queue.add(locate(str(path), None)[0], names or (), arguments.now))
    return 0


def _check_files(places: Sequence[str]) -> None:
    """Refuse settings for what is no YAML file, before anything is queued.

    Raises:
        ConfigError: one of the places is an experiment or a run, which has its settings already.
    """
    made = next((place for place in places if not place.endswith(FILES)), None)
    if made is not None:
        raise ConfigError(
            f"--set changes YAML files only ({' or '.join(FILES)}), and '{made}' is none: an "
            "experiment keeps the settings that it was made with; leave --set out, or queue a "
            "YAML file with a new name."
        )


def _said(job: Any) -> None:
    at = f"waits at place {job.place}" if job.place else f"is {job.state.value}"
    print(f"Job {job.id}: '{job.experiment.name}' {at}.")


def remove(arguments: argparse.Namespace) -> int:
    """Take jobs out of the queue."""
    from dtvg.jobs import queue

    for id in arguments.ids:
        job = queue.remove(id)
        print(f"Job {job.id} removed; experiment '{job.experiment.name}' stays as it is.")
    return 0


def move(arguments: argparse.Namespace) -> int:
    """Change the place of a waiting job."""
    from dtvg.jobs import queue

    by = {"up": -1, "down": 1, "first": -1_000_000, "last": 1_000_000}[arguments.where]
    _said(queue.move(arguments.id, by))
    return 0


def set_slots(arguments: argparse.Namespace) -> int:
    """Show or set slots."""
    from dtvg.jobs import queue, slots

    if arguments.device and arguments.count is None:
        raise ConfigError("Give the number too, e.g. `dtvg queue slots cuda:0 2`.")
    if arguments.device:
        slots.set_slots(arguments.device, arguments.count)
        queue.ensure()
    taken = slots.taken()
    for name, count in slots.slots().items():
        by = ", ".join(taken.get(name, ())) or "nothing"
        print(f"{name}: {count} slot{'s' * (count != 1)}, taken by {by}")
    return 0


def work(arguments: argparse.Namespace) -> int:
    """Serve the queue."""
    from dtvg.jobs.queue import work as serve

    serve()
    return 0
