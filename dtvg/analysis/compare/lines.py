"""The table of a comparison as it is printed: groups of lines, places and marks.

One layout behind terminal, CSV, Markdown and LaTeX, so that all print the same numbers, the
same bold ones and the same marks. docs/verdicts.md "Exports".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from dtvg.analysis.compare.families import NO_ANSWERS, NOT_ENOUGH, in_words
from dtvg.analysis.compare.info import AVERAGE, CompareInfo
from dtvg.analysis.compare.over_targets import FEWEST_TARGETS
from dtvg.analysis.compare.references import BELOW, Reference
from dtvg.analysis.compare.verdicts import REFERENCE
from dtvg.analysis.statistics import MOST_SEEDS
from dtvg.analysis.words import in_percent as as_percent
from dtvg.config.budgets import tuned_words
from dtvg.methods.specs import METHODS, Role

Group = Literal["compared", "reference", "published"]
Spread = Literal["std", "interval"]
"""What stands beside a mean: the standard deviation over seeds, or the mean's interval."""
Mark = Literal["", "better", "worse", "better_on_runs", "worse_on_runs"]

PLACES = 1
"""Decimals of a percentage; a tie at this precision is a tie of places too."""
ALIKE = 1.5
"""Budgets within this factor are compared as equal."""
SYMBOLS: dict[Mark, str] = {
    "": "",
    "better": "†",
    "worse": "‡",
    "better_on_runs": "°",
    "worse_on_runs": "*",
}


def in_percent(score: float, sign: str = "") -> str:
    """Return a score or a difference, 0..1, in percent as every table prints it."""
    return as_percent(score, PLACES, sign)


@dataclass(frozen=True)
class Cell:
    """One score: what is printed, and how it is set off."""

    mean: float
    """0..1; NaN where there is none."""
    std: float = float("nan")
    n_seeds: int = 0
    low: float = float("nan")
    high: float = float("nan")
    """The interval of the mean over seeds, as named in `CompareInfo.interval`."""
    shows: Spread = "std"
    place: int = 0
    """1 best, 2 second of its column among the compared methods, else 0."""
    mark: Mark = ""
    """What the subject is compared with this method, where there is a verdict."""
    below: str = ""
    """`guessing` or `no_transfer`, where the mean lies below it."""

    @property
    def empty(self) -> bool:
        """Whether there is no number."""
        return bool(np.isnan(self.mean))

    @property
    def percent(self) -> str:
        """The mean in percent, empty without one."""
        return "" if self.empty else in_percent(self.mean)

    @property
    def signs(self) -> str:
        """The mark, and the sign of a score below a reference."""
        return SYMBOLS[self.mark] + BELOW.get(self.below, "")

    @property
    def spread(self) -> str:
        """The standard deviation over seeds in percent, empty below two seeds."""
        return "" if np.isnan(self.std) else in_percent(self.std)

    @property
    def around(self) -> str:
        """What stands beside the mean: `± std` or `(low to high)`, empty below two seeds."""
        if not self.spread:
            return ""
        if self.shows == "std":
            return f"± {self.spread}"
        return f"({in_percent(self.low)} to {in_percent(self.high)})"


@dataclass(frozen=True)
class Line:
    """One method's scores, in the order of the columns."""

    group: Group
    method: str
    cells: tuple[Cell, ...]
    source: str = ""
    """Paper and table of published numbers."""
    after: str = ""
    """Method and paper that this line's is an adaptation of."""

    @property
    def shown(self) -> str:
        """What stands in the first column."""
        return _with_after(self.method, self.after)


@dataclass(frozen=True)
class Lines:
    """All lines of a comparison: compared methods, rows for reference, published ones."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    subject: str
    """Row that the marks are about; empty: none."""
    several: bool
    """Whether more than one row is a subject, so that a mark needs its experiment."""
    spread: Spread = "std"

    def of(self, group: Group) -> tuple[Line, ...]:
        """Return the lines of one group."""
        return tuple(line for line in self.lines if line.group == group)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Kinds of marks that occur, in the order of `SYMBOLS`."""
        used = {cell.mark for line in self.lines for cell in line.cells}
        return tuple(m for m in SYMBOLS if m and m in used)


