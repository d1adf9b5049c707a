"""Version and changelog say the same, and what a release is checked with is there."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from dtvg.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def test_the_changelog_begins_with_this_version_and_dates_every_other() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    if ".dev" in __version__:
        assert first == "Unreleased"
    else:
        assert first.startswith(f"{__version__} — ")
        released.insert(0, first)
    found = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) — (\d{4}-\d\d-\d\d)", name) for name in released]
    assert found and all(found), released
    versions = [tuple(map(int, match.groups()[:3])) for match in found if match]
    dates = [datetime.date.fromisoformat(match[4]) for match in found if match]
    assert versions == sorted(versions, reverse=True) and dates == sorted(dates, reverse=True)


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    assert (ROOT / project["tool"]["hatch"]["version"]["path"]).is_file()
    done = subprocess.run(
        [sys.executable, "-m", "dtvg", "--version"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == f"dtvg {__version__}\n"


def test_the_hosted_run_is_the_script_for_people() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    runs = re.findall(r"run: (.+)", text)
    assert runs == [".ci/run"] and (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_hooks_before_a_commit_need_no_network() -> None:
    import yaml

    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    entries = [hook["entry"] for hook in hooks["repos"][0]["hooks"]]
    assert any("ruff check" in e for e in entries) and any("ruff format" in e for e in entries)
    assert all(hook["language"] == "system" for hook in hooks["repos"][0]["hooks"])
