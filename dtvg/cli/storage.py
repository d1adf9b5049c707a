"""Storage mirrors on the command line: `runs push`, `runs fetch`, and looking with `DTVG_RUNS`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dtvg.cli.places import RUNS_DIR, command_name, locate_whole
from dtvg.errors import ConfigError, StoreError

WRITES = {
    "run": None,
    "tune": None,
    "demo": ("run",),
    "cohort": None,
    "queue": ("add", "remove", "move", "slots", "work"),
    "runs": (
        "stop", "release", "pin", "ban", "free", "fork", "delete", "restore", "merge", "mirror",
        "import", "push",
    ),
    "prompts": ("import",),
}  # fmt: skip
"""Commands that change runs or prompts, with the actions that do (None: all)."""


def add(actions: Any) -> None:
    """Add `runs push` and `runs fetch`."""
    push = actions.add_parser("push", help="copy experiments to their storage mirror, all of it")
    push.add_argument("places", nargs="+", metavar="EXPERIMENT")
    push.add_argument("--to", metavar="URI", help="a storage mirror; default: scale.mirror")
    push.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    push.set_defaults(do=push_places)
    fetch = actions.add_parser(
        "fetch", help="bring experiments from a storage mirror, to train on here"
    )
    fetch.add_argument("uri", metavar="URI", help="of the storage mirror, e.g. s3://bucket/lab")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="without: what is there")
    fetch.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    fetch.set_defaults(do=fetch_names)


def push_places(arguments: argparse.Namespace) -> int:
    """Copy what the store lacks of experiments that nobody trains."""
    from dtvg.analysis.words import counted
    from dtvg.storage.place import Place, hidden
    from dtvg.storage.push import push_experiment
    from dtvg.store.bank import PromptBank
    from dtvg.store.layout import load_experiment
    from dtvg.store.lease import keep_out

    for text in arguments.places:
        experiment = locate_whole(text, arguments.runs_dir)
        uri = arguments.to or load_experiment(experiment.path)[1].scale.mirror
        if uri is None:
            raise ConfigError(
                f"Experiment '{experiment.name}' names no storage mirror (scale.mirror); give one, "
                "e.g. --to s3://bucket/lab. Trackers are served by `dtvg runs mirror`."
            )
        with keep_out(experiment.path, "nothing was copied"):
            try:
                count = push_experiment(Place(uri), experiment, PromptBank())
            except OSError as error:
                raise StoreError(
                    f"'{experiment.name}' cannot be copied ({hidden(str(error))}); try again."
                ) from None
        print(f"{experiment.name}: {counted(count, 'run')} in {uri}.")
    return 0


def fetch_names(arguments: argparse.Namespace) -> int:
    """Bring experiments, or print which there are."""
    from dtvg import paths
    from dtvg.storage.fetch import names_in
    from dtvg.storage.place import Place
    from dtvg.storage.restore import restore

    if not arguments.names:
        found = names_in(Place(arguments.uri))
        print("\n".join(found) if found else f"No experiments in '{arguments.uri}'.")
        return 0
    for name in arguments.names:
        made = restore(
            arguments.uri, name, arguments.runs_dir or paths.own_runs(), paths.own_prompts()
        )
        on = f"`dtvg runs resume {command_name(made.path)}` continues it"
        print(f"{name}: brought to {made.path}; {on}.")
    return 0


def fetched(places: list[str], runs_dir: Path | None) -> list[str]:
    """Fetch the places that are named `URI/NAME`; return all of them as places on this machine."""
    from dtvg import paths
    from dtvg.config.storage import is_uri
    from dtvg.storage.restore import restore, split_place

    found = []
    for text in places:
        if is_uri(text):
            uri, name = split_place(text)
            made = restore(uri, name, runs_dir or paths.own_runs(), paths.own_prompts())
            print(f"{name}: restored from {uri} to {made.path}.", flush=True)
            text = str(made.path)
        found.append(text)
    return found


def look(arguments: argparse.Namespace) -> None:
    """Where `DTVG_RUNS` names a storage mirror, refuse to change it; else update its copy.

    Raises:
        ConfigError: the command changes something, or the URI cannot be used.
        StoreError: nothing of the mirror is here, and it cannot be read.
    """
    from dtvg import paths
    from dtvg.config.storage import uri_problem

    uri = paths.mirrored_uri()
    if uri is None:
        return
    problem = uri_problem(uri)
    if problem:
        raise ConfigError(f"DTVG_RUNS cannot be used: {problem}")
    action = getattr(arguments, "action", None)
    changing = WRITES.get(arguments.command, ())
    resumes = arguments.command == "runs" and action == "resume"
    own = resumes and all("://" in place for place in arguments.places)
    if changing is None or action in changing or (resumes and not own):
        command = " ".join(["dtvg", arguments.command, *([action] if action else [])])
        raise ConfigError(
            f"DTVG_RUNS names the storage mirror '{uri}', which is read-only, so `{command}` does "
            "nothing; unset DTVG_RUNS to work on this machine's runs, or restore one from the "
            f"mirror with `dtvg runs resume {uri}/NAME`."
        )
    if own or (arguments.command, action) == ("runs", "fetch"):
        return
    if arguments.command in ("runs", "fleet", "claims", "prompts"):
        _refresh(uri)


def _refresh(uri: str) -> None:
    from dtvg import paths
    from dtvg.storage.cache import looked, refresh

    root = paths.mirrored()
    try:
        refresh(uri, root)
    except StoreError as error:
        if looked(root)[0] is None:
            raise
        print(f"dtvg: {error} What is shown was read before.", file=sys.stderr)
    problem = looked(root)[1]
    if problem:
        print(f"dtvg: {problem}", file=sys.stderr)
