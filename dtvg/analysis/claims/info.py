"""All seven claims on given runs: the one Info behind page, command, report and Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from dtvg.analysis.claims import beating, best_group, changing, harming, predicting, regret
from dtvg.analysis.claims.blocks import Block, blocks_of
from dtvg.analysis.claims.claim import CORRELATION, Claim
from dtvg.analysis.compare.hypothesis import declared
from dtvg.analysis.words import listed
from dtvg.errors import ConfigError, unknown
from dtvg.store.reader import Run

MARGIN = 0.01
"""Differences of scores below it do not matter, where no experiment declares another."""
MARGIN_OF_CHANGE = 0.05
"""Of the change of a ranking beyond noise."""
MARGIN_OF_CORRELATION = 0.1
NOTE = (
    "Each claim is tested alone at 5 %, two-sided, and not corrected for the other six. "
    "Supported: the 95 % interval lies above 0. Contradicted: it lies below the margin, so that an "
    "effect that matters is excluded. Several targets are random effects: the interval is about "
    "targets of their kind."
)
COLUMNS = [
    "claim",
    "title",
    "verdict",
    "unit",
    "estimate",
    "low",
    "high",
    "margin",
    "n_targets",
    "n_seeds",
    "n_examples",
    "between",
    "found",
    "takes",
    "missing",
    "statement",
    "estimand",
]
Maker = Callable[[Sequence[Block], float], Claim]
MAKERS: dict[str, Maker] = {
    "a": best_group.claim,
    "b": changing.claim,
    "c": predicting.claim,
    "d": beating.claim_d,
    "e": harming.claim,
    "f": beating.claim_f,
    "g": regret.claim,
}


@dataclass(frozen=True, eq=False, repr=False)
class ClaimsInfo:
    """The claims in order, with what they rest on."""

    claims: tuple[Claim, ...]
    targets: tuple[str, ...]
    runs: int
    """Finished transfer runs."""
    notes: tuple[str, ...]

    def __getitem__(self, key: str) -> Claim:
        """Return a claim by its letter.

        Raises:
            ConfigError: there is none, with the letters there are.
        """
        found = {claim.key: claim for claim in self.claims}
        if not isinstance(key, str) or key not in found:
            raise ConfigError(unknown("claim", str(key), found))
        return found[key]

    def __repr__(self) -> str:
        """Say in one line what there is; `table` has the rest."""
        said = ", ".join(f"{claim.key} {claim.verdict}" for claim in self.claims)
        return f"<claims from {self.runs:,} runs: {said}>"

    @property
    def table(self) -> pd.DataFrame:
        """`COLUMNS`, a row a claim; estimates unrounded, shares 0..1 or correlations."""
        return pd.DataFrame([_row(claim) for claim in self.claims], columns=COLUMNS)

    @property
    def parts(self) -> pd.DataFrame:
        """Every comparison of every claim: `claim`, then as in `Claim.parts`."""
        frames = [c.parts.assign(claim=c.key) for c in self.claims if len(c.parts)]
        if not frames:
            return pd.DataFrame(columns=["claim"])
        table = pd.concat(frames, ignore_index=True)
        return table[["claim", *[c for c in table.columns if c != "claim"]]]


def claims_info(runs: Sequence[Run], margin: float | None = None) -> ClaimsInfo:
    """Compute every claim on the test scores of runs.

    Args:
        runs: of any kind and state, of one or several experiments.
        margin: difference of scores, 0..1, that would matter; None: as the experiments declare
            in `hypothesis` (the largest), else 1 point.
    """
    told = [one.margin for one in declared(runs)]
    wanted = max(told, default=MARGIN) if margin is None else margin
    margins = dict.fromkeys(MAKERS, wanted)
    margins |= {"b": MARGIN_OF_CHANGE, "c": MARGIN_OF_CORRELATION}
    blocks = blocks_of(runs)
    done = sum(len(block.finished) for block in blocks)
    total = sum(len(block.runs) for block in blocks)
    notes = [NOTE]
    if done < total:
        notes.append(f"{total - done} of {total} runs have no test score yet and do not count.")
    notes += list(dict.fromkeys(note for block in blocks for note in _passed_over(block)))
    notes += [f"{b.name}: {'; '.join(b.examples.problems)}." for b in blocks if b.examples.problems]
    notes += _shared(blocks)
    made = [make(blocks, margins[key]) for key, make in MAKERS.items()]
    notes += [block.unread.note for block in blocks if block.unread.note]
    if not blocks:
        made = [replace(claim, takes="It needs finished runs.") for claim in made]
    return ClaimsInfo(
        tuple(made),
        tuple(block.name for block in blocks),
        done,
        tuple(notes),
    )


def _shared(blocks: Sequence[Block]) -> list[str]:
    """Say which targets stand in several experiments, and what is made of them."""
    times = Counter(block.target for block in blocks)
    told = [f"{target} ({count} experiments)" for target, count in times.items() if count > 1]
    if not told:
        return []
    return [
        "A target of several experiments is one target, with the mean of what they show: "
        f"{', '.join(told)}."
    ]


def _passed_over(block: Block) -> Iterator[str]:
    """Say which rows no claim reads, since they differ from one that is read in rates alone."""
    for first, others in block.passed_over.items():
        differ, are = ("differs", "is") if len(others) == 1 else ("differ", "are")
        yield (
            f"The claims read `{first}`; {listed([f'`{o}`' for o in others])}, which {differ} from "
            f"it in rates or steps alone, {are} not read in its place."
        )


def _row(claim: Claim) -> dict[str, object]:
    """One claim of the table."""
    words, summary = claim.wording, claim.summary
    return {
        "claim": claim.key,
        "title": words.title,
        "verdict": claim.verdict,
        "unit": "correlation" if words.unit == CORRELATION else "share",
        "estimate": summary.estimate,
        "low": summary.low,
        "high": summary.high,
        "margin": claim.margin,
        "n_targets": summary.n_targets,
        "n_seeds": summary.n_seeds,
        "n_examples": summary.n_examples,
        "between": summary.between,
        "found": claim.found,
        "takes": claim.takes,
        "missing": "; ".join(claim.missing),
        "statement": words.statement,
        "estimand": words.estimand,
    }
