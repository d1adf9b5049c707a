"""What Start would do, beside the form: runs, cost, devices, what stands against it, and Start.

Must not import torch. Processes are started by jobs/.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dtvg import paths
from dtvg.config import DeviceConfig, ExperimentConfig
from dtvg.errors import DtvgError
from dtvg.jobs import devices as machine
from dtvg.jobs import launcher
from dtvg.jobs.devices import Device
from dtvg.jobs.readiness import Finding, findings
from dtvg.planning import Plan, plan
from dtvg.ui import control, forms, launch_draft
from dtvg.ui.launch_draft import Draft


@st.cache_data(ttl=10, show_spinner=False)
def devices() -> list[Device]:
    """Return what can be trained on, looked up at most every ten seconds."""
    return machine.list_devices()


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _findings(key: str, _config: ExperimentConfig, home: str) -> list[Finding]:
    return findings(_config, paths.runs(), devices())


def ready(config: ExperimentConfig) -> list[Finding]:
    """Return what stands against a configuration on this machine, looked up now and then."""
    key = f"{config.name}/{config.fingerprint()}"
    return _findings(key, config, f"{paths.home()} {(paths.runs() / config.name).exists()}")


@st.cache_data(max_entries=64, show_spinner="Planning")
def _plan(key: str, _config: ExperimentConfig) -> Plan:
    return plan(_config)


def planned(config: ExperimentConfig) -> Plan:
    """Return the plan for the device that `auto` stands for on this machine."""
    device = machine.pick(config.device.name, devices())
    if device is not None and config.device.name != device.name:
        there = {**config.device.model_dump(), "name": device.name}
        config = config.model_copy(update={"device": DeviceConfig(**there)})
    return _plan(config.fingerprint(), config)


def show(config: ExperimentConfig) -> None:
    """Show runs, time, memory and parameters of a configuration, and the device it takes."""
    made = planned(config)
    transfer = sum(len(cohort.runs) for cohort in made.transfer)
    first = sum(len(cohort.runs) for cohort in made.stage_one)
    seconds, memory = made.estimated_seconds, made.estimated_memory_gib
    with st.container(horizontal=True):
        st.metric("Runs", f"{transfer:,}", width="content")
        st.metric("Time, roughly", duration(seconds), width="content")
    cohorts = len(made.stage_one) + len(made.transfer)
    st.caption(
        f"Before them at most {first:,} Stage I runs: prompts in the bank are not tuned again. "
        f"{made.run_steps:,} steps in all, in {cohorts} cohort{'s' * (cohorts != 1)} of runs that "
        f"train together. {_parameters(made)}"
    )
    device = machine.pick(config.device.name, devices())
    if device is not None:
        _device(device, config, memory)


def _device(device: Device, config: ExperimentConfig, memory: float | None) -> None:
    """Say what it trains on, who else does, and whether memory may be short."""
    users = machine.users(device)
    needs = "" if memory is None else f"; about {memory:.1f} GiB wanted"
    lines = [
        f"On **{forms.escape(device.title)}** in {config.device.precision}, "
        f"{device.free_gib:.1f} of {device.memory_gib:.1f} GiB free{needs}."
    ]
    if users:
        lines.append(f"In use by {forms.escape(', '.join(users[:3]))}.")
    st.caption(" ".join(lines))
    if memory is not None and memory > device.free_gib:
        forms.remark(
            note=f"The estimate is above what is free; device.token_budget or max_cohort make it "
            f"smaller. At most {device.free_gib:.1f} GiB now."
        )


def duration(seconds: float | None) -> str:
    """Return a time in words of sensible size."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return "a minute"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def _parameters(made: Plan) -> str:
    counts = sorted(set(made.trained_parameters.values()))
    if not counts or not counts[-1]:
        return "How many numbers a run trains is known once the backbone is here."
    low, high = f"{counts[0]:,}", f"{counts[-1]:,}"
    return f"A run trains {low if low == high else f'{low} to {high}'} numbers."


def actions(draft: Draft, config: ExperimentConfig | None, against: Sequence[str]) -> None:
    """Draw Start, the YAML and its download; what stands against starting is said."""
    blocked = bool(against) or config is None
    if st.button(
        "Start",
        type="primary",
        icon=":material/play_circle:",
        disabled=blocked,
        width="stretch",
    ):
        _start(draft, config)
    if blocked:
        _reasons(against)
    if config is None:
        return
    text = config.to_yaml()
    st.download_button(
        "Download YAML",
        text,
        f"{config.name}.yaml",
        on_click="ignore",
        icon=":material/download:",
        width="stretch",
    )
    with st.expander("YAML of this experiment"):
        st.code(text, language="yaml", height=320)
        st.caption(f"`python -m dtvg run {config.name}.yaml` does the same without the app.")


def _reasons(against: Sequence[str]) -> None:
    count = len(against)
    first = "Before it can start:" if count else "Fill the form to start."
    lines = [f"- {forms.escape(sentence)}" for sentence in against[:5]]
    if count > 5:
        lines.append(f"- and {count - 5} more")
    st.markdown("\n".join([f":red[:material/error: {first}]", "", *lines]))


def _start(draft: Draft, config: ExperimentConfig | None) -> None:
    """Start, and go to the page that shows it."""
    if config is None:
        return
    try:
        experiment = launcher.start(config, paths.runs())
    except DtvgError as error:
        st.error(str(error), icon=":material/error:")
        return
    control.started(experiment.name)
    launch_draft.rename(draft.source)
    st.switch_page("pages/live.py", query_params={"experiment": experiment.name})
