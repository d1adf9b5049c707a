"""All pages, in a fresh process, bring neither torch nor anything that loads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]
HEAVY = ("torch", "transformers", "datasets", "peft", "accelerate", "bitsandbytes")
VIEWS = {"groups": ("Timeline", "Story"), "compare": ("Scores", "Examples")}
"""Of pages with several; what the others import is imported by their page."""
DRAW = """
import json, sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
pages, views, heavy = map(json.loads, sys.argv[1:])
for page in pages:
    name = Path(page).stem
    for view in views.get(name, [""]):
        made = AppTest.from_file(page, default_timeout=120)
        if view:
            made.query_params["view"] = view
        made.run()
        assert not made.exception and not made.error, (name, view, made.exception, made.error)
        assert made.title[0].value
        if name == "share":
            next(b for b in made.button if b.label == "Build the report").click().run()
            assert not made.exception and not made.error
            assert made.get("download_button")
        if name in ("groups", "explain", "live", "share"):
            assert made.selectbox(key="experiment").value == "demo-recorded"
        brought = [name for name in heavy if name in sys.modules]
        assert not brought, f"{name} {view} loads {brought}"
print(json.dumps([]))
"""


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


def test_no_page_loads_torch_and_each_draws_the_recorded_example(own_home: Path) -> None:
    assert _loaded(DRAW, own_home, *map(json.dumps, (list(map(str, PAGES)), VIEWS, HEAVY))) == []


def test_what_pages_import_needs_no_torch(own_home: Path) -> None:
    code = (
        "import json, sys, dtvg.ui.cache, dtvg.ui.forms\n"
        "import dtvg.ui.runs, dtvg.ui.show, dtvg.ui.page, dtvg.jobs.launcher, dtvg.jobs.devices\n"
        "import dtvg.figures.curves, dtvg.figures.groups, dtvg.figures.compare, dtvg.plan\n"
        "import dtvg.figures.explain, dtvg.tasks.catalogue\n"
        "dtvg.tasks.catalogue.all_tasks()\n"
        "print(json.dumps([m for m in json.loads(sys.argv[1]) if m in sys.modules]))\n"
    )
    assert _loaded(code, own_home, json.dumps(HEAVY)) == []
