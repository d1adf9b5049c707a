"""Results are remembered until a file they were made from changes, and every such file counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dtvg.store import reader
from dtvg.store.reader import Experiment, Run, open_experiment
from dtvg.ui import cache
from tests.analysis.factory import find, record

READS: dict[str, Callable[[Experiment, Run], object]] = {
    "groups": lambda e, r: cache.groups(r),
    "explain": lambda e, r: cache.explain(r, None),
    "curves": lambda e, r: (cache.curves((r,), quantity="loss"), cache.curves((r,))),
    "replayed": lambda e, r: cache.replayed(r, (), rule="similarity_only"),
    "compare": lambda e, r: cache.compare(tuple(e.runs), "test", "dtvg"),
    "claims": lambda e, r: cache.claims(tuple(e.runs)),
    "transfer": lambda e, r: cache.transfer(tuple(e.runs), "test"),
    "quality": lambda e, r: cache.quality((r,), tuple(e.runs)),
    "lattice": lambda e, r: cache.lattice(tuple(e.runs), r.target, r, "test"),
    "disagreements": lambda e, r: cache.disagreements(((r, r),), "a", "b", "test"),
    "stability": lambda e, r: cache.stability((r,)),
    "diff": lambda e, r: cache.diff(tuple(e.runs[:2])),
}


@pytest.mark.parametrize("name", READS)
def test_every_table_a_result_reads_is_part_of_its_key(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = record(tmp_path, steps=12)
    run = find(experiment, "dtvg")
    read: set[tuple[str, str]] = set()
    seen: list[tuple[str, ...]] = []
    true_read, true_stamp = reader.read_part, cache.stamp

    def reading(part, columns, schema):  # noqa: ANN001, ANN202
        read.add((part.path.parent.parent.name, part.path.parent.name))
        return true_read(part, columns, schema)

    def stamping(run: Run, *tables: str) -> cache.Stamp:
        seen.append((run.path.name, *tables))
        return true_stamp(run, *tables)

    monkeypatch.setattr(reader, "read_part", reading)
    monkeypatch.setattr(cache, "stamp", stamping)
    READS[name](experiment, run)
    keyed = {(name, table) for name, *tables in seen for table in tables}
    assert read - keyed == set()


def test_a_result_is_made_again_when_a_file_appears_and_not_before(tmp_path: Path) -> None:
    experiment = record(tmp_path, steps=12)
    run = find(experiment, "dtvg")
    assert cache.stability((run,)) is cache.stability((run,))  # pairs of many seeds take seconds
    first = cache.groups(run)
    assert cache.groups(find(open_experiment(experiment.path), "dtvg")) is first
    for table in ("sources", "steps", "evals", "events"):
        (run.path / table).mkdir(exist_ok=True)
        (run.path / table / "part-000000000099-000000000099.parquet").touch()
        assert cache.stamp(run, table) != cache.stamp(run)
        (run.path / table / "part-000000000099-000000000099.parquet").unlink()


def test_two_functions_with_equal_arguments_do_not_share_results() -> None:
    @cache.remember(4)
    def one(value: int) -> str:
        return f"one {value}"

    @cache.remember(4)
    def two(value: int) -> str:
        return f"two {value}"

    assert (one(3), two(3), one(3)) == ("one 3", "two 3", "one 3")


def test_the_oldest_result_goes_when_there_are_too_many() -> None:
    made: list[int] = []

    @cache.remember(2)
    def square(value: int) -> int:
        made.append(value)
        return value * value

    for value in (1, 2, 3, 3, 1):
        square(value)
    assert made == [1, 2, 3, 1]


def test_a_run_that_was_trained_again_is_another_one_in_the_same_place(tmp_path: Path) -> None:
    experiment = record(tmp_path, steps=12)
    run = find(experiment, "dtvg")
    for name, seen in (
        ("result.json", run),
        ("provenance.json", replace(run, result=None)),
    ):
        before = cache.stamp(seen)
        text = (run.path / name).read_bytes()
        assert cache.stamp(seen) == before
        (run.path / name).write_bytes(text + b" ")  # the inode stays, as it may after a deletion
        assert cache.stamp(seen) != before


def test_the_best_subset_is_found_again_when_its_scores_are_others(tmp_path: Path) -> None:
    experiment = record(tmp_path, steps=12)
    run = find(experiment, "dtvg")
    assert run.result is not None
    other = replace(run, result=replace(run.result, validation_score=0.123))
    keys = [cache._of_right((one,), run.target, run.sources) for one in (run, run, other)]
    assert keys[0] == keys[1] != keys[2]