def lines_of(info: CompareInfo, with_published: bool = True, spread: Spread = "std") -> Lines:
    """Lay out a comparison.

    Compared are the methods a person would choose between; Stage I, oracle and single sources
    stand apart for reference; published numbers come last and are never best or second.

    Args:
        info: from `compare_info`.
        with_published: add numbers from papers on the same targets.
        spread: what stands beside each mean.
    """
    targets = (*info.targets, AVERAGE) if len(info.targets) > 1 else info.targets
    papers = info.published.wide.columns if with_published else ()
    extra = tuple(str(c) for c in papers if c not in targets)
    headline = info.sheet.headline
    rest = tuple(r for r in info.rows if r not in headline)
    places = {t: _places(info, headline, t) for t in targets}
    marks = _marks(info)
    made = [
        Line(
            "compared" if row in headline else "reference",
            row,
            (
                *(
                    replace(
                        _cell(info, row, t, places[t].get(row, 0), marks.get((row, t), "")),
                        shows=spread,
                    )
                    for t in targets
                ),
                *(Cell(float("nan")) for _ in extra),
            ),
            after=_after(info, row),
        )
        for row in (*headline, *rest)
    ]
    if with_published:
        made += _published(info, (*targets, *extra))
    subjects = list(dict.fromkeys(mine for mine, _ in info.against))
    subject = subjects[0] if subjects else ""
    return Lines((*targets, *extra), tuple(made), subject, len(subjects) > 1, spread)


def shown_name(info: CompareInfo, row: str) -> str:
    """Return a row's name with what its method is an adaptation of."""
    return _with_after(row, _after(info, row))


def _with_after(name: str, after: str) -> str:
    return f"{name} (after {after})" if after else name


def _after(info: CompareInfo, row: str) -> str:
    """Return what a row's method is an adaptation of; empty: of nothing."""
    spec = METHODS.get(info.sheet.kinds[row].method) if row in info.sheet.kinds else None
    return "" if spec is None else spec.after


def _cell(info: CompareInfo, row: str, target: str, place: int, mark: Mark) -> Cell:
    scores = info.sheet.scores.get((row, target), {})
    if not scores:
        return Cell(float("nan"))
    at = (info.table["method"] == row) & (info.table["target"] == target)
    found = info.table[at].iloc[0]
    below = ""
    if info.sheet.kinds[row].role is not Role.STAGE_ONE:
        below = info.references.get(target, Reference()).mark(float(found["mean"]), row)
    return Cell(
        float(found["mean"]),
        float(found["std"]),
        int(found["n_seeds"]),
        low=float(found["low"]),
        high=float(found["high"]),
        place=place,
        mark=mark,
        below=below,
    )


def _places(info: CompareInfo, rows: Sequence[str], target: str) -> dict[str, int]:
    """Best and second of a column at the printed precision, ties together."""
    if unequal_steps(info, rows):
        return {}
    means = {row: info.sheet.scores.get((row, target), {}) for row in rows}
    shown = {
        row: float(in_percent(float(np.mean(list(by_seed.values())))))
        for row, by_seed in means.items()
        if by_seed
    }
    ranked = sorted(set(shown.values()), reverse=True)[:2]
    return {row: ranked.index(v) + 1 for row, v in shown.items() if v in ranked}


def unequal_steps(info: CompareInfo, rows: Sequence[str]) -> tuple[int, int] | None:
    """Return the fewest and the most steps of compared rows; None where they are alike.

    A best row among 150 and 1,500 steps would say nothing of methods. Where every scored prompt
    has as many steps on the target (`optim.equal_target_steps`), different budgets are meant.
    """
    steps = set()
    for (row, _), by_seed in info.sheet.behind.items():
        for run in (run for runs in by_seed.values() for run in runs) if row in rows else ():
            if run.total_steps:
                steps.add(run.total_steps)
    if not steps or max(steps) <= ALIKE * min(steps):
        return None
    runs = [r for by in info.sheet.behind.values() for found in by.values() for r in found]
    configs = {r.path.parent: r.config for r in runs}.values()
    if all(c is not None and c.optim.equal_target_steps for c in configs):
        return None
    return min(steps), max(steps)


