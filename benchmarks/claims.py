"""How often the claims err: verdicts on simulated runs without an effect, or with just the margin.

Right and wrong answers are drawn; each run has its own skill, each example its own difficulty,
each target its own lead. The functions are those of `dtvg.analysis.claims`, below the store.
Writes the table of docs/claims.md.

    python -m benchmarks.claims                # about half an hour on one core
    python -m benchmarks.claims --trials 40    # a look
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dtvg.analysis import statistics
from dtvg.analysis.claims import best_group, changing, harming, predicting, regret
from dtvg.analysis.claims.claim import CONTRADICTED, SUPPORTED, judged
from dtvg.analysis.claims.effects import Effect, Part, of_evidence, of_seeds, smallest, summed
from dtvg.analysis.claims.halves import evidences, halves
from dtvg.analysis.claims.info import MARGIN, MARGIN_OF_CHANGE, MARGIN_OF_CORRELATION
from dtvg.analysis.claims.searched import Searched
from dtvg.analysis.compare import examples

PAGE = Path(__file__).resolve().parents[1] / "docs" / "claims.md"
SPREAD, BETWEEN = 0.02, 0.02
"""Standard deviation of the skill of runs, and of the lead between targets."""
SIZES = ((1, 3, 200), (1, 5, 200), (4, 3, 200))
"""Targets, seeds, examples."""
STEPS = ((1, 3, 300), (1, 5, 300), (4, 3, 300))
"""Targets, seeds, steps."""
SOURCES_ALONE = ((1, 5, 0), (4, 3, 0), (8, 3, 0))
"""Targets and seeds, eight sources each."""
Floats = np.ndarray
Judge = Callable[[np.random.Generator, int, int, int, float], str]
"""(random numbers, targets, seeds, examples, true effect) → verdict."""


def answers(rng: np.random.Generator, skill: Floats, count: int, hard: Floats) -> Floats:
    """Draw right and wrong answers `[... E]` for runs of some skill `[...]`."""
    chance = np.clip(skill[..., None] + hard, 0, 1)
    return (rng.random((*np.shape(skill), count)) < chance).astype(np.float64)


def skills(rng: np.random.Generator, base: Floats, seeds: int) -> Floats:
    """Draw the skill of runs `[S K]` around those of their methods `[K]`."""
    return base + rng.normal(scale=SPREAD, size=(seeds, len(base)))


def _targets(rng: np.random.Generator, targets: int, count: int) -> Iterator[tuple[Floats, float]]:
    """Difficulty of the examples, and the lead, of each target."""
    for _ in range(targets):
        lead = float(rng.normal(scale=BETWEEN)) if targets > 1 else 0.0
        yield rng.uniform(-0.2, 0.2, count), lead


def contest(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(f): two methods."""
    effects = []
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        made = answers(rng, skills(rng, np.array([0.6 + true + lead, 0.6]), seeds), count, hard)
        known = evidences({"": made[:, 0] - made[:, 1]}, range(seeds), i)
        effects.append(of_evidence(str(i), known[""]))
    return judged(summed(effects), MARGIN)


