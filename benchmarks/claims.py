"""How often the claims err: verdicts on simulated runs of which it is known what is true.

Each claim is simulated true, false, undecidable, without an effect and with just the margin, on one
target and on several. Right and wrong answers are drawn; each run has its own skill, each example
its own difficulty, each target its own lead. The functions are those of `dtvg.analysis.claims`,
below the store. Verdicts are counted in benchmarks/results/claims.json; docs/claims.md shows them.

    python -m benchmarks.claims                   # adds trials to every row until 200, then ends
    python -m benchmarks.claims --trials 40       # a look
    python -m benchmarks.claims --only "(c)"      # rows of one claim
    python -m benchmarks.claims --only "elsewhere | 1 5 300 | at margin" --trials 1000  # one cell
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from dtvg.analysis import statistics
from dtvg.analysis.claims import best_group, changing, harming, predicting, regret
from dtvg.analysis.claims.claim import CANNOT_TELL, CONTRADICTED, SUPPORTED, judged
from dtvg.analysis.claims.effects import Effect, Part, of_evidence, smallest, summed
from dtvg.analysis.claims.halves import evidences, halves
from dtvg.analysis.claims.info import MARGIN, MARGIN_OF_CHANGE, MARGIN_OF_CORRELATION
from dtvg.analysis.claims.searched import Searched
from dtvg.analysis.compare import examples

ROOT = Path(__file__).resolve().parents[1]
PAGE, COUNTS = ROOT / "docs" / "claims.md", ROOT / "benchmarks" / "results" / "claims.json"
SPREAD, BETWEEN = 0.02, 0.02
"""Standard deviation of the skill of runs, and of the lead between targets."""
SIZES = ((4, 3, 200), (1, 5, 200), (1, 3, 200))
"""Targets, seeds, examples."""
STEPS = ((4, 3, 300), (1, 5, 300), (1, 3, 300))
"""Targets, seeds, steps."""
SOURCES_ALONE = ((4, 3, 0), (1, 5, 0), (8, 3, 0))
"""Targets and seeds, eight sources each."""
FALSE, NO_EFFECT, OPEN, AT_MARGIN, TRUE = "false", "no effect", "undecidable", "at margin", "true"
TRUTHS = {FALSE: -0.1, NO_EFFECT: 0.0, OPEN: MARGIN / 2, AT_MARGIN: MARGIN, TRUE: 0.12}
"""What is true → the effect in points 0..1; undecidable lies between 0 and the margin, where
neither verdict would be wrong and none can be expected."""
BATCH = 10
"""Trials between two writings."""
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
        worth[1], worth[5] = 0.08, 0.08 + true + lead
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
    made: dict[str, list[Effect]] = {regret.LEAD: [], regret.ROOM: []}
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        worth = np.append(rng.normal(scale=0.03, size=16), 0.0)
        worth[16] = worth[5:11].mean() + true + lead
        one, own = _searched(rng, i, hard, seeds, worth)
        sizes = {s: np.array([0, 0, 1.0, 0, 0]) for s in range(seeds)}
        tables = regret.tables_of(one, own, range(seeds), sizes) or {}
        for name, evidence in evidences({n: tables[n] for n in made}, range(seeds), i).items():
            made[name].append(of_evidence(str(i), evidence))
    flat = not summed(made[regret.ROOM]).low > 0
    return regret.verdict_of(summed(made[regret.LEAD]), flat, MARGIN)


def harm(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(e): two other methods lie 12 points below no transfer, the dynamic group so many less."""
    return _harm(rng, targets, seeds, count, true, depth=0.12)


