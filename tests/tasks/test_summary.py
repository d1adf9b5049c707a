"""The summary of a task counts what is there."""

from __future__ import annotations

from collections.abc import Callable

from dtvg.config import DataConfig
from dtvg.tasks.reading import load_task
from dtvg.tasks.summary import commonest_answer, summarise


def test_rows_balance_and_majority_score_are_counted(
    rte_folder: Callable[..., DataConfig],
) -> None:
    train = {"sentence1": ["a b", "c", "d"], "sentence2": ["x"] * 3, "label": [1, 1, 0]}
    data = load_task("rte", rte_folder(train=train))
    assert commonest_answer(data.train) == "1"
    first, validation, test = summarise(data)
    assert (first.name, first.rows, first.balance) == ("train", 3, {"0": 1, "1": 2})
    assert first.majority["score"] == 2 / 3
    assert first.mean_source_words == (6 + 5 + 5) / 3
    assert validation.rows + test.rows == 6
    ones = sum(e.target == "1" for e in data.test)
    assert test.majority == {"accuracy": ones / 3, "score": ones / 3}
