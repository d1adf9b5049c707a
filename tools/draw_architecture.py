"""Draw the rooms of the package as they stand: `python -m tools.draw_architecture`.

Layers come from the import contract in pyproject.toml, duties from each room's docstring, so
the picture in docs/architecture.md cannot say anything that is not checked.
"""

from __future__ import annotations

import ast
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, ROW, GAP, SIDE = 1000, 58, 10, 24
COLOURS = {"desk": "#dcebfb", "bench": "#fde7d3", "base": "#e4f0e0", "top": "#eeeaf7"}
DESK = {"ui", "figures", "report", "export", "analysis", "jobs", "exchange", "pages"}
BENCH = {"training", "backbones", "methods", "testing"}
TOP = {"__main__", "api", "cli"}


def layers() -> list[list[str]]:
    """Return the rooms, the highest layer first, as the contract names them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    found = next(c["layers"] for c in contracts if c.get("exhaustive"))
    return [["pages"], *([name.strip() for name in row.split("|")] for row in found)]


def duty(room: str) -> str:
    """Return the first line of a room's docstring."""
    if room == "pages":
        return "app.py and one thin file a page: choose, query, show"
    folder = ROOT / "dtvg" / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    return text.rstrip(".").replace("`", "")


def kind(room: str) -> str:
    """Return which half a room belongs to."""
    if room in TOP:
        return "top"
    return "desk" if room in DESK else "bench" if room in BENCH else "base"


def _lines(text: str, most: int) -> list[str]:
    """Break a text into lines of at most that many letters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > most and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _box(room: str, x: float, y: float, width: float) -> list[str]:
    """Draw one room."""
    title = "app.py, pages/" if room == "pages" else room
    words = _lines(duty(room), max(8, int((width - 14) / 6.2)))
    if len(words) > 2:  # too long for the box: the first clause says enough
        words = _lines(duty(room).split(": ")[0], max(8, int((width - 14) / 6.2)))[:2]
    made = [
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{ROW}" rx="6" '
        f'fill="{COLOURS[kind(room)]}" stroke="#8a8f98"/>',
        f'<text x="{x + 10:g}" y="{y + 19:g}" font-weight="600">{escape(title)}</text>',
    ]
    for number, line in enumerate(words):
        made.append(
            f'<text x="{x + 10:g}" y="{y + 35 + 14 * number:g}" font-size="11" fill="#3b4048">'
            f"{escape(line)}</text>"
        )
    return made


def draw() -> str:
    """Return the picture as SVG."""
    rows = layers()
    height = SIDE * 2 + len(rows) * (ROW + GAP) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img" '
        'aria-label="Rooms of the package by layer; every import points down">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, row in enumerate(rows):
        y = SIDE + number * (ROW + GAP)
        width = (WIDTH - 2 * SIDE - GAP * (len(row) - 1)) / len(row)
        for place, room in enumerate(row):
            out += _box(room, SIDE + place * (width + GAP), y, width)
    y = height - SIDE - 14
    legend = (
        ("desk", "desk: shows, never loads torch"),
        ("bench", "bench: trains, never loads streamlit"),
        ("base", "base of both: neither"),
        ("top", "above both: imports when used"),
    )
    for place, (name, words) in enumerate(legend):
        x = SIDE + place * 252
        out.append(
            f'<rect x="{x}" y="{y - 11}" width="14" height="14" fill="{COLOURS[name]}" '
            'stroke="#8a8f98"/>'
        )
        out.append(f'<text x="{x + 20}" y="{y}" font-size="12">{escape(words)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
