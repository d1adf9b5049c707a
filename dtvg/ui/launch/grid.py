"""The grid of the launch page: choose settings, give values, see the experiments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dtvg import paths
from dtvg.config import ExperimentConfig, build_config, grid, settings_path
from dtvg.errors import ConfigError
from dtvg.jobs.readiness import RUNS_LIMIT, count_runs
from dtvg.store.layout import free_name
from dtvg.ui import forms
from dtvg.ui.launch import form, plan
from dtvg.ui.launch.draft import Draft
from dtvg.ui.show import counted

SHOWN = 12
CHECKED = ("sources", "targets", "backbone", "device", "data")
"""Settings whose values may be valid and yet not be on this machine."""
HELP = (
    "Comma-separated. For sources, targets and seeds, `+` joins entries: `mnli+qqp, mnli`; `each` "
    "takes every entry alone; `each left out` takes all entries, and then all but one each time."
)


@dataclass
class Grid:
    """What the grid makes of a draft."""

    configs: list[ExperimentConfig] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    """What is wrong, by row; -1: with the whole."""


def expand(draft: Draft, config: ExperimentConfig | None) -> Grid:
    """Return the experiments of a draft: one, or one for each point of its grid.

    Args:
        draft: what is entered, with the rows of its grid.
        config: what the draft makes by itself; None where it is not valid yet.
    """
    collect(draft)
    made = Grid([config] if config is not None else [])
    if not draft.axes:
        return made
    base, axes = draft.plain(), []
    for place, row in enumerate(draft.axes):
        try:
            axes.append(grid.parse(row["setting"], row["text"], base))
            repeated = [r["setting"] for r in draft.axes[:place]]
            if row["setting"] in repeated:
                raise ConfigError(f"'{row['setting']}' is varied twice; give it only one row.")
        except ConfigError as error:
            made.problems[place] = str(error)
    if made.problems or config is None:
        return made
    try:
        made.configs = [_valid(point) for point in grid.expand(base, axes)]
        total = sum(map(count_runs, made.configs))
        if total > RUNS_LIMIT:
            raise ConfigError(f"The grid makes {total:,} runs; at most {RUNS_LIMIT:,} at once.")
        if any(axis.setting.startswith(CHECKED) for axis in axes):
            _refuse_what_would_fail(made.configs)
    except ConfigError as error:
        made.problems[-1] = str(error)
    return made


def _refuse_what_would_fail(configs: list[ExperimentConfig]) -> None:
    for config in configs:
        for finding in plan.ready(config):
            if finding.blocks:
                raise ConfigError(f"{config.name}: {finding.sentence}")


def _valid(point: dict[str, Any]) -> ExperimentConfig:
    point = {**point, "name": free_name(point["name"], paths.runs())}
    return build_config(point, point["name"])


def collect(draft: Draft) -> None:
    """Take over what stands in the rows' widgets."""
    for place, row in enumerate(draft.axes):
        for part in row:
            row[part] = st.session_state.get(_key(draft, place, part), row[part]) or ""


def show(draft: Draft, made: Grid) -> None:
    """Draw the rows of the grid, and the experiments they make."""
    said = "vary settings: one experiment for each value"
    if draft.axes:
        said = (
            counted(len(made.configs), "experiment") if made.configs else "once the form is fixed"
        )
    form.fold(draft, "grid", "Grid", said, len(made.problems), lambda: _rows(draft, made))


def _rows(draft: Draft, made: Grid) -> None:
    options = grid.settings([entry.values["name"] for entry in draft.methods])
    for place, row in enumerate(draft.axes):
        _row(draft, place, row, options, made.problems.get(place, ""))
    st.button(
        "Vary a setting",
        icon=":material/add:",
        key=draft.key("grid:add"),
        on_click=_add,
        args=(draft, options),
    )
    forms.remark(made.problems.get(-1, ""))
    if draft.axes and not made.problems and made.configs:
        names = [f"`{config.name}`" for config in made.configs[:SHOWN]]
        more = f" and {len(made.configs) - SHOWN} more" if len(made.configs) > SHOWN else ""
        st.caption(f"Makes {', '.join(names)}{more}.")


def _row(draft: Draft, place: int, row: dict[str, str], options: list[str], problem: str) -> None:
    left, middle, right = st.columns([7, 7, 4], vertical_alignment="bottom")
    known = options if row["setting"] in options else [*options, row["setting"]]
    with left:
        key = _key(draft, place, "setting")
        st.session_state.setdefault(key, row["setting"])
        st.selectbox("Setting", known, key=key, help="Type to search.")
    with middle:
        key = _key(draft, place, "text")
        st.session_state.setdefault(key, row["text"])
        st.text_input("Values", key=key, help=HELP, placeholder=_now(draft, row["setting"]))
    with right:
        st.button(
            "Remove",
            icon=":material/close:",
            key=_key(draft, place, "away"),
            type="tertiary",
            help="Stop varying this setting.",
            on_click=_remove,
            args=(draft, place),
        )
    forms.remark(problem)


def _now(draft: Draft, setting: str) -> str:
    """Say what a setting is in the form."""
    value = settings_path.get(draft.plain(), setting, model=ExperimentConfig)
    if isinstance(value, list):
        value = "+".join(map(str, value))
    return "now automatic" if value is None else f"now {value}"


def _add(draft: Draft, options: list[str]) -> None:
    used = {row["setting"] for row in draft.axes}
    liked = ("optim.lr_scale", "prompt.length", "seeds", "sources")
    first = next((name for name in (*liked, *options) if name in options and name not in used), "")
    draft.axes.append({"setting": first, "text": ""})


def _remove(draft: Draft, place: int) -> None:
    collect(draft)
    del draft.axes[place]
    for later in range(len(draft.axes) + 1):
        for part in ("setting", "text"):
            st.session_state.pop(_key(draft, later, part), None)


def _key(draft: Draft, place: int, part: str) -> str:
    return draft.key(f"grid.{place}.{part}")
