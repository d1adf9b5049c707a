"""What commands print again and again: tables of scores, progress bars of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from dtvg.store.reader import Run
from collections.abc import Iterator
from contextlib import contextmanager

if TYPE_CHECKING:
    from dtvg.training.progress import Progress, Report


def score_table(runs: Sequence[Run]) -> Table:
    """Build method × target: mean ± standard deviation over seeds, in percent.

    Scores are test scores at the best validation step; cells without a finished run are empty.
    """
    from rich.table import Table

    from dtvg.analysis.compare.info import compare_info
    from dtvg.analysis.compare.lines import shown_name
    from dtvg.analysis.compare.references import BELOW, Reference

    info = compare_info(list(runs))
    shown = info.table
    targets = list(dict.fromkeys(shown["target"]))
    table = Table(
        "method",
        *targets,
        title="Test score, mean ± std over seeds (percent)",
        caption=f"{BELOW['guessing']} below guessing, {BELOW['no_transfer']} below no transfer",
    )
    for method in dict.fromkeys(shown["method"]):
        cells = []
        for target in targets:
            row = shown[(shown["method"] == method) & (shown["target"] == target)]
            if row.empty or row["mean"].isna().all():
                cells.append("")
                continue
            first = row.iloc[0]
            spread = "" if first["n_seeds"] < 2 else f" ± {100 * first['std']:.1f}"
            known = info.references.get(str(target), Reference())
            below = BELOW.get(known.mark(float(first["mean"]), str(method)), "")
            cells.append(
                f"{100 * first['mean']:.1f}{spread} (n={int(first['n_seeds'])}) {below}".rstrip()
            )
        table.add_row(shown_name(info, str(method)), *cells)
    return table


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
