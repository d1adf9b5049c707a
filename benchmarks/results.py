"""Where measurements are kept: a line of JSON as soon as one is made, and a page of tables.

A measurement is known by what was measured, on which hardware and at which commit; what is there
already is not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine

FOLDER = machine.ROOT / "benchmarks" / "results"
Row = Mapping[str, Any]


class Results:
    """The measurements in one file `<name>.jsonl`, with `<name>.md` beside it."""

    def __init__(self, folder: Path, name: str, titles: Mapping[str, str]) -> None:
        """Read what is there.

        Args:
            folder: made where it is not there.
            name: of both files.
            titles: part → what its table shows, in one sentence; in the order of the page.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.page = folder / f"{name}.jsonl", folder / f"{name}.md"
        self.titles = titles
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(x) for x in text.splitlines() if x.strip()]

    def has(self, part: str, key: str) -> bool:
        """Whether something was measured; what ran over its time counts too."""
        return any(line["part"] == part and line["key"] == key for line in self.lines)

    def add(self, part: str, key: str, row: Row, facts: Row) -> None:
        """Write one measurement down at once."""
        line = {"part": part, "key": key, "row": dict(row), "facts": dict(facts)}
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.show()

    def show(self) -> None:
        """Write the page: where it was measured, then a table for each part."""
        lines = ["# Measured"]
        for facts in _each(line["facts"] for line in self.lines):
            lines += ["", *(f"- {name}: {value}" for name, value in facts.items())]
        for part, title in self.titles.items():
            rows = [line["row"] for line in self.lines if line["part"] == part]
            for table in _alike(rows):
                lines += ["", f"## {part}", "", title, "", machine.table(table)]
        self.page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _each(all_facts: Any) -> list[dict[str, Any]]:
    """Return facts that differ in more than the time and the load, the first of each."""
    found: dict[str, dict[str, Any]] = {}
    for facts in all_facts:
        same = {k: v for k, v in facts.items() if k not in ("date", "load")}
        found.setdefault(json.dumps(same, sort_keys=True), facts)
    return list(found.values())


def _alike(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Put rows with equal columns into one table each."""
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault(tuple(row), []).append(row)
    return list(tables.values())
