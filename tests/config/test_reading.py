"""One judgement of a configuration: problems with place, kind and sentence; notes; overrides."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from dtvg import plain_text
from dtvg.config import (
    DeviceConfig,
    RunConfig,
    build,
    build_config,
    check,
    load_config,
    with_overrides,
)
from dtvg.config.presets import clone
from dtvg.errors import ConfigError, unknown
from dtvg.names import check_name
from dtvg.store.layout import create_experiment, load_experiment
from dtvg.tasks.own import parse_description

ROOT = Path(__file__).resolve().parents[2]
BASE = {"sources": ["sst2", "mnli"], "targets": ["rte"], "methods": ["none", "single", "dtvg"]}


@pytest.mark.parametrize(
    ("change", "place", "kind", "sentence"),
    [
        ({"optm": {}}, ("optm",), "unknown", "Did you mean 'optim'?"),
        ({"optim": {"lr_promt": 1}}, ("optim", "lr_promt"), "unknown", "'lr_prompt'"),
        ({"methods": ["dtgv"]}, ("methods", 0), "unknown", "Did you mean 'dtvg'?"),
        (
            {"methods": [{"name": "dtvg", "treshold": 1}]},
            ("methods", 0, "treshold"),
            "unknown",
            "Did you mean 'threshold'?",
        ),
        (
            {"methods": ["none", {"name": "dare", "drop": 2}]},
            ("methods", 1, "drop"),
            "value",
            "'methods.1.drop': must be less than 1 (got 2).",
        ),
        ({"optim": {"steps": 0}}, ("optim", "steps"), "value", "(got 0)."),
        ({"optim": {"steps": None}}, ("optim", "steps"), "empty", "give it a value."),
        ({"targets": ["rte", "R!"]}, ("targets", 1), "value", "use 1-80 characters"),
        ({"targets": []}, ("targets",), "value", "list at least one"),
        ({"sources": []}, ("sources",), "misfit", "Method 'single' needs sources"),
        (
            {"methods": ["none", {"name": "single", "source": "qqp"}]},
            ("methods", 1),
            "misfit",
            "Unknown source of method 'single' 'qqp'.",
        ),
        ({"prompt": {"given": {"cb": "1"}}}, ("prompt", "given"), "misfit", "Unknown task"),
        (
            {"data": {"label_words": {"spot": 5}}},
            ("data", "label_words", "spot"),
            "value",
            "give a list",
        ),
    ],
)
def test_a_problem_has_its_place_its_kind_and_one_sentence(
    change: dict[str, Any], place: tuple[str | int, ...], kind: str, sentence: str
) -> None:
    checked = check({**BASE, **change})
    assert checked.config is None
    (problem,) = checked.problems
    assert (problem.place, problem.kind) == (place, kind)
    assert sentence in problem.sentence and problem.sentence.endswith(".")
    assert problem.setting == ".".join(map(str, place))


def test_every_problem_is_said_at_once_and_the_origin_once() -> None:
    values = {**BASE, "optim": {"steps": 0, "clip_norm": "x"}, "seeds": [-1]}
    assert len(check(values).problems) == 3
    with pytest.raises(ConfigError) as caught:
        build_config(values, "my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml: ") and text.count("my.yaml") == 1
    assert all(problem.sentence in text for problem in check(values).problems)


def test_a_missing_setting_is_named() -> None:
    (problem,) = check({"targets": ["rte"]}).problems
    assert (problem.kind, problem.sentence) == ("missing", "'methods' is missing; add it.")


def test_what_is_no_mapping_is_a_problem_too() -> None:
    assert check(["targets"]).problems[0].place == ()


def test_a_target_without_other_sources_is_noted_for_the_methods_that_need_one() -> None:
    values = {"sources": ["rte"], "targets": ["cb", "rte"], "methods": ["none", "dtvg"]}
    checked = check(values)
    assert checked.config is not None and checked.problems == ()
    (note,) = checked.notes
    assert note.place == ("targets", 1) and note.kind == "no_run"
    assert "No run of dtvg on target 'rte'" in note.sentence
    assert {run.method.name for run in checked.config.runs() if run.target == "rte"} == {"none"}
    assert check({**values, "allow_self": True}).notes == ()


@pytest.mark.parametrize(
    ("method", "label"),
    [
        ({"name": "oracle", "lr": 0.1}, "oracle-lr0.1"),
        ({"name": "oracle", "among": ["mnli"]}, "oracle-amongmnli"),
        ({"name": "single", "lr": 0.1}, "single-lr0.1"),
    ],
)
def test_a_label_that_no_run_has_is_noted_where_it_is_named(method: dict, label: str) -> None:
    values = {**BASE, "sources": ["mnli", "qqp"], "methods": [method]}
    for named in ({"seeds_of": {label: 1}}, {"logging": {"detail_of": {label: "scores"}}}):
        (note,) = check({**values, **named}).notes
        assert note.kind == "not_used" and note.place[-1] == label
        assert f"name '{method['name']}' there" in note.sentence
    assert check({**values, "seeds_of": {method["name"]: 1}}).notes == ()


def test_notes_and_runs_agree_for_every_method() -> None:
    from dtvg.methods.specs import METHODS

    for name in METHODS:
        values = {"sources": ["rte"], "targets": ["rte"], "methods": [name]}
        checked = check(values)
        assert checked.config is not None
        assert bool(checked.notes) == (not checked.config.runs()), name


def test_sections_and_runs_are_judged_with_the_same_words() -> None:
    with pytest.raises(ConfigError, match="^device: 'precision': must be 'auto', 'float32', "):
        build(DeviceConfig, {"precision": "float8"}, "device")
    run = build_config(BASE).runs()[0].model_dump(mode="json")
    with pytest.raises(ConfigError, match="Unknown key 'method.x'"):
        build(RunConfig, {**run, "method": {"name": "dtvg", "x": 1}}, "config.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("targets: [", "cannot be read; it is not valid YAML: "),
        ("- a", "contains no settings; a configuration is a mapping"),
        ("2026-99-99", "not valid YAML"),
        ("", "contains no settings"),
    ],
)
def test_a_file_that_is_no_configuration_says_so(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert sentence in str(caught.value) and str(file) in str(caught.value)


def test_an_absent_or_binary_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no configuration file"):
        load_config(tmp_path / "no.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="give a YAML file"):
        load_config(tmp_path / "b.yaml")


def test_overrides_reach_groups_mappings_and_methods_and_leave_the_values_alone() -> None:
    values = {**BASE, "methods": ["none", "dtvg"]}
    made = with_overrides(
        values,
        [
            "optim.lr_prompt=1e-3",
            "seeds=0-2",
            "data.label_words.rte=ja nein",
            "methods.dtvg.rule=exact",
            "prompt={length: 5}",
            "name=123",
        ],
    )
    config = build_config(made)
    assert config.optim.lr_prompt == 0.001 and config.seeds == (0, 1, 2)
    assert config.data.label_words == {"rte": ("ja", "nein")}
    assert [getattr(m, "rule", None) for m in config.methods] == [None, "exact"]
    assert config.prompt.length == 5 and config.name == "123"
    assert values == {**BASE, "methods": ["none", "dtvg"]}


def test_an_override_without_a_value_is_told_what_the_setting_takes() -> None:
    with pytest.raises(ConfigError, match="has no '='.*'optim.steps' takes a whole number, at le"):
        with_overrides(BASE, ["optim.steps"])
    with pytest.raises(ConfigError, match="has no '='.*Did you mean 'steps'"):
        with_overrides(BASE, ["optim.stepz"])


def test_a_taken_name_says_which_settings_differ_also_in_a_mapping(tmp_path: Path) -> None:
    create_experiment(build_config(BASE), tmp_path)
    other = build_config({**BASE, "prompt": {"given": {"rte": "x"}}})
    with pytest.raises(ConfigError, match=r"with other settings \(prompt.given\)"):
        create_experiment(other, tmp_path)
    _, stored = load_experiment(tmp_path / "experiment")
    assert stored == build_config(BASE)


def test_one_sentence_for_every_name_that_cannot_be_used() -> None:
    rule = "use 1-80 characters of a-z, 0-9, '.', '_' and '-', not starting with '.'"
    with pytest.raises(ConfigError, match=rule):
        check_name("../x", "name of a run")
    assert rule in check({**BASE, "name": ".x"}).problems[0].sentence
    assert check_name("a-b.c_1") == "a-b.c_1"
    with pytest.raises(ConfigError):
        check_name("a\n")


def test_a_clone_of_a_run_makes_that_run_again() -> None:
    for run in build_config({**BASE, "seeds": [0, 5]}).runs():
        assert build_config(clone(run)).runs() == (run,)


def test_a_run_whose_method_names_the_target_too_can_be_cloned() -> None:
    sums = {"name": "tpv_sum", "combine": "given", "coefficients": {"rte": 1, "mnli": 0.5}}
    values = {**BASE, "sources": ["rte", "mnli"], "targets": ["rte", "cb"], "methods": [sums]}
    for allowed in (False, True):
        for run in build_config({**values, "allow_self": allowed}).runs():
            made = build_config(clone(run)).runs()
            assert run in made and len(made) == 1, run.name
    alone = {**BASE, "sources": ["rte"], "methods": ["oracle"], "seeds": [0]}
    (run,) = build_config(alone).runs()
    assert build_config(clone(run)).runs() == (run,)


def test_a_run_can_be_cloned_beside_given_prompts_that_it_does_not_read() -> None:
    given = {"cb": "3f2", "mnli": "a17"}
    values = {**BASE, "targets": ["rte", "cb"], "prompt": {"given": given}}
    for run in build_config(values).runs():
        made = clone(run)
        own = {task: key for task, key in given.items() if task in (run.target, *run.sources)}
        assert made["prompt"]["given"] == (own or given), run.name
        assert bool(check(made).problems) == (not own), run.name
        if not own:
            assert "Unknown task of prompt.given" in check(made).problems[0].sentence


def test_a_clone_of_a_run_that_exchanges_repeats_those_it_exchanges_with() -> None:
    shared = {"name": "primal_dual", "share": ["rte", "sst2"]}
    values = {**BASE, "sources": ["sst2", "mnli"], "targets": ["rte", "sst2"], "seeds": [0]}
    config = build_config({**values, "methods": [shared]})
    for run in config.runs():
        again = build_config(clone(run, config)).runs()
        assert {one.name: one.sources for one in again} == {
            one.name: one.sources for one in config.runs()
        }
    assert len(build_config(clone(config.runs()[0])).targets) == 2


@pytest.mark.parametrize(
    ("entry", "key", "why"),
    [
        ({"name": "dtvg", "exact_over": "candidates"}, "exact_over", "only 'rule: exact'"),
        ({"name": "dtvg", "consistency_weight": 2.0}, "consistency_weight", "only 'rule: exact'"),
        ({"name": "dtvg", "hysteresis_unit": "relative"}, "hysteresis_unit", "no hysteresis"),
        ({"name": "dtvg", "rule": "all_sources", "threshold": 0.5}, "threshold", "no cut"),
        ({"name": "dtvg", "rule": "consistency_only", "threshold": 0.5}, "threshold", "no cut"),
        ({"name": "dtvg", "rule": "exact", "threshold": 0.5}, "threshold", "candidates"),
        ({"name": "dtvg", "rule": "empty", "regroup_every": 9}, "regroup_every", "the same group"),
        ({"name": "dtvg", "rule": "all_sources", "hysteresis": 0.1}, "hysteresis", "same group"),
        ({"name": "dare", "density": 0.5}, "density", "only 'merge: ties'"),
        ({"name": "awd", "iterations": 0, "norm_weight": 0.5}, "norm_weight", "nothing is learned"),
        ({"name": "dmtg", "learn_share": 0, "groups": 3}, "groups", "'learn_share: 0'"),
        ({"name": "relational", "search_share": 0, "sample": "hard"}, "sample", "search_share"),
        ({"name": "oracle", "subset": ["sst2"], "samples": 9}, "samples", "one given subset"),
        ({"name": "surrogate", "subset": "mnli", "cut": "threshold"}, "cut", "one given subset"),
        ({"name": "mpt", "distil": "prompts", "distil_weight": 0.1}, "distil_weight", "backbone"),
    ],
)
def test_a_method_s_setting_without_effect_is_noted(entry: dict, key: str, why: str) -> None:
    (note,) = check({**BASE, "methods": ["none", entry]}).notes
    assert note.place == ("methods", 1, key) and note.kind == "not_used"
    assert f"'{key}' has no effect on '" in note.sentence and why in note.sentence
    used = [{"name": "dtvg", "rule": "exact", "exact_over": "candidates", "hysteresis": 0.1}]
    used += [{**used[0], "threshold": 0.1}, {"name": "oracle", "samples": 9}]
    used += [{"name": "dare", "merge": "ties", "density": 0.5}, "mpt"]
    assert not list(check({**BASE, "methods": used}).notes)


@pytest.mark.parametrize(
    ("key", "value"), [("few_shot_per_class", True), ("few_shot_validation", "full")]
)
def test_how_few_rows_are_drawn_is_noted_where_all_are_kept(key: str, value: object) -> None:
    (note,) = check({**BASE, "data": {key: value}}).notes
    assert note.place == ("data", key) and note.kind == "not_used"
    assert not check({**BASE, "data": {key: value, "few_shot": 4}}).notes


def test_nobody_else_turns_pydantics_errors_into_words_or_walks_dotted_keys() -> None:
    """Settings are judged in `config`; a task's description and files that are read back have
    judges of their own."""
    allowed = {"dtvg/config/reading.py", "dtvg/tasks/own.py", "dtvg/store/formats.py"}
    found = set()
    for path in [*ROOT.glob("dtvg/**/*.py"), *ROOT.glob("pages/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "errors":  # what pydantic found
                found.add(path.relative_to(ROOT).as_posix())
    assert found == allowed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seeds: [0]\noptim: {steps: 3, steps: 4}\n", "'steps' occurs twice"),
        ("notes: a\nnotes: b\n", "'notes' occurs twice"),
        ('notes: "\\ud800"\n', "lone surrogate"),
        ("notes: " + "x" * (plain_text.MOST_CHARACTERS + 1), "more than 4,194,304 characters"),
        ("notes: " + "x" * 100_001, "at most 100000 characters"),
    ],
    ids=lambda value: value[:20],
)
def test_what_yaml_would_pass_over_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"targets: [rte]\nmethods: [none]\n{text}")
    with pytest.raises(ConfigError, match=words) as refused:
        load_config(file)
    assert len(str(refused.value)) < 2000
    if "twice" in words:
        with pytest.raises(ConfigError, match=words):
            parse_description(text, file)


def test_merged_mappings_and_pairs_of_surrogates_are_read_as_yaml_means_them() -> None:
    assert plain_text.load_yaml("a: &a {b: 1}\nc: {<<: *a, b: 2}")["c"] == {"b": 2}
    assert plain_text.load_yaml('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize("given", ["9" * 100_000, "many words " * 10_000], ids=["digits", "words"])
def test_a_sentence_does_not_repeat_all_of_what_was_given(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_config({**BASE, "optim": {"steps": given}, "methods": ["x" * 100_000]})
    assert len(str(refused.value)) < 4000


def test_label_words_and_split_rules_that_nobody_uses_are_noted() -> None:
    notes = check({**BASE, "data": {"label_words": {"spot": ["a", "b"]}}}).notes
    assert [n.place for n in notes] == [("data", "label_words", "spot")]
    (note,) = check({**BASE, "data": {"split_rules": {"rte": "halved", "rtee": "size"}}}).notes
    assert note.place == ("data", "split_rules", "rtee")
    assert note.sentence.startswith("The split rule of 'rtee' is not used: it is neither")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ".."}, "(got '..')."),
        ({"seeds": "0..99999999"}, "(got '0..99999999')."),
        ({"optim": {"steps": 10**99}}, "(got 1e+99)."),
        ({"optim": {"steps": -(123 * 10**40)}}, "(got -1.23e+42)."),
        ({"optim": {"lr_scale": float("nan")}}, "less than or equal to 1e+30 (got nan)."),
    ],
)
def test_a_sentence_keeps_dots_and_shortens_numbers(changes: dict[str, Any], words: str) -> None:
    (problem,) = check({**BASE, "name": "trial", **changes}).problems
    assert problem.sentence.endswith(words)
    assert "00000000000000000000" not in problem.sentence


def test_an_entry_of_a_method_without_a_name_is_said_to_lack_it() -> None:
    (problem,) = check({**BASE, "methods": [{"rule": "greedy"}]}).problems
    assert problem.place[:2] == ("methods", 0)
    assert "this entry has no 'name'" in problem.sentence
    assert "{name: dtvg}" in problem.sentence and "None" not in problem.sentence


def test_a_message_lists_no_more_names_than_one_reads() -> None:
    told = unknown("run", "rte.dtvg.s9x", [f"rte.dtvg.s{i}" for i in range(250)])
    assert "Did you mean 'rte.dtvg.s9'?" in told and told.endswith(" and 190 more.")
    assert unknown("task", "x", ["a", "b"]).endswith("Allowed: a, b.")
