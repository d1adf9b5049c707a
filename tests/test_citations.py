"""What code cites exists: every document, and every heading named beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    p
    for folder in ("dtvg", "pages", "benchmarks", "tools", "tests")
    for p in sorted((ROOT / folder).rglob("*.py"))
]
CITED = re.compile(r"docs/([a-z_]+)\.md(?:,? \"([^\"]+)\")?")


@pytest.mark.parametrize("folder", ["dtvg", "pages", "benchmarks", "tools", "tests"])
def test_cited_documents_and_headings_exist(folder: str) -> None:
    missing = []
    for path in (p for p in FILES if p.is_relative_to(ROOT / folder)):
        source = " ".join(path.read_text(encoding="utf-8").split())
        for name, heading in CITED.findall(source):
            document = ROOT / "docs" / f"{name}.md"
            titles = (
                re.findall(r"^#+ (.+)$", document.read_text(), re.M) if document.exists() else []
            )
            if not document.exists() or (heading and not any(heading in t for t in titles)):
                missing.append(f"{path.relative_to(ROOT)}: docs/{name}.md {heading}".strip())
    assert missing == []


def test_files_named_in_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:dtvg|pages|tests|tools)/[\w/.]+\.py)`", text))
    assert len(named) > 25
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_the_picture_of_the_rooms_is_current() -> None:
    from tools.draw_architecture import PICTURE, draw

    assert PICTURE.read_text(encoding="utf-8") == draw()
