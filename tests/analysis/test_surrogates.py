"""The linear model of what subsets score: exact on additive scores, silent on too few runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.subsets.lattice import lattice_info
from dtvg.analysis.subsets.quality import best_subset
from dtvg.analysis.subsets.runs import subset_of
from dtvg.analysis.subsets.transfer import surrogate_info, transfer_info
from dtvg.figures.subsets import coefficients_figure, transfer_figure
from dtvg.store.reader import Run
from tests.analysis.factory import SOURCES, config, record

ADDS = dict(zip(SOURCES, (0.08, -0.05, 0.0, 0.02), strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two seeds of every subset; scores add up, with a little noise."""
    small = config("sums", targets=["lake"], seeds=[0, 1], methods=["none", "oracle", "surrogate"])
    made = record(tmp_path_factory.mktemp("sums") / "runs", small, steps=4)
    rng = np.random.default_rng(0)
    found = []
    for run in made.runs:
        subset = subset_of(run)
        if run.result is not None and subset is not None:
            score = 0.5 + 0.1 * run.seed + sum(ADDS[s] for s in subset) + rng.normal(0, 1e-3)
            run = replace(run, result=replace(run.result, validation_score=score, test_score=score))
        elif run.result is not None:
            fitted = {s: [ADDS[s], None, None] for s in SOURCES}
            extra = {"coefficients": fitted, "subset": ["amber"]}
            run = replace(run, result=replace(run.result, extra=extra))
        found.append(run)
    return found


def test_additive_scores_give_back_what_was_added(runs: list[Run]) -> None:
    info = surrogate_info(runs, "lake", "oracle")
    assert info is not None and info.trials == 32 and info.r_squared > 0.99
    rows = info.table.set_index("source")
    for source, adds in ADDS.items():
        assert rows.loc[source, "coefficient"] == pytest.approx(adds, abs=1e-3)
        assert rows.loc[source, "low"] < rows.loc[source, "coefficient"] < rows.loc[source, "high"]
    assert rows["verdict"].to_dict() == {
        "amber": "helpful",
        "birch": "harmful",
        "cedar": "undecided",
        "dune": "helpful",
    }
    assert not len(info.seeds)


def test_what_a_run_had_fitted_stands_beside_it(runs: list[Run]) -> None:
    info = surrogate_info(runs, "lake", "surrogate")
    assert info is not None
    assert info.seeds["seed"].tolist() == [0] * 4 + [1] * 4
    assert info.seeds.loc[info.seeds["kept"], "source"].unique().tolist() == ["amber"]
    assert info.seeds["low"].isna().all()
    assert len(coefficients_figure(info, order=SOURCES).data) == 5


def test_too_few_subsets_give_no_model(runs: list[Run]) -> None:
    few = [r for r in runs if r.method_name == "oracle"][:3]
    assert surrogate_info(few, "lake", "oracle") is None
    assert surrogate_info(runs, "moor", "oracle") is None
    assert surrogate_info([], "lake", "surrogate") is None


def test_coefficients_over_all_subsets_are_the_mean_over_pairs(runs: list[Run]) -> None:
    pairs = transfer_info(runs, "validation")
    of_pairs = pairs.of("oracle").set_index("source")["difference"]
    info = surrogate_info(runs, "lake", "oracle")
    assert info is not None
    fitted = info.table.set_index("source")["coefficient"]
    np.testing.assert_allclose(fitted[list(SOURCES)], of_pairs[list(SOURCES)])


def test_the_heat_map_shows_the_truth_in_small_print(runs: list[Run], tmp_path: Path) -> None:
    info = transfer_info(runs, "test", {"lake": dict.fromkeys(SOURCES, "neutral")})
    text = transfer_figure(info, "oracle").data[0].text
    assert "neutral" in text[0][0]
    assert "neutral" not in transfer_figure(transfer_info(runs), "oracle").data[0].text[0][0]


def test_variants_of_a_search_are_not_mixed(tmp_path: Path) -> None:
    """The plain search comes first, wherever it stands; its scores are 0.2 above the variant's."""
    methods = ["none", {"name": "oracle", "lr": 0.1}, "oracle"]
    made = record(tmp_path, config("two", targets=["lake"], seeds=[0, 1], methods=methods), steps=4)
    runs = []
    for run in made.runs:
        score = 0.5 + 0.2 * ("lr" not in run.method) + 0.1 * ("amber" in (run.subset or ()))
        if run.result is not None:
            run = replace(run, result=replace(run.result, validation_score=score, test_score=score))
        runs.append(run)
    nodes = lattice_info(runs, "lake").nodes.set_index("subset")
    assert set(nodes["n_seeds"]) == {2} and set(nodes["basis"]) == {"oracle"}
    assert nodes.loc["amber", "score"] == pytest.approx(0.8)
    best = best_subset(runs, "lake")
    assert best is not None and best.test == {0: pytest.approx(0.8), 1: pytest.approx(0.8)}
    assert set(transfer_info(runs).bases) == {"oracle", "oracle-lr0.1"}
    for label in ("oracle", "oracle-lr0.1"):
        info = surrogate_info(runs, "lake", label)
        assert info is not None and info.trials == 32
    alone = [r for r in runs if r.method != "none" and "lr" in r.method]
    assert transfer_info(alone).bases == ("oracle",)
    found = surrogate_info(alone, "lake", "oracle")
    assert found is not None and found.trials == 32
