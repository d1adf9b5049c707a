"""What a cohort asks for, where there is room for it, and settings that are part of no result."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.config import DeviceConfig, RunConfig, ScaleConfig, build_config
from dtvg.config.reading import read_yaml
from dtvg.errors import ConfigError
from dtvg.jobs.devices import Device
from dtvg.plan.estimate import slots_text, wall_times
from dtvg.plan.graph import plan
from dtvg.scale import driver
from dtvg.scale.demand import Demand, demand_of, fits
from dtvg.scale.launch import CohortJob, passed_on
from dtvg.scale.local import local_slots
from dtvg.scale.on_slurm import _gpus
from dtvg.store.layout import ExperimentDir, create_experiment
from tests.scale.factory import config

GPUS = [Device(f"cuda:{n}", "GPU", 80, 80) for n in range(2)]


def test_demands_follow_the_device() -> None:
    found = demand_of(DeviceConfig(name="auto"), ScaleConfig(), gpu_there=True)
    assert (found.gpus, found.device) == (1.0, "cuda:0")
    found = demand_of(DeviceConfig(name="auto", threads=3), ScaleConfig(), gpu_there=False)
    assert (found.gpus, found.cpus, found.device) == (0.0, 3, "cpu")
    with pytest.raises(ConfigError, match="scale.gpus is 1, but device.name is cpu"):
        demand_of(DeviceConfig(name="cpu"), ScaleConfig(gpus=1), gpu_there=True)


def test_gpus_are_shared_by_fractions_and_never_more_than_there_are() -> None:
    assert fits(Demand(1, 0.5, None, "cuda:0"), 16, 2, 64) == 4
    assert fits(Demand(8, 1.0, None, "cuda:0"), 16, 4, 64) == 2
    assert fits(Demand(1, 0, 30.0, "cpu"), 16, 0, 64) == 2
    assert [s.gpu for s in local_slots(Demand(1, 0.5, None, "cuda:0"), GPUS)][:2] == ["0", "1"]
    assert _gpus("gpu:a100:4(S:0-1)") == 4 and _gpus("(null)") == 0 and _gpus("gpu:2") == 2


def test_a_gpu_that_is_named_is_the_only_one_used(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Demand(1, 1.0, None, "cuda:0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [slot.gpu for slot in local_slots(whole, GPUS, "cuda:1")] == ["1"]
    assert local_slots(whole, GPUS, "cuda:2") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [slot.gpu for slot in local_slots(whole, GPUS, "cuda:1")] == ["6"]
    monkeypatch.setattr(driver, "list_devices", lambda: GPUS)
    settings = DeviceConfig(name="cuda:1"), ScaleConfig(on="local")
    made = driver.make_executor(ExperimentDir(Path()), *settings, lambda cohort, token: [])
    assert made.capacity() == 1
    settings = DeviceConfig(name="cuda:2"), ScaleConfig(on="local")
    made = driver.make_executor(ExperimentDir(Path()), *settings, lambda cohort, token: [])
    with pytest.raises(ConfigError, match="'cuda:2' is not on this machine. Allowed: .*, cuda:1;"):
        made.check()


def test_scale_is_part_of_no_fingerprint_and_of_no_run(tmp_path: Path) -> None:
    made, other = config(tmp_path), config(tmp_path, scale={"on": "slurm", "slots": 9})
    assert made.fingerprint() == other.fingerprint() and "scale" not in RunConfig.model_fields
    create_experiment(made, tmp_path / "runs")
    create_experiment(other, tmp_path / "runs")  # the same experiment, somewhere else
    assert build_config(read_yaml(other.to_yaml(), "text")) == other
    values = read_yaml("targets: [rte]\nmethods: [none]\nscale:\n  on: ray://head:10001\n", "text")
    assert build_config(values).scale.on == "ray://head:10001"
    with pytest.raises(ConfigError, match="scale.on"):
        build_config({**values, "scale": {"on": "cloud"}})


def test_secrets_do_not_travel_with_a_job() -> None:
    environment = {"HF_TOKEN": "x", "HF_HOME": "/h", "DTVG_SHARED": "/s", "PATH": "/bin"}
    assert passed_on(environment) == {"HF_HOME": "/h", "DTVG_SHARED": "/s"}
    assert passed_on({"TOKENIZERS_PARALLELISM": "false", "HF_TOKEN_PATH": "/t"}) == {
        "TOKENIZERS_PARALLELISM": "false"
    }
    assert passed_on({"DTVG_RUNS": "s3://lab/runs"}) == {
        "DTVG_RUNS": ""
    }  # nothing trains beside it
    assert passed_on({"DTVG_RUNS": "/lab/runs"}) == {"DTVG_RUNS": "/lab/runs"}


def test_a_machine_that_does_not_see_the_folder_is_named(tmp_path: Path) -> None:
    job = CohortJob([], {}, str(tmp_path / "absent" / "cohorts" / "a" / "log.txt"), "job")
    code, host, said = job.run()
    assert code == 3 and host in said and "does not see the folder" in said


def test_more_slots_shorten_the_estimate_until_the_critical_path(tmp_path: Path) -> None:
    made = config(tmp_path, backbone="demo", seeds=[0, 1, 2, 3])
    times = wall_times(made)
    assert times[1] > times[2] > times[4] and slots_text(times).count(" on ") == 4
    fixed = wall_times(made, (64, 128), plan(made, 4))
    assert fixed[64] == fixed[128]
