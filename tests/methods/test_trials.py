"""Subsets that are tried, and the linear surrogate fitted to what they scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtvg.config import build_config
from dtvg.errors import ConfigError, NumericsError
from dtvg.methods.specs import Oracle, Surrogate
from dtvg.methods.specs.trials import all_subsets, best_subset_of, drawn_subsets, fit_surrogate

ABC = ("a", "b", "c")


def test_all_subsets_come_by_size_and_in_source_order() -> None:
    assert all_subsets(ABC) == (
        (), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 9), count=st.integers(2, 40), seed=st.integers(0, 5))
def test_drawn_subsets_are_distinct_repeatable_and_tell_sources_apart(n, count, seed) -> None:
    names = tuple(f"s{i}" for i in range(n))
    drawn = drawn_subsets(names, count, 0.5, seed)
    assert len(set(drawn)) == len(drawn) == min(max(count, n + 2), 2**n)
    assert drawn == drawn_subsets(names, count, 0.5, seed)
    assert () in drawn and names in drawn
    fit = fit_surrogate(names, drawn, [0.1 * len(s) for s in drawn])
    assert np.allclose(fit.coefficients, 0.1)


@pytest.mark.parametrize(("sources", "count"), [(8, 250), (10, 1000)])
def test_nearly_all_subsets_are_drawn_also_where_most_would_hardly_come_up(
    monkeypatch: pytest.MonkeyPatch, sources: int, count: int
) -> None:
    monkeypatch.setattr("dtvg.methods.specs.trials.DRAWS", 20_000)
    names = tuple(f"rare{i}" for i in range(sources))
    assert len(set(drawn_subsets(names, count, 0.1, 0))) == count


def test_planted_coefficients_are_found_and_harmful_sources_dropped() -> None:
    effect = {"a": 0.10, "b": -0.05, "c": 0.02}
    subsets = all_subsets(ABC)
    scores = [0.5 + sum(effect[s] for s in subset) for subset in subsets]
    fit = fit_surrogate(ABC, subsets, scores)
    assert np.allclose(fit.coefficients, list(effect.values())) and fit.r_squared > 0.999
    assert fit.intercept == pytest.approx(0.5)
    assert fit.kept() == ("a", "c") and fit.kept(0.05) == ("a",)


def test_intervals_equal_those_of_the_textbook_formula() -> None:
    rng = np.random.default_rng(3)
    subsets = drawn_subsets(tuple("abcde"), 20, 0.5, 1)
    scores = rng.normal(0.7, 0.05, len(subsets))
    fit = fit_surrogate(tuple("abcde"), subsets, scores, coverage=0.9)
    design = np.array([[1.0, *(float(s in t) for s in "abcde")] for t in subsets])
    normal = np.linalg.solve(design.T @ design, design.T @ scores)
    residual = scores - design @ normal
    freedom = len(subsets) - 6
    covariance = residual @ residual / freedom * np.linalg.inv(design.T @ design)
    from scipy.stats import t

    half = t.ppf(0.95, freedom) * np.sqrt(np.diag(covariance))
    assert np.allclose(fit.low, (normal - half)[1:]) and np.allclose(fit.high, (normal + half)[1:])


def test_a_seed_that_is_better_as_a_whole_does_not_blur_the_coefficients() -> None:
    subsets = [s for s in all_subsets(ABC) for _ in range(2)]
    blocks = [0, 1] * 8
    scores = [0.3 + 0.4 * b + 0.1 * ("a" in s) for s, b in zip(subsets, blocks, strict=True)]
    fit = fit_surrogate(ABC, subsets, scores, blocks=blocks)
    assert np.allclose(fit.coefficients, [0.1, 0, 0], atol=1e-12)
    assert max(np.subtract(fit.high, fit.low)) < 1e-9 and fit.intercept == pytest.approx(0.5)


@given(st.floats(0, 1), st.integers(2, 6), st.integers(0, 50))
def test_trials_that_all_score_alike_show_no_source_to_be_helpful(score, n, seed) -> None:
    sources = tuple("abcdefg"[:n])
    subsets = drawn_subsets(sources, 2 * n, 0.5, seed)
    fit = fit_surrogate(sources, subsets, [score] * len(subsets))
    assert fit.kept(0.0) == () and fit.coefficients == (0.0,) * n


def test_too_few_trials_are_refused_with_how_many_are_needed() -> None:
    with pytest.raises(NumericsError, match="at least 4 different subsets"):
        fit_surrogate(ABC, [(), ("a",)], [0.1, 0.2])
    with pytest.raises(NumericsError):
        fit_surrogate(ABC, [], [])


def test_without_degrees_of_freedom_intervals_are_unknown() -> None:
    fit = fit_surrogate(ABC, [(), ("a",), ("b",), ("c",)], [0.1, 0.2, 0.3, 0.4])
    assert np.isnan(fit.low).all()
    assert fit.to_json()["coefficients"]["a"] == [pytest.approx(0.1), None, None]


def test_the_best_subset_is_the_smaller_one_on_ties() -> None:
    assert best_subset_of({("a",): [0.3, 0.2, 0.1], ("b",): [0.1, 0.2, 0.3]}) == ("a",)
    assert best_subset_of({(): [0.5], ("a",): [0.7, 0.5], ("a", "b"): [0.6, 0.6]}) == ("a",)


def test_an_oracle_stands_for_every_subset_and_a_surrogate_for_its_trials() -> None:
    assert [one.subset for one in Oracle().expand(ABC)] == list(all_subsets(ABC))
    assert len(Oracle(samples=30).expand(tuple("abcdefgh"))) == 30
    made = Surrogate(samples=6).expand(ABC)
    assert [one.trial for one in made] == [True] * 6 + [False]
    assert Oracle(subset="a, c").subset == ("a", "c")
    assert Oracle(subset=("z",)).expand(ABC) == ()
    labels = [one.label for one in (*Oracle().expand(ABC), *made)]
    assert len(set(labels)) == len(labels) and labels[1] == "oracle-of-a"


def test_runs_of_a_procedure_have_names_of_their_own_and_survive_yaml() -> None:
    config = build_config(
        {"sources": ["mnli", "qnli", "qqp"], "targets": ["rte"], "methods": ["oracle", "surrogate"]}
    )
    runs = config.runs()
    assert len({run.name for run in runs}) == len(runs) == 3 * (8 + 8 + 1)
    import yaml

    assert type(runs[3]).model_validate(yaml.safe_load(runs[3].to_yaml())) == runs[3]


def test_a_subset_must_name_sources_that_are_there() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mnli'"):
        build_config(
            {
                "sources": ["mnli"],
                "targets": ["rte"],
                "methods": [{"name": "oracle", "subset": ["mnl"]}],
            }
        )
