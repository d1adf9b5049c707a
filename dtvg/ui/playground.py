"""The playground: type an input, see what prompts of finished runs answer.

The answers come from a process of its own, which keeps the backbone for some minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dtvg.analysis import titles
from dtvg.errors import DtvgError
from dtvg.jobs.playground import ask, is_warm
from dtvg.store.playground import LONGEST, Answered, Prompted, Told
from dtvg.store.reader import Experiment, Run, read_table
from dtvg.ui import cache, forms, people, runs

NOTHING = "none"
EXAMPLES = 20
"""Test rows offered as inputs."""


def playground(experiment: Experiment) -> None:
    """Let one choose two runs and a source, type an input, and see the answers side by side."""
    finished = {
        run.name: run
        for run in experiment.runs
        if run.problem is None and run.role == "transfer" and keeps_prompt(run)
    }
    if not finished:
        st.info(_nothing_to_ask(experiment))
        return
    names = sorted(finished, key=lambda name: finished[name].method_name != "dtvg")
    with st.container(horizontal=True):
        first = finished[runs.choose("First run", names, "run", show=titles.run) or names[0]]
        same = [n for n in finished if finished[n].target == first.target and n != first.name]
        same.sort(key=lambda name: _unlike(finished[name], first))
        other = runs.choose("Second run", [*same, NOTHING], "second", show=titles.run)
        without = _without(first)
    prompts = {first.name: Prompted(run=str(first.path))}
    if other in finished:
        prompts[str(other)] = Prompted(run=str(finished[str(other)].path))
    if without:
        prompts[f"{first.name} without {without}"] = Prompted(run=str(first.path), without=without)
    examples = _examples(first)
    text = _input(experiment, first, list(examples))
    st.caption(
        "The backbone is at hand."
        if is_warm()
        else "The first answer loads the backbone, which takes some seconds; it is kept for five "
        "minutes after the last question."
    )
    key = hashlib.sha256(repr((text, prompts)).encode()).hexdigest()
    if people.button("Ask", icon=":material/send:", type="primary", disabled=not text.strip()):
        _ask(key, text, list(prompts.values()))
    kept = st.session_state.get("playground-answer")
    if kept and kept[0] == key:
        _show(list(prompts), kept[1], examples.get(text))
    elif kept:
        st.caption("Something was changed since the last answer; press Ask again.")


def _nothing_to_ask(experiment: Experiment) -> str:
    """Say why no run's prompt can be asked."""
    if any(run.role == "transfer" and run.result is not None for run in experiment.runs):
        return (
            "The finished runs of this experiment kept no prompt (`logging.detail: scores`), so "
            "there is none to ask."
        )
    return "No transfer run of this experiment has finished yet."


def keeps_prompt(run: Run) -> bool:
    """Whether a run has finished and its best prompt is there to be asked."""
    return run.result is not None and (run.directory.prompts_dir / "best.safetensors").exists()


def _unlike(run: Run, first: Run) -> tuple[bool, bool]:
    """Order the second run's choices: no transfer first, and runs of the same seed."""
    return run.method != "none", run.seed != first.seed


def _without(run: Run) -> str:
    """Let one choose a source to be taken out, where the method merges a group."""
    if run.config is None or not run.config.method.can_hold:
        return ""
    chosen = runs.choose(
        "Also without source",
        [NOTHING, *run.sources],
        "without",
        NOTHING,
        show=titles.task,
        help_text="The same prompt, with this source's scaled vector taken out of it.",
    )
    return "" if chosen in (None, NOTHING) else str(chosen)


def _input(experiment: Experiment, run: Run, examples: list[str]) -> str:
    """Draw the input; an example of the task fills it where its texts are at hand."""
    place = f"playground-text-{experiment.name}-{run.target}"
    if examples:
        st.session_state.setdefault(place, examples[0])
        st.button(
            "Another example",
            icon=":material/casino:",
            on_click=_another,
            args=(place, examples),
        )
    return str(
        st.text_area(
            f"Input, as the model reads it for {titles.task(run.target)}",
            key=place,
            max_chars=LONGEST,
            height=110,
        )
    )


def _examples(run: Run) -> dict[str, str | None]:
    """Return inputs of test rows, those that the run answered, each with the right answer.

    Nothing is returned where the texts are not here; an answer is None where it was not stored,
    or where equal inputs have different ones.
    """
    answered = _answered(run)
    rows = tuple(sorted(row for row, _ in answered.values())[:EXAMPLES]) or tuple(range(EXAMPLES))
    found: dict[str, str | None] = {}
    for mark, text in cache.texts(run, "test", rows).items():
        right = answered[mark][1] if mark in answered else None
        found[text] = right if found.get(text, right) == right else None
    return dict(list(found.items())[:EXAMPLES])


def _answered(run: Run) -> dict[str, tuple[int, str]]:
    """Return fingerprint → row and right answer of the test rows whose answers were stored."""
    columns = ["split", "task", "row", "fingerprint", "target"]
    return {
        one["fingerprint"]: (one["row"], one["target"])
        for one in read_table(run, "predictions", columns).to_pylist()
        if one["split"] == "test" and one["task"] == run.target
    }


def _another(place: str, examples: list[str]) -> None:
    now = st.session_state.get(place)
    at = examples.index(now) + 1 if now in examples else 0
    st.session_state[place] = examples[at % len(examples)]


def _ask(key: str, text: str, prompts: Sequence[Prompted]) -> None:
    try:
        with st.spinner("Asking"):
            answered = ask(text, prompts)
    except DtvgError as error:
        st.error(forms.escape(str(error)), icon=":material/error:")
        return
    st.session_state["playground-answer"] = (key, answered)


def _show(names: Sequence[str], answered: Answered, right: str | None) -> None:
    """Show the answers side by side, and the right one where it is known."""
    if answered.refused:
        st.error(forms.escape(answered.refused), icon=":material/error:")
        return
    if right is not None:
        st.markdown(f"Right answer: **{forms.escape(right) or '(nothing)'}**")
    for place, name, told in zip(st.columns(len(names)), names, answered.told, strict=True):
        with place, st.container(border=True):
            run, without, source = name.partition(" without ")
            st.caption(titles.run(run) + without + titles.task(source))
            _one(told, name)
    st.caption(f"Answered in {answered.seconds:.1f} s.")


def _one(told: Told, name: str) -> None:
    if told.refused:
        st.warning(forms.escape(told.refused), icon=":material/block:")
        return
    st.markdown(f"**{forms.escape(told.answer) or '(nothing)'}**")
    if told.labels:
        rows = sorted(told.labels.items(), key=lambda item: -item[1])
        st.dataframe(
            pd.DataFrame(rows, columns=["label", "likelihood"]),
            hide_index=True,
            key=f"labels-{name}",
            column_config={
                "likelihood": st.column_config.ProgressColumn(
                    format="percent",
                    min_value=0.0,
                    max_value=1.0,
                    help="Share of the likelihood of all label words.",
                )
            },
        )
    if told.group is not None:
        st.caption(f"Merged: {titles.tasks(told.group) or 'no source'}.")