def _marks(info: CompareInfo) -> dict[tuple[str, str], Mark]:
    """(baseline, target) → what the subject is against it; on the method before on the runs.

    Where several rows are the method in question, a mark would not say whose it is.
    """
    found: dict[tuple[str, str], Mark] = {}
    for row in of_one_subject(info.verdicts).itertuples(index=False):
        mark: Mark = ""
        if row.verdict in ("better", "worse"):
            mark = "better" if row.verdict == "better" else "worse"
        elif row.verdict_runs in ("better", "worse"):
            mark = "better_on_runs" if row.verdict_runs == "better" else "worse_on_runs"
        found[(str(row.baseline), str(row.target))] = mark
    return found


def of_one_subject(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts on baselines that a single row is set against."""
    return verdicts[~verdicts.duplicated(["baseline", "target"], keep=False)]


def _published(info: CompareInfo, columns: Sequence[str]) -> list[Line]:
    """One line per method of the literature; an average of ours is not theirs."""
    wide, rows, table = info.published.wide, info.published.rows, info.published.table
    made = []
    for method in wide.index:
        values = [
            float(wide.loc[method, c]) if c in wide.columns and c != AVERAGE else float("nan")
            for c in columns
        ]
        sources = dict.fromkeys(table.loc[rows == method, "source"])
        cells = tuple(Cell(v) for v in values)
        made.append(Line("published", str(method), cells, "; ".join(sources)))
    return made


def legend(lines: Lines, info: CompareInfo) -> list[str]:
    """Say in sentences what is printed: numbers, bold, marks, where the published come from.

    Returns:
        Sentences; marks stand as `SYMBOLS`.
    """
    split = "test score at the best validation step" if info.split == "test" else "validation score"
    if info.metric != "score":
        split = split.replace("score", info.metric)
    beside = {
        "std": "mean ± standard deviation over seeds",
        "interval": "mean over seeds and its 95 % bootstrap interval",
    }
    said = [f"{split[0].upper()}{split[1:]} in percent, {beside[lines.spread]}{_counts(lines)}."]
    if any(line.after for line in lines.lines):
        said.append('A method "after" a paper is an adaptation, not what its authors run.')
    unequal = unequal_steps(info, info.sheet.headline)
    if unequal:
        said.append(
            f"Nothing is bold: the methods were trained for {unequal[0]:,} to {unequal[1]:,} steps."
        )
    elif lines.of("compared"):
        said.append("Best compared method of a column in bold, second underlined.")
    said += _below(lines, info)
    whom = "the subject" if lines.several else lines.subject
    words: dict[Mark, str] = {
        "better": f"{whom} is better than this method",
        "worse": f"{whom} is worse than this method",
        "better_on_runs": f"{whom} is better on new examples, but only for these trained runs",
        "worse_on_runs": f"{whom} is worse on new examples, but only for these trained runs",
    }
    if lines.marks:
        said.append(
            "; ".join(f"{SYMBOLS[m]} {words[m]}" for m in lines.marks)
            + " (paired, p ≤ 0.05 after correction by Holm or joint sign flips)."
        )
    elif (info.verdicts["family"] != "reference").any():
        said.append(f"No comparison with {whom} gives a verdict at 5 % after correction.")
    tested = info.verdicts[info.verdicts["family"] != "reference"]
    few = int((tested["verdict"] == NOT_ENOUGH).sum())
    if few:
        n = int(tested["seeds_attainable"].max())
        said.append(
            f"{few} of {len(tested)} comparisons do not have enough seeds for a verdict on the "
            f"methods (at least {n} are needed)."
        )
    if info.hypotheses:
        said.append(info.declared_note)
    if lines.of("published"):
        said.append(f"Published numbers are shown separately. {info.published.note}")
    return said


def _below(lines: Lines, info: CompareInfo) -> list[str]:
    """Say which scores lie below guessing and below no transfer, and where these lie."""
    used = {cell.below for line in lines.lines for cell in line.cells if cell.below}
    places = [(t, info.references[t]) for t in lines.columns if t in info.references]
    said = []
    if "guessing" in used:
        at = ", ".join(f"{t} {in_percent(r.guessing)}" for t, r in places if r.guessing is not None)
        said.append(f"{BELOW['guessing']} below always giving the commonest answer ({at}).")
    if "no_transfer" in used:
        best = [(t, r) for t, r in places if r.no_transfer is not None]
        at = ", ".join(f"{t} {r.method} {in_percent(r.no_transfer or 0)}" for t, r in best)
        said.append(
            f"{BELOW['no_transfer']} below the best method without sources ({at}); no test."
        )
    return said


def _counts(lines: Lines) -> str:
    """Say how many seeds a cell has."""
    cells = [cell for line in lines.lines for cell in line.cells if cell.n_seeds]
    counts = sorted({cell.n_seeds for cell in cells})
    if not counts:
        return ""
    least, most = counts[0], counts[-1]
    many = f"{most}" if least == most else f"{least} to {most}"
    return f" ({many} seed{'s' * (most > 1)} a cell)"


def costs_shown(info: CompareInfo) -> pd.DataFrame:
    """Return the table of costs as it is printed: readable columns, scores in percent."""
    table = info.costs.table
    return pd.DataFrame(
        {
            "method": table["method"],
            "score %": [float(in_percent(score)) for score in table["score"]],
            "trained parameters": table["trained_parameters"].round(0),
            "steps": table["steps"].round(0),
            "examples": table["examples"].round(0),
            "seconds": table["seconds"].round(1),
            "seconds alone": table["seconds_alone"].round(2),
            "peak GiB": table["peak_mem_gib"].round(2),
            "runs": table["n_runs"],
        }
    )


def budgets_shown(info: CompareInfo) -> pd.DataFrame:
    """Return the table of rates and budgets as it is printed."""
    table = info.budgets.table
    return pd.DataFrame(
        {
            "method": table["method"],
            "rates": table["rates"],
            "from": table["origin"],
            "tuned": [tuned_words(int(trials)) for trials in table["trials"]],
            "steps": table["steps"].round(0),
            "target steps": table["target_steps"].round(0),
            "best step": table["best_step"].round(0),
            "at step 0 %": (100 * table["at_start"]).round(0),
        }
    )


def verdicts_shown(info: CompareInfo) -> pd.DataFrame:
    """Return the verdicts as they are printed: differences in points, the rest in words.

    The subject is named where several are set against one baseline. Pairs without a seed in common
    are left out; `verdict_notes` counts them.
    """
    table = info.verdicts[info.verdicts["n_seeds"] > 0]
    points = [in_percent(d, "+") if np.isfinite(d) else "" for d in table["difference"]]
    shown = pd.DataFrame(
        {
            "target": table["target"],
            "baseline": table["baseline"],
            "tested": table["family"],
            "seeds": table["n_seeds"],
            "points": points,
            "95 % (corrected)": _spans(table["low_corrected"], table["high_corrected"]),
            "g": [f"{g:+.2f}" if np.isfinite(g) else "" for g in table["hedges_g"]],
            "p (corrected)": [_p(p) for p in table["p_corrected"]],
            "verdict": [
                in_words(verdict, statement)
                for verdict, statement in zip(table["verdict"], table["statement"], strict=True)
            ],
            "p (crossed effects, alone)": [_p(p) for p in table["p_crossed"]],
            "over targets (random effects)": _over_targets(table),
            "p of the runs (Holm)": [_p(p) for p in table["p_examples_holm"]],
            "on these runs": table["verdict_runs"],
            "seeds needed": [
                _seeds(*row)
                for row in zip(
                    table["seeds_needed"], table["seeds_attainable"], table["hedges_g"], strict=True
                )
            ],
        }
    )
    if table.duplicated(["baseline", "target"]).any():
        shown.insert(1, "subject", table["subject"])
    if not (table["n_targets"] > 1).any():
        shown = shown.drop(columns="over targets (random effects)")
    return shown


def primary_shown(info: CompareInfo) -> pd.DataFrame:
    """Return the declared comparisons as they are printed, a row each."""
    rows = []
    for one in info.primary:
        made = dict.fromkeys(("points", "95 %", "p", "verdict", "seeds", "examples"), "")
        if one.row is not None and one.row["n_seeds"]:
            row = one.row
            ends = _spans(pd.Series([row["low_corrected"]]), pd.Series([row["high_corrected"]]))
            made |= {
                "points": in_percent(row["difference"], "+"),
                "95 %": ends[0],
                "p": _p(row["p_corrected"]),
                "verdict": in_words(row["verdict"], row["statement"]),
                "seeds": str(row["n_seeds"]),
                "examples": f"{row['n_examples']:,.0f}" if row["n_examples"] else "",
            }
        rows.append({"hypothesis": one.declared.text(len(info.primary) > 1), **made})
    return pd.DataFrame(rows)


def _over_targets(table: pd.DataFrame) -> list[str]:
    """Mean over targets as random effects with its interval, and how much targets differ."""
    columns = ("random_effect", "low_random", "high_random", "random_between")
    made = []
    numbers = zip(*(table[c] for c in columns), table["n_targets"], strict=True)
    for mean, low, high, between, count in numbers:
        ends = f"{in_percent(low, '+')} … {in_percent(high, '+')}"
        said = f"{in_percent(mean, '+')} ({ends}), τ {in_percent(between)}"
        if count < FEWEST_TARGETS:
            said = f"{in_percent(mean, '+')}, no interval ({count:.0f} targets)"
        made.append(said if np.isfinite(mean) else "")
    return made


def verdict_notes(info: CompareInfo) -> list[str]:
    """Return the sentences below the verdicts; pairs without a seed in common are counted."""
    said = [info.declared_note, info.verdict_note, *info.paired.problems]
    waiting = info.verdicts[info.verdicts["n_seeds"] == 0]
    if len(waiting):
        where = ", ".join(dict.fromkeys(waiting["target"]))
        pairs = f"{len(waiting)} of {len(info.verdicts)} comparisons"
        said.insert(2, f"{pairs} have no seed in common yet ({where}).")
    return said


IN_FULL = (
    "seeds",
    "g",
    "p (crossed effects, alone)",
    "over targets (random effects)",
    "p of the runs (Holm)",
)
"""Columns of `verdicts_shown` that only wide tables have."""


def verdicts_brief(info: CompareInfo) -> pd.DataFrame:
    """Return the verdicts for narrow terminals and printed pages: fewer columns, short words."""
    shown = verdicts_shown(info)
    brief = shown[[c for c in shown.columns if c not in IN_FULL]]
    short = {NOT_ENOUGH: "too few seeds", NO_ANSWERS: "no answers stored", REFERENCE: ""}
    return brief.replace(short).rename(columns={"95 % (corrected)": "95 %", "p (corrected)": "p"})


def _seeds(needed: float, attainable: int, effect: float) -> str:
    """How many seeds would show the difference: known, too many, or a lower bound."""
    if np.isfinite(needed):
        return f"{int(needed)}"
    return f"> {MOST_SEEDS:,}" if np.isfinite(effect) else f"≥ {int(attainable)}"


def _p(p: float) -> str:
    return "" if not np.isfinite(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}")


def _spans(low: pd.Series, high: pd.Series) -> list[str]:
    return [
        f"{in_percent(a, '+')} … {in_percent(b, '+')}" if np.isfinite(a) else ""
        for a, b in zip(low, high, strict=True)
    ]
