"""Contract kit for tasks: what every task must satisfy, shipped for extensions.

Subclass `TaskContract` in a test module and give `name` and, where rows are available, `data`;
pytest runs every law on it. Imports no torch.
"""

from __future__ import annotations

import pytest

from dtvg.config import DataConfig
from dtvg.names import is_name
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.metrics import METRICS, asked_once, per_example, score, score_with_intervals
from dtvg.tasks.reading import TaskData, load_fresh
from dtvg.tasks.sources import find_folder, source_of
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.splits import SMALL_TASK_ROWS, reads_test, reads_validation

SAMPLE = 60
"""Rows looked at per split: text metrics take milliseconds a row."""


class TaskContract:
    """Laws of a task; those about rows are skipped where there are none."""

    name: str
    data: DataConfig = DataConfig()

    @property
    def spec(self) -> TaskSpec:
        return find_task(self.name)

    def loaded(self) -> TaskData:
        if find_folder(self.spec, self.data.folder) is None:
            pytest.skip(f"no rows of task {self.name} are available")
        kept: dict[tuple[str, str], TaskData] = self.__class__.__dict__.get("_kept", {})
        key = (self.name, self.data.model_dump_json())
        if key not in kept:
            kept[key] = load_fresh(self.spec, self.data)
            type.__setattr__(self.__class__, "_kept", kept)
        return kept[key]

    def test_the_row_is_complete(self) -> None:
        spec = self.spec
        assert is_name(spec.name) and spec.name == self.name
        assert spec.title and spec.family and spec.fields
        assert spec.described_in or (spec.paper and spec.licence), (
            "a description may leave both out"
        )
        assert spec.metrics and set(spec.metrics) <= set(METRICS)
        assert set(spec.beside) <= set(METRICS) - set(spec.metrics)
        for name in (*spec.metrics, *spec.beside):
            metric = METRICS[name]
            alone = name in spec.beside and metric.range[1] > 1  # no part of the score's mean
            # whether examples have groups is seen in the rows only
            assert alone or metric.misfit(len(spec.labels), groups=True) is None
        assert len(set(spec.labels)) == len(spec.labels) != 1
        assert len(spec.label_titles) in (0, len(spec.labels))

    def test_examples_are_text_with_their_answer_among_the_accepted_ones(self) -> None:
        loaded = self.loaded()
        for split in ("train", "validation", "test"):
            rows = loaded.split(split)
            assert rows
            for e in rows[:SAMPLE]:
                assert e.source.startswith(f"{self.name} ") or not source_of(self.spec).prefixed
                assert e.target and e.target in e.references
                if loaded.spec.labels:
                    assert e.label is not None and e.target == loaded.spec.labels[e.label]

    def test_splits_share_no_group_and_follow_the_plan(self) -> None:
        loaded = self.loaded()
        groups = [{e.group for e in loaded.split(s) if e.group} for s in ("train", "validation")]
        assert not groups[0] & groups[1]
        if self.spec.split.rule == "size" and self.spec.split.train_rows < SMALL_TASK_ROWS:
            half = len(loaded.validation), len(loaded.test)
            assert abs(half[0] - half[1]) <= 1 or any(e.group for e in loaded.validation)

    def test_reading_again_gives_the_same_rows_and_another_seed_others(self) -> None:
        loaded = self.loaded()
        again = load_fresh(self.spec, self.data)
        assert again.fingerprint == loaded.fingerprint
        own = self.spec.split.rule == "own"
        whole = own and reads_validation(self.spec) and reads_test(self.spec, self.data.split)
        if self.spec.split.rule != "given" and not whole:  # of splits that are given none is drawn
            other = load_fresh(self.spec, self.data.model_copy(update={"seed": 7}))
            assert other.fingerprint != loaded.fingerprint

    def test_right_answers_score_1_and_others_less(self) -> None:
        loaded = self.loaded()
        rows = list(loaded.validation[:SAMPLE])
        best = score(loaded.spec, [e.target for e in rows], rows)
        # METEOR's penalty is never 0, and articles alone are no words to SQuAD's F1
        assert best["score"] > 0.93
        worst = score(loaded.spec, ["~"] * len(rows), rows)
        shown = (*loaded.spec.metrics, *loaded.spec.beside)
        assert worst["score"] < 0.6 and set(worst) == {*shown, "score"}
        for name in shown:
            low, high = METRICS[name].range
            assert low <= worst[name] <= best[name] <= high + 1e-12
            assert METRICS[name].higher_is_better

    def test_intervals_hold_the_value_and_examples_have_values_of_their_own(self) -> None:
        loaded = self.loaded()
        rows = list(loaded.validation[:SAMPLE])
        said = [e.target if i % 3 else "0 ~" for i, e in enumerate(rows)]
        found = score_with_intervals(loaded.spec, said, rows, resamples=100)
        assert all(made.low <= made.high for made in found.values())
        values = per_example(loaded.spec, *asked_once(said, rows))
        assert all(v is None or 0 <= v <= 1 for v in values)
