"""Health of prompts and the space of their vectors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dtvg.analysis.prompts import bank_info, space_info, spaces
from dtvg.errors import DataError
from dtvg.figures.prompts import map_figure, matrix_figure, norms_figure
from dtvg.store.bank import (
    AT_MAJORITY,
    HEALTHY,
    NO_VECTOR,
    NOT_MOVED,
    UNKNOWN,
    TaskPrompt,
    complaints,
    health,
)

INIT = np.ones((3, 4), dtype=np.float32)


def _prompt(task: str, change, score=0.9, majority=0.5, rows=100) -> TaskPrompt:
    prompt = INIT + np.asarray(change, dtype=np.float32)
    return TaskPrompt(
        task, (), "demo", "r", 0, INIT, prompt, score, {}, task, "float32", {}, 0.0, majority, rows
    )


def test_health_tells_apart_what_learned_what_did_not_and_what_is_not_known() -> None:
    assert health(_prompt("a", 1.0)) == HEALTHY
    assert health(_prompt("b", 0.0)) == NOT_MOVED
    assert health(_prompt("c", 1.0, score=0.55)) == AT_MAJORITY
    assert health(_prompt("d", 1.0, score=0.55, rows=10_000)) == HEALTHY
    assert health(_prompt("e", 1.0, score=None)) == UNKNOWN
    assert health(dataclasses.replace(_prompt("f", 1.0), init=None)) == NO_VECTOR
    info = bank_info([_prompt("a", 1.0), _prompt("b", 0.0)])
    assert list(info.weak["task"]) == ["b"]
    said = complaints({"a": _prompt("a", 1.0), "c": _prompt("c", 1.0, score=0.5)})
    assert len(said) == 1 and said["c"].startswith("Source c: at the commonest answer.")


def test_the_matrix_is_what_the_grouping_compares() -> None:
    rng = np.random.default_rng(1)
    prompts = [_prompt(name, rng.normal(size=(3, 4))) for name in "abc"]
    info = space_info(prompts)
    pooled = np.stack([p.vector.mean(0) for p in prompts]).astype(np.float64)
    for i in range(3):
        for j in range(3):
            dot = pooled[i] @ pooled[j] / 4
            norm = np.linalg.norm(pooled[i]) * np.linalg.norm(pooled[j])
            assert info.dot[i, j] == pytest.approx(dot)
            assert info.cosine[i, j] == pytest.approx(pooled[i] @ pooled[j] / norm)
    assert 0.999 < sum(info.explained) <= 1.0 + 1e-9, "three points span two axes"
    for figure in (matrix_figure(info), map_figure(info), norms_figure(info)):
        assert len(figure.data) >= 1
    assert info.pairs.shape == (3, 4)


def test_a_zero_vector_has_cosine_zero_and_other_starts_are_refused() -> None:
    info = space_info([_prompt("a", 0.0), _prompt("b", 1.0)])
    assert info.cosine[0, 1] == 0 and np.isfinite(info.cosine).all()
    other = dataclasses.replace(_prompt("c", 1.0), init=INIT * 2)
    with pytest.raises(DataError, match="one initial prompt"):
        space_info([_prompt("a", 1.0), other])
    assert [len(v) for v in spaces([_prompt("a", 1.0), other, _prompt("b", 1.0)]).values()] == [
        2,
        1,
    ]
