"""The explain page: picking one step of a run, and replaying it under another rule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from dtvg.analysis.run.groups import GroupInfo
from dtvg.figures.explain import picker_figure
from dtvg.figures.groups import replay_figure
from dtvg.rule.rules import RULE_NAMES, RULES
from dtvg.rule.types import RuleSettings
from dtvg.store.reader import Run
from dtvg.ui import address, cache, runs, show

KEY = "step"


def pick(info: GroupInfo, key: str, dark: bool, order: tuple[str, ...]) -> int | None:
    """Let one choose a step; it stands in the URL, unless it is the newest.

    Args:
        info: the run's groups.
        key: names the run, so that the chart's zoom is its own.
        dark: for a dark page.
        order: all sources of the experiment, for colours.

    Returns:
        The step; None where the address names one that is not recorded.
    """
    first, last = int(info.steps[0]), int(info.steps[-1])
    asked = _asked(info, key)
    if asked is not None:
        _say_absent(asked, info, key)
        return None
    step = address.recall(KEY, address.whole(first, last), last)
    point = show.figure(
        picker_figure(info, step, dark, order),
        f"picker-{key}",
        "Similarity of each source over steps; a click chooses the step to explain",
        clicks=True,
    )
    if point is not None:
        st.session_state[KEY] = min(max(int(point.x), first), last)
        st.rerun()
    _jumps(info, step)
    if first == last:
        return first
    chosen = int(st.slider("Step", first, last, key=KEY))
    address.keep(KEY, chosen, last)
    kept = int(info.steps[np.searchsorted(info.steps, chosen, side="right") - 1])
    if kept != chosen:
        st.caption(f"Step {chosen:,} is not in this run's thinned log; step {kept:,} is shown.")
    return kept


def _asked(info: GroupInfo, run: str) -> str | None:
    """Return the step that an address names although it is not recorded; None: all is well."""
    text = address.given(KEY)
    if text is None:
        return None
    return address.absent(KEY, _Recorded(info), run)


class _Recorded(Sequence[str]):
    """The recorded steps as texts, without writing them all out."""

    def __init__(self, info: GroupInfo) -> None:
        self.steps = info.steps

    def __contains__(self, text: object) -> bool:
        try:
            step = int(str(text))
        except ValueError:
            return False
        place = int(np.searchsorted(self.steps, step))
        return place < len(self.steps) and int(self.steps[place]) == step

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: Any) -> Any:
        return str(self.steps[place])


def _say_absent(asked: str, info: GroupInfo, run: str) -> None:
    """Say that a step is not recorded, and offer the nearest one; the address stays."""
    first, last = int(info.steps[0]), int(info.steps[-1])
    st.warning(
        f"Step '{asked[:40]}' of this run is not recorded, so no decision is shown. Its recorded "
        f"steps go from {first:,} to {last:,}; while a run trains, later ones are added.",
        icon=":material/search_off:",
    )
    address.leave()
    wanted = float(asked) if asked.removeprefix("-").isdecimal() else float(last)
    near = int(info.steps[int(np.argmin(np.abs(info.steps - wanted)))])
    _jump(f"Show step {near:,}", near, -1)


def _jumps(info: GroupInfo, step: int) -> None:
    """Offer the neighbouring changes of the group, since those raise questions."""
    changes = info.steps[np.flatnonzero(info.churn)]
    before, after = changes[changes < step], changes[changes > step]
    with st.container(horizontal=True):
        _jump("First step", int(info.steps[0]), step, ":material/first_page:")
        _jump("Previous change", int(before[-1]) if len(before) else None, step)
        _jump("Next change", int(after[0]) if len(after) else None, step)
        _jump("Newest step", int(info.steps[-1]), step, ":material/last_page:")


def _jump(label: str, to: int | None, step: int, icon: str | None = None) -> None:
    def go() -> None:
        st.session_state[KEY] = to

    st.button(label, icon=icon, on_click=go, disabled=to is None or to == step, key=f"jump {label}")


def section(run: Run, dark: bool, order: tuple[str, ...]) -> None:
    """Decide the whole timeline again and show it beside what happened."""
    st.header("What another rule would have decided", anchor=False)
    st.caption(
        "Every step is decided again from its logged Gram matrix, without the model. A run trained "
        "with these settings would have moved its vectors differently."
    )
    own = run.config.rule_settings if run.config else RuleSettings()
    settings, left_out = _settings(run, own)
    started = time.perf_counter()
    info = cache.replayed(run, left_out, **settings)
    took = time.perf_counter() - started
    one, two, three = st.columns(3)
    one.metric(
        "Same group", show.percent(info.agreement), help="Share of the steps with the same group."
    )
    two.metric("Overlap", f"{info.mean_jaccard:.2f}", help="Mean Jaccard over steps; 1: the same.")
    three.metric("Steps decided again", f"{len(info.steps):,}", help=f"In {took:.2f} s.")
    name = "-".join(str(v) for v in (*settings.values(), *left_out))
    show.figure(
        replay_figure(info, dark, order),
        f"replay-{run.name}-{name}",
        "Logged membership above, replayed membership hatched below, per source",
        info.timeline,
        f"{run.name}-replay",
    )
    with st.expander("Numbers by source, and the groups that the replay chose"):
        show.numbers(info.table, f"{run.name}-replay-sources", f"replay-sources-{run.name}")
        show.numbers(info.combinations, f"{run.name}-replay-groups", f"replay-groups-{run.name}")
    show.notes(info.notes)


def _settings(run: Run, own: RuleSettings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Draw the settings; return those that differ from the run's own, and sources left out."""
    with st.container(horizontal=True):
        default = next(name for name in RULE_NAMES if name != own.rule)
        rule = runs.choose("Rule", RULE_NAMES, "rule", default) or default
        measure = runs.choose("Measure", ("dot", "cosine"), "measure") or "dot"
        cut = _number(
            "Cut",
            "cut",
            own.threshold,
            None,
            0.01,
            "%.4f",
            help="Smallest similarity of a candidate; the paper's is 0.",
        )
    with st.container(horizontal=True):
        weighs = "consistency_weight" in RULES[rule].own_settings
        weight = _number(
            "λ of rule exact",
            "lambda",
            own.consistency_weight,
            0.0,
            0.1,
            "%.2f",
            help="Weight of consistency against mean similarity.",
            disabled=not weighs,
        )
        every = _number(
            "Regroup every",
            "every",
            own.regroup_every,
            1.0,
            1.0,
            "%.0f",
            help="Decide again only every N steps.",
        )
        out = _left_out(run)
    settings: dict[str, Any] = {
        "rule": rule,
        "measure": measure,
        "threshold": cut,
        "regroup_every": int(every),
    }
    if weighs:
        settings["consistency_weight"] = weight
    return settings, tuple(out)


def _number(
    label: str, key: str, own: Any, low: float | None, step: float, shown: str, **more: Any
) -> float:
    """Draw a number whose value stands in the URL."""
    address.recall(key, address.number(low), float(own))
    value = float(st.number_input(label, min_value=low, step=step, format=shown, key=key, **more))
    address.keep(key, f"{value:g}", f"{float(own):g}")
    return value


def _left_out(run: Run) -> list[str]:
    """Draw the choice of sources to replay without."""
    nothing: list[str] = []
    address.recall("without", address.several(run.sources), nothing)
    chosen = st.multiselect(
        "Without sources",
        run.sources,
        key="without",
        max_selections=max(1, len(run.sources) - 1),
        placeholder="none left out",
    )
    address.keep_several("without", chosen, ())
    return list(chosen)
