"""The compare page's view of the paper's claims: all at a glance, then what each rests on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from dtvg import export
from dtvg.analysis.claims.claim import VERDICTS, Claim
from dtvg.analysis.claims.info import ClaimsInfo
from dtvg.analysis.claims.lines import SIGNS, claims_shown, parts_shown
from dtvg.figures.claims import claims_figure, evidence_figure
from dtvg.ui import cache, show
from dtvg.ui.compare.pick import Choice

COLOURS = {"supported": "green", "contradicted": "orange", "cannot tell": "gray"}
FILES = {
    "csv": "text/csv",
    "json": "application/json",
    "md": "text/markdown",
    "latex": "text/x-tex",
}
_overview = cache.once(32)(claims_figure)
_evidence = cache.once(128)(evidence_figure)


def claims(choice: Choice, dark: bool) -> None:
    """Show the seven claims with their verdicts, and what each rests on."""
    info = cache.claims(choice.runs)
    counts = {v: sum(c.verdict == v for c in info.claims) for v in VERDICTS}
    told = ", ".join(f":{COLOURS[v]}[**{SIGNS[v]} {n} {v}**]" for v, n in counts.items())
    st.header("What these runs say of the paper's claims", anchor=False)
    st.markdown(f"{told}. On test scores, whatever split is chosen above.")
    key = f"claims-{choice.name}"
    show.figure(
        _overview(info, dark),
        key,
        "The seven claims with estimate, interval and verdict",
        claims_shown(info),
        key,
    )
    for claim in info.claims:
        _claim(claim, choice, dark)
    _take_away(info, choice)
    show.notes(info.notes)


def _claim(claim: Claim, choice: Choice, dark: bool) -> None:
    """One claim: sentence, numbers, and its evidence, folded away."""
    words = claim.wording
    numbers = f" · {claim.numbers}" if claim.numbers else ""
    verdict = f":{COLOURS[claim.verdict]}[{SIGNS[claim.verdict]} {claim.verdict}]"
    with st.expander(f"**({claim.key}) {words.title}** · {verdict}{numbers}"):
        st.markdown(f"*{words.statement}*")
        if claim.found:
            st.markdown(claim.found)
        if claim.takes:
            st.info(claim.takes, icon=":material/help:")
        st.caption(f"The number: {words.estimand}")
        key = f"claim-{claim.key}-{choice.name}"
        if len(claim.evidence):
            alt = f"What the claim '{words.title}' rests on"
            show.figure(_evidence(claim, dark, choice.order), key, alt)
        if len(claim.parts):
            show.numbers(parts_shown(claim), key, f"table-{key}")
        show.notes(claim.notes)


def _take_away(info: ClaimsInfo, choice: Choice) -> None:
    """Offer the claims in the formats of `dtvg claims`, which says too what counts as one."""
    info = replace(info, notes=(*choice.notes, *info.notes))
    with st.popover("Download claims", icon=":material/download:", type="tertiary"):
        for form, mime in FILES.items():
            ending = "tex" if form == "latex" else form
            st.download_button(
                form,
                partial(export.claims_text, info, form, False, choice.name),
                f"{choice.name}-claims.{ending}",
                mime,
                key=f"claims-{form}-{choice.name}",
                on_click="ignore",
            )
