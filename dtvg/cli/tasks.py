"""`dtvg tasks`: which tasks there are, where their rows lie, how they read.

Prints tables; everything shown comes from `dtvg.tasks`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from dtvg.tasks.checking import Check
    from dtvg.tasks.prepared import Entry
    from dtvg.tasks.reading import TaskData
    from dtvg.tasks.spec import Example, TaskSpec


def add(commands: Any) -> None:
    """Add the `tasks` group to the command line."""
    group = commands.add_parser("tasks", help="list, show, format, score and check tasks")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="print a table of all tasks")
    showing = actions.add_parser("show", help="print one task: splits, labels, examples")
    showing.add_argument("name", metavar="NAME", help="a task, e.g. rte")
    for action in (listing, showing):
        action.add_argument(
            "--data",
            metavar="DIR",
            help="folder of data sets that is searched first (data.folder)",
        )
    showing.add_argument("--rows", type=_count, default=3, metavar="N", help="examples to print")
    showing.add_argument(
        "--split", choices=("plan", "official"), default="plan", help="the splits, as in data.split"
    )
    prepared = actions.add_parser(
        "prepared",
        help="show the size of the cache of prepared tasks, or empty it",
        description="Rows and token ids are cached under <home>/cache, so a second start reads no "
        "data file. What is removed is made again when it is next needed.",
    )
    prepared.add_argument("--empty", action="store_true", help="remove all of it")
    prepared.set_defaults(do=show_prepared)
    listing.set_defaults(do=list_tasks)
    showing.set_defaults(do=show_task)
    _add_rows(actions)


def _count(text: str) -> int:
    """Read a number of rows or the like, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got '{text}', give a whole number such as 3")
    return int(text)


def list_tasks(arguments: argparse.Namespace) -> int:
    """Print one line per task: name, title, family, classes, metrics, where its rows are."""
    from rich.table import Table

    from dtvg.cli.terminal import console_for_tables
    from dtvg.tasks.catalogue import all_tasks, described_tasks
    from dtvg.tasks.hub import hub_name
    from dtvg.tasks.sources import at_hand, find_folder

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
    from dtvg.cli.terminal import console_for_tables
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
    from dtvg.tasks.sources import source_of

    spec = data.spec
    titles = [spec.title_of(i) for i in range(len(spec.labels))]
    words = [w if w == t else f"{w} {t}" for w, t in zip(spec.labels, titles, strict=True)]
    hub = f"{hub_name(spec)} at {spec.revision}" if spec.revision else hub_name(spec)
    rows = spec.split.train_rows
    facts = {
        "family": spec.family,
        "paper": spec.paper,
        "licence": spec.licence,
        "hub": hub if spec.dataset and source_of(spec).on_hub else "",
        "columns": ", ".join(spec.columns),
        "labels": ", ".join(words) or "free text",
        "metrics": ", ".join(spec.metrics) + ("; score is their mean" if spec.metrics[1:] else ""),
        "official": f"{rows:,} training rows" if rows else "",
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
        _plain(
            f"majority score: mean of the metrics in percent when the answer is always '{answer}'"
        )
    )


SPLITS = ("train", "validation", "test")
LENGTH_ROWS = 2000
"""Training rows whose tokens are counted."""


def show_prepared(arguments: argparse.Namespace) -> int:
    """Print how much is kept of rows and token ids, or remove it."""
    from datetime import datetime

    from dtvg.store.files import size_text
    from dtvg.tasks import prepared

    if arguments.empty:
        gone = prepared.empty()
        print(f"Removed: {_entries(gone)}.")
        return 0
    found = prepared.entries()
    old = prepared.older(found)
    print(f"kept in {prepared.root()}:")
    for kind, what in (("tasks", "rows"), ("tokens", "token ids")):
        mine = [entry for entry in found if entry.kind == kind]
        facts = _entries(mine)
        if mine:
            facts += f", last used {datetime.fromtimestamp(mine[0].used):%Y-%m-%d %H:%M}"
        stale = sum(entry.place in old for entry in mine)
        print(f"  {what:12}{facts}" + (f"; {stale} made by other versions" if stale else ""))
    print(
        f"Beyond {size_text(prepared.bound())} ({prepared.BOUND}), entries of other versions are "
        "removed first, then those that have not been used for longest. "
        "`dtvg tasks prepared --empty` removes all of them."
    )
    return 0


