"""The claims as they are printed: short cells in words, the same in terminal, page and exports."""

from __future__ import annotations

import pandas as pd

from dtvg.analysis.claims.claim import Claim, shown, where
from dtvg.analysis.claims.info import ClaimsInfo

SIGNS = {"supported": "▲", "contradicted": "▼", "cannot tell": "○"}
"""Sign of a verdict, so that none is told by colour alone."""


def claims_shown(info: ClaimsInfo) -> pd.DataFrame:
    """Return a row a claim: letter, claim, verdict, number with interval, what it rests on."""
    rows = [
        {
            "": claim.key,
            "claim": claim.wording.title,
            "verdict": f"{SIGNS[claim.verdict]} {claim.verdict}",
            "estimate (95 %)": claim.numbers,
            "rests on": where(claim.summary) if claim.summary.known else "",
            "what it would take": claim.takes,
        }
        for claim in info.claims
    ]
    return pd.DataFrame(rows)


def parts_shown(claim: Claim) -> pd.DataFrame:
    """Return a claim's comparisons as printed, over all targets and on each."""
    unit = claim.wording.unit
    rows = []
    for part in claim.parts.to_dict("records"):
        ends = [part[c] for c in ("low", "high", "low_corrected", "high_corrected")]
        told = [shown(end, unit) if end == end else "–" for end in ends]
        between = part["between"]
        rows.append(
            {
                "comparison": part["part"],
                "target": part["target"],
                "estimate": shown(part["estimate"], unit),
                "95 %": f"{told[0]} … {told[1]}" if ends[0] == ends[0] else "",
                "corrected": f"{told[2]} … {told[3]}" if ends[2] == ends[2] else "",
                "seeds": part["n_seeds"],
                "examples": part["n_examples"],
                "τ": shown(between, unit).lstrip("+") if between == between else "",
            }
        )
    columns = ["comparison", "target", "estimate", "95 %", "corrected", "seeds", "examples", "τ"]
    made = pd.DataFrame(rows, columns=columns)
    empty = [c for c in ("examples", "τ") if not made[c].astype(bool).any()]
    return made.drop(columns=empty)


def sentence(claim: Claim) -> str:
    """Return a claim's verdict with its numbers in one or two sentences."""
    told = f"{claim.verdict.capitalize()}. {claim.found}".strip()
    return f"{told} {claim.takes}".strip()
