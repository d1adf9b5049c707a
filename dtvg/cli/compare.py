"""`runs compare`, `runs report`, `runs agreement`: methods side by side, printed or as HTML."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.cli.places import RUNS_DIR, by_experiment, locate

if TYPE_CHECKING:
    from dtvg.analysis.compare.info import CompareInfo
    from dtvg.analysis.compare.lines import Line, Spread
    from dtvg.store.layout import ExperimentDir
    from dtvg.store.reader import Run
from dtvg.errors import ConfigError

ROOMY = 150
"""Characters from which on the whole table of verdicts fits a line."""
REPORTS = (".html", ".pdf")
"""Endings of the files that a report can be written as."""
VIEWS = (
    *("scores", "claims", "curves", "transfer", "subsets", "story", "membership"),
    *("combinations", "weights", "explain"),
)
"""Those of `dtvg.report.VIEWS`, which is too slow to load for a text of help; a test compares."""


def add(actions: Any) -> None:
    """Add the action to the group `runs`."""
    made = actions.add_parser(
        "compare", help="compare methods: scores, paired verdicts, ranks, cost"
    )
    made.add_argument("places", nargs="+", metavar="EXPERIMENT")
    made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    add_apart(made)
    made.add_argument("--split", choices=("test", "validation"), default="test")
    made.add_argument("--metric", default="score", help="score (mean of the task's) or one metric")
    made.add_argument(
        "--subject", help="the method that is compared with the others (default: dtvg)"
    )
    made.add_argument("--against", help="comma-separated baselines (default: all other methods)")
    made.add_argument(
        "--spread",
        choices=("std", "interval"),
        default="std",
        help="beside each mean: standard deviation over seeds, or the mean's 95 %% interval",
    )
    made.add_argument(
        "--format", choices=("table", "csv", "parquet", "md", "latex"), default="table"
    )
    made.add_argument(
        "--tables",
        help="comma-separated: scores, primary, verdicts, ranks, profile, costs, budgets, "
        "published (csv and parquet: one of them, scores if none is named)",
    )
    made.add_argument("--out", type=Path, help="file to write (default: print)")
    made.set_defaults(do=compare)


def add_apart(made: Any) -> None:
    """Add the option that switches pooling off."""
    made.add_argument(
        "--apart",
        action="store_true",
        help="keep experiments apart that differ only in seeds, targets or methods",
    )


def compare(arguments: argparse.Namespace) -> int:
    """Compare the methods of experiments and print or write the result."""
    from dtvg.analysis.compare.info import compare_info
    from dtvg.analysis.compare.scores import SUBJECT
    from dtvg.analysis.compare.verdicts import check_subject
    from dtvg.cli.out import check_out, written
    from dtvg.export import export, one_table, to_parquet

    if arguments.out is not None:
        check_out(arguments.out)
    found, said = pooled_runs(arguments.places, arguments.runs_dir, arguments.apart)
    subject, against = arguments.subject or SUBJECT, _listed(arguments.against)
    info = compare_info(
        found, split=arguments.split, metric=arguments.metric, subject=subject, baselines=against
    )
    if arguments.subject or against is not None:  # an experiment need not have the usual one
        check_subject(info.sheet, subject, against)
    tables = _listed(arguments.tables)
    info = replace(info, notes=(*said, *info.notes))
    title = ", ".join(dict.fromkeys(r.experiment for r in found))
    if arguments.format == "table":
        return _print(info, title, tables, arguments.out, arguments.spread)
    if arguments.format == "parquet":
        if arguments.out is None:
            raise ConfigError("Parquet is not text; name the file to write with --out.")
        content = to_parquet(info, one_table("Parquet", tables))
    else:
        text = export(info, arguments.format, tables, title, arguments.spread)
        if arguments.out is None:
            print(text, end="")
            return 0
        content = text.encode()
    written(arguments.out, content)
    print(f"Comparison of {title} is in {arguments.out}.")
    return 0


def pooled_runs(
    places: Sequence[str], runs_dir: Path | None, apart: bool = False
) -> tuple[list[Run], tuple[str, ...]]:
    """Return the runs that places name, equal settings as one experiment, and what to know of it.

    Args:
        places: EXPERIMENT or EXPERIMENT/RUN.
        runs_dir: folder of experiments; None: the default.
        apart: keep every experiment as it is.
    """
    from dtvg.analysis.pools import pool

    wanted = by_experiment(locate(place, runs_dir) for place in places)
    made = pool(wanted, apart)
    found = [
        run for run in made.runs if (names := wanted[run.path.parent]) is None or run.name in names
    ]
    return found, made.notes


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _print(
    info: CompareInfo, title: str, tables: list[str] | None, out: Path | None, spread: Spread
) -> int:
    """Print tables in the terminal, or as plain text to a file."""
    from rich.console import Console

    from dtvg import export
    from dtvg.cli.out import written
    from dtvg.cli.terminal import console_for_tables
    from dtvg.errors import ConfigError, unknown

    chosen = tables or list(export.USUAL)
    for table in chosen:
        if table not in export.TABLES:
            raise ConfigError(unknown("table of a comparison", table, export.TABLES))
    console = Console(file=io.StringIO(), width=160) if out is not None else console_for_tables()
    _tables(console, info, title, chosen, spread)
    if empty := export.nothing_in(info, tables or ("scores",)):
        console.print(empty)
    if out is None:
        return 0
    written(out, console.file.getvalue().encode())  # type: ignore[attr-defined]
    print(f"Comparison of {title} is in {out}.")
    return 0


def _tables(console: Any, info: CompareInfo, title: str, chosen: list[str], spread: Spread) -> None:
    """Print the chosen tables, each with the sentences that belong to it."""
    from rich.markup import escape
    from rich.table import Table

    from dtvg import export
    from dtvg.analysis.compare.lines import legend, lines_of, verdicts_brief
    from dtvg.cli.terminal import whole

    lines = lines_of(info, "published" in chosen, spread)
    groups = export.groups_of(lines, chosen)
    if groups:
        columns = [escape(export.column_title(c)) for c in lines.columns]
        table = Table("method", *columns, title=escape(title))
        for group in groups:
            of_group = lines.of(group)
            for i, line in enumerate(of_group):
                table.add_row(*_row(line), end_section=i == len(of_group) - 1)
        console.print(whole(table))
        console.print(escape("\n".join([*legend(lines, info), *info.notes, *info.health.notes])))
    elif "scores" in chosen and info.notes:
        console.print(escape("\n".join(info.notes)))
    for name in ("primary", "verdicts", "ranks", "profile", "costs", "budgets"):
        if name not in chosen:
            continue
        frame = export.shown_frame(info, name)
        if name == "verdicts" and console.width < ROOMY:
            frame = verdicts_brief(info)
        if len(frame):
            table = Table(*map(escape, map(str, frame.columns)), title=export.HEADINGS[name])
            for row in export.printed(frame).to_numpy():
                table.add_row(*map(escape, row))
            console.print(whole(table))
            console.print(escape(export.note_of(info, name)))


def _row(line: Line) -> list[str]:
    """One line of scores: bold best, underlined second, marks behind; published ones dim."""
    from rich.markup import escape

    cells = []
    for cell in line.cells:
        style = {1: "bold", 2: "underline"}.get(cell.place)
        number = f"[{style}]{cell.percent}[/]" if style else cell.percent
        spread = f" {cell.around}" if cell.around else ""
        cells.append(f"{number}{spread} {cell.signs}".rstrip())
    name = escape(line.shown + (" (published)" if line.group == "published" else ""))
    return [f"[dim]{x}[/]" if line.group == "published" else x for x in (name, *cells)]


def add_agreement(actions: Any) -> None:
    """Add the action to the group `runs`."""
    made = actions.add_parser(
        "agreement", help="compare a finished run's answers by generation and by label scoring"
    )
    made.add_argument("places", nargs="+", metavar="EXPERIMENT/RUN")
    made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    made.add_argument("--split", choices=("validation", "test"), default="test")
    made.add_argument(
        "--max-examples", type=int, help="number of rows at most (default: as the run)"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, ...")
    made.set_defaults(do=agree)


def agree(arguments: argparse.Namespace) -> int:
    """Print scores, seconds and the share of equal answers between ways of evaluation."""
    from rich.table import Table

    from dtvg.cli.terminal import console_for_tables
    from dtvg.store.reader import open_run
    from dtvg.training.agreement import agreement

    if arguments.max_examples is not None and arguments.max_examples < 1:
        raise ConfigError(f"--max-examples takes 1 or more rows, got {arguments.max_examples}.")
    for place in arguments.places:
        experiment, name = locate(place, arguments.runs_dir)
        if name is None:
            raise ConfigError(f"'{place}' is an experiment; name a run, EXPERIMENT/RUN.")
        run = open_run(experiment.path / name)
        found = agreement(run, arguments.split, arguments.max_examples, arguments.device)
        for result in found:
            table = Table(
                "way",
                "score",
                "examples/s",
                *(f"= {name}" for name in result.names),
                title=f"{run.name}: {result.task} {result.split}, {result.n_examples} examples",
                caption="+ = evaluation.constrained; = X: share of examples with the same answer "
                "as X",
                box=None,
            )
            for i, name in enumerate(result.names):
                shares = [f"{100 * share:.1f} %" for share in result.equal[i]]
                rate = result.n_examples / max(result.seconds[i], 1e-9)
                table.add_row(name, f"{result.scores[i]:.4f}", f"{rate:.0f}", *shares)
            console_for_tables().print(table)
    return 0


def add_report(actions: Any) -> None:
    """Add the `report` action to the `runs` group."""
    made = actions.add_parser("report", help="write the chosen views as one HTML file")
    made.add_argument(
        "places",
        nargs="+",
        metavar="EXPERIMENT[/RUN]",
        help="experiments; where a run is named, its groups are shown (one run at most)",
    )
    add_apart(made)
    made.add_argument("--out", type=Path, required=True, help="the .html or .pdf file to write")
    made.add_argument(
        "--views",
        help=f"comma-separated (default: all): {', '.join(VIEWS)}",
    )
    made.add_argument("--step", type=int, help="step to explain (default: the newest)")
    made.add_argument(
        "--words", type=Path, metavar="FILE.md", help="your own words, put first (Markdown)"
    )
    made.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    made.set_defaults(do=write_report)


def write_report(arguments: argparse.Namespace) -> int:
    """Build the report and write it."""
    from dtvg.extras import require

    require("app", "An HTML report")
    from dtvg import report
    from dtvg.cli.out import check_out, written
    from dtvg.store.reader import open_run

    check_out(arguments.out, endings=REPORTS)
    located = [locate(place, arguments.runs_dir) for place in arguments.places]
    chosen = _one_run(located)
    experiment, notes = report.one_experiment([e.path for e, _ in located], arguments.apart)
    run = report.typical_run(experiment) if chosen is None else open_run(chosen)
    views = arguments.views.split(",") if arguments.views else tuple(report.VIEWS)
    names = [v.strip() for v in views]
    if arguments.step is not None:
        _check_step(run, arguments.step, names)
    words = "" if arguments.words is None else _words(arguments.words)
    text = report.build_report(experiment, run, names, arguments.step, notes, words)
    content = text.encode()
    if arguments.out.suffix.lower() == ".pdf":
        from dtvg.figures.images import printed

        content = printed(text)
    written(arguments.out, content)
    print(f"Report of {experiment.name} is in {arguments.out} ({len(content) / 1e6:.1f} MB).")
    return 0


def _one_run(located: Sequence[tuple[ExperimentDir, str | None]]) -> Path | None:
    """Return the folder of the run that is named; None: there are experiments alone.

    Raises:
        ConfigError: several runs are named, and a report shows the groups of one.
    """
    named = list(dict.fromkeys(e.path / name for e, name in located if name))
    if len(named) > 1:
        listed = ", ".join(f"{path.parent.name}/{path.name}" for path in named)
        raise ConfigError(
            f"A report shows the groups of one run, got {len(named)} ({listed}); name one of them, "
            "or write one report for each."
        )
    return named[0] if named else None


def _check_step(run: Run | None, step: int, views: Sequence[str]) -> None:
    """Refuse a step that cannot be explained, before anything is computed and written.

    Raises:
        ConfigError: no view explains a step.
        DataError: the run has no such step, or nothing to explain.
    """
    from dtvg.analysis.run.explain import explain_step

    if "explain" not in views:
        raise ConfigError(
            "--step chooses the step of the view 'explain', which --views leaves out; add it, or "
            "leave --step out."
        )
    if run is None:
        raise ConfigError("No run here has recorded decisions to explain; leave --step out.")
    explain_step(run, step)


def _words(path: Path) -> str:
    """Read somebody's own words.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"'{path}' cannot be read as text ({error}); give a Markdown file."
        ) from None
