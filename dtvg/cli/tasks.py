"""`python -m dtvg tasks`: which tasks there are, where their rows lie, how they read.

Prints tables; everything shown comes from `dtvg.tasks`.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from dtvg.tasks.reading import TaskData


def add(commands: Any) -> None:
    """Add the `tasks` group to the command line."""
    from dtvg.cli import task_rows

    group = commands.add_parser("tasks", help="list, show, format, score or check tasks")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print a table of all tasks")
    showing = actions.add_parser("show", help="print one task: splits, labels, examples")
    showing.add_argument("name", metavar="NAME", help="a task, e.g. rte")
    for action in (listing, showing):
        action.add_argument(
            "--data",
            metavar="DIR",
            help="folder of data sets, looked at first (data.folder)",
        )
    showing.add_argument("--rows", type=_count, default=3, metavar="N", help="examples to print")
    showing.add_argument(
        "--split", choices=("plan", "official"), default="plan", help="as data.split"
    )
    listing.set_defaults(do=list_tasks)
    showing.set_defaults(do=show_task)
    task_rows.add(actions)


def _count(text: str) -> int:
    """Read a number of rows, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"got '{text}', give a whole number such as 3")
    return int(text)


def console_for_tables() -> Console:
    """Return a console as wide as the terminal; wide enough for a table when piped."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def list_tasks(arguments: argparse.Namespace) -> int:
    """Print one line per task: name, title, family, classes, metrics, where its rows are."""
    from rich.table import Table

    from dtvg.tasks.catalogue import all_tasks, described_tasks
    from dtvg.tasks.sources import at_hand, find_folder
    from dtvg.tasks.hub import hub_name

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "title", "family", "labels", "metrics", "offline", "where"):
        table.add_column(heading, no_wrap=heading == "name", overflow="fold")
    for spec in all_tasks().values():
        folder = find_folder(spec, arguments.data)
        if folder is None:
            where = f"hub: {hub_name(spec)}"
        else:
            where = spec.described_in or str(folder)
        labels = ", ".join(spec.label_titles or spec.labels) or "text"
        row = (
            spec.name,
            spec.title,
            spec.family,
            labels,
            ", ".join(spec.metrics),
            at_hand(spec, folder),
            where,
        )
        table.add_row(*[_plain(cell) for cell in row])
    console_for_tables().print(table)
    for name, problem in described_tasks()[1].items():
        print(f"\nThe description of '{name}' cannot be used: {problem}")
    return 0


def _plain(text: str) -> Any:
    """Return text that rich prints as it stands, square brackets included."""
    from rich.text import Text

    return Text(text)


def show_task(arguments: argparse.Namespace) -> int:
    """Print one task's facts, its splits and some formatted examples."""
    from dtvg.config import DataConfig
    from dtvg.tasks.reading import load_task

    data = load_task(arguments.name, DataConfig(folder=arguments.data, split=arguments.split))
    console = console_for_tables()
    _print_facts(console, data)
    _print_splits(console, data)
    for number, example in enumerate(data.train[: arguments.rows], start=1):
        console.print(_plain(f"\ntrain row {number}"), style="bold")
        console.print(_plain(f"  source  {example.source}"), soft_wrap=True)
        console.print(_plain(f"  target  {example.target}{_class_of(data, example.label)}"))
    return 0


def _class_of(data: TaskData, label: int | None) -> str:
    """Return the class's readable name in brackets, where it has one."""
    return "" if label is None or not data.spec.label_titles else f" ({data.spec.title_of(label)})"


def _print_facts(console: Console, data: TaskData) -> None:
    """Print what the task is and where these rows come from."""
    from dtvg.tasks.hub import hub_name

    spec = data.spec
    labels = ", ".join(f"{word} {spec.title_of(i)}" for i, word in enumerate(spec.labels))
    facts = {
        "family": spec.family,
        "paper": spec.paper,
        "licence": spec.licence,
        "hub": f"{hub_name(spec)} at {spec.revision}" if spec.revision else hub_name(spec),
        "columns": ", ".join(spec.columns),
        "labels": labels or "free text",
        "metrics": f"{', '.join(spec.metrics)}; the score is their mean",
        "official": f"{spec.split.train_rows:,} training rows",
        "read from": data.origin,
        "fingerprint": data.fingerprint,
    }
    console.print(_plain(f"{spec.name}: {spec.title}"), style="bold")
    for name, fact in facts.items():
        if fact:
            console.print(_plain(f"  {name:12}{fact}"), soft_wrap=True)
    for note in data.notes:
        console.print(_plain(f"  {'note':12}{note}"), soft_wrap=True)


def _print_splits(console: Console, data: TaskData) -> None:
    """Print rows, label balance and what the commonest answer scores, per split."""
    from rich.table import Table

    from dtvg.tasks.summary import commonest_answer, summarise

    table = Table(box=None, pad_edge=False, header_style="bold")
    titles = [data.spec.title_of(i) for i in range(len(data.spec.labels))]
    headings = ["split", "rows", *titles, "words", "majority score"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split in summarise(data):
        shares = [f"{count} ({count / split.rows:.0%})" for count in split.balance.values()]
        numbers = (
            f"{split.mean_source_words:.0f}",
            f"{100 * split.majority['score']:.1f}",
        )
        table.add_row(split.name, str(split.rows), *shares, *numbers)
    console.print()
    console.print(table)
    answer = commonest_answer(data.train)
    console.print(
        _plain(f"majority score: metrics' mean in percent when always answering '{answer}'")
    )
