"""The launch page: every start, every kind of mistake; nothing typed is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from dtvg.config import ExperimentConfig, build_config, settings_path
from dtvg.config.presets import PRESETS, clone
from dtvg.config.sections import Section
from dtvg.jobs import devices, launcher, queue, slots
from dtvg.jobs.devices import Device
from dtvg.jobs.queue_files import jobs
from dtvg.store.bank import AT_MAJORITY
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_experiment
from dtvg.ui import forms
from dtvg.ui.launch import draft as launch_draft
from dtvg.ui.launch import plan

PAGE = Path(__file__).resolve().parents[2] / "pages" / "launch.py"


def _open(**query: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return _run(_sound(page.run()))


def _run(page: AppTest) -> AppTest:
    """Run the page with every group of the form open: only open ones are drawn."""
    if "launch-drafts" in page.session_state:
        for draft in page.session_state["launch-drafts"].values():
            rows = [f"methods.{entry.number}" for entry in draft.methods]
            draft.open |= {*launch_draft.SECTIONS, *rows, "grid"}
    return _sound(page.run())


def _sound(page: AppTest) -> AppTest:
    assert not page.exception
    assert not [e.value for e in page.error if "did not work" in e.value]
    return page


def _widget(page: AppTest, kind: str, path: str) -> Any:
    return next(w for w in getattr(page, kind) if w.key.endswith(f"/{path}"))


def _type(page: AppTest, path: str, text: str) -> AppTest:
    _widget(page, "text_input", path).set_value(text)
    return _run(page)


def _said(page: AppTest) -> str:
    return "\n".join(m.value for m in page.markdown).replace("\\", "").replace("&#58;", ":")


def _start(page: AppTest) -> Any:
    return next(b for b in page.button if b.label.startswith(("Start", "Queue")))


def _yaml(page: AppTest) -> dict[str, Any]:
    return yaml.safe_load(page.code[0].value)


@pytest.fixture
def recorded(own_home: Path) -> Path:
    """An experiment with runs, none of them trained."""
    values = {
        "name": "walk",
        "sources": ["sst2", "mnli"],
        "targets": ["rte", "cb"],
        "methods": ["none", "single", {"name": "dtvg", "threshold": 0.1}],
        "seeds": [3, 4],
        "optim": {"steps": 77},
    }
    return create_experiment(build_config(values), own_home / "runs").path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_the_form_with_its_values(name: str) -> None:
    page = _open(preset=name)
    shown = ExperimentConfig.model_validate(_yaml(page))
    assert shown == build_config(PRESETS[name].values())


def test_the_demo_can_start_and_the_paper_says_what_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not _start(_open()).disabled
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    page = _open(preset="paper")
    assert _start(page).disabled
    assert "Backbone 'google-t5/t5-base' is not on this machine" in _said(page)
    assert "No data here for" in _said(page)


def test_an_experiment_is_cloned_under_a_free_name(recorded: Path) -> None:
    page = _open(clone="walk")
    assert _yaml(page) == {
        **yaml.safe_load((recorded / "experiment.yaml").read_text()),
        "name": "walk-2",
    }


def test_a_run_is_cloned_with_its_target_method_and_seed_only(recorded: Path) -> None:
    page = _open(clone="walk/cb.dtvg-threshold0.1.s4")
    made = ExperimentConfig.model_validate(_yaml(page))
    assert [r.name for r in made.runs()] == ["cb.dtvg-threshold0.1.s4"]
    assert made.optim.steps == 77


def test_every_transfer_run_clones_to_the_same_run(recorded: Path) -> None:
    for run in open_experiment(recorded).runs:
        again = build_config(clone(run.config)).runs()
        recorded_alone = {"versions"}  # a clone is recorded when it is made
        assert [r.model_dump(exclude=recorded_alone) for r in again] == [
            run.config.model_dump(exclude=recorded_alone)
        ]


def test_a_clone_of_what_is_gone_says_so_and_offers_the_others(recorded: Path) -> None:
    page = _open(clone="gone/x")
    assert "no experiment 'gone'" in page.warning[0].value
    others = page.selectbox(key="clone-name")
    assert others.value is None, "nothing else is cloned in its place"
    page = others.select(others.options[0]).run()
    assert not page.warning and _yaml(page)["targets"] == ["rte", "cb"]


def test_a_wrong_value_is_named_beside_its_widget_and_nothing_else_is_lost() -> None:
    page = _type(_open(), "optim.steps", "300")
    page = _type(page, "optim.batch_size", "many")
    assert _start(page).disabled
    assert "'optim.batch_size': give a whole number" in _said(page)
    assert "(got 'many')" in _said(page)
    assert _widget(page, "text_input", "optim.batch_size").value == "many"
    assert _widget(page, "text_input", "optim.steps").value == "300"
    page = _type(page, "optim.batch_size", "4")
    assert (_yaml(page)["optim"]["steps"], _yaml(page)["optim"]["batch_size"]) == (300, 4)
    assert not _start(page).disabled


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("name", "../evil", "'name': use 1-80 characters of a-z"),
        ("name", "", "'name': use 1-80 characters"),
        ("seeds", "0 one", "'seeds.1': give a whole number"),
        ("seeds", "-1", "'seeds.0': must be greater than or equal to 0"),
        ("seeds", "", "'seeds': list at least one"),
        ("seeds", "1 1", "'1' is listed twice"),
        ("optim.steps", "0", "'optim.steps': must be greater than or equal to 1 (got 0)"),
        ("optim.steps", "", "'optim.steps' is empty; give it a value"),
        ("data.label_words", "{rte: [", "'data.label_words': give a mapping"),
        ("prompt.given", "{nothing: abc}", "Unknown task of prompt.given 'nothing'"),
    ],
)
def test_mistakes_are_sentences_of_the_command_line(path: str, text: str, sentence: str) -> None:
    page = _type(_open(), path, text)
    assert sentence in _said(page)
    assert _start(page).disabled
    assert _widget(page, "text_input", path).value == text


def test_seeds_are_written_as_ranges_too() -> None:
    assert _yaml(_type(_open(), "seeds", "0-3, 7"))["seeds"] == [0, 1, 2, 3, 7]


def test_more_runs_than_anyone_means_are_refused_before_they_are_made() -> None:
    page = _type(_open(), "seeds", "0-5000")
    assert "one experiment may have 10,000" in _said(page)
    assert _start(page).disabled


def test_methods_are_chosen_varied_and_removed() -> None:
    page = _open()
    pills = next(p for p in page.pills if p.key.endswith("/methods:merging"))
    assert pills.value == []  # those of the demo are of other kinds, and stay
    pills.set_value(["dare"])
    page = _run(page)
    assert [m["name"] for m in _yaml(page)["methods"]][-1] == "dare"
    number = next(b.key for b in page.button if b.key and ":more" in b.key and "6" in b.key)
    next(b for b in page.button if b.key == number).click()
    page = _run(page)
    assert "is listed twice" in _said(page)
    rules = [s for s in page.selectbox if s.key.endswith(".rule")]
    assert len(rules) == 2
    rules[1].set_value("exact")
    page = _run(page)
    assert [m.get("rule") for m in _yaml(page)["methods"] if m["name"] == "dtvg"] == [
        "greedy",
        "exact",
    ]
    next(b for b in page.button if b.key and b.key.endswith("methods.6:away")).click()
    page = _run(page)
    assert [m["rule"] for m in _yaml(page)["methods"] if m["name"] == "dtvg"] == ["exact"]


def _paste(text: str) -> AppTest:
    page = _open(preset="yaml")
    page.text_area[0].set_value(text)
    return _run(_run(page))


def test_pasted_yaml_fills_the_form() -> None:
    text = (
        "name: mine\nsources: [sst2]\ntargets: [rte]\n"
        "methods: [{name: dtvg, rule: exact}]\noptim: {steps: 9}"
    )
    page = _paste(text)
    assert _widget(page, "text_input", "optim.steps").value == "9"
    assert ExperimentConfig.model_validate(_yaml(page)) == build_config(yaml.safe_load(text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("targets: [", "cannot be read"),
        ("- a\n- b", "contains no settings"),
        ("targets: [rte]\nmethods: [none]\nbackbon: demo", "Did you mean 'backbone'?"),
        ("targets: [rte]\nmethods: [none]\noptim: {stepz: 3}", "Did you mean 'steps'?"),
        ("targets: [rte]\nmethods: [dtvgg]", "Unknown method 'dtvgg'. Did you mean 'dtvg'?"),
        ("targets: [rte]\nmethods: [{name: dtvg, treshold: 1}]", "Did you mean 'threshold'?"),
        ("targets: rte\nmethods: [none]", "'targets'"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_yaml_no_form_can_show_is_refused_and_stays_where_it_was_pasted(
    text: str, sentence: str
) -> None:
    page = _paste(text)
    assert sentence in _said(page)
    assert page.text_area[0].value == text


def test_yaml_with_wrong_values_fills_the_form_to_be_fixed() -> None:
    page = _paste("targets: [rte]\nmethods: [none]\noptim: {steps: -5, schedule: cosine}")
    assert "'optim.steps': must be greater" in _said(page)
    assert "'optim.schedule': must be 'linear' or 'constant'" in _said(page)
    assert _widget(page, "selectbox", "optim.schedule").value == "cosine"
    _widget(page, "selectbox", "optim.schedule").set_value("constant")
    page = _type(page, "optim.steps", "5")
    assert (_yaml(page)["optim"]["steps"], _yaml(page)["optim"]["schedule"]) == (5, "constant")


def test_an_address_reopens_the_form_as_it_was_left(recorded: Path) -> None:
    page = _type(_open(clone="walk"), "optim.steps", "88")
    page = _type(page, "seeds", "5 6")
    again = _open(**{k: v[0] if isinstance(v, list) else v for k, v in page.query_params.items()})
    assert _yaml(again) == _yaml(page)
    assert (_yaml(again)["optim"]["steps"], _yaml(again)["seeds"]) == (88, [5, 6])


def test_changes_come_back_with_the_start_they_belong_to() -> None:
    page = _type(_open(), "optim.steps", "300")
    page.segmented_control[0].set_value("paper")
    page = _run(page)
    assert _yaml(page)["optim"]["steps"] == 30_000
    page.segmented_control[0].set_value("demo")
    page = _run(page)
    assert _yaml(page)["optim"]["steps"] == 300
    next(b for b in page.button if b.label == "Undo all changes").click()
    assert _yaml(_run(page))["optim"]["steps"] == 150


def test_a_name_that_is_taken_is_said_before_start(recorded: Path) -> None:
    page = _type(_open(), "name", "walk")
    assert "'walk' exists already" in _said(page)
    assert _start(page).disabled


def test_the_name_of_a_recorded_example_is_refused_and_none_is_proposed() -> None:
    page = _type(_open(), "name", "demo-recorded")
    assert "is the name of a recorded example, which this experiment would hide" in _said(page)
    cloned = _open(preset="clone", clone="demo-recorded")
    assert _yaml(cloned)["name"] == "demo-recorded-2"


def test_the_plan_says_which_prompts_are_in_the_bank_and_which_are_looked_up_later() -> None:
    said = plan._stage_one
    assert said(0, 0, 0) == "No Stage I run trains before them."
    assert said(30, 30, 0) == "All 30 prompts they start from are in the bank already."
    assert said(3, 1, 0) == (
        "Before them, at most 2 Stage I runs will train; 1 of 3 prompts is in the bank."
    )
    assert said(30, 24, 6) == (
        "Before them, at most 6 Stage I runs will train; 24 of 24 prompts from whole training sets "
        "are in the bank, and the 6 few-shot prompts are looked up there when training starts."
    )
    config = build_config(PRESETS["few-shot"].values())
    made, _ = plan.planned(config)
    drawn = [r for r in plan._tuned(made) if r.data.few_shot is not None]
    assert drawn and plan._few_shot(made) == len(drawn) < len(plan._tuned(made))


def test_the_plans_warnings_name_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "planned_sources", lambda *_: {"count-things": {0: AT_MAJORITY}})
    config = build_config(PRESETS["demo"].values())
    (said,) = plan._weak(config.model_copy(update={"sources": ("count-things",)}))
    assert said.startswith("Source Count things (seed 0): ")


def test_a_device_that_is_not_there_is_named() -> None:
    page = _paste("targets: [trip-mood]\nmethods: [none]\ndevice: {name: 'cuda:7'}")
    assert "Device 'cuda:7' is not on this machine" in _said(page)
    assert _start(page).disabled


def test_a_folder_that_is_not_there_is_said_beside_the_folder() -> None:
    page = _paste("targets: [rte]\nmethods: [none]\ndata: {folder: /no/such/folder}")
    assert "/no/such/folder" in _said(page)
    assert _start(page).disabled


def test_a_failed_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from dtvg.errors import JobError

    def refuse(*_: Any) -> None:
        raise JobError("No process could be started; try again.")

    monkeypatch.setattr(launcher, "resume", refuse)
    page = _open()
    _start(page).click()
    assert "No process could be started" in _run(page).error[0].value


def test_every_setting_has_a_widget_with_its_help() -> None:
    page = _open()
    helped = {
        w.key.split("/", 3)[3]: w.help
        for w in [*page.text_input, *page.selectbox, *page.multiselect, *page.toggle]
        if w.key.startswith("launch/")
    }
    for name, model in launch_draft.SECTIONS.items():
        assert issubclass(model, Section)
        for leaf in settings_path.leaves(model, name):
            assert helped[leaf.path] == leaf.info.description, leaf.path
    assert helped["allow_self"]


def test_values_survive_being_shown_and_read() -> None:
    for name in PRESETS:
        values = build_config(PRESETS[name].values()).model_dump(mode="json")
        for section, model in launch_draft.SECTIONS.items():
            for leaf in settings_path.leaves(model, section):
                value = values[section].get(leaf.name, None if leaf.optional else [])  # left out
                assert forms.read(leaf, forms.shown(leaf, value)) == value, leaf.path


def test_opening_a_methods_settings_changes_none_of_them() -> None:
    names = ["attempt", "oracle", "surrogate", "forkmerge", "tpv_sum"]
    text = f"name: mine\nsources: [trip-mood]\ntargets: [film-mood]\nmethods: {names}"
    page = _run(_paste(text))
    assert ExperimentConfig.model_validate(_yaml(page)) == build_config(yaml.safe_load(text))


def test_a_method_s_setting_without_effect_is_noted_beneath_it() -> None:
    entry = "{name: dtvg, exact_over: candidates}"
    text = f"sources: [film-mood]\ntargets: [trip-mood]\nmethods: [none, {entry}]"
    page = _run(_paste(text))
    notes = "\n".join(caption.value for caption in page.caption).replace("\\", "")
    assert "'exact_over' has no effect on 'dtvg-candidates': only 'rule: exact' reads it." in notes


def test_a_target_that_leaves_a_method_without_sources_is_noted_beside_the_targets() -> None:
    page = _paste("sources: [film-mood]\ntargets: [film-mood]\nmethods: [none, dtvg]")
    notes = "\n".join(caption.value for caption in page.caption).replace("\\", "")
    assert "No run of dtvg on target 'film-mood'" in notes
    assert not _start(page).disabled


def _vary(page: AppTest, *rows: tuple[str, str]) -> AppTest:
    for place, (setting, text) in enumerate(rows):
        next(b for b in page.button if b.label == "Vary a setting").click()
        page = _run(page)
        _widget(page, "selectbox", f"grid.{place}.setting").set_value(setting)
        _widget(page, "text_input", f"grid.{place}.text").set_value(text)
        page = _run(page)
    return page


def _metrics(page: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in page.metric}


def test_a_grid_makes_one_experiment_for_each_combination_and_counts_runs() -> None:
    page = _open()
    alone = int(_metrics(page)["Runs"])
    page = _vary(page, ("optim.lr_scale", "0.1, 1e-2"), ("prompt.length", "5, 10, 20"))
    assert _metrics(page)["Experiments"] == "6"
    assert int(_metrics(page)["Runs"]) == 6 * alone
    assert _start(page).label == "Start 6 experiments"
    assert "`demo-lrscale0.01-length20`" in "".join(c.value for c in page.caption)
    again = _open(**{k: v[0] if isinstance(v, list) else v for k, v in page.query_params.items()})
    assert _metrics(again) == _metrics(page)
    next(b for b in page.button if b.key and b.key.endswith("grid.0.away")).click()
    page = _run(page)
    assert _metrics(page)["Experiments"] == "3"
    assert _widget(page, "selectbox", "grid.0.setting").value == "prompt.length"


@pytest.mark.parametrize(
    ("setting", "text", "sentence"),
    [
        ("optim.lr_scale", "", "has no values"),
        ("optim.lr_scale", "0.1, fast", "'optim.lr_scale': give a number"),
        ("optim.lr_scale", "0.1, 0.1", "takes 0.1 twice"),
        ("optim.lr_scale", "[", "is not a list of values"),
        ("sources", "film-mood, nobody", "demo-sourcesnobody: Unknown task 'nobody'"),
        ("prompt.length", ",".join(map(str, range(1, 600))), "at most 500"),
    ],
)
def test_a_grid_that_makes_no_sense_is_said_beside_it(
    setting: str, text: str, sentence: str
) -> None:
    page = _vary(_open(), (setting, text))
    assert sentence in _said(page)
    assert _start(page).disabled


def test_without_a_free_slot_one_queues_or_starts_now(
    own_home: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        queue, "enter", lambda config, root, now=False: entered.append((config.name, now))
    )
    slots.set_slots("cpu", 1)
    with ExperimentDir(recorded).lock():
        page = _open()
        assert _start(page).label == "Queue"
        assert "taken by walk" in "".join(c.value for c in page.caption)
        _start(page).click()
        page.run()
        page = _open()
        next(b for b in page.button if b.label == "Start now").click()
        page.run()
    assert entered == [("demo", False), ("demo", True)]


def test_the_queue_is_shown_moved_and_cleared_on_the_page(
    own_home: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "ensure", lambda: None)
    slots.set_slots("cpu", 1)
    with ExperimentDir(recorded).lock():
        for name in ("a", "b"):
            config = build_config({"name": name, "targets": ["rte"], "methods": ["none"]})
            queue.enter(config, own_home / "runs")
        page = _open()
        assert "Waiting 1" in _said(page)
        next(b for b in page.button if b.key == "queue-down-000001").click()
        page = _run(page)
        assert [j.experiment.name for j in jobs()] == ["b", "a"]
        next(b for b in page.button if b.key == "queue-away-000001").click()
        page = _run(page)
        assert [j.experiment.name for j in jobs()] == ["b"]
        page.number_input[0].set_value(3)
        _run(page)
    assert slots.slots()["cpu"] == 3


def test_an_open_group_stays_the_same_group_while_one_types_in_it() -> None:
    page = _open()
    before = [e.label for e in page.expander]
    page = _type(page, "optim.steps", "300")
    assert [e.label for e in page.expander] == before


def test_a_closed_group_says_what_differs_and_opens_where_something_is_wrong() -> None:
    page = _sound(AppTest.from_file(str(PAGE), default_timeout=60).run())
    assert "**Prompt** :gray[length 10]" in [e.label for e in page.expander]
    assert not [w for w in page.text_input if w.key.endswith("/optim.steps")]
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["set"] = "{optim.steps: 0}"
    page = _sound(page.run())
    assert _widget(page, "text_input", "optim.steps").value == "0"


def test_gpus_are_offered_with_memory_users_and_their_own_precisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = [
        Device("cuda:0", "NVIDIA Old", 16, 2, (os.getpid(),), ("float32", "float16")),
        Device("cpu", "CPU, 8 cores", 32, 30, precisions=("float32", "float64")),
    ]
    monkeypatch.setattr(devices, "list_devices", lambda: here)
    plan.devices.clear()
    try:
        page = _open()
        said = "".join(c.value for c in page.caption)
        assert "On **NVIDIA Old** in float32, 2.0 of 16.0 GiB free" in said
        assert f"process {os.getpid()}" in said
        chosen = _widget(page, "selectbox", "device.name")
        assert "cuda:0: NVIDIA Old, 2.0 GiB free" in chosen.options
        offered = _widget(page, "selectbox", "device.precision").options
        assert offered == ["auto", "float32", "float16"]
        chosen.set_value("cpu")
        page = _run(page)
        offered = _widget(page, "selectbox", "device.precision").options
        assert offered == ["auto", "float32", "float64"]
    finally:
        plan.devices.clear()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"\xff\xfe\x00", "is not a text file"), (b"targets: [", "cannot be read")],
)
def test_a_file_that_is_no_yaml_is_said(content: bytes, sentence: str) -> None:
    page = _open(preset="yaml")
    page.file_uploader[0].upload("mine.yaml", content, "text/yaml")
    page = _run(page)
    assert sentence in _said(page) + "".join(c.value for c in page.caption)


def test_an_uploaded_file_fills_the_form() -> None:
    page = _open(preset="yaml")
    page.file_uploader[0].upload("mine.yaml", b"targets: [rte]\nmethods: [none]", "text/yaml")
    assert _yaml(_run(page))["targets"] == ["rte"]


def test_a_newly_chosen_method_states_its_own_rates_where_those_of_optim_are_far(
    own_home: Path,
) -> None:
    from dtvg.config.presets import paper
    from dtvg.ui.launch.draft import own_rates

    assert own_rates("attempt", paper()["optim"]) == {"lr": 0.3, "lr_gate": 0.3}
    assert own_rates("dtvg", paper()["optim"]) == own_rates("dtvg", {"lr_prompt": 0.2}) == {}
    assert own_rates("attempt", {"lr_prompt": None, "lr_gate": None}) == {}
