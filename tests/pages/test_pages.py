"""Every page in every state draws without an exception, and brings no torch with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.config import build_config
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import create_experiment
from dtvg.testing.tiny_run import tiny_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "pages").glob("*.py"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished miniature experiment."""
    from dtvg.training.procedures import run_experiment

    folder = tmp_path_factory.mktemp("recorded")
    config = build_config(tiny_config(folder / "parts", seeds=[0, 1]))
    experiment = create_experiment(config, folder / "runs")
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return experiment.path


def _draw(page: Path) -> AppTest:
    made = AppTest.from_file(str(page), default_timeout=60).run()
    assert not made.exception
    assert not [e.value for e in made.error if "did not work" in e.value]
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_draws_where_nothing_is_recorded(page: Path, own_home: Path) -> None:
    _draw(page)


@pytest.mark.parametrize("state", ["finished", *(s.value for s in RunState if s != "finished")])
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_a_page_draws_whatever_state_the_runs_are_in(
    page: Path, state: str, recorded: Path, own_home: Path
) -> None:
    copied = own_home / "runs" / "tiny"
    shutil.copytree(recorded, copied)
    if state != "finished":
        for run in copied.glob("rte.*"):
            (run / "result.json").unlink()
            status = read_json(run / "status.json") or {}
            written = "running" if state == "lost" else state
            replace_json(run / "status.json", {**status, "state": written, "pid": 1})
            if state == "waiting":
                for table in ("steps", "sources", "evals", "events"):
                    shutil.rmtree(run / table, ignore_errors=True)
    _draw(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_foreign_and_half_written_folders_are_shown_as_such(
    page: Path, recorded: Path, own_home: Path
) -> None:
    runs = own_home / "runs"
    shutil.copytree(recorded, runs / "tiny")
    (runs / "tiny" / "holiday-photos").mkdir()
    (runs / "tiny" / "rte.dtvg.s0" / "status.json").write_text("{half a")
    (runs / "stranger").mkdir()
    (runs / "broken").mkdir()
    (runs / "broken" / "experiment.yaml").write_text("targets: [")
    _draw(page)


def test_pages_and_what_they_import_need_no_torch() -> None:
    code = (
        "import sys, dtvg.ui.cache, dtvg.ui.forms, dtvg.ui.live if False else None\n"
        "import dtvg.ui.runs, dtvg.ui.show, dtvg.ui.page, dtvg.jobs.launcher, dtvg.jobs.devices\n"
        "import dtvg.figures.curves, dtvg.figures.groups, dtvg.figures.compare, dtvg.plan\n"
        "import dtvg.figures.explain, dtvg.figures.replay, dtvg.tasks.spec\n"
        "dtvg.tasks.spec.all_tasks()\n"
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])\n"
    ).replace(", dtvg.ui.live if False else None", "")
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert out.stdout.strip() == "[]"