def _entries(found: Sequence[Entry]) -> str:
    """Say how many entries there are and how much they take."""
    from dtvg.store.files import size_text

    count = "1 entry" if len(found) == 1 else f"{len(found)} entries"
    return f"{count}, {size_text(sum(entry.size for entry in found))}"


def _add_rows(actions: Any) -> None:
    """Add the three actions to the `tasks` group."""
    shown = actions.add_parser(
        "format",
        help="print rows as JSON lines: source, target, references",
        description="Print what the model reads (source), what it should answer (target) and all "
        "accepted answers (references), one JSON object a line.",
    )
    scored = actions.add_parser(
        "score",
        help="score any answers against a split",
        description='Score a file of answers, one JSON string or {"prediction": ...} a line, in '
        "the order that `dtvg tasks format` prints. A table on a terminal, else one JSON object.",
    )
    for action in (shown, scored):
        _row_options(action)
    scored.add_argument("--predictions", type=Path, required=True, metavar="FILE.jsonl")
    scored.add_argument("--json", action="store_true", help="one JSON object, also on a terminal")
    checked = actions.add_parser(
        "check",
        help="check a task described in YAML: examples, lengths, balance and all problems",
    )
    checked.add_argument("file", metavar="FILE", help="YAML file, or the name of a described task")
    checked.add_argument(
        "--backbone",
        default="demo",
        help="backbone whose tokenizer counts the tokens (demo, a folder or a hub id)",
    )
    checked.add_argument(
        "--max-source-tokens", type=_count, default=256, metavar="N", help="data.max_source_tokens"
    )
    checked.add_argument(
        "--problems",
        type=_count,
        default=20,
        metavar="N",
        help="number of problems to print at most",
    )
    shown.set_defaults(do=format_rows)
    scored.set_defaults(do=score_rows)
    checked.set_defaults(do=check_file)


def _row_options(action: argparse.ArgumentParser) -> None:
    """Add what chooses a task's rows."""
    action.add_argument("name", metavar="NAME", help="a task, or a YAML file that describes one")
    action.add_argument(
        "--data",
        metavar="DIR",
        help="folder of data sets (data.folder), or the task's own folder of files",
    )
    action.add_argument(
        "--split",
        choices=SPLITS,
        default="validation",
        help="which split (default: validation); --split-rule decides which rows it holds",
    )
    action.add_argument(
        "--split-rule",
        choices=("plan", "official"),
        default="plan",
        help="plan: the split as a run uses it, by the literature's rule (the default); official: "
        "the rows of the file of that name, unchanged (also used where there is no training file)",
    )
    action.add_argument(
        "--rows", default=":", metavar="A:B", help="rows from A up to, but not including, B"
    )
    action.add_argument("--seed", type=int, default=42, help="data.seed (default 42)")
    action.add_argument(
        "--labels", choices=("numerals", "words"), default="numerals", help="data.labels"
    )


def _chosen(arguments: argparse.Namespace) -> tuple[TaskData, tuple[Example, ...], str]:
    """Return the task, the chosen rows, and how a message names them."""
    from dtvg.config import DataConfig
    from dtvg.config.reading import build
    from dtvg.tasks.reading import load_split

    spec = _in_own_folder(find(arguments.name), arguments.data)
    given = {"folder": arguments.data, "seed": arguments.seed, "labels": arguments.labels}
    settings = build(DataConfig, given, "data")
    arguments.split_rule = _rule(spec, arguments)
    data = load_split(spec, settings, arguments.split, arguments.split_rule)
    rows = data.split(arguments.split)
    first, last = _range(arguments.rows, len(rows))
    what = f"{spec.name} {arguments.split} ({arguments.split_rule})"
    if arguments.rows != ":":
        what += f", rows {arguments.rows}"
    return data, tuple(rows[first:last]), what


