"""Explain on recorded runs: the step asked for, the memory before it, what was pinned by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dtvg.analysis.run.explain import ExplainInfo, explain_grouping, explain_step
from dtvg.analysis.run.groups import group_info
from dtvg.api import Run as ApiRun
from dtvg.errors import DataError
from dtvg.report import build_report
from dtvg.rule.decide import decide, decide_steps
from dtvg.store import holds
from dtvg.store.reader import Experiment, Run, read_table
from dtvg.testing import made_runs
from tests.analysis import factory
from tests.analysis.rule_words import wanted_change, wanted_headline, wanted_reason
from tests.rule_cases import NAMES, Asked

STEPS = 24
SETTINGS: list[dict[str, Any]] = [
    {"rule": "greedy"},
    {"rule": "greedy", "measure": "cosine", "threshold": 0.1},
    {"rule": "greedy", "regroup_every": 5},
    {"rule": "greedy", "hysteresis": 0.2},
    {"rule": "greedy", "hysteresis": 0.2, "regroup_every": 5},
    {"rule": "fixed"},
    {"rule": "exact"},
    {"rule": "exact", "exact_over": "candidates", "hysteresis": 0.1},
    {"rule": "consistency_only"},
    {"rule": "similarity_only"},
    {"rule": "all_sources"},
    {"rule": "empty"},
    {"rule": "greedy", "regroup_every": 5, "schedule": "random"},
    {"rule": "greedy", "init_only": True},
    {"rule": "random"},
    {"rule": "largest"},
    {"rule": "farthest"},
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    methods = ["none", *({"name": "dtvg", **settings} for settings in SETTINGS)]
    config = factory.config(methods=methods, targets=["lake"], seeds=[3])
    return factory.record(tmp_path_factory.mktemp("runs"), config, steps=STEPS)


def run_of(experiment: Experiment, settings: dict[str, Any]) -> Run:
    return next(
        run
        for run in experiment.runs
        if run.config.method.name == "dtvg"
        and run.config.method.model_dump(exclude_defaults=True).items()
        == {k: v for k, v in settings.items() if v != "greedy"}.items()
    )


def asked_at(settings: dict[str, Any], step: int) -> Asked:
    """The decision of a step, from the very matrices that were recorded."""
    grams = factory.drifting_grams(STEPS, 4, 3)
    groups = decide_steps(grams, np.arange(1, STEPS + 1), seed=3, **settings).member
    keys = {"regroup_every", "hysteresis", "init_only"}
    remembers = settings["rule"] == "fixed" or settings.keys() & keys
    previous = groups[step - 2] if remembers and step > 1 else None
    made = decide(grams[step - 1], previous=previous, step=step, seed=3, **settings)
    return Asked(made, settings, previous, step, 3)


@pytest.mark.parametrize("step", [1, 2, 5, 6, 7, 23, 24, None])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_step_asked_for_is_the_one_explained(
    recorded: Experiment, settings: dict[str, Any], step: int | None
) -> None:
    run = run_of(recorded, settings)
    info = explain_step(run, step)
    asked = asked_at(settings, step or STEPS)
    assert (info.step, info.run, info.target) == (step or STEPS, run.name, "lake")
    assert info.rule == settings["rule"] and info.sources == NAMES[:4] and info.notes == ()
    assert info.threshold == settings.get("threshold", 0.0)
    assert info.measure == settings.get("measure", "dot")
    assert np.array_equal(info.member, asked.grouping.member) and info.held == asked.held
    assert np.allclose(info.similarity, asked.similarity)
    assert np.allclose(info.gram[1:, 1:], asked.inner)
    rows = read_table(run, "sources", None, info.step, info.step).to_pandas()
    assert rows["source"].tolist() == list(info.sources)
    assert rows["member"].tolist() == info.member.tolist()
    assert rows["rank"].tolist() == info.rank.tolist()
    assert info.headline == wanted_headline(asked)
    for s, name in enumerate(NAMES[:4]):
        wanted = wanted_reason(asked, s)
        wanted += wanted_change(asked, s, info.switch_change[s], info.similarity_margin[s])
        assert info.sentences[s] == f"{name} {'is in' if info.member[s] else 'is out'}: {wanted}"


def test_the_recorded_walk_meets_groups_that_are_kept_and_changed(recorded: Experiment) -> None:
    for settings in SETTINGS[2:5]:
        held = [explain_step(run_of(recorded, settings), s).held for s in range(1, STEPS + 1)]
        assert True in held and False in held[1:], settings


def test_the_python_interface_and_the_report_say_the_same(recorded: Experiment) -> None:
    run = run_of(recorded, SETTINGS[0])
    info = explain_step(run, 7)
    frame = ApiRun(run).explain(7)
    assert frame.equals(info.table)
    assert frame["why"].tolist() == [info.sentences[s] for s in np.argsort(info.rank)]
    assert ApiRun(run).explain().equals(explain_step(run, STEPS).table)
    text = build_report(recorded, run, ["explain"], step=7)
    assert ">Why this group at step 7<" in text and f"<p>{info.headline}</p>" in text
    for sentence in info.sentences:
        assert f"<td>{sentence.replace(chr(39), '&#x27;')}</td>" in text


def test_runs_and_steps_without_a_decision_are_refused_with_what_there_is(
    recorded: Experiment,
) -> None:
    run = run_of(recorded, SETTINGS[0])
    with pytest.raises(DataError) as found:
        explain_step(run, STEPS + 1)
    assert str(found.value) == (f"Run '{run.name}' has no step 25; choose one from 1 to 24.")
    none = factory.find(recorded, "none", seed=3)
    with pytest.raises(DataError) as found:
        explain_step(none, 1)
    assert str(found.value) == (
        f"Run '{none.name}' (method 'none') groups no sources, so there is no decision to explain; "
        "choose a run of 'dtvg'."
    )


def held_by_hand(
    folder: Any, patch: pytest.MonkeyPatch, source: int, member: bool, **settings: Any
) -> tuple[Run, np.ndarray]:
    """A run in whose log a source is pinned or banned from step 10 on, and its logged groups."""
    logged = []

    def pinned(*given: Any, **more: Any) -> Any:
        made = decide_steps(*given, **more)
        group = np.array(made.member)
        group[9:, source] = member
        logged.append(group)
        return replace(made, member=group)

    patch.setattr(made_runs, "decide_steps", pinned)
    config = factory.config(methods=[{"name": "dtvg", **settings}], targets=["lake"], seeds=[3])
    made = factory.record(folder, config, steps=STEPS)
    return next(run for run in made.runs if run.config.method.name == "dtvg"), logged[0]


@pytest.mark.parametrize("member", [True, False], ids=["pinned", "banned"])
def test_a_group_that_neither_the_rule_nor_a_hand_made_is_named(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, member: bool
) -> None:
    fresh = decide(factory.drifting_grams(STEPS, 4, 3)).member
    source = int(np.argmax((fresh[9:] != member).sum(axis=0)))
    run, _ = held_by_hand(tmp_path, monkeypatch, source, member)
    differ = 0
    for step in range(1, STEPS + 1):
        info = explain_step(run, step)
        assert np.array_equal(info.member, fresh[step - 1]), "the rule's group is explained"
        if step < 10 or fresh[step - 1, source] == member:
            assert info.notes == ()
            continue
        differ += 1
        assert info.notes == (
            f"The run's log holds another decision for {NAMES[source]} than rule 'greedy' gives; "
            "`dtvg runs verify` says which steps differ.",
        )
    assert differ > 0


@pytest.mark.parametrize("kind", ["pin", "ban"])
def test_what_was_decided_by_hand_comes_first_and_the_rule_after_it(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, kind: holds.Kind
) -> None:
    member, said = kind == "pin", {"pin": "pinned", "ban": "banned"}[kind]
    fresh = decide(factory.drifting_grams(STEPS, 4, 3)).member
    source = int(np.argmax((fresh[9:] != member).sum(axis=0)))
    run, logged = held_by_hand(tmp_path, monkeypatch, source, member)
    by_hand = [holds.Hold(9, NAMES[source], kind)]
    monkeypatch.setattr("dtvg.analysis.run.explain.history", lambda run: by_hand)
    monkeypatch.setattr("dtvg.analysis.run.groups.history", lambda run: by_hand)
    assert group_info(run).held == (holds.Stretch(NAMES[source], kind, 10, np.inf),)
    against = 0
    for step in range(1, STEPS + 1):
        info = explain_step(run, step)
        rows = info.table.set_index("source")
        assert info.notes == ()
        assert np.array_equal(info.member, fresh[step - 1])
        assert rows["member"][list(run.sources)].tolist() == logged[step - 1].tolist()
        assert rows["by_rule"][list(run.sources)].tolist() == fresh[step - 1].tolist()
        alone = explain_grouping(decide(factory.drifting_grams(STEPS, 4, 3)[step - 1]), run.sources)
        if step < 10:
            assert info.headline == alone.headline and info.sentences == alone.sentences
            assert not rows["by_hand"].any()
            continue
        group = ", ".join(n for n, m in zip(run.sources, logged[step - 1], strict=True) if m)
        agrees = bool(fresh[step - 1, source]) == member
        assert info.headline == (
            f"{NAMES[source]} was {said} by hand at step 10. The group that was merged: "
            f"{group or 'no source'}. {'The rule decided the same. ' if agrees else ''}"
            f"The rule alone: {alone.headline}"
        )
        state, other = ("in", "out") if member else ("out", "in")
        by_rule = f"{state} as well" if agrees else other
        assert info.sentences[source].startswith(
            f"{NAMES[source]} is {state}: {said} by hand at step 10. By the rule alone it would "
            f"be {by_rule}: similarity "
        )
        assert info.table.set_index("source")["by_hand"][NAMES[source]] == said
        others = [s for s in range(4) if s != source]
        assert [info.sentences[s] for s in others] == [alone.sentences[s] for s in others]
        against += not agrees
    assert against > 0


def test_a_kept_group_is_the_logged_one_of_the_step_before(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, logged = held_by_hand(tmp_path, monkeypatch, 3, True, regroup_every=5)
    for step in (10, 12, 15):
        info: ExplainInfo = explain_step(run, step)
        assert info.held and np.array_equal(info.member, logged[step - 2])


@pytest.mark.parametrize("settings", [{"rule": "fixed"}, {"init_only": True}, {"regroup_every": 5}])
@pytest.mark.parametrize("member", [True, False], ids=["pinned", "banned"])
def test_a_rule_with_a_memory_remembers_its_own_group_and_not_what_was_decided_by_hand(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, member: bool, settings: dict[str, Any]
) -> None:
    grams, steps = factory.drifting_grams(STEPS, 4, 3), np.arange(1, STEPS + 1)
    own = decide_steps(grams, steps, seed=3, **settings).member
    source = int(np.argmax((own[9:] != member).sum(axis=0)))
    assert (own[9:, source] != member).any()
    run, logged = held_by_hand(tmp_path, monkeypatch, source, member, **settings)
    by_hand = [holds.Hold(9, NAMES[source], "pin" if member else "ban")]
    monkeypatch.setattr("dtvg.analysis.run.explain.history", lambda run: by_hand)
    for step in steps:
        info = explain_step(run, int(step))
        assert np.array_equal(info.member, own[step - 1])
        assert np.array_equal(info.trained, logged[step - 1]) and not info.notes


@pytest.mark.parametrize("settings", [{"init_only": True}, {"regroup_every": 5}])
def test_a_rule_that_compares_all_subsets_decides_once_again_what_it_remembers(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    settings = {"rule": "exact", **settings}
    run, _ = held_by_hand(tmp_path, monkeypatch, 3, True, **settings)
    by_hand = [holds.Hold(9, NAMES[3], "pin")]
    monkeypatch.setattr("dtvg.analysis.run.explain.history", lambda run: by_hand)
    monkeypatch.setattr("dtvg.analysis.run.replay._SUBSET_WORK", 1)
    grams, steps = factory.drifting_grams(STEPS, 4, 3), np.arange(1, STEPS + 1)
    own = decide_steps(grams, steps, seed=3, **settings).member
    for step in (9, 12, STEPS):
        assert np.array_equal(explain_step(run, step).member, own[step - 1])


# ---- what a learned scale subtracts --------------------------------------------------------------


def scaled(folder: Any, patch: pytest.MonkeyPatch, shares: Any) -> Run:
    """A run in whose log every source has this share of negative scale entries; None: no column."""
    columns = made_runs._source_columns

    def with_shares(steps: np.ndarray, sources: Any, made: Any) -> dict[str, Any]:
        logged = [None] * (len(steps) * len(sources)) if shares is None else shares * len(steps)
        return columns(steps, sources, made) | {"scale_negative": logged}

    patch.setattr(made_runs, "_source_columns", with_shares)
    config = factory.config(methods=["dtvg"], targets=["lake"], seeds=[3])
    made = factory.record(folder, config, steps=STEPS)
    return next(run for run in made.runs if run.config.method.name == "dtvg")


def test_explain_and_groups_say_how_much_of_the_members_is_subtracted(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = [0.25, 0.5, 0.0, 0.75]
    run = scaled(tmp_path, monkeypatch, shares)
    info = explain_step(run, 7)
    inside = np.array(shares)[info.member]
    assert len(inside) and inside.mean() > 0
    assert info.notes[-1] == (
        f"Of the group's scale entries {100 * inside.mean():.1f} % are negative: for these prompt "
        "tokens a member is subtracted, not added."
    )
    assert info.scale_negative.tolist() == shares
    by_name = dict(zip(info.table["source"], info.table["scale_negative"], strict=True))
    assert by_name == dict(zip(info.sources, shares, strict=True))
    groups = group_info(run)
    rows = np.tile(shares, (STEPS, 1))
    assert groups.negative_share == pytest.approx(rows[groups.member].mean())
    for s, share in enumerate(groups.source_table["negative_share"]):
        assert np.isnan(share) if not groups.member[:, s].any() else share == shares[s]
    shown = groups.weight_table.groupby("source")["negative"].unique()
    assert [shown[name].tolist() for name in groups.sources] == [[share] for share in shares]


def test_without_negative_scales_or_in_older_logs_nothing_is_said(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shares in (("none", [0.0] * 4), ("older", None)):
        with monkeypatch.context() as patch:
            run = scaled(tmp_path / name, patch, shares)
        info = explain_step(run, 7)
        assert info.notes == () and (info.scale_negative is None) == (shares is None)
        assert not group_info(run).negative_share > 0
        assert len(info.table["scale_negative"]) == 4


def zeroed(folder: Any, patch: pytest.MonkeyPatch, place: int, version: int = 2) -> Run:
    """A run whose target (0) or source has a zero vector."""
    grams = factory.drifting_grams

    def without(*given: Any) -> np.ndarray:
        made = grams(*given)
        made[:, place, :] = made[:, :, place] = 0.0
        return made

    patch.setattr(factory, "drifting_grams", without)
    config = factory.config(methods=["dtvg"], targets=["lake"], seeds=[3])
    made = factory.record(folder, config, steps=STEPS)
    run = next(run for run in made.runs if run.config.method.name == "dtvg")
    assert run.config.version("rule") == version
    return run


def test_groups_names_a_candidate_that_learned_nothing_and_a_target_that_is_zero(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        source = zeroed(tmp_path / "source", patch, 2)
    with monkeypatch.context() as patch:
        target = zeroed(tmp_path / "target", patch, 0)
    said = "The vector of birch is zero: it learned nothing in Stage I."
    assert [note[: len(said)] for note in group_info(source).notes] == [said]
    assert explain_step(source, 3).notes[0].startswith(said)
    groups = group_info(target)
    assert not groups.member.any() and (groups.n_candidates == 0).all()
    assert groups.notes == (
        f"At {STEPS} steps the target's vector was zero (first at step 1), so no source was a "
        "candidate.",
    )
    assert explain_step(target, 3).headline.startswith("The target's vector is zero, so no source")
