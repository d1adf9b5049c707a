"""What each method trained and took: parameters, steps, examples, seconds, peak memory.

docs/verdicts.md "Cost".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dtvg.analysis.compare.scores import AVERAGE, Sheet, shared_targets
from dtvg.analysis.unread import Unread
from dtvg.store.reader import Run, open_experiment, read_provenance, read_table

COLUMNS = [
    "method",
    "n_runs",
    "score",
    "trained_parameters",
    "steps",
    "examples",
    "tokens",
    "seconds",
    "seconds_alone",
    "peak_mem_gib",
    "best_step",
]


@dataclass(frozen=True, eq=False)
class CostInfo:
    """Cost of one run of each method, averaged over its targets and seeds."""

    table: pd.DataFrame
    """`COLUMNS`, a method a row: `n_runs` trained runs; `score` the mean as in the table of
    scores; the rest per target and seed. `seconds` is the wall clock of the cohort a run
    trained in, `seconds_alone` that divided by the runs of the cohort. A row chosen among
    several runs (best single source, oracle) or resting on trials (surrogate) bears the sum of
    all it had to train."""
    runs: pd.DataFrame
    """The same for each run: `method, target, seed` and the columns of cost."""
    machines: tuple[str, ...]
    """Processors and GPUs on which the runs trained; seconds compare on one machine only."""
    note: str


def costs(sheet: Sheet) -> CostInfo:
    """Add up what the runs behind each row of a sheet took; Stage I is not included.

    A seed of a row whose runs cannot all be read is left out, and the note names them.
    """
    everyone = {
        run.path: run
        for by_seed in sheet.behind.values()
        for runs in by_seed.values()
        for run in runs
    }
    everyone |= {
        run.path: run
        for by_seed in sheet.trained.values()
        for runs in by_seed.values()
        for run in runs
    }
    companions = _companions(list(everyone.values()))
    unread = Unread()
    read = {p: unread.tried(r, lambda run: _of_run(run, companions)) for p, r in everyone.items()}
    taken = {path: one for path, one in read.items() if one is not None}
    rows, single = [], []
    for row in sheet.rows:
        for target in sheet.targets:
            for seed, behind in sorted(sheet.behind.get((row, target), {}).items()):
                among = sheet.trained.get((row, target), {}).get(seed)
                of = behind if among is None else among
                if any(run in unread for run in (*of, *behind)):
                    continue
                found = pd.DataFrame([taken[r.path] for r in of])
                total = found.mean() if among is None else found.sum(min_count=1)
                for column in ("peak_mem_gib", "trained_parameters"):
                    total[column] = found[column].max()
                total["best_step"] = np.mean([taken[r.path]["best_step"] for r in behind])
                single.append({"method": row, "target": target, "seed": seed, **total})
                rows.append(len(of))
    runs = pd.DataFrame(single, columns=["method", "target", "seed", *COLUMNS[3:]])
    runs["n_runs"] = rows
    begun = [t for t in sheet.targets if any(sheet.scores.get((r, t)) for r in sheet.headline)]
    over = shared_targets(sheet, sheet.headline)[1] or tuple(begun)
    machines, note = _machines(list(everyone.values()))
    if over and len(over) < len(sheet.targets):
        note += f" Score over {', '.join(over)}: not every method has finished the other targets."
    note = " ".join(filter(None, (note, unread.note)))
    return CostInfo(_per_method(sheet, runs, over), runs, machines, note)


def _companions(runs: Sequence[Run]) -> dict[tuple[str, str | None], int]:
    """Count the runs that trained together in each cohort, those too that are not compared."""
    folders = dict.fromkeys(run.path.parent for run in runs if run.cohort)
    members = {run.path: run for folder in folders for run in open_experiment(folder).runs}
    members |= {run.path: run for run in runs}
    return Counter((str(run.path.parent), run.cohort) for run in members.values())


def _of_run(run: Run, companions: dict[tuple[str, str | None], int]) -> dict[str, float]:
    """What one run took, from its result and its steps."""
    data = read_table(run, "steps", ["step", "examples", "tokens", "device_mem_gib"])
    result = run.result
    logged = data.num_rows > 0
    whole = 1.0  # a thinned log may end before the run does
    if logged and result is not None and run.config is not None and run.config.logging.gaps:
        whole = result.steps / data.column("step")[-1].as_py()
    together = companions[(str(run.path.parent), run.cohort)] if run.cohort else 1
    seconds = float("nan") if result is None else result.seconds
    return {
        "trained_parameters": float("nan") if result is None else result.trained_parameters,
        "steps": float("nan") if result is None else result.steps,
        "examples": whole * _sum(data, "examples") if logged else float("nan"),
        "tokens": whole * _sum(data, "tokens") if logged else float("nan"),
        "seconds": seconds,
        "seconds_alone": seconds / together,
        "peak_mem_gib": float(pc.max(data.column("device_mem_gib")).as_py())
        if logged
        else float("nan"),
        "best_step": float("nan") if result is None else result.best_step,
    }


def _sum(data: pa.Table, column: str) -> float:
    """Add a column over all steps; a row of a thinned log stands for the steps since the last."""
    since = np.diff(data.column("step").to_numpy(), prepend=0)
    return float((data.column(column).to_numpy() * since).sum())


def _per_method(sheet: Sheet, runs: pd.DataFrame, over: Sequence[str]) -> pd.DataFrame:
    """Average the runs of each method; its score as in the table of scores where that has one."""
    made = []
    for row in sheet.rows:
        mine = runs[runs["method"] == row]
        if not len(mine):
            continue
        score = _score(sheet, row, over)
        made.append(
            {
                "method": row,
                "n_runs": int(mine["n_runs"].sum()),
                "score": score,
                **{c: float(mine[c].mean()) for c in COLUMNS[3:]},
            }
        )
    return pd.DataFrame(made, columns=COLUMNS)


def _score(sheet: Sheet, row: str, over: Sequence[str]) -> float:
    """Return the mean over targets; of the seeds that have all of them where any has."""
    whole = sheet.scores.get((row, AVERAGE)) if len(over) == len(sheet.targets) > 1 else None
    cells = [whole] if whole else [sheet.scores.get((row, target)) for target in over]
    if not cells or not all(cells):
        return float("nan")
    return float(np.mean([np.mean(list(cell.values())) for cell in cells if cell]))


def _machines(runs: Sequence[Run]) -> tuple[tuple[str, ...], str]:
    """On what the runs trained, and what to make of seconds."""
    found: dict[str, None] = {}
    for run in runs:
        about = read_provenance(run)
        gpus = about.get("gpus") or []
        name = ", ".join(str(g.get("name", g) if isinstance(g, dict) else g) for g in gpus)
        name = name or f"{about.get('processor') or 'unknown processor'}"
        found.setdefault(name)
    note = (
        "Means over the runs of a method, without Stage I. Seconds are the wall-clock time of the "
        "cohort. The runs of a cohort trained together, so 'seconds alone' divides that time by "
        "their number. Memory is the peak of the process, which all runs of a cohort share."
    )
    if len(found) > 1:
        machines = ", ".join(found)
        note += f" Trained on different machines ({machines}): their seconds cannot be compared."
    return tuple(found), note
