"""A run says at its start what its backbone cannot write, and records how its rows were split."""

from __future__ import annotations

from pathlib import Path

from dtvg.config import build_config
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import list_runs, read_table
from dtvg.testing.tiny_run import tiny_config
from dtvg.training.procedures import run_experiment


def test_label_words_that_cannot_be_written_are_an_event_of_the_run(tmp_path: Path) -> None:
    values = tiny_config(tmp_path / "parts", methods=["none"])
    values["data"] = {**values["data"], "label_words": {"rte": ["\u263a", "\u2639"]}}
    experiment = create_experiment(build_config(values), tmp_path / "runs")
    run_experiment(experiment, bank=PromptBank(tmp_path / "bank"))
    runs = {run.name: run for run in list_runs(tmp_path / "runs")}
    for name in ("rte.none.s0", "stage1.rte.s0"):
        events = read_table(runs[name], "events").to_pandas()
        told = events.loc[events["kind"] == "answers", "detail"].tolist()
        assert len(told) == 1 and "cannot write the label words of task rte" in told[0]
        kept = runs[name].result.extra["data"]
        assert kept["split"] == "size" and len(kept["fingerprint"]) == 16
    assert runs["rte.none.s0"].result.test_score == 0.0