def contests(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(d): one method against four that are equally good."""
    effects: list[dict[str, Effect]] = []
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        base = np.array([0.6 + true + lead, *[0.6] * 4])
        made = answers(rng, skills(rng, base, seeds), count, hard)
        tables = {str(k): made[:, 0] - made[:, k] for k in range(1, 5)}
        known = evidences(tables, range(seeds), i)
        effects.append({name: of_evidence(str(i), e) for name, e in known.items()})
    parts = [Part(name, [made[name] for made in effects]) for name in "1234"]
    return judged(smallest(parts)[0], MARGIN)


SOURCES = ("amber", "birch", "cedar", "dune")
SUBSETS = tuple(
    frozenset(s for k, s in enumerate(SOURCES) if i >> k & 1)
    for i in sorted(range(16), key=lambda i: (i.bit_count(), i))
)


def _searched(
    rng: np.random.Generator, i: int, hard: Floats, seeds: int, worth: Floats
) -> tuple[Searched, Floats]:
    """Draw an oracle, and a further run with the worth that comes last."""
    made = answers(rng, skills(rng, 0.6 + worth, seeds), len(hard), hard)
    one = Searched(str(i), SOURCES, i, SUBSETS, tuple(range(seeds)), made[:, :-1])
    return one, made[:, -1]


def best(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(a): a pair and a single source are the best, and equally good but for the true effect."""
    made = []
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        worth = np.zeros(17)
        worth[1], worth[5] = 0.04, 0.04 + true + lead
        made.append(best_group.effects_of(_searched(rng, i, hard, seeds, worth)[0]))
    parts = {part.name: part for part in best_group.gathered(made)}
    return judged(best_group.summary_of(parts, whole=True), MARGIN)


def flat(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(a): all subsets are equally good, but for one pair with the true effect."""
    made = []
    for i, (hard, _) in enumerate(_targets(rng, targets, count)):
        worth = np.zeros(17)
        worth[5] = true
        made.append(best_group.effects_of(_searched(rng, i, hard, seeds, worth)[0]))
    parts = {part.name: part for part in best_group.gathered(made)}
    return judged(best_group.summary_of(parts, whole=True), MARGIN)


def lead_of_group(
    rng: np.random.Generator, targets: int, seeds: int, count: int, true: float
) -> str:
    """(g): pairs differ by chance, and the run is as good as their mean."""
    effects = []
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        worth = np.append(rng.normal(scale=0.03, size=16), 0.0)
        worth[16] = worth[5:11].mean() + true + lead
        one, own = _searched(rng, i, hard, seeds, worth)
        sizes = {s: np.array([0, 0, 1.0, 0, 0]) for s in range(seeds)}
        tables = regret.tables_of(one, own, range(seeds), sizes) or {}
        known = evidences({regret.LEAD: tables[regret.LEAD]}, range(seeds), i)
        effects.append(of_evidence(str(i), known[regret.LEAD]))
    return judged(summed(effects), MARGIN)


def harm(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(e): two other methods and the dynamic group all lie 4 points below no transfer."""
    effects = []
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        base = np.array([0.6, 0.56 + true + lead, 0.56, 0.56])
        made = answers(rng, skills(rng, base, seeds), count, hard)
        choosing = halves(count, i)
        lost = [harming.losses(made[:, k] - made[:, 0], choosing) for k in (1, 2, 3)]
        known = evidences({"": (lost[1] + lost[2]) / 2 - lost[0]}, range(seeds), i)
        effects.append(of_evidence(str(i), known[""]))
    return judged(summed(effects), MARGIN)


def _walks(kind: str) -> Judge:
    """(b): similarities that shake, wander, or wander and come back, without a direction."""

    def judge(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
        found: dict[str, list[Effect]] = {changing.FORGOTTEN: [], changing.ADDED: []}
        for i in range(targets):
            start = rng.normal(size=6)
            walks = [changing.walk(_moved(rng, kind, start, count), s, 100) for s in range(seeds)]
            for noise, effects in found.items():
                by_seed = {w.seed: w.excess(changing.RANKING, noise) for w in walks if w}
                effects.append(of_seeds(str(i), by_seed))
        summary = changing.between_extremes([summed(each) for each in found.values()])
        return judged(summary, MARGIN_OF_CHANGE)

    return judge


def _moved(rng: np.random.Generator, kind: str, start: Floats, steps: int) -> Floats:
    noise = rng.normal(size=(steps, len(start)))
    if kind == "shakes":
        return start + 0.5 * noise
    kept = 1.0 if kind == "wanders" else 0.97
    here, path = np.zeros(len(start)), []
    for move in noise:
        here = kept * here + 0.1 * move
        path.append(here)
    return start + np.array(path)


def _predicted(both: float) -> Judge:
    """(c): both similarities tell as much of the gains: nothing, or something."""

    def judge(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
        effects = []
        for i in range(targets):
            worth = rng.normal(size=8)
            seen = [both * worth + rng.normal(size=8) for _ in range(2)]
            vectors, prompts = (x + rng.normal(scale=0.3, size=(seeds, 8)) for x in seen)
            gains = worth + rng.normal(scale=0.5, size=8) + rng.normal(scale=0.3, size=(seeds, 8))
            names, place = tuple("abcdefgh"), tuple(range(seeds))
            one = predicting.Measured(str(i), names, place, vectors, prompts, gains)
            effects.append(predicting.effects_of(one)[predicting.DIFFERENCE])
        return judged(summed(effects), MARGIN_OF_CORRELATION)

    return judge


CASES: dict[str, tuple[Judge, Sequence[tuple[int, int, int]], bool]] = {
    "(a) a pair and a source are best": (best, SIZES, True),
    "(a) all subsets are alike": (flat, SIZES, True),
    "(b) similarities shake": (_walks("shakes"), STEPS, False),
    "(b) they wander": (_walks("wanders"), STEPS, False),
    "(b) they wander and come back": (
        _walks("comes back"), STEPS, False,
    ),
    "(c) neither similarity tells": (_predicted(0.0), SOURCES_ALONE, False),
    "(c) both tell as much": (_predicted(1.0), SOURCES_ALONE, False),
    "(d) five equal methods": (contests, SIZES, True),
    "(e) all lose 4 points": (harm, SIZES, True),
    "(f) two equal methods": (contest, SIZES, True),
    "(g) as good as chance": (lead_of_group, SIZES, True),
}  # fmt: skip
"""What is true → how to judge it, sizes, and whether an effect of just the margin is tried."""


def rates(trials: int) -> Iterator[pd.DataFrame]:
    """Simulate case by case, the smallest sizes first; rates of wrong verdicts, 0..1, so far."""
    rows: dict[tuple[int, int], dict[str, object]] = {}
    for at in range(3):
        for number, (name, (judge, sizes, at_margin)) in enumerate(CASES.items()):
            size = sizes[at]
            row: dict[str, object] = dict(
                zip(("what is true", "targets", "seeds", "examples"), (name, *size), strict=True)
            )
            rng = np.random.default_rng([number, *size])
            for verdict, true in ((SUPPORTED, 0.0), (CONTRADICTED, MARGIN)):
                row[verdict] = np.nan
                if at_margin or not true:
                    found = [judge(rng, *size, true) for _ in range(trials)]
                    row[verdict] = float(np.mean([v == verdict for v in found]))
            rows[number, at] = row
            print(row, flush=True)
            yield pd.DataFrame([rows[key] for key in sorted(rows)])


def table_of(frame: pd.DataFrame) -> str:
    """Return the table of the page; rates in percent."""
    head = ["what is true", "targets", "seeds", "examples or steps"]
    head += ["wrongly supported, %", "at the margin wrongly contradicted, %"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * 5]
    for row in frame.to_dict("records"):
        rest = [f"{100 * row[c]:.1f}" if row[c] == row[c] else "–" for c in frame.columns[-2:]]
        sizes = [str(row["targets"]), str(row["seeds"]), str(row["examples"] or "–")]
        lines.append("| " + " | ".join([row["what is true"], *sizes, *rest]) + " |")
    return "\n".join(lines)


def written(text: str, made: str) -> str:
    """Return the page with its table renewed."""
    before, _, rest = text.partition("<!-- errors -->")
    end = "<!-- end of errors -->"
    return f"{before}<!-- errors -->\n\n{made}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Simulate, write the table into the page as it grows, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    examples.RESAMPLES = statistics.RESAMPLES = given.resamples
    for found in rates(given.trials):
        made = table_of(found)
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(made)


if __name__ == "__main__":
    main()
