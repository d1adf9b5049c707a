"""The explain page: what other rules would have decided, and launching what one has found."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st
import yaml

from dtvg.analysis import titles
from dtvg.analysis.words import percent
from dtvg.figures.groups import replay_figure
from dtvg.methods.specs import METHODS
from dtvg.rule.arrays import MEASURES
from dtvg.rule.rules import RULE_NAMES, RULES
from dtvg.rule.types import RuleSettings
from dtvg.store.reader import Run
from dtvg.ui import address, cache, runs, show
from dtvg.ui.page import guarded, link

RULE_WIDTH = 340
"""Pixels of what a rule does, in the table of rules."""
MOST = 1e9
"""Numbers that a page decides again with are not larger."""


def section(run: Run, dark: bool, order: tuple[str, ...]) -> None:
    """Decide the whole timeline again, by every rule and by the chosen one in full."""
    st.header("What other rules would have decided", anchor=False)
    st.caption(
        "Every step is decided again from its logged Gram matrix, without the model. A run trained "
        "with these settings would have moved its vectors differently."
    )

    @st.fragment
    def again() -> None:
        guarded(lambda: _again(run, dark, order))

    again()


def _again(run: Run, dark: bool, order: tuple[str, ...]) -> None:
    own = run.config.rule_settings if run.config else RuleSettings()
    settings, left_out = _settings(run, own)
    shared = {k: v for k, v in settings.items() if k not in ("rule", "consistency_weight")}
    _table(run, left_out, shared, settings["rule"])
    started = time.perf_counter()
    info = cache.replayed(run, left_out, **settings)
    took = time.perf_counter() - started
    st.markdown(f"**Rule *{titles.rule(settings['rule'])}* in full**")
    one, two, three = st.columns(3)
    one.metric(
        "Same group",
        percent(info.agreement, 1) if len(info.steps) else "–",
        help="Share of the steps with the same group.",
    )
    two.metric("Overlap", f"{info.mean_jaccard:.2f}", help="Mean Jaccard over steps; 1: the same.")
    three.metric("Steps decided again", f"{len(info.steps):,}", help=f"In {took:.2f} s.")
    name = "-".join(str(v) for v in (*settings.values(), *left_out))
    show.figure(
        replay_figure(info, dark, order),
        f"replay-{run.experiment}-{run.name}-{name}",
        "Logged membership above, replayed membership hatched below, per source",
        info.timeline,
        f"{run.name}-replay",
    )
    with st.expander("Numbers by source, and the groups that the replay chose"):
        show.numbers(info.table, f"{run.name}-replay-sources", f"replay-sources-{run.name}")
        show.numbers(info.combinations, f"{run.name}-replay-groups", f"replay-groups-{run.name}")
    show.notes(info.notes, runs.names_in(run))
    _launch(run, own, settings, left_out)


def _table(run: Run, left_out: tuple[str, ...], shared: dict[str, Any], chosen: str) -> None:
    """Show every rule in a row: how often it would have agreed, and what it took."""
    table, notes = cache.rules(run, left_out, tuple(shared.items()))
    st.dataframe(
        titles.table(
            table.assign(
                **{
                    "rule": table["rule"].map(titles.rule),
                    "same group": 100 * table["same group"],
                }
            )
        ),
        hide_index=True,
        key=f"rules-{run.experiment}-{run.name}",
        column_config={
            "same group": st.column_config.ProgressColumn(
                width=115,
                format="%.1f %%",
                min_value=0,
                max_value=100,
                help="Share of the steps.",
            ),
            "overlap": st.column_config.NumberColumn(format="%.2f", help="Mean Jaccard."),
            "mean size": st.column_config.NumberColumn(format="%.2f"),
            "most often": st.column_config.Column(width=150),
            "what it does": st.column_config.Column(width=RULE_WIDTH),
        },
        row_height=show.row_height(table["what it does"], RULE_WIDTH),
        height="content",
    )
    show.notes(notes, runs.names_in(run))


def _launch(
    run: Run, own: RuleSettings, settings: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    """Offer to train what was replayed: Launch opens with these settings in its address."""
    if run.config is None or run.role != "transfer":
        return
    place = f"{run.experiment}/{run.name}"
    st.markdown("**Train it**")
    with st.container(horizontal=True):
        if "rule" in METHODS[run.method_name].model_fields:
            differs = {k: v for k, v in settings.items() if v != getattr(own, k)}
            if differs.keys() - {"threshold"}:
                title = titles.rule(settings["rule"])
                _link(place, f"Launch with rule {title}", run, differs)
            if "threshold" in differs:
                cut = {"threshold": differs["threshold"]}
                at = _written(differs["threshold"])
                _link(place, f"Launch with the cut at {at}", run, cut)
        for source in left_out or run.sources:
            _link(place, f"Launch without {titles.task(source)}", run, {}, (source,))
        if len(left_out) > 1:
            _link(place, f"Launch without all {len(left_out)}", run, {}, left_out)


def _link(
    place: str, label: str, run: Run, changes: dict[str, Any], without: tuple[str, ...] = ()
) -> None:
    """Link to Launch with what differs in its address; nothing where no source would be left."""
    asked = launch_query(run, changes, without)
    if asked:
        link("launch", label, preset="clone", clone=place, set=asked)


def launch_query(run: Run, changes: dict[str, Any], without: tuple[str, ...] = ()) -> str:
    """Return what Launch's address holds under `set` to train a run again with changes.

    Args:
        run: to be cloned.
        changes: fields of its method that differ.
        without: sources left out.
    """
    changed: dict[str, Any] = {}
    if changes and run.config is not None:
        method = run.config.method.model_dump(mode="json", exclude_none=True)
        changed["methods"] = [{**method, **_with_effect(changes)}]
    if without:
        changed["sources"] = [s for s in run.sources if s not in without]
        if not changed["sources"]:
            return ""
    return yaml.safe_dump(changed, default_flow_style=True, width=100_000, sort_keys=False).strip()


def _with_effect(changes: dict[str, Any]) -> dict[str, Any]:
    """Leave out λ where the rule does not weigh by it: a setting without effect is refused."""
    rule = changes.get("rule")
    weighs = rule is None or "consistency_weight" in RULES[rule].own_settings
    return {k: v for k, v in changes.items() if weighs or k != "consistency_weight"}


def _settings(run: Run, own: RuleSettings) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Draw the settings; return those that differ from the run's own, and sources left out."""
    with st.container(horizontal=True):
        default = own.rule if own.rule in RULE_NAMES else RULE_NAMES[0]
        rule = runs.choose("Rule", RULE_NAMES, "rule", default, titles.rule) or default
        measure = runs.choose("Measure", MEASURES, "measure", own.measure) or own.measure
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
    least, most = min(-MOST, float(own)) if low is None else low, max(MOST, float(own))
    address.recall(key, address.number(least, most), float(own))
    box = st.number_input(label, least, most, step=step, format=shown, key=key, **more)
    value = float(box)
    address.keep(key, _written(value), _written(float(own)))
    return value


def _written(value: float) -> str:
    """Write a number so that it is read again as the same one."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _left_out(run: Run) -> list[str]:
    """Draw the choice of sources to replay without."""
    nothing: list[str] = []
    most = max(1, len(run.sources) - 1)
    address.recall("without", address.several(run.sources, most), nothing)
    chosen = st.multiselect(
        "Without sources",
        run.sources,
        key="without",
        max_selections=most,
        placeholder="none left out",
        format_func=titles.task,
    )
    address.keep_several("without", chosen, ())
    return list(chosen)
