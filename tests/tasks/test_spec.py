"""The rows of the task tables are complete and consistent."""

from __future__ import annotations

import re

import pytest

from dtvg.errors import ConfigError
from dtvg.names import is_name
from dtvg.tasks.catalogue import find_task, shipped_tasks
from dtvg.tasks.metrics import METRICS
from dtvg.tasks.sources import source_of
from dtvg.tasks.spec import FieldProblem

OFFICIAL = dict(mnli=392_702, qnli=104_743, qqp=363_846, sst2=67_349, mrpc=3_668, cola=8_551,
                rte=2_490, stsb=5_749, boolq=9_427, cb=250, wic=5_428, wsc=554, multirc=27_243,
                record=100_730, squad=87_599, nq=104_071, hotpotqa=72_928, searchqa=117_384,
                newsqa=74_160, winogrande=40_398, yelp=560_000, scitail=23_097, paws=49_401,
                e2e=42_061, common_gen=67_389, web_nlg=18_102)  # fmt: skip
"""The 26 tasks of the paper."""
MORE = ("copa", "wnli", "snli", "triviaqa", "imdb", "ag_news", "trec")
NO_COMMIT = ("nq", "hotpotqa", "searchqa", "newsqa", "triviaqa", "yelp", "common_gen")
"""Data sets of which no commit could be verified without the hub: the newest one is read."""


@pytest.mark.parametrize("name", list(shipped_tasks()))
def test_every_row_is_complete(name: str) -> None:
    spec = find_task(name)
    assert spec.name == name and is_name(name)
    assert spec.title and spec.family and spec.folder and spec.fields
    assert spec.metrics and set(spec.metrics) <= set(METRICS)
    assert len(spec.label_titles) in (0, len(spec.labels))
    assert len(set(spec.labels)) == len(spec.labels)
    assert len(set(spec.columns)) == len(spec.columns)


@pytest.mark.parametrize(("name", "rows"), OFFICIAL.items())
def test_official_sizes_are_those_of_the_literature(name: str, rows: int) -> None:
    assert find_task(name).split.train_rows == rows


def test_hub_data_are_pinned_to_a_commit() -> None:
    for spec in shipped_tasks().values():
        if not source_of(spec).on_hub or spec.name in NO_COMMIT:
            continue
        if spec.revision != "refs/convert/parquet":
            assert re.fullmatch(r"[0-9a-f]{40}", spec.revision or "")


def test_all_tasks_of_the_paper_and_of_this_line_of_work_are_there() -> None:
    assert len(OFFICIAL) == 26
    shipped = [name for name, spec in shipped_tasks().items() if source_of(spec).on_hub]
    assert set(shipped) == {*OFFICIAL, *MORE}
    for name in shipped:
        spec = find_task(name)
        assert spec.paper and spec.licence and spec.dataset, name


def test_names_and_folders_are_unique() -> None:
    specs = list(shipped_tasks().values())
    assert len({spec.folder for spec in specs}) == len(specs)


def test_classes_have_readable_names() -> None:
    assert [find_task("cb").title_of(i) for i in range(3)] == [
        "entailment",
        "contradiction",
        "neutral",
    ]


@pytest.mark.parametrize(
    ("got", "meant"), [("mnlli", "mnli"), ("glue_sst2", "sst2"), ("yelp_polarity", "yelp")]
)
def test_an_unknown_task_is_refused_with_the_nearest(got: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        find_task(got)


def test_a_field_problem_tells_column_value_and_what_is_allowed() -> None:
    problem = FieldProblem("label", 9, "0 to 5")
    assert str(problem) == "column 'label': got 9, allowed is 0 to 5"
