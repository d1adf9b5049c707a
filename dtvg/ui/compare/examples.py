"""The compare page's view of examples: where two runs or methods answer differently."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.analysis.compare.disagreements import (
    KINDS,
    ONLY_A,
    ONLY_B,
    DisagreementInfo,
    pair_runs,
)
from dtvg.figures.compare import disagreement_figure
from dtvg.store.reader import Run
from dtvg.ui import address, cache, runs, show
from dtvg.ui.compare.pick import Choice, full_name

EVERY = "all examples"
DIFFERENT = "only one right"


def examples(choice: Choice, dark: bool) -> None:
    """Choose two sides; show how often and where they differ."""
    with st.container(horizontal=True):
        target = runs.choose("Target", choice.targets, "of", show=titles.task) or choice.targets[0]
        sides = _sides(choice, target)
        if len(sides) < 2:
            st.info("Two finished runs on this target are needed.")
            return
        names = list(sides)
        first = next((n for n in names if n.endswith("dtvg")), names[0])
        a = runs.choose("A", names, "a", first, titles.label) or first
        others = [n for n in names if n != a]
        b = runs.choose("B", others, "b", others[0], titles.label) or others[0]
    pairs = tuple(pair_runs(sides[a], sides[b]))
    if not pairs:
        st.info(f"{titles.label(a)} and {titles.label(b)} have no seed in common yet.")
        return
    info = cache.disagreements(pairs, titles.label(a), titles.label(b), choice.split)
    key = f"{choice.name}-{target}-{a}-{b}-{choice.split}"
    st.header("Who is right, on the same examples", anchor=False)
    show.figure(
        disagreement_figure(info, dark),
        f"disagreements-{key}",
        "Share of examples that both, one or neither of the two got right",
        info.counts,
        f"{target}-disagreements",
    )
    if info.test:
        st.caption(
            f"{info.test}: p = {info.p:.2g} for the hypothesis that these two runs are right "
            "equally often on such examples. Whether the methods differ is tested over seeds, "
            "under Verdicts."
        )
    show.notes(info.notes)
    if len(info.examples):
        _table(info, pairs, key)


def _sides(choice: Choice, target: str) -> dict[str, list[Run]]:
    """Methods with their seeds, then single runs; finished ones on the target."""
    found: dict[str, list[Run]] = {}
    done = [r for r in choice.done if r.target == target]
    for run in done:
        several = len(choice.experiments) > 1
        found.setdefault(f"{run.experiment}: {run.method}" if several else run.method, []).append(
            run
        )
    return found | {full_name(r): [r] for r in done}


def _table(info: DisagreementInfo, pairs: tuple[tuple[Run, Run], ...], key: str) -> None:
    """Show the examples of one kind that hold what is typed, with their input."""
    labels = {
        DIFFERENT: f"only one right ({_count(info, ONLY_A) + _count(info, ONLY_B):,})",
        ONLY_A: f"only {info.a} right ({_count(info, ONLY_A):,})",
        ONLY_B: f"only {info.b} right ({_count(info, ONLY_B):,})",
        EVERY: f"all ({len(info.examples):,})",
    }
    options = [DIFFERENT, ONLY_A, ONLY_B, *(k for k in KINDS if k not in (ONLY_A, ONLY_B)), EVERY]
    with st.container(horizontal=True):
        kind = runs.choose(
            "Show",
            options,
            "kind",
            show=lambda k: labels.get(k, f"{k} ({_count(info, k):,})"),
        )
        address.recall("text", str, "")
        text = st.text_input("Containing", key="text", placeholder="part of an input or answer")
        address.keep("text", text, "")
    rows = info.examples
    if kind == DIFFERENT:
        rows = rows[rows["kind"].isin([ONLY_A, ONLY_B])]
    elif kind != EVERY:
        rows = info.of(kind)
    shown = holding(_readable(rows, info, pairs), text)
    if not len(shown):
        st.info("No example of this kind; choose another, or clear the text.")
        return
    show.numbers(shown, f"{key}-examples", f"examples-{key}-{kind}", texts=True)
    if "input" not in shown.columns:
        st.caption("The task's rows are not available on this machine, so inputs are not shown.")


def holding(shown: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the rows in which a text occurs, whatever its case, in a column of texts."""
    texts = [c for c in shown if not pd.api.types.is_numeric_dtype(shown[c])]
    wanted = text.lower()
    held = [wanted in " ".join(map(str, row)).lower() for row in shown[texts].to_numpy()]
    return shown[np.array(held, dtype=bool)] if text else shown


def _count(info: DisagreementInfo, kind: str) -> int:
    return int((info.examples["kind"] == kind).sum())


def _readable(
    rows: pd.DataFrame, info: DisagreementInfo, pairs: tuple[tuple[Run, Run], ...]
) -> pd.DataFrame:
    """Put inputs first, answers under their side's name; leave empty columns out."""
    wanted = tuple(sorted(int(r) for r in info.examples["row"].unique()))
    texts = cache.texts(pairs[0][0], info.split, wanted)
    table = pd.DataFrame(
        {
            "input": rows["fingerprint"].map(texts),
            "right answer": rows["target"],
            info.a: rows["answer_a"],
            info.b: rows["answer_b"],
            "who": rows["kind"].replace(
                {ONLY_A: f"only {info.a} right", ONLY_B: f"only {info.b} right"}
            ),
            "seed": rows["seed"],
            "row": rows["row"],
            f"margin of {info.a}": rows["margin_a"],
            f"margin of {info.b}": rows["margin_b"],
        }
    )
    return table.dropna(axis=1, how="all") if len(table) else table
