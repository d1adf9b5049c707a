"""The plan is a graph: no circles, every need has its edge, the same for the same configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.methods.specs import METHODS, Role
from dtvg.plan import Plan, plan
from dtvg.plan.estimate import duration
from dtvg.plan.graph import assemble
from dtvg.plan.words import shortened

TASKS = ("sst2", "mnli", "qqp")

methods = st.lists(
    st.sampled_from(
        [*METHODS, {"name": "mpt", "distil": "prompts"}, {"name": "surrogate", "samples": 5}]
    ),
    min_size=1,
    max_size=5,
    unique_by=str,
)
configs = st.builds(
    lambda sources, targets, methods, seeds, few, given, most, own: build_config(
        {
            "sources": sources,
            "targets": targets,
            "methods": methods,
            "seeds": seeds,
            "data": {"few_shot": few},
            "prompt": {"given": {task: "0" * 16 for task in given if task in (*sources, *targets)}},
            "device": {"max_cohort": most},
            "allow_self": own,
        }
    ),
    sources=st.lists(st.sampled_from(TASKS), min_size=1, max_size=3, unique=True),
    targets=st.lists(st.sampled_from(["rte", "cb", "sst2"]), min_size=1, max_size=2, unique=True),
    methods=methods,
    seeds=st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
    few=st.sampled_from([None, 16]),
    given=st.lists(st.sampled_from(["mnli", "rte"]), max_size=1),
    most=st.integers(1, 40),
    own=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(configs, st.sampled_from([None, 1, 3, 8]))
def test_cohorts_come_after_what_they_start_from_and_every_need_has_its_edge(
    config: ExperimentConfig, slots: int | None
) -> None:
    made = plan(config, slots)
    runs = {run.name: run for run in made.runs}
    assert len(runs) == len(made.runs)
    assert {run.name for run in config.runs()} <= set(runs)
    seen: set[str] = set()
    for cohort in made.cohorts:
        assert set(cohort.after) <= seen
        seen.add(cohort.id)
        assert 0 < len(cohort.runs) <= config.device.max_cohort
        assert len({run.full_role.in_stage_one for run in cohort.runs}) == 1
        homes = {run.name: c.id for c in made.cohorts for run in c.runs}
        begun = {homes[name] for run in cohort.runs for name in made.starts[run.name]}
        assert begun == set(cohort.after)
    for run in made.runs:
        _covered(config, run, [runs[name] for name in made.starts[run.name]])


def _covered(config: ExperimentConfig, run: RunConfig, starts: list[RunConfig]) -> None:
    """Every need of a run is a run it starts from, or a prompt that is given; and nothing else."""
    needs, used = run.needs, []
    for own in needs.stage_one:
        mine = [
            s
            for s in starts
            if s.full_role is Role.STAGE_ONE
            and s.target == own.task
            and (s.data.few_shot is not None) == own.few_shot
        ]
        assert len(mine) == (0 if own.task in config.prompt.given else 1), (run.name, own)
        used += mine
    mixtures = [s for s in starts if s.full_role is Role.MIXTURE]
    assert len(mixtures) == (needs.mixture is not None)
    if needs.mixture is not None:
        assert mixtures[0].method == needs.mixture.method
        assert mixtures[0].sources == needs.mixture.sources
    trials = [s for s in starts if s.full_role is Role.TRIAL]
    assert [s.method for s in trials] == list(needs.trials)
    assert all(s.target == run.target for s in trials) and all(s.seed == run.seed for s in starts)
    unique = {s.name for s in (*used, *mixtures, *trials)}
    assert unique == {s.name for s in starts}


@settings(max_examples=15, deadline=None)
@given(configs)
def test_a_plan_is_a_pure_function_of_the_configuration(config: ExperimentConfig) -> None:
    again = build_config(config.to_values())
    assert plan(again) == plan(config) and plan(again, 3) == plan(config, 3)


def _many(**changes: Any) -> Plan:
    values = {"sources": TASKS, "targets": ["rte"], "methods": ["oracle"], "seeds": [0, 1, 2]}
    slots = changes.pop("slots", None)
    return plan(build_config({**values, **changes}), slots)


def test_cohorts_are_cut_so_that_every_slot_finds_work() -> None:
    assert [len(c.runs) for c in _many().transfer] == [24]
    assert [len(c.runs) for c in _many(slots=4).transfer] == [6] * 4
    assert [len(c.runs) for c in _many(slots=4).stage_one] == [3] * 4
    assert [len(c.runs) for c in _many(slots=2, device={"max_cohort": 6}).transfer] == [6] * 4
    # more than two per slot: the last ones are finer
    sizes = [len(c.runs) for c in _many(slots=2, device={"max_cohort": 5}).transfer]
    assert sizes == [5] * 2 + [2] * 5 + [1] * 4
    assert [len(c.runs) for c in _many(device={"max_cohort": 5}).transfer] == [5] * 4 + [4]


def test_teachers_mixtures_trials_and_their_choice_train_in_that_order() -> None:
    made = _many(methods=["mpt", "all_for_one", {"name": "surrogate", "samples": 5}], seeds=[0])
    assert [c.id for c in made.cohorts] == [
        "stage1-000", "distil-000", "transfer-000", "derived-000",
    ]  # fmt: skip
    after = {c.id: c.after for c in made.cohorts}
    assert after["distil-000"] == ("stage1-000",)
    assert set(after["transfer-000"]) == {"stage1-000", "distil-000"}
    assert set(after["derived-000"]) == {"stage1-000", "transfer-000"}


def test_another_order_is_sorted_and_a_circle_is_refused() -> None:
    first, second = plan(
        build_config({"targets": ["rte"], "methods": ["none"], "seeds": [0]})
    ).cohorts
    starts = {second.runs[0].name: (first.runs[0].name,)}
    made = assemble([("b", second.runs), ("a", first.runs)], starts)
    assert [c.id for c in made.cohorts] == ["a", "b"]
    from dtvg.errors import ConfigError

    with pytest.raises(ConfigError, match="start from each other"):
        circle = {**starts, first.runs[0].name: (second.runs[0].name,)}
        assemble([("b", second.runs), ("a", first.runs)], circle)


def test_ids_and_times_in_words() -> None:
    assert shortened(["stage1-000", "stage1-001", "stage1-002", "distil-000"]) == (
        "stage1-000 to 002, distil-000"
    )
    assert shortened(["stage1-000", "stage1-002", "stage1-003"]) == (
        "stage1-000, stage1-002, stage1-003"
    )
    times = [None, 45, 600, 3 * 3600 + 300, 4 * 86400]
    assert [duration(t, "unknown") for t in times] == [
        "unknown", "45 s", "10 min", "3 h 05 min", "4 days",
    ]  # fmt: skip
