"""A task described in YAML trains like any other, in words of its own, and starts warm."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.config import build_config
from dtvg.plan.graph import plan
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import create_experiment
from dtvg.store.reader import list_runs
from dtvg.tasks import files, reading
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import batches
from dtvg.training.procedures import run_experiment
from dtvg.training.stages import prompt_identity, run_data

YAML = """\
files: mine.csv
text: "sentence1: {text}"
label: verdict
labels: {good: 1, bad: 0}
"""


def test_a_described_task_is_target_and_source_of_an_experiment_and_starts_warm(
    tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_home / "tasks"
    folder.mkdir()
    rows = "".join(f"the story {i},{'good' if i % 2 else 'bad'}\n" for i in range(60))
    (folder / "mine.csv").write_text("text,verdict\n" + rows)
    for name in ("mine", "other"):
        (folder / f"{name}.yaml").write_text(YAML)

    def run(name: str) -> None:
        reading._load.cache_clear()
        batches._CACHE.clear()
        values = tiny_config(tmp_path / "parts", name=name, targets=["mine"], seeds=[0])
        values |= {"sources": ["sst2", "other"], "methods": ["none", "dtvg"]}
        values["data"] |= {"label_words": {"mine": ["the story", "the end"]}}
        experiment = create_experiment(build_config(values), tmp_path / "runs")
        run_experiment(experiment, bank=PromptBank(tmp_path / name))

    run("first")
    monkeypatch.setattr(Backbone, "encode", lambda *_: pytest.fail("tokenised again"))
    monkeypatch.setattr(files, "read_file", lambda *_: pytest.fail("read again"))
    run("second")
    found = list_runs(tmp_path / "runs")
    assert {r.state for r in found} == {RunState.FINISHED}
    assert {r.target for r in found} == {"mine", "sst2", "other"}
    scores = [r.result.metrics for r in found if r.result and r.method == "dtvg"]
    assert len(scores) == 2 and scores[0] == scores[1]


def test_a_prompt_of_other_metrics_or_a_shorter_answer_is_another_one(
    tmp_path: Path, own_home: Path
) -> None:
    folder = own_home / "tasks"
    folder.mkdir()
    rows = "".join(f"the story {i},{'good' if i % 2 else 'bad'}\n" for i in range(60))
    (folder / "mine.csv").write_text("text,verdict\n" + rows)
    values = tiny_config(tmp_path / "parts", targets=["rte"], seeds=[0])
    config = build_config(values | {"sources": ["mine"], "methods": ["single"]})
    backbone = load_backbone(config.backbone, "cpu", "float32")
    (run,) = [r for c in plan(config).stage_one for r in c.runs if r.target == "mine"]

    def identity(more: str) -> str:
        (folder / "mine.yaml").write_text(YAML + more)
        reading._load.cache_clear()
        return prompt_identity(run, backbone, run_data(run, backbone))

    usual = identity("")
    assert identity("metrics: [accuracy]\n") == usual
    others = {identity("metrics: [f1]\n"), identity("max_target_tokens: 30\n")}
    assert len({usual, *others}) == 3
