"""What commands print again and again: tables, scores, messages, progress bars of training."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from dtvg.store.reader import Run
    from dtvg.training.progress import Progress, Report

PIPED = 160
"""Characters of a line where nobody sees a terminal: a file, or another program."""
NAMED = 3
"""Runs that are named with a message they share; the rest is counted."""


def console_for_tables() -> Console:
    """Return a console as wide as the terminal; wide enough for a table when piped."""
    from rich.console import Console

    class Printing(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `main` says what that means, for every command alike

    made = Printing(highlight=False)
    if not sys.stdout.isatty():
        made.width = max(made.width, PIPED)
    return made


def whole(table: Table) -> Table:
    """Return a table whose cells are folded where a column is too narrow for them, never cut."""
    for column in table.columns:
        column.overflow = "fold"
    return table


def print_rows(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str = "",
    wrapped: Sequence[str] = (),
) -> None:
    """Print rows so that names can be copied: no cell is ever cut.

    On a terminal too narrow for the table each row is a line with its first cell and a line with
    the others; elsewhere than on a terminal the table is as wide as it needs to be.

    Args:
        headings: names of the columns; the first column says which row it is.
        rows: cells as text.
        title: printed above.
        wrapped: columns of words, which may take several lines on a terminal.
    """
    from rich.measure import Measurement

    rows = [list(row) for row in rows]
    console = console_for_tables()
    table = _table(headings, rows, wrapped)
    needed = Measurement.get(console, console.options.update(max_width=1_000_000), table)
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    if not sys.stdout.isatty():
        console.width = max(console.width, needed.maximum)
    elif console.width < needed.minimum:
        for first, *others in rows:
            said = [f"{h} {c}" for h, c in zip(headings[1:], others, strict=True) if c]
            console.print(first, style="bold", markup=False, soft_wrap=True)
            console.print(f"  {', '.join(said)}", markup=False, soft_wrap=True)
        return
    console.print(table)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], wrapped: Sequence[str]) -> Table:
    """Build a table without lines, in which only columns of words may become narrower."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        words = [w for row in [headings, *rows] for w in row[place].split()]
        free = heading in wrapped
        table.add_column(
            Text(heading), no_wrap=not free, min_width=max(map(len, words)) if free else None
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def messages(runs: Sequence[Run], experiments: bool = True) -> list[str]:
    """Return what runs have to say, each message once with the runs it is of.

    Args:
        runs: any.
        experiments: name each run with its experiment.
    """
    said: dict[str, list[str]] = {}
    for run in runs:
        words = " ".join((run.problem or run.message).split())
        if words:
            name = f"{run.experiment}/{run.name}" if experiments else run.name
            said.setdefault(words, []).append(name)
    found = []
    for words, names in said.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        found.append(f"{', '.join(names[:NAMED])}{more}: {words}")
    return found


def score_table(runs: Sequence[Run]) -> RenderableType:
    """Build method × target: mean ± standard deviation over seeds, in percent.

    Scores are test scores at the best validation step; cells without a finished run are empty.
    Where no run has finished it is a sentence that says so.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if all(run.result is None for run in runs):
        return Text("No run has finished, so there are no test scores.")
    from dtvg.analysis.compare.info import compare_info
    from dtvg.analysis.compare.lines import shown_name
    from dtvg.analysis.compare.references import BELOW, Reference
    from dtvg.analysis.words import in_percent

    info = compare_info(list(runs))
    shown = info.table
    targets = list(dict.fromkeys(shown["target"]))
    title = Text("Test score, mean ± std over seeds (percent)", style="italic")
    below = f"{BELOW['guessing']} below guessing, {BELOW['no_transfer']} below no transfer"
    table = Table("method", *targets)
    for method in dict.fromkeys(shown["method"]):
        cells = []
        for target in targets:
            row = shown[(shown["method"] == method) & (shown["target"] == target)]
            if row.empty or row["mean"].isna().all():
                cells.append("")
                continue
            first = row.iloc[0]
            spread = "" if first["n_seeds"] < 2 else f" ± {in_percent(first['std'])}"
            known = info.references.get(str(target), Reference())
            mark = BELOW.get(known.mark(float(first["mean"]), str(method)), "")
            cells.append(
                f"{in_percent(first['mean'])}{spread} (n={int(first['n_seeds'])}) {mark}".rstrip()
            )
        table.add_row(shown_name(info, str(method)), *cells)
    return Group(title, whole(table), Text(below, style="dim italic"))


@contextmanager
def progress_bars() -> Iterator[Report]:
    """Show one bar per cohort: steps, steps per second, time left, loss.

    Yields:
        What to hand to `run_experiment` as `report`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bars,
    )

    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TextColumn("{task.fields[rate]:>12}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True), refresh_per_second=2) as bars:
        known: dict[str, int] = {}

        def report(progress: Progress) -> None:
            if progress.cohort not in known:
                known[progress.cohort] = int(
                    bars.add_task(progress.cohort, total=progress.steps_total, rate="", note="")
                )
            number = known[progress.cohort]
            task = next(t for t in bars.tasks if t.id == number)
            speed = f"{task.speed:.1f} steps/s" if task.speed else ""
            loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
            note = progress.message or f"{progress.runs_active} runs  {loss}"
            bars.update(task.id, completed=progress.steps_done, rate=speed, note=note)

        yield report
