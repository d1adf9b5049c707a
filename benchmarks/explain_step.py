"""How long a step of the Explain page's scrubber takes on the server.

`python -m benchmarks.explain_step` makes a run of 30,000 steps and 6 sources and times the
fragment that draws a decision (timeline, ranking, consistency, Gram matrix, path), at steps that
were not shown before and at steps shown again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, make_store


def _page() -> None:
    """Draw the scrubber alone: what Streamlit runs again when a step is chosen."""
    import time

    import streamlit as st

    from dtvg.ui import cache
    from dtvg.ui.scrubber import scrubber

    experiment = cache.open_named(st.query_params["experiment"])
    assert experiment is not None
    run = next(r for r in experiment.runs if r.method_name == "dtvg")
    cache.groups(run)
    started, worked = time.perf_counter(), time.thread_time()
    scrubber(experiment, run)
    took = (time.perf_counter() - started, time.thread_time() - worked)
    st.session_state["took"] = tuple(1e3 * seconds for seconds in took)


def measure(home: Path, name: str, times: int) -> dict[str, list[tuple[float, float]]]:
    """Return milliseconds by the clock and of the processor, by kind of step.

    Args:
        home: a `DTVG_HOME` with the experiment.
        name: the experiment.
        times: steps of each kind.
    """
    from streamlit.testing.v1 import AppTest

    os.environ["DTVG_HOME"] = str(home)
    app: Any = AppTest.from_function(_page, default_timeout=300)
    app.query_params["experiment"] = name
    app.run()
    assert not app.exception
    last = app.session_state["step"]
    steps = [1 + (last - 1) * k // times for k in range(times)]
    found: dict[str, list[tuple[float, float]]] = {}
    for kind in ("new", "again"):
        for step in steps:
            app.session_state["step"] = step
            app.run()
            found.setdefault(kind, []).append(app.session_state["took"])
    return found


def main() -> None:
    """Print a line per kind of step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--times", type=int, default=25)
    arguments = parser.parse_args()
    machine.show()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        started = time.perf_counter()
        make_store.make(home / "runs", "big", 2, arguments.steps, 6, distinct=2)
        print(f"store made in {time.perf_counter() - started:.0f} s")
        for kind, found in measure(home, "big", arguments.times).items():
            for of, values in zip(("clock", "processor"), zip(*found, strict=True), strict=True):
                p95 = sorted(values)[int(0.95 * (len(values) - 1))]
                middle = statistics.median(values)
                print(f"{kind:<6} {of:<10} median {middle:6.0f} ms   p95 {p95:6.0f} ms")


if __name__ == "__main__":
    main()