def _rule(spec: TaskSpec, arguments: argparse.Namespace) -> str:
    """Return the split rule: as asked for, or `official` where there is nothing to plan with."""
    from dtvg.tasks.sources import find_folder, split_files

    rule: str = arguments.split_rule
    folder = find_folder(spec, arguments.data)
    if rule == "official" or folder is None or spec.described_in or arguments.split == "train":
        return rule
    try:
        split_files(spec, folder, (spec.split.train, "train"))
    except DataError:
        if folder.is_dir():
            note = f"'{folder}' holds no training rows, so no split can be planned; its"
            print(f"dtvg: {note} {arguments.split} file is used unchanged.", file=sys.stderr)
            return "official"
    return rule


def find(name: str) -> TaskSpec:
    """Return a task by name, or the one that a YAML file describes."""
    from dtvg.tasks.catalogue import find_task
    from dtvg.tasks.own import read_description

    return read_description(name) if name.endswith((".yaml", ".yml")) else find_task(name)


def _in_own_folder(spec: TaskSpec, folder: str | None) -> TaskSpec:
    """Let `--data` name the folder that holds the task's own files."""
    from dtvg import paths

    if folder is None or spec.described_in or (paths.expanded(folder) / spec.folder).is_dir():
        return spec
    held = {p.name.split(".")[0].split("-")[0] for p in paths.expanded(folder).glob("*.*")}
    return replace(spec, folder=".") if held & {*SPLITS, spec.split.validation} else spec


def _range(text: str, count: int) -> tuple[int, int]:
    """Read `A:B` (either may be missing) or one row number.

    Raises:
        DataError: if it is neither, or no row is left.
    """
    first, colon, last = text.partition(":")
    parts = [part.strip() for part in (first, last)]
    if any(part and not part.isdecimal() for part in parts) or not (colon or parts[0]):
        raise DataError(
            f"--rows got '{text}'; write it as 0:50, :50, 50: or 7 (rows count from 0)."
        )
    start = int(parts[0] or 0)
    end = (int(parts[1]) if parts[1] else count) if colon else start + 1
    if start >= min(end, count):
        raise DataError(f"--rows {text} selects no row; the split has {count} (0:{count}).")
    return start, min(end, count)


def format_rows(arguments: argparse.Namespace) -> int:
    """Print the chosen rows as JSON lines."""
    _, rows, _ = _chosen(arguments)
    for row in rows:
        line = {"source": row.source, "target": row.target, "references": list(row.references)}
        print(json.dumps(line, ensure_ascii=False))
    return 0


def score_rows(arguments: argparse.Namespace) -> int:
    """Print the scores of a file of answers."""
    from dtvg.analysis.words import counted
    from dtvg.tasks.answers import read_predictions, score_answers

    predictions = read_predictions(arguments.predictions)
    data, rows, what = _chosen(arguments)
    found = score_answers(data.spec, predictions, rows, what)
    if arguments.json or not sys.stdout.isatty():
        facts = {"task": data.spec.name, "split": arguments.split, "rule": arguments.split_rule}
        facts["split_rule"] = data.rule
        print(json.dumps({**facts, "rows": len(rows), **found}, ensure_ascii=False))
        return 0
    print(f"{what}: {counted(len(rows), 'row')}")
    for note in data.notes:
        print(f"  note: {note}")
    intervals = found.get("intervals", {})
    for name, value in found["metrics"].items():
        low, high = intervals.get(name, (None, None))
        spread = "" if low is None else f"   95 % interval {low:.4f} to {high:.4f}"
        print(f"  {name:12}{value:.4f}{spread}")
    if found.get("no_label"):
        print(f"  {found['no_label']} answers are not a label word")
    return 0


def check_file(arguments: argparse.Namespace) -> int:
    """Print what a described task looks like, and everything that is wrong with it."""
    from dtvg.analysis.words import counted
    from dtvg.cli.terminal import console_for_tables
    from dtvg.config import DataConfig
    from dtvg.errors import ConfigError
    from dtvg.tasks.checking import check_task

    spec = find(arguments.file)
    if not spec.described_in:
        raise ConfigError(
            f"Task '{spec.name}' comes with the workbench; `dtvg tasks show {spec.name}` prints "
            "it. Give the YAML file of your own task."
        )
    if arguments.max_source_tokens < 1:
        raise ConfigError(
            f"--max-source-tokens takes 1 or more, got {arguments.max_source_tokens}."
        )
    done = check_task(spec, DataConfig(), arguments.problems)
    console = console_for_tables()
    _print_examples(console, done)
    for words in done.found:
        print(f"{words}.")
    if done.train:
        _print_lengths(done, arguments.backbone, arguments.max_source_tokens)
        _print_round_trip(done, arguments.backbone)
    _print_balance(done)
    for problem in done.problems:
        print(f"problem: {problem}")
    if done.more:
        print(f"and {counted(done.more, 'more problem')}; --problems prints more of them.")
    if done.sound:
        print(_where_to_use(spec))
    return 0 if done.sound else 1


