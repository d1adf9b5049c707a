"""What Start would do, beside the form: runs, cost, devices, what prevents it, and Start.

Processes are started by jobs/.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dtvg import paths
from dtvg.analysis import titles
from dtvg.analysis.sources import planned_sentences, planned_sources
from dtvg.config import DeviceConfig, ExperimentConfig, RunConfig
from dtvg.config.stage_one import tuning_settings
from dtvg.errors import DtvgError
from dtvg.jobs import devices as machine
from dtvg.jobs import queue
from dtvg.jobs.devices import Device
from dtvg.jobs.readiness import Finding, findings
from dtvg.plan import Plan, plan
from dtvg.plan.estimate import Estimate, duration, estimate, slots_text, wall_times
from dtvg.plan.processor import processor_flops
from dtvg.plan.words import RATE_COLUMNS, budget_note, cohort_rows, rate_cells, rate_rows
from dtvg.store.layout import ExperimentDir
from dtvg.ui import control, forms, people, prompts
from dtvg.ui.launch import draft as launch_draft
from dtvg.ui.launch.draft import Draft
from dtvg.ui.show import counted

ICON = ":material/play_circle:"
STAYS = """<style>
@media (min-width: 1000px) {
  [data-testid="stColumn"]:has(.st-key-launch-side) {
    position: sticky; top: 4rem; align-self: flex-start;
  }
}
</style>"""
"""Keeps the plan in sight while one scrolls through the form, where they stand side by side."""


@st.cache_data(ttl=10, show_spinner=False)
def devices() -> list[Device]:
    """Return what can be trained on, looked up at most every ten seconds."""
    return machine.list_devices()


@st.cache_data(ttl=10, max_entries=1024, show_spinner=False)
def _findings(key: str, _config: ExperimentConfig, home: str) -> list[Finding]:
    return findings(_config, paths.runs(), devices())


def ready(config: ExperimentConfig) -> list[Finding]:
    """Return what prevents running a configuration on this machine, looked up now and then."""
    key = f"{config.name}/{config.fingerprint()}"
    return _findings(key, config, f"{paths.home()} {(paths.runs() / config.name).exists()}")


@st.cache_data(max_entries=1024, show_spinner="Planning")
def _plan(key: str, _config: ExperimentConfig) -> tuple[Plan, Estimate]:
    made = plan(_config, _config.scale.slots)
    return made, estimate(_config, made, processor_flops(_config))


@st.cache_data(max_entries=256, show_spinner="Planning")
def _by_slots(key: str, _config: ExperimentConfig) -> str:
    speed = processor_flops(_config)
    return slots_text(wall_times(_config, processor=speed))


def planned(config: ExperimentConfig) -> tuple[Plan, Estimate]:
    """Return the plan and its cost on the device that `auto` stands for on this machine."""
    device = machine.pick(config.device.name, devices())
    if device is not None and config.device.name != device.name:
        there = {**config.device.model_dump(), "name": device.name}
        config = config.model_copy(update={"device": DeviceConfig(**there)})
    named = ",".join(sorted(config.optim.model_fields_set))
    return _plan(f"{config.fingerprint()}/{named}/{config.scale.slots}", config)


def show(configs: Sequence[ExperimentConfig]) -> None:
    """Show runs, time, memory and parameters of what would start, and the device it takes."""
    plans, costs = zip(*(planned(config) for config in configs), strict=True)
    transfer = sum(len(cohort.runs) for made in plans for cohort in made.transfer)
    first = sum(len(cohort.runs) for made in plans for cohort in made.stage_one)
    cohorts = sum(len(made.stage_one) + len(made.transfer) for made in plans)
    times = [cost.seconds for cost in costs]
    known = [seconds for seconds in times if seconds is not None]
    with st.container(horizontal=True):
        if len(configs) > 1:
            st.metric("Experiments", f"{len(configs):,}", width="content")
        st.metric("Runs", f"{transfer:,}", width="content")
        total = sum(known) if len(known) == len(times) else None
        st.metric("Time, roughly", duration(total, "unknown"), width="content")
    there = sum(in_bank(made, config) for made, config in zip(plans, configs, strict=True))
    drawn = sum(_few_shot(made) for made in plans)
    steps = sum(made.run_steps for made in plans)
    st.caption(
        f"{_stage_one(first, there, drawn)} {counted(steps, 'step')} in all, in "
        f"{counted(cohorts, 'cohort')} of runs that train together. {_parameters(costs)}"
    )
    weak = {s for config in configs for s in _weak(config)}
    if weak:
        st.warning("  \n".join(sorted(weak)), icon=":material/source:")
    if len(configs) == 1 and configs[0].scale.on != "inline":
        st.caption(_by_slots(configs[0].fingerprint(), configs[0]))
    _cohorts(plans[0], configs[0].name if len(configs) > 1 else "")
    _rates(plans[0], configs[0].name if len(configs) > 1 else "")
    memory = [cost.memory_gib for cost in costs]
    most = max((gib for gib in memory if gib is not None), default=None)
    device = machine.pick(configs[0].device.name, devices())
    if device is not None:
        _device(device, configs[0], most)


def _stage_one(first: int, there: int, drawn: int) -> str:
    """Say how many Stage I runs train before the others.

    Args:
        first: Stage I runs of the plan.
        there: those whose prompts are known to be in the bank.
        drawn: few-shot ones, whose prompts cannot be looked up before their rows are drawn.
    """
    if not first:
        return "No Stage I run trains before them."
    if there == first:
        many = "The prompt" if first == 1 else f"All {first:,} prompts"
        return f"{many} they start from {'is' if first == 1 else 'are'} in the bank already."
    said = f"Before them, at most {counted(first - there, 'Stage I run')} will train"
    if not drawn:
        return f"{said}; {there:,} of {counted(first, 'prompt')} {_are(there)} in the bank."
    which = f"the {counted(drawn, 'few-shot prompt')}"
    whole = ""
    if first > drawn:
        others = counted(first - drawn, "prompt")
        whole = f"{there:,} of {others} from whole training sets {_are(there)} in the bank, and "
    return f"{said}; {whole}{which} {_are(drawn)} looked up there when training starts."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _few_shot(made: Plan) -> int:
    """Count the few-shot Stage I runs of a plan."""
    return sum(r.data.few_shot is not None for r in _tuned(made))


def _tuned(made: Plan) -> list[RunConfig]:
    return [r for cohort in made.stage_one for r in cohort.runs if r.role == "stage1"]


def _weak(config: ExperimentConfig) -> list[str]:
    """Name the sources that are in the prompt bank and learned nothing."""
    said = planned_sentences(planned_sources(config, prompts.bank().prompts))
    return [titles.in_sentence(sentence, config.sources) for sentence in said]


def in_bank(made: Plan, config: ExperimentConfig) -> int:
    """Return how many Stage I runs of a plan find their prompt in the bank, as far as one can tell.

    Task, seed, backbone and every setting are compared; the data themselves are compared when
    training starts. Few-shot prompts do not count: their rows are not drawn yet.
    """
    name = config.backbone.name
    known = {
        (p.task, p.seed, p.backbone, p.precision, p.prompt.shape[0], settings_text(p.settings))
        for p in prompts.bank().prompts
    }
    length, precision = config.prompt.length, config.device.precision
    return sum(
        (r.target, r.seed, name, precision, length, settings_text(tuning_settings(r))) in known
        for r in _tuned(made)
        if r.data.few_shot is None
    )


def settings_text(values: Mapping[str, Any]) -> str:
    """Return settings as text that is equal where they are."""
    return json.dumps(values, sort_keys=True, default=list)


def _cohorts(made: Plan, of: str) -> None:
    """List the cohorts and what each starts after.

    Args:
        made: the plan.
        of: name of the experiment, where there are several.
    """
    rows = pd.DataFrame(cohort_rows(made))
    rows.insert(1, "starts after", rows.pop("after").replace("", "at once"))
    title = "Order of the cohorts" + (f" in {of}" if of else "")
    with st.expander(title, icon=":material/account_tree:"):
        st.dataframe(titles.table(rows), hide_index=True)
        st.caption("A cohort starts once the cohorts it starts from have finished.")


def _rates(made: Plan, of: str) -> None:
    """List each method's rates and budget, and where they come from.

    Args:
        made: the plan.
        of: name of the experiment, where there are several.
    """
    rows = rate_rows(made)
    title = "Rates and budgets" + (f" in {of}" if of else "")
    with st.expander(title, icon=":material/speed:"):
        frame = pd.DataFrame([rate_cells(row) for row in rows], columns=list(RATE_COLUMNS))
        st.dataframe(titles.table(frame), hide_index=True)
        st.caption(
            "A method's entry comes first, then what optim names, then the method's own rates. "
            f"Target steps are those of the tuned prompt. {budget_note(rows)}"
        )


def _device(device: Device, config: ExperimentConfig, memory: float | None) -> None:
    """Say what it trains on, who else does, and whether memory may be short."""
    users = machine.users(device)
    needs = "" if memory is None else f"; about {memory:.1f} GiB needed"
    lines = [
        f"On **{forms.escape(device.title)}** in {config.device.precision}, "
        f"{device.free_gib:.1f} of {device.memory_gib:.1f} GiB free{needs}."
    ]
    if users:
        lines.append(f"In use by {forms.escape(', '.join(users[:3]))}.")
    st.caption(" ".join(lines))
    if memory is not None and memory > device.free_gib:
        forms.remark(
            note=f"The estimate is above the free memory; lower device.token_budget or "
            f"device.max_cohort. At most {device.free_gib:.1f} GiB now."
        )


def _parameters(costs: Sequence[Estimate]) -> str:
    counts = sorted({count for cost in costs for count in cost.trained_parameters.values()})
    if not counts or not counts[-1]:
        return "The number of trained parameters is known once the backbone is on this machine."
    low, high = f"{counts[0]:,}", f"{counts[-1]:,}"
    return f"A run trains {low if low == high else f'{low} to {high}'} parameters."


def actions(draft: Draft, configs: Sequence[ExperimentConfig], against: Sequence[str]) -> None:
    """Draw Start or Queue, the YAML and its download; what prevents starting is said."""
    if against or not configs:
        st.button("Start", type="primary", icon=ICON, disabled=True, width="stretch")
        _reasons(against)
    else:
        _buttons(draft, configs)
    if not configs:
        return
    text, name = configs[0].to_yaml(), f"{configs[0].name}.yaml"
    content: str | bytes = text
    if len(configs) > 1:
        name, content = f"{draft.values['name']}-grid.zip", _zip(configs)
    st.download_button(
        "Download YAML",
        content,
        name,
        on_click="ignore",
        icon=":material/download:",
        width="stretch",
    )
    title = "YAML of this experiment" if len(configs) == 1 else "YAML of the first experiment"
    with st.expander(title):
        st.code(text, language="yaml", height=320)
        st.caption(f"`dtvg run {configs[0].name}.yaml` does the same without the app.")


def _zip(configs: Sequence[ExperimentConfig]) -> bytes:
    """Return all files of a grid in one."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for config in configs:
            archive.writestr(f"{config.name}.yaml", config.to_yaml())
    return held.getvalue()


