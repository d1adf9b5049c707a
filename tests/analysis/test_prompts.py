"""Health of prompts and the space of their vectors."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from dtvg.analysis.overview.table import age
from dtvg.analysis.prompts import bank_info, shown, space_info, spaces, weak_sentences
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


def test_prompts_are_made_at_the_time_of_day_that_other_pages_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        table = bank_info([dataclasses.replace(_prompt("a", 1.0), created=1.7e9)]).table
        assert f"{table['created'][0]:%Y-%m-%d %H:%M}" == age(1.7e9) == "2023-11-15 07:13"
    finally:
        monkeypatch.undo()
        time.tzset()


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


def test_the_bank_is_read_in_words_and_percent() -> None:
    info = bank_info([_prompt("sst2", 1.0, score=0.921), _prompt("rte", 1.0)])
    table = shown(info)
    assert {"score (%)", "commonest answer (%)", "norm of the vector"} < set(table.columns)
    assert table["score (%)"].tolist() == [92.1, 90.0]
    assert not [c for c in table.columns if "_" in c or c == "majority"]
    assert "vector_norm" in info.table.columns  # what CSV has


def test_weak_prompts_are_named_by_title_one_or_several() -> None:
    assert weak_sentences(bank_info([_prompt("sst2", 1.0)])) == []
    said = weak_sentences(bank_info([_prompt("sst2", 0.0), _prompt("rte", 1.0)]))
    assert said[0] == "1 of 2 prompts cannot help as a source."
    assert said[1].startswith("1 did not move: SST-2 (seed 0). Its best prompt is the initial one")
    twice = weak_sentences(bank_info([_prompt("sst2", 0.0)] * 2))
    assert twice[1].startswith("2 did not move: SST-2 (seed 0) × 2. For each")
    many = [_prompt(f"t{i}", 0.0) for i in range(9)] + [_prompt("rte", 1.0, score=0.5)]
    said = weak_sentences(bank_info(many))
    assert said[0] == "10 of 10 prompts cannot help as a source."
    assert (
        said[1].startswith("9 did not move: t0 (seed 0), ") and " and 1 more. For each" in said[1]
    )
    assert said[2].startswith("1 at the commonest answer: RTE (seed 0). Scores no better")


def test_vectors_on_one_point_of_the_map_share_one_label() -> None:
    rng = np.random.default_rng(3)
    moved = [_prompt(name, 50 * rng.normal(size=(3, 4))) for name in ("sst2", "rte")]
    still = [_prompt(name, 0.0) for name in ("mnli", "qqp", "cb", "copa", "boolq")]
    drawn = map_figure(space_info([*moved, *still]))
    texts = [trace.text[0] for trace in drawn.data]
    assert len(texts) == 7 and sorted(map(bool, texts)) == [False] * 4 + [True] * 3
    assert "MNLI<br>QQP<br>and 3 more" in texts
    other = dataclasses.replace(_prompt("sst2", 1.0), fingerprint="another")
    names = space_info([_prompt("sst2", 1.0), other, _prompt("rte", 1.0)])
    assert list(matrix_figure(names).data[0].x)[2] == "RTE"
    assert matrix_figure(names).data[0].y[0].startswith("SST-2 ")
    assert norms_figure(names).data[0].y[2] == "RTE"
    assert {trace.name for trace in drawn.data} >= {"SST-2", "COPA"}
