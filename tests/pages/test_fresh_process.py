"""All pages, in a fresh process, bring neither torch nor anything that loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.factory import config, record

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]
HEAVY = ("torch", "transformers", "datasets", "peft", "accelerate", "bitsandbytes")
VIEWS = {"groups": ("Timeline", "Story"), "compare": ("Scores", "Examples")}
"""Of pages with several; what the others import is imported by their page."""
DRAW = """
import json, sys
from pathlib import Path
import dtvg.figures.compare, dtvg.figures.curves, dtvg.figures.explain, dtvg.figures.groups
import dtvg.jobs.devices, dtvg.jobs.launcher, dtvg.plan, dtvg.tasks.catalogue
import dtvg.ui.cache, dtvg.ui.forms, dtvg.ui.page, dtvg.ui.runs, dtvg.ui.show
dtvg.tasks.catalogue.all_tasks()
pages, heavy = map(json.loads, sys.argv[1:])
brought = [name for name in heavy if name in sys.modules]
assert not brought, f"what pages import loads {brought}"
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
manifest_scanner.scan_component_manifests = lambda *a, **k: []  # see tests/conftest.py
for page, choices, click in pages:
    name = Path(page).stem
    made = AppTest.from_file(page, default_timeout=120)
    for key, value in choices.items():
        made.query_params[key] = value
    made.run()
    assert not made.exception and not made.error, (name, choices, made.exception, made.error)
    assert made.title[0].value
    if click:
        next(b for b in made.button if b.label == click).click().run()
        assert not made.exception and not made.error
        assert made.get("download_button")
    if name in ("groups", "explain", "live", "share"):
        chosen = choices.get("experiment", "demo-recorded")
        assert made.selectbox(key="experiment").value == chosen
    brought = [name for name in heavy if name in sys.modules]
    assert not brought, f"{name} {choices} loads {brought}"
print(json.dumps([]))
"""
BUILD = "Build the report"


def _loaded(code: str, home: Path, *arguments: str) -> list[str]:
    """Run code in a fresh process; return the list that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DTVG_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _draw(pages: list[tuple[Path, dict[str, str], str]], home: Path) -> list[str]:
    words = [(str(page), choices, click) for page, choices, click in pages]
    return _loaded(DRAW, home, json.dumps(words), json.dumps(HEAVY))


def test_no_page_loads_torch_and_each_draws_the_recorded_example(own_home: Path) -> None:
    """What resamples and what builds a report does so on a small experiment."""
    record(own_home / "runs", config(targets=["lake"], seeds=[0, 1]), steps=20)
    small, large = {"experiment": "trial"}, {"experiment": "demo-recorded"}
    pages = []
    for page in PAGES:
        for view in VIEWS.get(page.stem, ("",)):
            tests = view == "Scores"
            choices = {**(small if tests else large), **({"view": view} if view else {})}
            pages.append((page, choices, ""))
    share = ROOT / "pages" / "share.py"
    assert _draw([*pages, (share, small, BUILD)], own_home) == []


@pytest.mark.slow
def test_no_page_loads_torch_when_the_recorded_example_is_all_there_is(own_home: Path) -> None:
    pages = []
    for page in PAGES:
        click = BUILD if page.stem == "share" else ""
        views = VIEWS.get(page.stem, ("",))
        pages += [(page, {"view": view} if view else {}, click) for view in views]
    assert _draw(pages, own_home) == []