def _buttons(draft: Draft, configs: Sequence[ExperimentConfig]) -> None:
    """Draw what begins it: at once where a slot is free, else in the queue, or both."""
    why = queue.would_wait(configs[0].device.name)
    many = f" {len(configs)} experiments" if len(configs) > 1 else ""
    title = f"Queue{many}" if why else f"Start{many}"
    icon = ":material/playlist_add:" if why else ICON
    if st.button(title, type="primary", icon=icon, width="stretch", key="launch-start"):
        _start(draft, configs, now=False)
    if why:
        st.caption(f"No slot is free: {forms.escape(why)}.")
        if len(configs) == 1 and st.button(
            "Start now",
            icon=ICON,
            width="stretch",
            help="Starts next to what is running, which slows both down.",
        ):
            _start(draft, configs, now=True)
    elif many:
        st.caption("Experiments that find no free slot wait in the queue.")


def _reasons(against: Sequence[str]) -> None:
    count = len(against)
    first = "Before it can start:" if count else "Fill in the form to start."
    lines = [f"- {forms.escape(sentence)}" for sentence in against[:5]]
    if count > 5:
        lines.append(f"- and {count - 5} more")
    st.markdown("\n".join([f":red[:material/error: {first}]", "", *lines]))


def _start(draft: Draft, configs: Sequence[ExperimentConfig], now: bool) -> None:
    """Start or queue, and go to the page that shows it."""
    entered: list[str] = []
    bar = st.progress(0.0, "Creating the experiments") if len(configs) > 3 else None
    try:
        for config in configs:
            with people.acting("launch", what=config.name):
                queue.enter(config, paths.runs(), now)
            people.launched(ExperimentDir(paths.runs() / config.name))
            entered.append(config.name)
            if bar is not None:
                bar.progress(len(entered) / len(configs), f"Created {config.name}")
    except DtvgError as error:
        were = f"{counted(len(entered), 'experiment')} {'was' if len(entered) == 1 else 'were'}"
        done = f" Before it, {were} added." if entered else ""
        st.error(forms.escape(f"{error}{done}"), icon=":material/error:")
        return
    control.started(entered[0])
    launch_draft.rename(draft.source)
    st.switch_page("pages/live.py", query_params={"experiment": entered[0]})
