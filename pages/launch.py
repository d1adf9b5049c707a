"""Launching an experiment: a form made from the configuration, its plan, and Start."""

from __future__ import annotations

from typing import Any

import streamlit as st
import yaml

from dtvg import config as c
from dtvg import paths
from dtvg.backbones.specs import BACKBONES
from dtvg.errors import ConfigError
from dtvg.jobs import devices, launcher
from dtvg.methods.specs import METHODS, Rule
from dtvg.planning import plan
from dtvg.store.layout import free_name
from dtvg.tasks.spec import all_tasks
from dtvg.ui import control, forms, runs
from dtvg.ui.page import page

SECTIONS = {
    "prompt": c.PromptConfig,
    "optim": c.OptimConfig,
    "data": c.DataConfig,
    "evaluation": c.EvaluationConfig,
    "logging": c.LoggingConfig,
}
START = {"demo experiment": "demo", "settings of the paper": "paper", "pasted YAML": "yaml"}


def body() -> None:
    """Choose a start, fill the form, see the plan, start."""
    start = runs.choose("Start from", list(START), "from") or "demo experiment"
    values = _preset(START[start])
    if values is None:
        return
    values = _form(values, START[start])
    try:
        config = c.build_config(values, "Form")
    except ConfigError as error:
        st.error(str(error), icon=":material/error:")
        return
    _plan(config)
    with st.container(horizontal=True):
        if st.button("Start", type="primary", icon=":material/play_circle:"):
            experiment = launcher.start(config, paths.runs())
            st.session_state["last-experiment"] = experiment.name
            control.started(experiment.name)
            st.switch_page("pages/live.py", query_params={"experiment": experiment.name})
        st.download_button(
            "Download YAML", config.to_yaml(), f"{config.name}.yaml", on_click="ignore"
        )
    with st.expander("This configuration as YAML"):
        st.code(config.to_yaml(), language="yaml")


def _preset(kind: str) -> dict[str, Any] | None:
    """Return the values the form starts with."""
    if kind == "yaml":
        text = st.text_area("YAML of an experiment", height=240, key="pasted")
        if not text.strip():
            st.info("Paste a configuration, e.g. one downloaded here.")
            return None
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"This is no valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(found, dict):
            raise ConfigError(
                "This YAML holds no settings; it starts with lines such as 'targets: [rte]'."
            )
        return c.build_config(found, "Pasted YAML").model_dump(mode="json")
    if kind == "demo":
        return c.load_config(paths.demo() / "experiment.yaml").model_dump(mode="json")
    made = c.build_config(
        {
            "name": "paper",
            "backbone": "google-t5/t5-base",
            "targets": ["rte"],
            "sources": ["mnli", "qnli", "qqp", "sst2"],
            "methods": ["none", "single", "spot", "all_sources", "dtvg"],
        }
    )
    return made.model_dump(mode="json")


def _form(values: dict[str, Any], kind: str) -> dict[str, Any]:
    """Draw the form; return what was entered."""
    tasks = list(all_tasks())
    left, right = st.columns(2)
    with left:
        name = st.text_input("Name", free_name(values["name"], paths.runs()), key=f"{kind}.name")
        known = list(dict.fromkeys([values["backbone"]["name"], *BACKBONES]))
        backbone = st.selectbox(
            "Backbone",
            known,
            key=f"{kind}.backbone",
            accept_new_options=True,
            help="'demo', a hub id, or a folder: type to give another one.",
        )
        seeds = st.text_input(
            "Seeds",
            " ".join(map(str, values["seeds"])),
            key=f"{kind}.seeds",
            help="Numbers apart by spaces; verdicts pair runs by seed.",
        )
        found = {"auto": "automatic: first GPU, else CPU"}
        found |= {
            d.name: f"{d.name}: {d.title}, {d.free_gib:.1f} GiB free"
            for d in devices.list_devices()
        }
        device = st.selectbox(
            "Device", list(found), format_func=found.__getitem__, key=f"{kind}.device"
        )
        options = ["float32", "bfloat16", "float16", "float64", "int8", "int4"]
        precision = st.selectbox(
            "Precision",
            options,
            key=f"{kind}.precision",
            index=options.index(values["device"]["precision"]),
        )
    with right:
        sources = st.multiselect("Sources", tasks, values["sources"], key=f"{kind}.sources")
        targets = st.multiselect("Targets", tasks, values["targets"], key=f"{kind}.targets")
        chosen = list(dict.fromkeys(m["name"] for m in values["methods"]))
        methods = st.multiselect(
            "Methods",
            list(METHODS),
            chosen,
            key=f"{kind}.methods",
            format_func=lambda m: f"{METHODS[m].title} ({m})",
        )
        given = [m.get("rule") for m in values["methods"] if m["name"] == "dtvg"]
        rules = st.multiselect(
            "Rules of DTVG",
            list(Rule.__args__),
            given or ["greedy"],
            key=f"{kind}.rules",
            help="greedy is the paper's.",
        )
    entered = {
        **values,
        "name": name,
        "backbone": {**values["backbone"], "name": backbone},
        "seeds": [int(s) if s.isdigit() else s for s in seeds.replace(",", " ").split()],
        "sources": sources,
        "targets": targets,
        "device": {**values["device"], "name": device, "precision": precision},
    }
    entered["methods"] = [m for m in methods if m != "dtvg"]
    entered["methods"] += [{"name": "dtvg", "rule": r} for r in rules if "dtvg" in methods]
    with st.expander("All settings: steps, learning rates, data, evaluation"):
        for part, model in SECTIONS.items():
            st.markdown(f"**{part.capitalize()}**")
            entered[part] = forms.section(model, values[part], f"{kind}.{part}")
    return entered


def _plan(config: c.ExperimentConfig) -> None:
    """Show what Start would do."""
    made = plan(config)
    first = sum(len(cohort.runs) for cohort in made.stage_one)
    cells = st.columns(4)
    cells[0].metric("Transfer runs", sum(len(x.runs) for x in made.transfer))
    cells[1].metric("Stage I runs, at most", first, help="Prompts in the bank are not tuned again.")
    cells[2].metric("Cohorts", len(made.stage_one) + len(made.transfer))
    rough = made.estimated_seconds
    cells[3].metric("Rough time", "unknown" if rough is None else f"{max(rough, 60) / 60:.0f} min")


page(
    "Launch",
    "Train an experiment in a process of its own; closing the browser changes nothing.",
    body,
)
