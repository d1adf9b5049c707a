"""Fill the tables of docs/experiments.md: `python -m tools.experiment_tables FOLDER`.

A table stands between `<!-- scores NAME -->` or `<!-- groups NAME [METHOD] -->` and
`<!-- end -->`; NAME is an experiment in the folder of experiments. One that is not there leaves
its tables as they are.
Numbers come from the Infos of the compare and groups pages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.analysis.run.groups import group_info
from dtvg.store.reader import Experiment, Run, open_experiment

PAGE = Path(__file__).resolve().parent.parent / "docs" / "experiments.md"
PLACE = re.compile(r"<!-- (scores|groups) (\S+)(?: (\S+))? -->\n.*?<!-- end -->", re.DOTALL)
MOST = 3
"""Groups named per run; the rest is summed up."""


def main(folder: Path) -> None:
    """Rewrite every table whose experiment is in the folder."""

    def fill(found: re.Match[str]) -> str:
        kind, name, method = found.groups()
        if not (folder / name / "experiment.yaml").exists():
            print(f"left as it is: {kind} {name}")
            return found.group()
        experiment = open_experiment(folder / name)
        table = scores(experiment) if kind == "scores" else groups(experiment, method)
        return f"{found.group().splitlines()[0]}\n{table}\n<!-- end -->"

    PAGE.write_text(PLACE.sub(fill, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def scores(experiment: Experiment) -> str:
    """Return method × target as Markdown: mean ± std over seeds and the interval of the mean."""
    runs = [run for run in experiment.runs if run.role == "transfer"]
    info = compare_info(runs)
    seeds = {run.seed for run in runs}
    columns = [*info.targets, "average"] if len(info.targets) > 1 else [*info.targets]
    columns = [c for c in columns if (info.table[info.table["target"] == c]["n_seeds"] > 0).any()]
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in info.rows if columns else ():
        if row.startswith("single-"):
            continue
        cells = [_cell(info, row, column, len(seeds)) for column in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    done = sum(run.result is not None for run in runs)
    empty = [t for t in info.targets if t not in columns]
    lines = [*lines, ""] if columns else []
    lines.append(f"{done} of {len(runs)} runs are done.")
    if empty:
        lines[-1] += f" Not run: {', '.join(empty)}."
    return "\n".join(lines)


def _cell(info: CompareInfo, row: str, column: str, seeds: int) -> str:
    found = info.table[(info.table["method"] == row) & (info.table["target"] == column)]
    if not len(found) or not found["n_seeds"].iloc[0]:
        return ""
    cell = found.iloc[0]
    text = f"{100 * cell['mean']:.1f}"
    if cell["n_seeds"] > 1:
        low, high = 100 * cell["low"], 100 * cell["high"]
        text += f" ± {100 * cell['std']:.1f} ({low:.1f} to {high:.1f})"
    done = int(cell["n_seeds"])
    if done < seeds:
        text += f", {done} seed{'s' * (done > 1)}"
    return text


def groups(experiment: Experiment, method: str | None = None) -> str:
    """Return the groups that DTVG and its variants kept, as Markdown: a row a target and rule.

    Args:
        experiment: with finished runs of DTVG.
        method: only this one, such as `dtvg`; None: all variants.
    """
    chosen: dict[tuple[str, str], dict[int, str]] = {}
    for run in experiment.runs:
        wanted = run.method == method if method else run.method_name == "dtvg"
        if run.role == "transfer" and wanted and run.result is not None:
            chosen.setdefault((run.target, run.method), {})[run.seed] = _kept(run)
    seeds = sorted({seed for by_seed in chosen.values() for seed in by_seed})
    head = "| target | method | " + " | ".join(f"seed {s}" for s in seeds) + " |"
    lines = [head, "|---" * (len(seeds) + 2) + "|"]
    for (target, method), by_seed in chosen.items():
        cells = [by_seed.get(seed, "") for seed in seeds]
        lines.append(f"| {target} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _kept(run: Run) -> str:
    """Return a run's most frequent groups with their share of the steps."""
    found = group_info(run).combinations
    named = [f"{r.members or 'none'} {100 * r.share:.0f} %" for r in found[:MOST].itertuples()]
    if len(found) > MOST:
        named.append(f"{len(found) - MOST} others {100 * found['share'][MOST:].sum():.0f} %")
    return ", ".join(named)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
