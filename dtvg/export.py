"""A comparison as text to take away: CSV, Markdown, LaTeX.

Everything printed comes from `analysis.lines`, which the terminal and the pages show too.
docs/verdicts.md "Exports".
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtvg.analysis.claims.info import ClaimsInfo
from dtvg.analysis.claims.lines import claims_shown, parts_shown
from dtvg.analysis.compare.info import AVERAGE, CompareInfo
from dtvg.analysis.compare.lines import (
    Cell,
    Group,
    Line,
    Lines,
    Spread,
    budgets_shown,
    costs_shown,
    in_percent,
    legend,
    lines_of,
    of_one_subject,
    primary_shown,
    verdict_notes,
    verdicts_brief,
    verdicts_shown,
)
from dtvg.analysis.compare.published import TITLES
from dtvg.errors import ConfigError, unknown
from dtvg.version import __version__

TABLES = ("scores", "primary", "verdicts", "ranks", "profile", "costs", "budgets", "published")
FORMATS = ("csv", "md", "latex")
USUAL = ("scores", "primary", "verdicts", "ranks", "costs", "published")
"""Tables where none is named and several fit."""
HEADINGS = {
    "primary": "Primary comparison",
    "verdicts": "Verdicts",
    "ranks": "Ranks over targets",
    "profile": "Performance profile",
    "costs": "Cost",
    "budgets": "Rates and budgets",
}
WIDE = 54
"""Letters and gaps of a line from which on a LaTeX table spans both columns of a page."""
VERY_WIDE = 105
"""From which on its letters are smaller too."""


def export(
    info: CompareInfo,
    form: str,
    tables: Sequence[str] | None = None,
    name: str = "comparison",
    spread: Spread = "std",
) -> str:
    """Write a comparison in a format.

    Args:
        info: from `compare_info`.
        form: `csv`, `md` or `latex`.
        tables: of `TABLES`; None: scores in CSV, `USUAL` in the others.
        name: what is compared, for headings and labels.
        spread: what stands beside the means of scores; CSV has both.

    Raises:
        ConfigError: an unknown format or table, several tables in one CSV, or a profile in LaTeX.
    """
    if form not in FORMATS:
        raise ConfigError(unknown("format", form, FORMATS))
    for table in tables or ():
        if table not in TABLES:
            raise ConfigError(unknown("table of a comparison", table, TABLES))
    if form == "csv":
        return to_csv(info, one_table("CSV", tables))
    if form == "latex" and "profile" in (tables or ()):
        raise ConfigError(
            "The performance profile is a figure in a paper, so LaTeX has no table of it; leave "
            "'profile' out, or choose md, csv or parquet."
        )
    chosen, empty = tuple(tables or USUAL), nothing_in(info, tables or ("scores",))
    if form == "md":
        return "\n\n".join(
            filter(str.strip, (to_markdown(info, chosen, name, spread), _plain(empty)))
        )
    return to_latex(info, chosen, name, spread) + (f"% {latex_text(empty)}\n" if empty else "")


def groups_of(lines: Lines, tables: Sequence[str]) -> tuple[Group, ...]:
    """Return which groups of rows of scores are printed: those of `scores`, and of `published`."""
    ours: tuple[Group, ...] = ("compared", "reference") if "scores" in tables else ()
    return tuple(group for group in (*ours, "published") if lines.of(group))


def nothing_in(info: CompareInfo, tables: Sequence[str]) -> str:
    """Say which of the tables that somebody asked for have no rows; empty: all have some."""
    empty = [table for table in tables if not len(frame_of(info, table))]
    return f"This comparison has no rows for {', '.join(empty)}." if empty else ""


def one_table(what: str, tables: Sequence[str] | None) -> str:
    """Return the one table of a format that holds no more; scores where none is named.

    Raises:
        ConfigError: several are named.
    """
    chosen = tuple(tables or ("scores",))
    if len(chosen) > 1:
        raise ConfigError(
            f"A {what} file holds one table, got {', '.join(chosen)}; name one of them, or "
            "choose md or latex."
        )
    return chosen[0]


def frame_of(info: CompareInfo, table: str) -> pd.DataFrame:
    """Return one table of a comparison with its numbers unrounded, 0..1."""
    if table == "scores":
        return _scores(info)
    made: dict[str, Callable[[], pd.DataFrame]] = {
        "primary": lambda: info.primary_table,
        "verdicts": lambda: info.verdicts,
        "ranks": lambda: info.ranks.table,
        "profile": lambda: info.profile.table,
        "costs": lambda: info.costs.table,
        "budgets": lambda: info.budgets.table,
        "published": lambda: info.published.table,
    }
    return made[table]()


def plain_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: a text gets a quote before it."""
    if not isinstance(value, str) or value[:1] not in FORMULA:
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet's formula begins."""