def _where_to_use(spec: TaskSpec) -> str:
    """Say how a sound task is used, which depends on where its description lies."""
    from dtvg import paths
    from dtvg.tasks.catalogue import all_tasks

    known = all_tasks().get(spec.name)
    if (
        known is not None
        and Path(known.described_in).resolve() == Path(spec.described_in).resolve()
    ):
        return f"'{spec.name}' can be used: its name is known everywhere."
    return (
        f"'{spec.name}' can be used: put its YAML into '{paths.home() / 'tasks'}', then you can "
        "use its name anywhere."
    )


def _print_examples(console: Console, done: Check) -> None:
    """Print where the task is described and its first examples."""
    from rich.text import Text

    spec = done.spec
    print(f"{spec.name}: {spec.title}, described in {spec.described_in}")
    for number, example in enumerate(done.train[:3], start=1):
        console.print(Text(f"example {number}"), style="bold")
        console.print(Text(f"  source  {example.source[:2000]}"), soft_wrap=True)
        answers = " | ".join(example.references)
        console.print(Text(f"  target  {answers[:2000]}"), soft_wrap=True)


def _print_lengths(done: Check, backbone: str, limit: int) -> None:
    """Print token lengths of sources and answers, and how many are cut."""
    from dtvg.backbones.specs import token_counts
    from dtvg.tasks.summary import length_summary

    rows = done.train[:LENGTH_ROWS]
    print(f"token lengths with the tokenizer of '{backbone}' (special tokens included):")
    # an answer in label words is never truncated: a run makes room for the longest of them
    most = None if done.spec.labels else done.spec.max_target_tokens
    for side, texts, at in (
        ("source", [e.source for e in rows], limit),
        ("answer", [e.target for e in rows], most),
    ):
        found = length_summary(token_counts(texts, backbone), at)
        cut = f"{found.cut} of {found.rows} rows are truncated at {at}"
        cut = "never truncated" if at is None else cut
        print(f"  {side:8}median {found.median:.0f}, longest {found.longest}; {cut}")


def _print_round_trip(done: Check, backbone: str) -> None:
    """Print what becomes of label words, answers and inputs in the tokenizer."""
    from dtvg.backbones.specs import speech_of
    from dtvg.backbones.speech import round_trip

    spec = done.data.spec if done.data is not None else done.spec
    found = round_trip(spec, speech_of(backbone), done.train)
    for sentence in found.sentences(least=0.0):
        print(f"note: {sentence}")
    if found.reachable is not None:
        print(
            f"best reachable score with the tokenizer of '{backbone}': {100 * found.reachable:.1f} "
            f"% (right answers of {found.rows} rows, written and read again)"
        )


def _print_balance(done: Check) -> None:
    """Print rows, label balance and the majority class's score."""
    from dtvg.analysis.words import counted
    from dtvg.tasks.summary import commonest_answer, summarise

    if done.data is not None:
        answer = commonest_answer(done.data.train)
        told = f"'{answer}', the commonest" if done.data.spec.labels else "the commonest"
        for split in summarise(done.data):
            shares = [f"{w} {n} ({n / split.rows:.0%})" for w, n in split.balance.items()]
            print(
                f"{split.name}: {counted(split.rows, 'row')}; {', '.join(shares) or 'free text'}; "
                f"always giving {told} training answer scores "
                f"{100 * split.majority['score']:.1f} %"
            )
        for note in done.data.notes:
            print(f"note: {note}")
        return
    for name, count in done.usable.items():
        shares = [f"{word} {n}" for word, n in done.balance[name].items()]
        print(f"{name}: {counted(count, 'usable row')}; {', '.join(shares) or 'free text'}")
