"""The wheel, installed: the command, the app and the demo work from any folder."""

from __future__ import annotations

import json
import subprocess
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.wheel.conftest import ROOT, Place, call, environment, install

FEW_STEPS = [
    *("name=few", "targets=[trip-mood]", "methods=[dtvg]", "seeds=[0]"),
    *("sources=[film-mood, meal-mood]", "optim.steps=6", "optim.stage1_steps=6"),
    *("evaluation.every=6", "evaluation.max_examples=10"),
]


def few_steps(place: Place) -> str:
    """Train a demo experiment of few steps by the command."""
    settings = [word for setting in FEW_STEPS for word in ("--set", setting)]
    return place.dtvg("demo", "run", *settings)


def tracked(*folders: str) -> list[str]:
    """Files of the repository in folders; what lies there where there is no repository."""
    try:
        listed = call("git", "-C", ROOT, "ls-files", "--cached", "--", *folders)
    except (AssertionError, OSError):
        listed = ""
    found = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file()]
    return listed.splitlines() or [p.relative_to(ROOT).as_posix() for p in found]


def test_the_wheel_holds_the_app_every_page_and_all_data_that_ship(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(n for n in names if n.endswith("METADATA"))
        said = archive.read(metadata).decode()
    pages = [f"dtvg/_app/pages/{p.name}" for p in (ROOT / "pages").glob("*.py")]
    wanted = ["dtvg/_app/app.py", "dtvg/_app/.streamlit/config.toml", "dtvg/py.typed", *pages]
    data = tracked("data/demo", "data/examples", "data/published")
    assert len(data) > 50 and len(pages) >= 9
    wanted += [f"dtvg/_{name}" for name in data]
    wanted += [name for name in tracked("dtvg") if (ROOT / name).exists()]
    assert sorted(set(wanted) - names) == []
    foreign = [n for n in names if not n.startswith(("dtvg/", "dtvg-"))]
    made = [n for n in names if n.startswith(("dtvg/_data/runs", "dtvg/_data/prompts"))]
    assert foreign == [] and made == []
    assert "Project-URL: Paper" in said and "# DTVG workbench" in said


def test_an_installed_command_trains_the_demo_and_serves_the_app_from_another_folder(
    installed: Place,
) -> None:
    before = installed.files()
    assert installed.ask("import dtvg; print(dtvg.__file__)").startswith(str(installed.packages))
    said = few_steps(installed)
    home = installed.folder / "person" / "share" / "dtvg"
    assert str(home / "runs" / "few") in "".join(said.split())
    result = json.loads((home / "runs" / "few" / "trip-mood.dtvg.s0" / "result.json").read_text())
    assert result["steps"] == 6
    assert "demo-recorded" in installed.dtvg("runs", "show", "demo-recorded")
    with installed.serving() as url:
        assert urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).read() == b"ok"
        assert b"<title>" in urllib.request.urlopen(url, timeout=5).read()
    log = (installed.folder / "app.log").read_text()
    assert str(home) in log and "Traceback" not in log
    assert installed.files() == before, "something was written where the package is installed"


def test_an_installed_app_shows_the_recorded_example(installed: Place) -> None:
    before = installed.files()
    found = installed.ask(
        "from streamlit.testing.v1 import AppTest; from dtvg import paths\n"
        "page = AppTest.from_file(str(paths.app()), default_timeout=60).run()\n"
        "print(bool(page.exception), page.title[0].value)\n"
        "import dtvg; example = dtvg.open_experiment(paths.examples() / 'demo-recorded')\n"
        "print(len(example.scores()) > 3, example.run('trip-mood.dtvg.s0').explain(50).shape[0])"
    )
    assert found.splitlines()[-2:] == ["False DTVG workbench", "True 8"]
    assert installed.files() == before


def test_a_process_started_by_the_installed_package_finds_it_from_any_folder(
    installed: Place,
) -> None:
    (installed.folder / "dtvg.py").write_text("raise SystemExit('the wrong dtvg')")
    (installed.folder / "yaml.py").write_text("raise SystemExit('the wrong yaml')")
    try:
        found = installed.ask(
            "import subprocess; from dtvg.jobs import launcher\n"
            "assert 'PYTHONPATH' not in launcher.own_environment()\n"
            "command = launcher.own_command('runs', 'list')\n"
            "print(subprocess.run(command, env=launcher.own_environment(), check=True,\n"
            "                     capture_output=True, text=True).stdout)"
        )
    finally:
        for name in ("dtvg.py", "yaml.py"):
            (installed.folder / name).unlink()
    assert found


def test_the_demo_of_an_installed_package_is_not_built_in_place(installed: Place) -> None:
    done = subprocess.run(
        [installed.command, "demo", "build"],
        cwd=installed.folder, env=installed.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "give a folder" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_editable_install_uses_the_checkout_and_its_data(tmp_path: Path) -> None:
    place = environment(tmp_path)
    install(place, ROOT, "--editable")
    found = place.ask(
        "from dtvg import paths; print(paths.checkout(), paths.home(), paths.app(), paths.demo())"
    )
    data = ROOT / "data"
    assert found == f"{ROOT} {data} {ROOT / 'app.py'} {data / 'demo'}"
    assert not (place.packages / "dtvg").exists(), "copies that could be taken for the real files"
    assert "dtvg" in place.dtvg("methods", "list")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fresh_install_with_its_dependencies_trains_and_serves(
    wheel: Path, tmp_path: Path
) -> None:
    place = environment(tmp_path, borrow=False)
    # the build of torch that the tests run with; any other would be larger and untested
    torch = next(
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if "torch==" in line
    )
    pip = (place.python, "-m", "pip", "install", "-q")
    call(*pip, torch, wheel, cwd=tmp_path)
    few_steps(place)
    refused = subprocess.run(
        [place.command, "app"],
        cwd=place.folder, env=place.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 2 and "dtvg[app]" in refused.stderr
    call(*pip, torch, f"dtvg[app,images,nlg] @ {wheel.as_uri()}", cwd=tmp_path)
    with place.serving() as url:
        assert urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).read() == b"ok"
    call(place.python, "-m", "pip", "check", cwd=tmp_path)
