"""Fill tables of docs/experiments.md and docs/demo.md: `python -m tools.experiment_tables FOLDER`.

A table stands between `<!-- KIND NAME [METHOD] -->` and `<!-- end -->`; KIND is one of `KINDS`,
NAME an experiment in the folder of experiments. One that is not there leaves its tables as they
are. Numbers come from the Infos of the compare, groups and explain pages.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.analysis.compare.lines import in_percent
from dtvg.analysis.run.groups import group_info
from dtvg.analysis.subsets.quality import quality_info, read_truth
from dtvg.analysis.subsets.transfer import transfer_info
from dtvg.api import Experiment as Comparison
from dtvg.store.reader import Experiment, Run, open_experiment, read_grams

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = (DOCS / "experiments.md", DOCS / "demo.md")
PLACE = re.compile(r"<!-- ([a-z]+) (\S+)(?: (\S+))? -->\n.*?<!-- end -->", re.DOTALL)
MOST = 3
"""Groups named per run; the rest is summed up."""


def main(folder: Path) -> None:
    """Rewrite every table whose experiment is in the folder."""

    def fill(found: re.Match[str]) -> str:
        kind, name, method = found.groups()
        if kind not in KINDS or not (folder / name / "experiment.yaml").exists():
            print(f"left as it is: {kind} {name}")
            return found.group()
        table = KINDS[kind](open_experiment(folder / name), method)
        return f"{found.group().splitlines()[0]}\n{table}\n<!-- end -->"

    for page in PAGES:
        page.write_text(PLACE.sub(fill, page.read_text(encoding="utf-8")), encoding="utf-8")


def scores(experiment: Experiment, method: str | None = None, singles: bool = False) -> str:
    """Return method × target as Markdown: mean ± std over seeds and the interval of the mean.

    Single sources have a row each if `singles`; else they are told by tables of their own.
    """
    runs = [run for run in experiment.runs if run.role == "transfer"]
    info = compare_info(runs)
    seeds = {run.seed for run in runs}
    columns = [*info.targets, "average"] if len(info.targets) > 1 else [*info.targets]
    columns = [c for c in columns if (info.table[info.table["target"] == c]["n_seeds"] > 0).any()]
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in info.rows if columns else ():
        if row.startswith("single-") and not singles:
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
    text = in_percent(cell["mean"])
    if cell["n_seeds"] > 1:
        low, high = in_percent(cell["low"]), in_percent(cell["high"])
        text += f" ± {in_percent(cell['std'])} ({low} to {high})"
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
        rest = len(found) - MOST
        named.append(f"{rest} other{'s' * (rest > 1)} {100 * found['share'][MOST:].sum():.0f} %")
    return ", ".join(named)


def verdicts(experiment: Experiment, method: str | None = None) -> str:
    """Return what the compare page says about DTVG against each method, as Markdown.

    Args:
        experiment: with finished runs.
        method: the method judged; None: `dtvg`.
    """
    table = Comparison(experiment).verdicts(subject=method or "dtvg")
    lines = [
        "| against | target | seeds | difference, points | corrected interval | corrected p | |",
        "|---" * 7 + "|",
    ]
    for row in table.to_dict("records"):
        judged = not math.isnan(row["p_corrected"])
        interval = f"{100 * row['low_corrected']:+.1f} to {100 * row['high_corrected']:+.1f}"
        cells = [row["baseline"], row["target"], row["n_seeds"], f"{100 * row['difference']:+.1f}"]
        if judged:
            cells += [interval, f"{row['p_corrected']:.3f}", row["verdict"]]
        else:
            cells += ["", "", "reference"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def gains(experiment: Experiment, method: str | None = None) -> str:
    """Return what each source alone adds to each target, beside what it was made to be."""
    found = transfer_info(experiment.runs, truth=read_truth()).of("single")
    zero = zero_vectors(experiment)
    lines = [
        "| target | source | made to be | measured gain, points | 95 % over seeds | zero vector |",
        "|---" * 6 + "|",
    ]
    for row in found.to_dict("records"):
        seeds = zero.get((row["target"], row["source"]), {})
        cells = [row["target"], row["source"], row["known"], f"{100 * row['difference']:+.1f}"]
        known = not math.isnan(row["low"])
        cells.append(f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}" if known else "")
        many = sum(seeds.values())
        cells.append(f"in {many} of {len(seeds)} seeds" if many else "no")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def zero_vectors(experiment: Experiment) -> dict[tuple[str, str], dict[int, bool]]:
    """Return (target, source) → seed → whether the source's vector is zero."""
    found: dict[tuple[str, str], dict[int, bool]] = {}
    for run in experiment.runs:
        if run.method != "dtvg":
            continue
        _, grams = read_grams(run, 1, 1)
        for place, source in enumerate(run.sources, start=1):
            empty = bool(len(grams)) and bool(grams[0, place, place] == 0)
            found.setdefault((run.target, source), {})[run.seed] = empty
    return found


def floor(experiment: Experiment, method: str | None = None) -> str:
    """Return the noise floor: two runs of the same method but for a source that adds nothing."""
    by_name = {run.name: run for run in experiment.runs}
    zero = zero_vectors(experiment)
    lines = [
        "| target | seed | target_only | with the zero source | difference, points |",
        "|---" * 5 + "|",
    ]
    for target, source in sorted(zero):
        for run in experiment.runs:
            twin = by_name.get(f"{target}.single-{source}.s{run.seed}")
            if (run.target, run.method) != (target, "target_only") or twin is None:
                continue
            if not zero[target, source].get(run.seed):
                continue
            one, other = run.test_score, twin.test_score
            if one is not None and other is not None:
                lines.append(
                    f"| {target} | {run.seed} | {100 * one:.0f} | {100 * other:.0f} ({source}) | "
                    f"{100 * (other - one):+.0f} |"
                )
    return "\n".join(lines)


def overlap(experiment: Experiment, method: str | None = None) -> str:
    """Return how often the groups of a method equal the truth: means over the kept steps."""
    chosen = [r for r in experiment.runs if r.method == (method or "dtvg") and r.result]
    lines = [
        "| target | runs | precision | recall | Jaccard | exactly equal | harmful source in it |",
        "|---" * 7 + "|",
    ]
    truth = read_truth()
    for target in dict.fromkeys(run.target for run in chosen):
        mine = [run for run in chosen if run.target == target]
        infos = [group_info(run) for run in mine]
        table = quality_info(infos, mine, (), truth).table
        harmful = [s for s, relation in truth.get(target, {}).items() if relation == "harmful"]
        held = [info.member[:, [s in harmful for s in info.sources]].any(axis=1) for info in infos]
        cells = [table[column].mean() for column in ("precision", "recall", "jaccard", "exact")]
        cells.append(sum(h.mean() for h in held) / len(held))
        shown = " | ".join(f"{cell:.2f}" for cell in cells)
        lines.append(f"| {target} | {len(mine)} | {shown} |")
    return "\n".join(lines)


KINDS: dict[str, Callable[[Experiment, str | None], str]] = {
    "scores": scores,
    "groups": groups,
    "verdicts": verdicts,
    "gains": gains,
    "floor": floor,
    "overlap": overlap,
}
"""What can stand in a page, by the word in its place."""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
