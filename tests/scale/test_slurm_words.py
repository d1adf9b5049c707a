"""What Slurm's commands say, read without a Slurm: partitions, limits, silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dtvg.config import DeviceConfig, ScaleConfig
from dtvg.errors import ConfigError, JobError
from dtvg.store.layout import ExperimentDir

on_slurm = pytest.importorskip("dtvg.scale.on_slurm")


class Cluster:
    """Answers as sinfo does."""

    partitions = "debug*|30:00\nlong|infinite\nbig|2-00:00:00\n"
    nodes = {  # noqa: RUF012 - read only
        "debug": "a|2|(null)|4096|idle|0/2/0/2\n",
        "big": "b|64|gpu:a100:4(S:0)|512000|idle|0/64/0/64\n",
        "long": "c|8|(null)|16384|idle|0/8/0/8\n",
    }
    silent = False

    def run(self, command: Sequence[str]) -> str:
        if self.silent:
            raise JobError("Slurm does not answer.")
        if "%P|%l" in command:
            return self.partitions
        asked = command[command.index("-p") + 1].split(",") if "-p" in command else [*self.nodes]
        return "".join(self.nodes[name] for name in asked)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(on_slurm, "reach", lambda: None)
    monkeypatch.setattr(on_slurm, "_run", made.run)
    return made


def executor(tmp_path: Path, **scale: object) -> on_slurm.SlurmExecutor:
    settings = ScaleConfig(on="slurm", **scale)  # type: ignore[arg-type]
    return on_slurm.SlurmExecutor(
        ExperimentDir(tmp_path), DeviceConfig(), settings, lambda cohort, token: []
    )


@pytest.mark.parametrize(
    ("partition", "minutes", "limit"),
    [
        (None, None, 30),  # the default partition's own, though another has none
        (None, 20, 20),
        ("long", None, on_slurm.YEAR),
        ("big", None, on_slurm.MINUTES),
        ("big,debug", None, 30),
        ("unknown", None, on_slurm.MINUTES),
    ],
)
def test_a_job_asks_for_no_more_time_than_its_partition_gives(
    tmp_path: Path, cluster: Cluster, partition: str | None, minutes: int | None, limit: int
) -> None:
    cluster.nodes = {**Cluster.nodes, "unknown": ""}
    made = executor(tmp_path, partition=partition, minutes=minutes)
    assert made._parameters("transfer-000", None)["time"] == limit


def test_nodes_of_other_partitions_than_the_default_do_not_count(
    tmp_path: Path, cluster: Cluster
) -> None:
    made = executor(tmp_path)
    assert [node.host for node in made.nodes()] == ["a"] and made.capacity() == 2
    with pytest.raises(ConfigError, match="at most 2 cores"):
        executor(tmp_path, cpus=8).check()
    executor(tmp_path, cpus=8, partition="long").check()
    cluster.partitions = "long|infinite\nbig|infinite\ndebug|infinite\n"  # none is the default
    assert len(executor(tmp_path).nodes()) == 3


def test_while_slurm_is_silent_the_nodes_are_those_it_told_of_last(
    tmp_path: Path, cluster: Cluster
) -> None:
    made = executor(tmp_path)
    made._nodes_asked = -1e9
    cluster.silent = True
    assert made.capacity() == 2
    with pytest.raises(JobError, match="does not answer"):
        executor(tmp_path)


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("infinite", None),
        ("n/a", None),
        ("30:00", 30),
        ("1:00:00", 60),
        ("2-01:30:00", 2970),
        ("0:30", 1),
    ],
)
def test_limits_are_read_in_minutes(words: str, minutes: int | None) -> None:
    assert on_slurm._minutes(words) == minutes
