"""Make docs/images: `python tools/screenshots.py` starts the app and photographs its pages.

`python tools/screenshots.py docs/images compare-subsets` makes only the images named. Needs
Chromium (Debian: chromium) and the requirements of requirements-dev.txt.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
ADDRESSES = {
    "overview": "",
    "launch": "launch",
    "live": "live",
    "groups": "groups",
    "explain": "explain",
    "compare": "compare",
    "compare-transfer": "compare?view=Transfer",
    "compare-subsets": "compare?view=Subsets",
    "tasks": "tasks",
}
HEIGHTS = {"tasks": 810}  # below stands where the home is
SETTLED = """!document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')
  && [...document.querySelectorAll('.dtvg-chart')]
    .every(c => c.dataset.waiting || c.querySelector('.main-svg'))
  && !document.body.innerText.includes('will stand here in a moment')"""
DARK = ("groups", "explain", "compare")


def main(folder: Path, names: tuple[str, ...] = tuple(ADDRESSES)) -> None:
    """Photograph pages, light, and some of them dark too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    home = tempfile.TemporaryDirectory()  # only the recorded examples are shown
    environment = {**os.environ, "DTVG_HOME": home.name}
    environment.pop("DTVG_RUNS", None)
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, env=environment)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium") or "chromium", args=flags
            )
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": 1280, "height": 900}, color_scheme=scheme
                )
                view = context.new_page()
                for name in names if scheme == "light" else [n for n in names if n in DARK]:
                    address = ADDRESSES[name]
                    for _ in range(40):
                        try:
                            view.goto(f"http://127.0.0.1:{port}/{address}")
                            break
                        except Exception:  # noqa: BLE001 - the server is still starting
                            time.sleep(0.5)
                    view.wait_for_selector("[data-testid=stMarkdown], h1", timeout=30_000)
                    time.sleep(3.5)
                    for _ in range(3):  # what comes after a spinner may have one of its own
                        view.wait_for_function(SETTLED, timeout=120_000)
                        time.sleep(1)
                    time.sleep(1)
                    tall = "?" in address
                    view.set_viewport_size(
                        {"width": 1280, "height": 1250 if tall else HEIGHTS.get(name, 900)}
                    )
                    time.sleep(1.0 if tall or name in HEIGHTS else 0.0)
                    view.screenshot(path=folder / f"{name}-{scheme}.png")
                    print(name, scheme)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
        home.cleanup()


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    main(where, tuple(sys.argv[2:]) or tuple(ADDRESSES))