def harmless(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(e): nobody lies below no transfer, so there is nothing to lose."""
    return _harm(rng, targets, seeds, count, true, depth=0.0)


def _harm(
    rng: np.random.Generator, targets: int, seeds: int, count: int, true: float, depth: float
) -> str:
    made: dict[str, list[Effect]] = {"lead": [], "lost": []}
    for i, (hard, lead) in enumerate(_targets(rng, targets, count)):
        base = np.array([0.6, 0.6 - depth + true + lead, 0.6 - depth, 0.6 - depth])
        right = answers(rng, skills(rng, base, seeds), count, hard)
        choosing = halves(count, i)
        lost = [harming.losses(right[:, k] - right[:, 0], choosing) for k in (1, 2, 3)]
        others = (lost[1] + lost[2]) / 2
        known = evidences({"lead": others - lost[0], "lost": others}, range(seeds), i)
        for name, evidence in known.items():
            made[name].append(of_evidence(str(i), evidence))
    return harming.verdict_of(summed(made["lead"]), summed(made["lost"]), MARGIN)


def _walks(kind: str) -> Judge:
    """(b): similarities that shake, wander, or wander and come back, without a direction."""

    def judge(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
        found: dict[str, list[Effect]] = {changing.FORGOTTEN: [], changing.ADDED: []}
        for i in range(targets):
            start = rng.normal(size=6)
            walks = [changing.walk(_moved(rng, kind, start, count), s, 100) for s in range(seeds)]
            for noise, effects in found.items():
                there = [walk for walk in walks if walk]
                effects.append(changing.effect_of(str(i), there, changing.RANKING, noise))
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


def turned(rng: np.random.Generator, share: float, steps: int) -> Floats:
    """Draw similarities `[steps 6]` that go straight to places in another order, shaking."""
    start = np.arange(6) / 2
    end = rng.permutation(start)
    progress = np.linspace(0, share, steps)[:, None]
    return start + progress * (end - start) + 0.2 * rng.normal(size=(steps, 6))


def turning(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
    """(b): rankings go elsewhere, by so much beyond noise that is forgotten."""
    share = share_for(true) if true > 0 else 0.0
    found: dict[str, list[Effect]] = {changing.FORGOTTEN: [], changing.ADDED: []}
    for i in range(targets):
        walks = [changing.walk(turned(rng, share, count), s, 100) for s in range(seeds)]
        there = [walk for walk in walks if walk]
        for noise, effects in found.items():
            effects.append(changing.effect_of(str(i), there, changing.RANKING, noise))
    summary = changing.between_extremes([summed(each) for each in found.values()])
    return judged(summary, MARGIN_OF_CHANGE)


@cache
def share_for(wanted: float) -> float:
    """Return how far rankings must go so that they move by `wanted` on average."""

    def mean(share: float) -> float:
        rng = np.random.default_rng(5)
        walks = (changing.walk(turned(rng, share, 300), 0, 1) for _ in range(200))
        moved = [w.excess(changing.RANKING, changing.FORGOTTEN) for w in walks if w]
        return float(np.mean(moved))

    return _solved(mean, wanted, 0.0, 4.0)


def _solved(mean: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Return where an increasing function reaches a value, by halving."""
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < wanted else (low, middle)
    return (low + high) / 2


def drawn(rng: np.random.Generator, seeds: int, vectors: float, prompts: float) -> list[Floats]:
    """Draw two similarities and the gains `[S 8]`: how much each tells of their worth."""
    worth = rng.normal(size=8)
    seen = [strength * worth + rng.normal(size=8) for strength in (vectors, prompts)]
    gains = worth + rng.normal(scale=0.5, size=8) + rng.normal(scale=0.3, size=(seeds, 8))
    return [*(x + rng.normal(scale=0.3, size=(seeds, 8)) for x in seen), gains]


def _predicted(prompts: float) -> Judge:
    """(c): the prompts tell something of the gains, the vectors so much more or less."""

    def judge(rng: np.random.Generator, targets: int, seeds: int, count: int, true: float) -> str:
        vectors = prompts if not true else strength_for(prompts, true)
        names, place = tuple("abcdefgh"), tuple(range(seeds))
        effects = []
        for i in range(targets):
            one = predicting.Measured(str(i), names, place, *drawn(rng, seeds, vectors, prompts))
            effects.append(predicting.effects_of(one)[predicting.DIFFERENCE])
        return judged(summed(effects), MARGIN_OF_CORRELATION)

    return judge


@cache
def strength_for(prompts: float, wanted: float) -> float:
    """Return how much vectors must tell so that correlations differ by `wanted` on average."""

    def mean(vectors: float) -> float:
        rng = np.random.default_rng(6)
        made = [drawn(rng, 1, vectors, prompts) for _ in range(4000)]
        columns = [np.concatenate(x) for x in zip(*made, strict=True)]
        first, second, gains = map(statistics.average_ranks, columns)
        apart = statistics.correlation(first, gains) - statistics.correlation(second, gains)
        return float(np.mean(apart))

    return _solved(mean, wanted, -6.0, 6.0)


OF_CHANGE = {
    FALSE: 0.0, OPEN: MARGIN_OF_CHANGE / 2, AT_MARGIN: MARGIN_OF_CHANGE, TRUE: 0.25,
}  # fmt: skip
OF_CORRELATION = {
    FALSE: -0.6, NO_EFFECT: 0.0, OPEN: MARGIN_OF_CORRELATION / 2,
    AT_MARGIN: MARGIN_OF_CORRELATION, TRUE: 0.6,
}  # fmt: skip
NOTHING = {NO_EFFECT: 0.0}
Case = tuple[Judge, Sequence[tuple[int, int, int]], Mapping[str, float]]
CASES: dict[str, Case] = {
    "(a) a pair against a source, both clearly best": (best, SIZES, TRUTHS),
    "(a) one pair against subsets that are alike": (flat, SIZES, TRUTHS),
    "(b) similarities shake": (_walks("shakes"), STEPS, NOTHING),
    "(b) they wander": (_walks("wanders"), STEPS, NOTHING),
    "(b) they wander and come back": (_walks("comes back"), STEPS, NOTHING),
    "(b) rankings go elsewhere": (turning, STEPS, OF_CHANGE),
    "(c) prompts tell nothing": (_predicted(0.0), SOURCES_ALONE, OF_CORRELATION),
    "(c) prompts tell something": (_predicted(1.0), SOURCES_ALONE, {
        k: v for k, v in OF_CORRELATION.items() if k not in (FALSE, TRUE)
    }),
    "(d) against four equal methods": (contests, SIZES, TRUTHS),
    "(e) the others lose 12 points": (harm, SIZES, TRUTHS),
    "(e) nobody loses": (harmless, SIZES, NOTHING),
    "(f) against one method": (contest, SIZES, TRUTHS),
    "(g) against random pairs": (lead_of_group, SIZES, TRUTHS),
}  # fmt: skip
"""What is simulated → how to judge it, sizes, and the effects tried."""


def key_of(name: str, size: Sequence[int], truth: str) -> str:
    """Return under which key a cell is counted."""
    return f"{name} | {' '.join(map(str, size))} | {truth}"


def cells(only: str = "") -> Iterator[tuple[str, Judge, tuple[int, int, int], float]]:
    """Key, judge, size and true effect of every cell, the first size first."""
    for at in range(3):
        for name, (judge, sizes, truths) in CASES.items():
            for truth, effect in truths.items():
                key = key_of(name, sizes[at], truth)
                if only in key:
                    yield key, judge, sizes[at], effect


def count(trials: int, only: str) -> None:
    """Simulate round by round until every cell has so many trials; counts are kept on disk."""
    known = json.loads(COUNTS.read_text("utf-8")) if COUNTS.exists() else {}
    for done in range(0, trials, BATCH):
        for key, judge, size, effect in cells(only):
            held = Counter(known.get(key, {}))
            if held.total() > done:
                continue
            rng = np.random.default_rng([zlib.crc32(key.encode()), done])
            held.update(judge(rng, *size, effect) for _ in range(BATCH))
            known[key] = dict(held)
            COUNTS.write_text(json.dumps(known, indent=0, sort_keys=True), "utf-8")
        print(f"{done + BATCH} trials of every row", flush=True)
        PAGE.write_text(written(PAGE.read_text("utf-8"), table_of(known)), "utf-8")


def table_of(known: Mapping[str, Mapping[str, int]]) -> str:
    """Return the table of the page; shares in percent."""
    head = ["simulated", "targets", "seeds", "examples or steps", "trials"]
    head += ["no effect: wrongly supported", "at the margin: wrongly contradicted"]
    head += ["false: contradicted (wrongly supported)", "undecidable: no verdict"]
    head += ["true: supported (wrongly contradicted)"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, (_, sizes, truths) in CASES.items():
        for size in sorted(sizes):
            held = {t: Counter(known.get(key_of(name, size, t), {})) for t in TRUTHS}
            trials = {t: held[t].total() for t in truths if held[t]}
            if not trials:
                continue
            row = [
                _share(held[NO_EFFECT], SUPPORTED),
                _share(held[AT_MARGIN], CONTRADICTED),
                _share(held[FALSE], CONTRADICTED, SUPPORTED),
                _share(held[OPEN], CANNOT_TELL),
                _share(held[TRUE], SUPPORTED, CONTRADICTED),
            ]
            targets, seeds, rows = size
            sized = [str(targets), str(seeds), str(rows or "–"), _trials(trials)]
            lines.append("| " + " | ".join([name, *sized, *row]) + " |")
    return "\n".join(lines)


def _trials(counts: Mapping[str, int]) -> str:
    """Return the trials of most cells of a row, and of those that have more."""
    least = min(counts.values())
    told = {AT_MARGIN: "at the margin"}
    more = [f"{told.get(t, t)} {many:,}" for t, many in counts.items() if many > least]
    return f"{least:,}" + (f" ({', '.join(more)})" if more else "")


def _share(held: Counter[str], verdict: str, wrong: str = "") -> str:
    if not held.total():
        return "–"
    told = f"{100 * held[verdict] / held.total():.1f}"
    return told + (f" ({100 * held[wrong] / held.total():.1f})" if wrong else "")


def written(text: str, made: str) -> str:
    """Return the page with its table renewed."""
    before, _, rest = text.partition("<!-- errors -->")
    end = "<!-- end of errors -->"
    return f"{before}<!-- errors -->\n\n{made}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Simulate, and write the table into the page as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument(
        "--only",
        default="",
        help="part of the name of rows, or of cells as results/claims.json has them",
    )
    given = parser.parse_args()
    examples.RESAMPLES = statistics.RESAMPLES = given.resamples
    count(given.trials, given.only)


if __name__ == "__main__":
    main()