def plain_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a CSV file, without formulas; see `plain_cell`."""
    named = frame.rename(columns={c: plain_cell(c) for c in frame.columns})
    return named.map(plain_cell)


def to_csv(info: CompareInfo, table: str = "scores") -> str:
    """Return one table as CSV, every digit kept.

    In `scores` the column `origin` tells ours from published ones, and columns that begin with
    `subject_` say what the subject is against the row.
    """
    return str(plain_cells(frame_of(info, table)).to_csv(index=False))


def to_parquet(info: CompareInfo, table: str = "scores") -> bytes:
    """Return one table as Parquet, with its types.

    Raises:
        ConfigError: an unknown table.
    """
    if table not in TABLES:
        raise ConfigError(unknown("table of a comparison", table, TABLES))
    return bytes(frame_of(info, table).to_parquet(index=False))


def _scores(info: CompareInfo) -> pd.DataFrame:
    """Scores with what the subject is against each row, then published numbers apart."""
    ours = info.table.assign(origin="ours", metric=info.metric, split=info.split, source="")
    columns = ["family", "difference", "low", "high", "p_holm", "p_corrected", "low_corrected"]
    columns += ["high_corrected", "verdict", "statement", "verdict_runs", "seeds_needed"]
    verdicts = of_one_subject(info.verdicts)
    against = verdicts[["baseline", "target", "subject", *columns]].rename(
        columns={"baseline": "method", **{c: f"subject_{c}" for c in columns}}
    )
    ours = ours.merge(against, on=["method", "target"], how="left")
    papers = info.published.table.rename(columns={"task": "target", "value": "mean"})
    papers = papers.assign(origin="published", split="")[
        ["origin", "method", "target", "metric", "split", "mean", "source"]
    ]
    first = ["origin", "method", "target", "metric", "split", "n_seeds", "seeds", "mean", "std"]
    order = [*first, *[c for c in ours.columns if c not in (*first, "source")], "source"]
    return pd.concat([ours[order], papers], ignore_index=True) if len(papers) else ours[order]


# -- Markdown ------------------------------------------------------------------------------


def to_markdown(
    info: CompareInfo,
    tables: Sequence[str],
    name: str = "comparison",
    spread: Spread = "std",
) -> str:
    """Return chosen tables as GitHub Markdown; best bold, second underlined (`<u>`)."""
    parts = []
    lines = lines_of(info, "published" in tables, spread)
    columns = [column_title(c) for c in lines.columns]
    if "scores" in tables:
        rows = [_markdown_line(line) for g in ("compared", "reference") for line in lines.of(g)]
        parts.append(f"## {_plain(name)}\n\n{_pipes(['method', *columns], rows)}")
        parts.append(_plain(" ".join([*legend(lines, info), *info.notes])))
    if lines.of("published"):
        rows = [[*_markdown_line(line), _plain(line.source)] for line in lines.of("published")]
        head = ["method", *columns, "source"]
        keep = [i for i, c in enumerate(head) if i in (0, len(head) - 1) or _any(rows, i)]
        shown = [[row[i] for i in keep] for row in rows]
        parts.append(f"### Published, not run here\n\n{_pipes([head[i] for i in keep], shown)}")
    for table in ("primary", "verdicts", "ranks", "profile", "costs", "budgets"):
        if table in tables and len(shown_frame(info, table)):
            frame = shown_frame(info, table)
            rows = [[_plain(x) for x in row] for row in printed(frame).to_numpy()]
            text = _pipes([str(c) for c in frame.columns], rows)
            parts.append(f"### {HEADINGS[table]}\n\n{text}\n\n{_plain(note_of(info, table))}")
    return "\n\n".join(parts) + "\n"


def _any(rows: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column] for row in rows)


def shown_frame(info: CompareInfo, table: str) -> pd.DataFrame:
    """Return one of the smaller tables as it is printed."""
    if table == "primary":
        return primary_shown(info)
    if table == "verdicts":
        return verdicts_shown(info)
    if table == "costs":
        return costs_shown(info)
    if table == "budgets":
        return budgets_shown(info)
    if table == "ranks":
        frame = info.ranks.table
        shown = {
            "rank": frame["rank"].round(2),
            "mean %": [float(in_percent(m)) for m in frame["mean"]],
        }
        return pd.DataFrame({"method": frame["method"], **shown, "best on": frame["wins"]})
    frame = info.profile.summary
    return pd.DataFrame(
        {
            "method": frame["method"],
            "at the best": frame["at_best"].round(2),
            "mean points behind": [float(in_percent(gap)) for gap in frame["mean_gap"]],
            "most points behind": [float(in_percent(gap)) for gap in frame["worst_gap"]],
        }
    )


def note_of(info: CompareInfo, table: str) -> str:
    """Return the sentences that belong to a table."""
    notes = {
        "primary": info.declared_note,
        "verdicts": " ".join(verdict_notes(info)),
        "ranks": info.ranks.note,
        "profile": info.profile.note,
        "costs": info.costs.note,
        "budgets": info.budgets.note,
        "published": info.published.note,
    }
    return notes[table]


def _markdown_line(line: Line) -> list[str]:
    return [_plain(line.shown), *(_markdown_cell(cell) for cell in line.cells)]


def _markdown_cell(cell: Cell) -> str:
    if cell.empty:
        return ""
    number = {1: f"**{cell.percent}**", 2: f"<u>{cell.percent}</u>"}.get(cell.place, cell.percent)
    mark = cell.signs.replace("*", "\\*")
    return number + (f" {cell.around}" if cell.around else "") + (f" {mark}" if mark else "")


def _pipes(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown: the first column to the left, numbers to the right."""
    made = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in made)


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would take for itself."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in ("\\", "|", "*", "_", "`", "["):
        text = text.replace(mark, f"\\{mark}")
    return text


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text: decimals alike within a column, nothing where there is no number."""
    return pd.DataFrame({c: _column_text(frame[c]) for c in frame.columns})


def _column_text(column: pd.Series) -> list[str]:
    if not pd.api.types.is_numeric_dtype(column):
        return [str(value) for value in column]
    digits = decimals(column)
    return [f"{v:,.{digits}f}" if np.isfinite(v) else "" for v in column.astype(float)]


def decimals(column: pd.Series) -> int:
    """Return how many decimals the numbers of a column are printed with: as many as they have."""
    values = column.to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    return next((d for d in range(4) if np.allclose(known, known.round(d), rtol=0, atol=1e-9)), 4)


# -- LaTeX ---------------------------------------------------------------------------------

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "°": r"$^{\circ}$",
    "*": r"$^{\ast}$",
    "⇓": r"$^{\Downarrow}$",
    "↓": r"$^{\downarrow}$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "χ": r"$\chi$",
    "²": r"$^2$",
    "τ": r"$\tau$",
    "√": r"$\surd$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "∞": r"$\infty$",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    '"': "''",
    "○": r"$\circ$",
    "●": r"$\bullet$",
    "▲": r"$\bigtriangleup$",
    "▼": r"$\bigtriangledown$",
    "✓": r"$\surd$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "σ": r"$\sigma$",
    "μ": r"$\mu$",
}


def latex_text(text: str) -> str:
    """Escape any text for LaTeX; letters it cannot set lose their accents, or become '?'.

    A hyphen before a digit that begins a number becomes a minus, and straight quotes become those
    of LaTeX, in which `"a` is an umlaut of some languages.
    """
    made = []
    text = re.sub(r'"([^"]*)"', "“\\1”", re.sub(r"`([^`]*)`", "‘\\1’", text))
    text = re.sub(r"(?<![\w-])-(?=[\d.])", "−", text)
    for letter in text:
        if letter in _ESCAPES:
            made.append(_ESCAPES[letter])
        elif letter.isascii():
            made.append(letter if letter.isprintable() else " ")
        elif unicodedata.name(letter, "").startswith("LATIN ") and ord(letter) < 0x180:
            made.append(letter)
        else:
            bare, *accents = list(unicodedata.normalize("NFKD", letter))
            plain = bare.isascii() and all(unicodedata.combining(a) for a in accents)
            made.append(_ESCAPES.get(bare, bare) if plain else "?")
    return "".join(made)


def to_latex(
    info: CompareInfo,
    tables: Sequence[str],
    name: str = "comparison",
    spread: Spread = "std",
) -> str:
    """Return chosen tables as LaTeX with booktabs; the profile is left to its figure."""
    parts = [
        f"% {latex_text(name)}: written by the DTVG workbench {__version__}",
        r"% needs \usepackage{booktabs}",
    ]
    lines = lines_of(info, "published" in tables, spread)
    groups = groups_of(lines, tables)
    if groups:
        parts.append(_latex_scores(info, lines, name, groups))
    elif "scores" in tables:
        parts += [f"% {latex_text(note)}" for note in info.notes]
    for table in ("primary", "verdicts", "ranks", "costs", "budgets"):
        if table in tables and len(shown_frame(info, table)):
            frame = verdicts_brief(info) if table == "verdicts" else shown_frame(info, table)
            rows = [[latex_text(x) for x in row] for row in printed(frame).to_numpy()]
            caption = latex_text(f"{HEADINGS[table]}: {name}. {note_of(info, table)}")
            head = [latex_text(str(c)) for c in frame.columns]
            kinds = "".join("r" if pd.api.types.is_numeric_dtype(t) else "l" for t in frame.dtypes)
            parts.append(_latex_table(head, [rows], caption, f"{name}-{table}", kinds))
    return "\n".join(parts) + "\n"


def _latex_scores(info: CompareInfo, lines: Lines, name: str, shown: Sequence[Group]) -> str:
    """Scores: compared methods, rows for reference, published numbers, each under a rule."""
    columns = list(lines.columns)
    width = len(columns) + 1
    groups: list[list[list[str]]] = []
    titles = {"reference": "For reference", "published": "Published, not run here"}
    for group in shown:
        of_group = lines.of(group)
        rows = [[latex_text(e.shown), *(_latex_cell(c) for c in e.cells)] for e in of_group]
        if group in titles:
            title = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{titles[group]}}}}}"
            rows.insert(0, [title])
        groups.append(rows)
    head = ["Method", *(latex_text(column_title(c)) for c in columns)]
    caption = latex_text(f"{name}. " + " ".join([*legend(lines, info), *info.notes]))
    return _latex_table(head, groups, caption, name)


def column_title(name: str) -> str:
    """Return what stands above a column of scores."""
    return "Average" if name == AVERAGE else TITLES.get(name, name)


def _latex_cell(cell: Cell) -> str:
    if cell.empty:
        return "--"
    number = cell.percent
    if cell.place:
        number = rf"\{'textbf' if cell.place == 1 else 'underline'}{{{number}}}"
    beside = cell.around.replace("±", r"$\pm$")
    spread = rf" {{\scriptsize{' ' * (beside[:1] == '(')}{beside}}}" if beside else ""
    return number + spread + latex_text(cell.signs)


def _line_length(head: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> int:
    """Letters of the widest entries of all columns, and two for each gap."""
    rows = [row for rows in groups for row in rows if len(row) == len(head)]
    plain = [[re.sub(r"\\[a-z]+|[{}$]", "", x) for x in row] for row in (head, *rows)]
    return sum(max(len(x) for x in column) + 2 for column in zip(*plain, strict=True))


def _latex_table(
    head: Sequence[str],
    groups: Sequence[Sequence[Sequence[str]]],
    caption: str,
    label: str,
    kinds: str = "",
) -> str:
    """One floating table; groups of rows are parted by rules.

    Args:
        head: names of columns.
        groups: rows of each group, everything escaped.
        caption: escaped.
        label: any text.
        kinds: `l` or `r` for each column; empty: the first to the left, numbers to the right.
    """
    length = _line_length(head, groups)
    wide = length > WIDE
    size = r"\scriptsize" if length > VERY_WIDE else r"\footnotesize"
    floating = "table*" if wide else "table"
    safe = "".join(c if c.isalnum() and c.isascii() else "-" for c in label.lower())
    body = "\n\\midrule\n".join(
        "\n".join(" & ".join(row) + r" \\" for row in rows) for rows in groups
    )
    return "\n".join(
        [
            rf"\begin{{{floating}}}[t]",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{safe}}}",
            *([size, r"\setlength{\tabcolsep}{3pt}"] if wide else [r"\small"]),
            rf"\begin{{tabular}}{{{kinds or 'l' + 'r' * (len(head) - 1)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\end{{{floating}}}",
        ]
    )


# -- claims --------------------------------------------------------------------------------

CLAIMS_FORMATS = ("csv", "json", "md", "latex")
SIGNS_OF_VERDICTS = "▲▼○ "


def claims_text(info: ClaimsInfo, form: str, parts: bool = False, name: str = "experiment") -> str:
    """Write the claims in a format.

    Args:
        info: from `claims_info`.
        form: of `CLAIMS_FORMATS`; `json` has every number and comparison, asked for or not.
        parts: every comparison of every claim: in CSV in place of the claims, in Markdown below.
        name: whose, for headings and labels.

    Raises:
        ConfigError: an unknown format, or one that cannot hold the comparisons.
    """
    if form not in CLAIMS_FORMATS:
        raise ConfigError(unknown("format", form, CLAIMS_FORMATS))
    if parts:
        check_parts(form)
    if form == "csv":
        return str(plain_cells(info.parts if parts else info.table).to_csv(index=False))
    if form == "json":
        return _claims_json(info)
    told = " ".join([*info.notes, *(f"({c.key}) {c.found}" for c in info.claims if c.found)])
    if form == "md":
        below = _parts_below(info) if parts else ""
        body = _markdown_table(claims_shown(info))
        return f"## Claims: {_plain(name)}\n\n{body}\n\n{_plain(told)}\n{below}"
    brief = claims_shown(info).drop(columns="what it would take")
    rows = [[latex_text(x.lstrip(SIGNS_OF_VERDICTS)) for x in row] for row in brief.to_numpy()]
    head = [latex_text(c) for c in brief.columns]
    caption = latex_text(f"The claims on {name}. {told}")
    parts_of = [
        f"% {latex_text(name)}: written by the DTVG workbench {__version__}",
        r"% needs \usepackage{booktabs}",
        _latex_table(head, [rows], caption, f"{name}-claims", "lllll"),
    ]
    return "\n".join(parts_of) + "\n"


def check_parts(form: str) -> None:
    """Refuse a format of claims that cannot hold every comparison.

    Raises:
        ConfigError: it is LaTeX.
    """
    if form == "latex":
        raise ConfigError(
            "A LaTeX table holds the claims, not their parts (every comparison of every claim); "
            "leave --parts out, or choose md, csv, parquet or json."
        )


def _parts_below(info: ClaimsInfo) -> str:
    """Comparisons of each claim that has some, as Markdown under its title."""
    return "".join(
        f"\n### ({c.key}) {_plain(c.wording.title)}\n\n{_markdown_table(parts_shown(c))}\n"
        for c in info.claims
        if len(c.parts)
    )


def _markdown_table(frame: pd.DataFrame) -> str:
    rows = [[_plain(str(x)) for x in row] for row in frame.to_numpy()]
    return _pipes(list(frame.columns), rows)


def _claims_json(info: ClaimsInfo) -> str:
    """Everything that is known of each claim; what is no number is null."""
    claims = json.loads(info.table.to_json(orient="records"))
    for made, claim in zip(claims, info.claims, strict=True):
        made["missing"] = list(claim.missing)
        made["parts"] = json.loads(claim.parts.to_json(orient="records"))
        made["notes"] = list(claim.notes)
    content = {"targets": info.targets, "runs": info.runs, "notes": info.notes, "claims": claims}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
