"""Real Ray clusters of several nodes here: a node is killed, one comes, a driver goes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dtvg
from dtvg.config import ScaleConfig
from dtvg.errors import ConfigError
from dtvg.plan.stored import lay_out
from dtvg.scale import driver
from dtvg.scale.launch import CLUSTER
from dtvg.scale.ray_offers import meeting_of
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
from dtvg.training.procedures import run_experiment
from tests.scale.factory import config, histories, once_committed

ray = pytest.importorskip("ray", reason="needs the extra dtvg[ray]")
cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra dtvg[ray]")

from dtvg.scale.on_ray import name_of_offers  # noqa: E402 - imports ray


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose first node trains nothing; tests add those that do."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_health_check_initial_delay_ms", "1000")
    # nodes are added from threads too, where no signal handler can be set
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)
    made = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield made
    with contextlib.suppress(Exception):
        ray.shutdown()
    made.shutdown()


def test_cohorts_train_on_a_cluster_and_what_no_node_has_is_refused(
    tmp_path: Path, cluster: Any
) -> None:
    cluster.add_node(num_cpus=2)
    experiment = lay_out(config(tmp_path, steps=6, sources=[], methods=["none"]), tmp_path / "runs")
    with pytest.raises(ConfigError, match="no machine of the Ray cluster has that much"):
        driver.drive(experiment, ScaleConfig(on=cluster.address, cpus=64))
    scheduler = driver.drive(
        experiment, ScaleConfig(on=cluster.address), bank=PromptBank(tmp_path / "bank")
    )
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    (run,) = [r for r in histories(experiment.path) if r.startswith("rte.")]
    from dtvg.store.reader import open_run

    assert open_run(experiment.run(run).path).job.startswith("Ray scaled:")


@pytest.mark.slow
def test_nodes_killed_and_one_added_in_mid_run_change_no_number(
    tmp_path: Path, cluster: Any
) -> None:
    """Both first nodes go, one after the other, so that only the added one can end the rest."""
    made = config(tmp_path, steps=300)
    alone = lay_out(made, tmp_path / "alone")
    run_experiment(alone, bank=PromptBank(tmp_path / "bank-alone"))
    first, second = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    experiment = lay_out(made, tmp_path / "runs")
    added, over = [], threading.Event()

    def lose(pid: int) -> None:
        cluster.remove_node(first, allow_graceful=False)
        added.append(cluster.add_node(num_cpus=2))
        cluster.remove_node(second, allow_graceful=False)
        over.wait(900)  # a node that a thread started ends with that thread

    losing = once_committed(experiment, "transfer-000", lose)
    scheduler = driver.drive(
        experiment, ScaleConfig(on=cluster.address), bank=PromptBank(tmp_path / "bank")
    )
    over.set()
    losing.join(60)
    assert added
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}
    assert scheduler.attempts["transfer-000"].jobs >= 2
    assert histories(experiment.path) == histories(alone.path)


DRIVER = """
import sys
from pathlib import Path
from dtvg.config import ScaleConfig
from dtvg.scale import driver
from dtvg.scale.launch import CLUSTER
from dtvg.scale.ray_offers import meeting_of
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
path = Path(sys.argv[1])
bank = PromptBank(path.parent.parent / "bank")
driver.drive(ExperimentDir(path), ScaleConfig(on=sys.argv[2]), bank=bank)
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_its_actors_and_the_next_one_takes_them_over(
    tmp_path: Path, cluster: Any
) -> None:
    cluster.add_node(num_cpus=2)
    experiment = lay_out(config(tmp_path, steps=400), tmp_path / "runs")
    command = [sys.executable, "-c", DRIVER, str(experiment.path), cluster.address]
    first = subprocess.Popen(command)
    once_committed(experiment, "transfer-000", lambda pid: None).join(900)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(1)
    scheduler = driver.drive(
        experiment, ScaleConfig(on=cluster.address), bank=PromptBank(tmp_path / "bank")
    )
    assert scheduler.attempts["transfer-000"].jobs == 0  # taken over
    assert {ended.kind for ended in scheduler.over.values()} == {"done"}


def test_an_address_at_which_nobody_answers_is_refused(tmp_path: Path) -> None:
    experiment = lay_out(config(tmp_path), tmp_path / "runs")
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "no-such-host.invalid:6379"):
        with pytest.raises(ConfigError, match=f"No Ray cluster answers at '{address}'"):
            driver.drive(experiment, ScaleConfig(on=address))
        with pytest.raises(ConfigError, match=f"No Ray cluster answers at '{address}'"):
            dtvg.run(config(tmp_path), tmp_path / "other", on=address)
    assert not ray.is_initialized() and not (tmp_path / "other").exists()


def test_a_cluster_at_an_address_is_shown_the_token_that_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dtvg.scale import on_ray

    tokens = pytest.importorskip("ray._private.authentication.authentication_token_setup")
    called: list[str] = []
    name = "maybe_enable_token_auth_if_token_available"
    monkeypatch.setattr(tokens, name, lambda **more: called.append("token"))
    monkeypatch.setattr(on_ray, "reach", lambda address: called.append("knock"))
    monkeypatch.setattr(ray, "init", lambda **more: called.append(more["address"]))
    assert on_ray.join("ray://127.0.0.1:10001")
    assert called == ["knock", "token", "ray://127.0.0.1:10001"]


def test_experiments_of_one_name_have_offers_of_their_own(tmp_path: Path) -> None:
    made = config(tmp_path)
    one, other = (lay_out(made, tmp_path / folder) for folder in ("runs", "elsewhere"))
    before = name_of_offers(one)
    assert name_of_offers(other) != before == name_of_offers(ExperimentDir(one.path))
    shutil.rmtree(one.path)
    assert name_of_offers(lay_out(made, tmp_path / "runs")) != before


@pytest.mark.slow
def test_an_actor_holds_offers_in_front_of_the_files_and_may_die(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.add_node(num_cpus=1)
    shared = {"name": "primal_dual", "share": ["rte", "cola"]}
    made = config(tmp_path, targets=["rte", "cola"], methods=[shared])
    experiment = lay_out(made, tmp_path / "runs")
    ray.init(address=cluster.address, namespace="dtvg", log_to_driver=False)
    monkeypatch.setenv(CLUSTER, cluster.address)
    one, two = meeting_of(experiment), meeting_of(experiment)
    assert one is not None and two is not None
    run = made.runs()[0].name
    one.publish(run, 3, {"vector": np.arange(3.0)})
    offer = experiment.run(run).path / "offers" / "offer-000000003.safetensors"
    assert offer.exists()
    offer.unlink()
    assert two.newest(run) == 3 and two.at(run, 3)["vector"].tolist() == [0, 1, 2]
    ray.kill(ray.get_actor(name_of_offers(experiment), namespace="dtvg"))
    one.publish(run, 4, {"vector": np.ones(3)})
    assert two.newest(run) == 4 and two.at(run, 4)["vector"].tolist() == [1, 1, 1]
