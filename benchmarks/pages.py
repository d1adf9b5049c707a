"""How long pages take: in a browser, and a rerun on the server.

`python -m benchmarks.pages` starts the app on the recorded example, on 100 runs x 30,000 steps
x 6 sources and on 1,000 runs, prints a table for each and keeps it in
benchmarks/results/pages-<date>.md. In Chromium, with the server up: `cold_s` the first time that
a page is asked for by its address, until nothing in it changes any more, charts too; `again_s` the
same once more in a new tab; `switch_s` a click on its name in the sidebar, the second time round.
On the server: the script's time of a first and of repeated runs. `--no-browser` leaves the browser
out.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import machine, make_store
from benchmarks.results import FOLDER, Results

ROOT = Path(__file__).resolve().parent.parent
STORES = {"example": (0, 0), "big": (100, 30_000), "many": (1000, 200)}
TITLES = {
    "example": "Pages on the recorded example.",
    "big": "Pages on 100 runs of 30,000 steps and 6 sources.",
    "many": "Pages on 1,000 runs of 200 steps.",
}
WATCH = """
window.moved = 0;
const all = { subtree: true, childList: true, attributes: true, characterData: true };
const seen = (record) => record.target.nodeName !== "CANVAS" || record.type === "attributes";
const watch = () => new MutationObserver((records) => {
  if (records.some(seen)) window.moved = performance.now();
}).observe(document.documentElement, all);
document.documentElement ? watch() : addEventListener("DOMContentLoaded", watch);
"""
"""Each page keeps when anything in it changed last, in milliseconds since it was asked for. What a
table's canvas holds for screen readers is put into it a third of a second after it was drawn, and
does not count."""
STANDS = """title => document.querySelector('h1')?.innerText.trim() === title
  && document.querySelector('[data-testid=stApp]')
    ?.getAttribute('data-test-script-state') === 'notRunning'
  && !document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')
  && [...document.querySelectorAll('.dtvg-chart')]
    .every(c => c.dataset.waiting || c.querySelector('.main-svg'))
  && performance.now() - window.moved > QUIET && window.moved"""
"""When a page of this title changed last; false as long as it is at work."""
STANDS = STANDS.replace("QUIET", "500")


def heading(name: str) -> str:
    """Return what stands on top of a page."""
    return "DTVG workbench" if name == "overview" else name.capitalize()


def pages() -> list[str]:
    """Return the names of the app's pages."""
    return sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


@contextlib.contextmanager
def served(home: Path) -> Iterator[str]:
    """Run the real server on a home; yield its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.fileWatcherType", "none"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "DTVG_HOME": str(home)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def paints(home: Path) -> dict[str, dict[str, float]]:
    """Return seconds until each page stands: by its address, cold and again, and by a click."""
    from playwright.sync_api import sync_playwright

    found: dict[str, dict[str, float]] = {}
    with served(home) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("DTVG_CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox"],
        )
        context = browser.new_context()
        context.add_init_script(WATCH)
        warm = context.new_page()
        warm.goto(f"{address}/tasks")
        warm.wait_for_function(STANDS, arg="Tasks", timeout=60_000)
        for name in pages():
            found[name] = {
                "cold_s": _opened(context, address, name),
                "again_s": _opened(context, address, name),
            }
        for _ in range(2):
            for name in pages():
                found[name]["switch_s"] = _switched(warm, name)
        browser.close()
    return found


def _opened(context: Any, address: str, name: str) -> float:
    """Ask for a page in a new tab."""
    sheet = context.new_page()
    sheet.goto(f"{address}/{name if name != 'overview' else ''}")
    stands = sheet.wait_for_function(STANDS, arg=heading(name), timeout=60_000).json_value()
    sheet.close()
    return float(stands) / 1e3


def _switched(sheet: Any, name: str) -> float:
    """Click on a page's name in the sidebar."""
    place = sheet.locator('[data-testid="stSidebarNavLink"]')
    place = place.get_by_text(name.capitalize(), exact=True).first
    started = sheet.evaluate("performance.now()")
    place.click()
    stands = sheet.wait_for_function(STANDS, arg=heading(name), timeout=60_000).json_value()
    return (float(stands) - started) / 1e3


def reruns(home: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """Return milliseconds of the first run of each page's script and of repeated ones."""
    from streamlit.testing.v1 import AppTest

    os.environ["DTVG_HOME"] = str(home)
    found = {}
    for name in pages():
        app = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=120)
        times = []
        for _ in range(repeats + 1):
            started = time.perf_counter()
            app.run()
            times.append((time.perf_counter() - started) * 1e3)
        later = sorted(times[1:])
        found[name] = {
            "first_ms": times[0],
            "median_ms": statistics.median(later),
            "p95_ms": later[min(len(later) - 1, int(0.95 * len(later)))],
            "errors": len(app.exception) + len(app.error),
        }
    return found


def main() -> None:
    """Print a table per store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=list(STORES))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder of stores, made if absent, kept")
    options = parser.parse_args()
    machine.show()
    with tempfile.TemporaryDirectory() as scratch:
        for store in options.stores:
            home = (options.keep or Path(scratch)) / store
            runs, steps = STORES[store]
            if runs and not (home / "runs" / store).exists():
                make_store.make(home / "runs", store, runs, steps, 6)
            home.mkdir(parents=True, exist_ok=True)
            print(f"\n{store}: {runs or 'recorded'} runs x {steps or 'recorded'} steps")
            painted = {} if options.no_browser else paints(home)
            results = Results(FOLDER, f"pages-{datetime.date.today()}", TITLES)
            rows = []
            for name, row in reruns(home, options.repeats).items():
                rows.append({"page": name, **painted.get(name, {}), **row})
                results.add(store, name, rows[-1], machine.facts())
            print(machine.table(rows), flush=True)


if __name__ == "__main__":
    main()
