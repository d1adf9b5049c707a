"""What skipped rounds and rare exchanges cost `primal_dual` with a shared relation matrix.

Four few-shot targets of the demo family, two of each skill, share one matrix; k and the share of
rounds skipped differ, everything else is the demo's setting. The grid was declared here before it
was run. Each setting is an experiment of its own; what is finished is not trained again.
Writes the table of docs/duals.md.

    python -m benchmarks.duals                  # trains what is missing, one process
    python -m benchmarks.duals --print          # the table of what there is
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dtvg import paths
from dtvg.analysis.statistics import t_interval
from dtvg.config import ExperimentConfig, build_config
from dtvg.store.layout import create_experiment
from dtvg.store.reader import Run, open_run, read_table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "duals.md"
TARGETS = ("trip-mood", "meal-mood", "who-sent", "who-borrowed")
SOURCES = ("film-mood", "stay-gripe", "who-gave", "who-sold", "count-things", "where-things")
SEEDS = (0, 1, 2)
OWN = (0, 0.0)
"""Every run with a matrix of its own."""
GRID = (
    *((1, skip) for skip in (0.0, 0.25, 0.5, 0.75)), (5, 0.0), (20, 0.0), OWN,
    *((k, skip) for k in (5, 20) for skip in (0.25, 0.5, 0.75)),
)  # fmt: skip
"""k and the share of rounds skipped, in the order in which they are trained."""


def config_of(k: int, skip: float) -> ExperimentConfig:
    """Return the experiment of a setting."""
    values = yaml.safe_load((paths.demo() / "experiment.yaml").read_text("utf-8"))
    method: dict[str, Any] = {"name": "primal_dual"}
    if (k, skip) != OWN:
        method |= {"share": list(TARGETS), "every": k, "skip": skip}
    name = f"duals-k{k}-skip{round(100 * skip)}" if k else "duals-own"
    changes = {"name": name, "notes": "docs/duals.md", "methods": [method]}
    changes |= {"sources": list(SOURCES), "targets": list(TARGETS), "seeds": list(SEEDS)}
    return build_config({**values, **changes, "device": {"name": "cpu", "threads": 1}})


def train(folder: Path) -> None:
    """Train the settings that are not finished, and renew the page after each."""
    from dtvg.training.procedures import run_experiment

    for setting in GRID:
        config = config_of(*setting)
        if len(finished(folder, config)) < len(config.runs()):
            run_experiment(create_experiment(config, folder))
        if len(finished(folder, config)) < len(config.runs()):
            print(f"{config.name} was stopped, or some of its runs failed")
            return
        print(config.name, {n: r.result.test_score for n, r in finished(folder, config).items()})
        show(folder)


def finished(folder: Path, config: ExperimentConfig) -> dict[tuple[str, int], Run]:
    """Return the finished runs of a setting by target and seed."""
    found = {}
    for run in config.runs():
        place = folder / config.name / run.name
        made = open_run(place) if (place / "result.json").exists() else None
        if made is not None and made.result is not None:
            found[run.target, run.seed] = made
    return found


def skipped(runs: dict[tuple[str, int], Run]) -> float:
    """Return the share of rounds that runs left out."""
    left = whole = 0
    for (target, _), run in runs.items():
        rows = read_table(run, "exchanges").to_pandas()
        whole += rows["step"].nunique()
        left += int((rows["task"] == target).sum())
    return left / whole if whole else float("nan")


def table_of(folder: Path) -> str:
    """Return the table of the page."""
    head = [
        "k",
        "share skipped, set",
        "and drawn",
        "score, %",
        *TARGETS,
        "against k = 1, none skipped",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---:" * len(head) + "|"]
    known = {setting: finished(folder, config_of(*setting)) for setting in GRID}
    base = _scores(known[1, 0.0])
    for setting in sorted(GRID, key=lambda s: (s == OWN, s)):
        scores = _scores(known[setting])
        if scores is None:
            continue
        k, skip = setting
        own = setting == OWN
        told = (
            ["own matrix", "–", "–"]
            if own
            else [f"{k}", f"{skip:g}", f"{skipped(known[setting]):.2f}"]
        )
        told += [f"{100 * scores.mean():.1f}", *(f"{100 * x:.1f}" for x in scores.mean(axis=0))]
        told.append("–" if base is None or setting == (1, 0.0) else _against(scores, base))
        lines.append("| " + " | ".join(told) + " |")
    return "\n".join(lines)


def _scores(runs: dict[tuple[str, int], Run]) -> np.ndarray | None:
    """Return test scores `[seeds targets]`; None where some are missing."""
    if len(runs) < len(SEEDS) * len(TARGETS):
        return None
    return np.array([[runs[t, s].result.test_score for t in TARGETS] for s in SEEDS])


def _against(scores: np.ndarray, base: np.ndarray) -> str:
    """Say the difference of the means over targets, paired by seed, with its 95 % interval."""
    apart = (scores - base).mean(axis=1)
    ends = t_interval(apart, 0.95)
    return f"{100 * apart.mean():+.1f} ({100 * ends.low:+.1f} … {100 * ends.high:+.1f})"


def show(folder: Path) -> None:
    """Put the table into the page."""
    text, end = PAGE.read_text("utf-8"), "<!-- end of scores -->"
    before, _, rest = text.partition("<!-- scores -->")
    made = table_of(folder)
    PAGE.write_text(f"{before}<!-- scores -->\n\n{made}\n\n{end}{rest.partition(end)[2]}", "utf-8")
    print(made, flush=True)


def main() -> None:
    """Train and write, or only print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs-dir", type=Path, default=None)
    parser.add_argument("--print", action="store_true", help="train nothing")
    given = parser.parse_args()
    folder = given.runs_dir or paths.runs()
    if given.print:
        print(table_of(folder))
    else:
        train(folder)


if __name__ == "__main__":
    main()
