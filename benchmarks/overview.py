"""Server time of the overview with many runs: reading them, and each of its views.

`python -m benchmarks.overview --runs 10000` makes a store of experiments of 1,000 finished runs
each (statuses and results without tables, since lists read no more), and prints seconds cold and
warm. `--store DIR` keeps the store for another time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dtvg.config import build_config
from dtvg.records import RunState
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import create_experiment
from dtvg.testing import made_runs

ROOT = Path(__file__).resolve().parent.parent
EACH = 1_000
RATES = (0.05, 0.1, 0.2, 0.5)


def make(folder: Path, runs: int) -> None:
    """Write experiments of 1,000 runs, which differ in a rate."""
    os.fsync = lambda handle: None  # nothing here has to survive a power cut
    for number in range(-(-runs // EACH)):
        name = f"many-{number:03d}"
        if (folder / name).exists():
            continue
        values = {
            "name": name,
            "targets": ["rte", "cb"],
            "sources": ["mnli", "qqp"],
            "methods": ["none", "dtvg"],
            "seeds": list(range(EACH // 4)),
            "optim": {"steps": 100, "lr_prompt": RATES[number % len(RATES)]},
        }
        made = create_experiment(build_config(values), folder)
        for place, run in enumerate(made.runs()):
            score = 0.5 + 0.4 * ((place * 7919 + number * 104729) % 1000) / 1000
            result = made_runs.result_of(
                100, score, score, {"score": score}, seconds=9.0, trained_parameters=1000
            )
            replace_json(run.result_path, result.__dict__, durable=False)
            status = read_json(run.status_path) or {}
            status |= {"state": RunState.FINISHED.value, "step": 100, "score": score}
            replace_json(run.status_path, status, durable=False)


def timed(what: str, do: Callable[[], object]) -> None:
    """Print how long something takes, twice: on the clock, and of the processor."""
    found = []
    for _ in range(2):
        start, spent = time.perf_counter(), time.process_time()
        do()
        found += [time.perf_counter() - start, time.process_time() - spent]
    print(f"{what:<24}" + "".join(f"{one:8.2f} s" for one in found), flush=True)


def measure(home: Path) -> None:
    """Print the times of reading and of the page's views."""
    os.environ["DTVG_HOME"] = str(home)
    from streamlit.testing.v1 import AppTest

    from dtvg.analysis.overview import table
    from dtvg.analysis.overview.filtering import parse
    from dtvg.analysis.overview.settings_grid import settings_info
    from dtvg.store.reader import list_experiments

    print(f"{'':<24}" + "".join(f"{one:>10}" for one in ("first", "CPU", "again", "CPU")))
    timed("list_experiments", lambda: list_experiments(home / "runs"))
    experiments = list_experiments(home / "runs")
    timed("run_rows", lambda: table.run_rows(experiments, everything=True))
    rows = table.run_rows(experiments, everything=True)
    terms = parse("method=dtvg optim.lr_prompt>=0.1", table.names(), table.known_words(rows))
    timed("filter", lambda: [r for r in rows if all(t.accepts(r) for t in terms)])
    timed("seeds together", lambda: table.grouped(rows))
    timed("settings", lambda: settings_info(rows))
    for level in ("Runs", "Seeds together", "Experiments", "Settings"):
        page = AppTest.from_file(str(ROOT / "pages" / "overview.py"), default_timeout=600)
        page.query_params["level"] = level
        timed(f"page, {level}", lambda page=page: page.run())
        print("   ", len(page.exception), "exceptions;", len(page.error), "errors")


def main() -> None:
    """Make the store where it is not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = options.store or Path(place)
        (home / "runs").mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        make(home / "runs", options.runs)
        print(f"store made in {time.perf_counter() - start:.0f} s")
        measure(home)


if __name__ == "__main__":
    main()
