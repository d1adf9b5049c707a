"""Figures as image files: SVG, PDF and PNG, made by kaleido in an installed Chromium.

Both are optional: without them a page offers what the browser itself can save.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import plotly.graph_objects as go

from dtvg.errors import JobError
from dtvg.figures.theme import on_paper

log = logging.getLogger(__name__)

FORMATS = {"SVG": "image/svg+xml", "PDF": "application/pdf", "PNG": "image/png"}
WIDTH = 1000
"""Pixels, a comfortable line of a page; the figure's own height is kept."""
PNG_SCALE = 2
PATIENCE_S = 120
"""Seconds that printing may take."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_one_at_a_time = threading.Lock()
_kept = False


def missing() -> str:
    """Return what is missing for image files, in words; empty where nothing is."""
    if importlib.util.find_spec("kaleido") is None:
        return "the package kaleido is not installed (pip install kaleido, or 'dtvg[images]')"
    given = os.environ.get("BROWSER_PATH")
    if given is not None:
        lacking = f"BROWSER_PATH does not name a program: '{given}'"
        return "" if os.access(given, os.X_OK) else lacking
    if not any(shutil.which(name) for name in BROWSERS):
        return "no Chromium or Chrome is installed (on Debian: apt install chromium)"
    return ""


def image(figure: go.Figure, form: str, width: int = WIDTH) -> bytes:
    """Return a figure as an image file, on light paper whatever the theme.

    The first takes some seconds, since a browser is started; it is kept for the next ones.

    Args:
        figure: as shown.
        form: one of `FORMATS`.
        width: in pixels; PNG has twice as many.

    Raises:
        JobError: something is missing, or the browser failed.
    """
    lacking = missing()
    if lacking:
        raise JobError(f"An image cannot be made: {lacking}. Use the camera above the figure.")
    drawn = on_paper(figure)
    drawn.update_layout(width=width, height=figure.layout.height or 480)
    scale = PNG_SCALE if form == "PNG" else 1
    with _one_at_a_time:  # two browsers at once take the memory of a run
        try:
            return _drawn_by_the_browser(drawn, {"format": form.lower(), "scale": scale})
        except Exception as error:
            log.warning("making an image failed", exc_info=True)
            raise JobError(
                f"The browser made no image ({type(error).__name__}). Use the camera above the "
                "figure, which needs no other program."
            ) from error


def browser() -> str:
    """Return the installed browser's program; empty where there is none."""
    given = os.environ.get("BROWSER_PATH")
    if given is not None:
        return given if os.access(given, os.X_OK) else ""
    return next(filter(None, map(shutil.which, BROWSERS)), "")


def printed(page: str) -> bytes:
    """Return an HTML document as PDF, printed by the browser of this machine without a network.

    Args:
        page: the document, with everything inside.

    Raises:
        JobError: there is no browser, or it made no file.
    """
    program = browser()
    if not program:
        raise JobError(
            "A PDF is printed by a browser, and no Chromium or Chrome is installed (on Debian: apt "
            "install chromium). Open the HTML report and print it."
        )
    with tempfile.TemporaryDirectory() as place, _one_at_a_time:
        source, made = Path(place) / "report.html", Path(place) / "report.pdf"
        source.write_text(page, encoding="utf-8")
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={place}/profile",
            "--virtual-time-budget=20000", "--no-pdf-header-footer", f"--print-to-pdf={made}",
            source.as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
            return made.read_bytes()
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("printing failed", exc_info=True)
            raise JobError(
                f"The browser printed no PDF ({type(error).__name__}). Open the HTML report and "
                "print it."
            ) from None


def _drawn_by_the_browser(figure: go.Figure, options: dict[str, object]) -> bytes:
    """Let the kept browser draw; it is started once per process and ends with it.

    Without MathJax, which would be fetched from another machine.
    """
    global _kept
    import kaleido

    if not _kept:
        kaleido.start_sync_server(n=1, mathjax=False, silence_warnings=True)
        _kept = True
    size = {"width": figure.layout.width, "height": figure.layout.height}
    return bytes(kaleido.calc_fig_sync(figure.to_dict(), opts={**options, **size}))
