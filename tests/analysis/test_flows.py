"""Transitions, co-membership, the target's path and scales, against direct computations."""

from __future__ import annotations

import numpy as np
import pytest

from dtvg.analysis.run.groups import OTHER, GroupInfo, group_info, transition_info
from dtvg.analysis.run.stability import stability_of
from dtvg.analysis.run.trajectory import scale_info, trajectory_info
from dtvg.errors import DataError, StoreError
from dtvg.figures import flows
from dtvg.figures.curves import aligned_figure
from dtvg.figures.explain import scrubber_figure
from dtvg.store.reader import Experiment, Run, read_grams
from tests.analysis.factory import find


def test_transitions_count_every_change_of_the_group_once(groups: GroupInfo) -> None:
    info = transition_info(groups)
    changes = (groups.member[1:] != groups.member[:-1]).any(axis=1)
    assert OTHER in info.groups or info.table["times"].sum() == changes.sum()
    whole = transition_info(groups, most=1000)
    assert whole.table["times"].sum() == changes.sum() > 0
    at = int(np.flatnonzero(changes)[0])
    names = [
        " + ".join(s for s, m in zip(groups.sources, row, strict=True) if m) or "(empty)"
        for row in groups.member[at : at + 2]
    ]
    row = whole.table[(whole.table["from"] == names[0]) & (whole.table["to"] == names[1])]
    assert int(row["first"].iloc[0]) == int(groups.steps[at + 1])


def test_few_named_groups_put_the_rest_into_one(groups: GroupInfo) -> None:
    info = transition_info(groups, most=1)
    assert info.groups[-1] == OTHER and len(info.groups) == 2
    assert not ((info.table["from"] == OTHER) & (info.table["to"] == OTHER)).any()


def test_co_membership_is_the_share_of_steps_with_both(groups: GroupInfo) -> None:
    info = transition_info(groups)
    for i in range(len(groups.sources)):
        for j in range(len(groups.sources)):
            both = (groups.member[:, i] & groups.member[:, j]).mean()
            assert info.together[i, j] == pytest.approx(both)
    given = info.together_table.set_index(["source", "other"])["given_source"]
    first = groups.sources[0]
    own = groups.member[:, 0].mean()
    assert given[(first, first)] == pytest.approx(1.0) if own else np.isnan(given[(first, first)])


def test_the_path_keeps_the_inner_products_the_plane_can_hold(dtvg_run: Run) -> None:
    info = trajectory_info(dtvg_run)
    steps, grams = read_grams(dtvg_run)
    assert info.steps[0] == steps[0] and info.steps[-1] == steps[-1]
    gram = grams[-1].astype(np.float64)
    values, axes = np.linalg.eigh(gram[1:, 1:])
    order = np.argsort(values)[::-1][:2]
    for a, column in enumerate(order):
        direct = gram[0, 1:] @ axes[:, column] / np.sqrt(values[column])
        assert abs(info.place[-1, 0, a]) == pytest.approx(abs(direct), rel=1e-6)
    assert np.allclose(info.length[-1], np.sqrt(np.diag(gram)))
    assert ((info.in_plane >= 0) & (info.in_plane <= 1)).all()


def test_a_path_of_many_steps_is_thinned_but_keeps_both_ends(dtvg_run: Run) -> None:
    info = trajectory_info(dtvg_run, most=7)
    steps, _ = read_grams(dtvg_run)
    assert len(info.steps) <= 8 and (info.steps[0], info.steps[-1]) == (steps[0], steps[-1])


def test_a_run_without_sources_has_no_path_and_one_in_work_no_scales(
    experiment: Experiment, dtvg_run: Run
) -> None:
    with pytest.raises(DataError, match="two sources"):
        trajectory_info(find(experiment, "none"))
    with pytest.raises((StoreError, DataError)):
        scale_info(dtvg_run, "final")


def test_every_figure_is_drawn_from_its_info(
    experiment: Experiment, dtvg_run: Run, groups: GroupInfo
) -> None:
    flow = transition_info(groups)
    seeds = stability_of([group_info(r) for r in experiment.runs if r.method == "dtvg"][:3])
    path = trajectory_info(dtvg_run)
    figures = [
        flows.transitions_figure(flow),
        flows.together_figure(flow, dark=True),
        flows.seeds_figure(seeds),
        flows.seed_shares_figure(seeds),
        flows.trajectory_figure(path),
        aligned_figure(groups),
        scrubber_figure(groups, int(groups.steps[5])),
    ]
    assert all(len(f.data) for f in figures)
    assert np.array_equal(figures[0].data[0].link.value, flow.table["times"])
    assert np.array_equal(figures[1].data[0].z, flow.together)
    assert len(figures[4].frames) == len(path.steps)
    scrubber = figures[6]
    assert [shape.x0 for shape in scrubber.layout.shapes] == [int(groups.steps[5])]


def test_the_share_in_the_plane_is_that_of_a_projection_at_every_step(dtvg_run: Run) -> None:
    info = trajectory_info(dtvg_run)
    steps, grams = read_grams(dtvg_run)
    wide = grams.astype(np.float64)
    _, vectors = np.linalg.eigh(wide[-1, 1:, 1:])
    axes = vectors[:, ::-1][:, :2]
    for step, share in zip(info.steps, info.in_plane, strict=True):
        gram = wide[list(steps).index(step)]
        along = axes.T @ gram[1:, 0]
        inside = along @ np.linalg.pinv(axes.T @ gram[1:, 1:] @ axes) @ along
        assert share == pytest.approx(min(inside / gram[0, 0], 1.0), rel=1e-5, abs=1e-9)
