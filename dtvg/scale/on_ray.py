"""The executor on Ray: every cohort is an actor that starts `dtvg cohort` where Ray places it.

Detached actors, not tasks: they outlive a driver that is killed, and the next one finds them by
name. Ray places them by the resources a cohort asks for and says when a node is lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import ray

from dtvg import paths
from dtvg.config import DeviceConfig, ScaleConfig
from dtvg.errors import ConfigError, JobError
from dtvg.jobs.launcher import own_environment
from dtvg.scale.demand import Demand, demand_of, fits, nowhere
from dtvg.scale.executor import Ended, Job, Place
from dtvg.scale.launch import CLUSTER, CohortJob, passed_on
from dtvg.store.layout import ExperimentDir
from dtvg.training.signals import SIGNALS

NAMESPACE = "dtvg"
NODES_SECONDS = 2.0
"""Ray is asked for its nodes so often."""
CLIENT_PORT = 10001
"""Of `ray://HOST`, as Ray has it."""
KNOCK_SECONDS = 10.0
"""A machine that says nothing to a first connection for so long does not answer."""


class RayExecutor:
    """Actors of a Ray cluster, joined or started here."""

    name = "ray"
    pause = 0.5

    def __init__(
        self,
        experiment: ExperimentDir,
        config: DeviceConfig,
        scale: ScaleConfig,
        arguments: Callable[[str, str], list[str]],
    ) -> None:
        self.experiment = experiment
        self.arguments = arguments
        self.scale = scale
        self._joined = join(None if scale.on == "ray" else scale.on)
        self._refs: dict[str, Any] = {}
        self._actors: dict[str, Any] = {}
        self._asked = -1e9
        self._nodes: list[dict[str, Any]] = []
        gpu_there = any(_has(node, "GPU") for node in self.nodes())
        self.demand: Demand = demand_of(config, scale, gpu_there)
        self._actor = ray.remote(CohortJob)

    def nodes(self) -> list[dict[str, Any]]:
        """Return the living nodes of the cluster."""
        if time.monotonic() - self._asked > NODES_SECONDS:
            self._nodes = [node for node in ray.nodes() if node.get("Alive")]
            self._asked = time.monotonic()
        return self._nodes

    def _room(self, node: Mapping[str, Any]) -> int:
        memory = _has(node, "memory") / 2**30
        return fits(self.demand, _has(node, "CPU"), _has(node, "GPU"), memory)

    def check(self) -> None:
        """Refuse what no node has."""
        nodes = self.nodes()
        if not any(self._room(node) for node in nodes):
            most = {
                k: max((_has(n, k) for n in nodes), default=0) for k in ("CPU", "GPU", "memory")
            }
            largest = f"at most {most['CPU']:g} cores, {most['GPU']:g} GPUs and "
            largest += f"{most['memory'] / 2**30:.0f} GiB on one of {len(nodes)} nodes"
            raise nowhere(self.demand, largest, "the Ray cluster")

    def capacity(self) -> int:
        """Return the slots of the nodes there are now, or as many as were asked for.

        With `scale.slots` more may be asked of Ray than fits, so that a cluster that grows on
        demand sees it.
        """
        there = sum(self._room(node) for node in self.nodes())
        return self.scale.slots or there

    def start(self, cohort: str, token: str) -> Job:
        """Make a cohort's actor and let it run."""
        name = f"{self.experiment.name}:{cohort}:{token}"
        log = str(self.experiment.cohort(cohort).log_path)
        variables = {
            **passed_on(os.environ),
            **self.demand.environment(),
            "DTVG_HOME": str(paths.home()),
            CLUSTER: ray.get_runtime_context().gcs_address,
        }
        search = own_environment().get("PYTHONPATH")
        try:
            actor: Any = self._actor.options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                num_cpus=self.demand.cpus,
                num_gpus=self.demand.gpus or None,
                memory=int(self.demand.memory_gib * 2**30) if self.demand.memory_gib else None,
                max_restarts=0,
                max_task_retries=0,
                runtime_env={"env_vars": {"PYTHONPATH": search}} if search else None,
            ).remote(self.arguments(cohort, token), variables, log, f"Ray {name}")
            self._refs[cohort] = actor.run.remote()
        except Exception as error:  # noqa: BLE001 - Ray raises many kinds
            raise JobError(f"Ray did not take cohort '{cohort}': {_sentence(error)}") from None
        self._actors[cohort] = actor
        return Job(cohort, token, self.name, name, "", {}, time.time())

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        """Ask Ray which actors have ended."""
        refs = {self._refs[job.cohort]: job for job in jobs if job.cohort in self._refs}
        if not refs:
            return {}
        done, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
        found = {}
        for ref in done:
            job = refs[ref]
            found[job.cohort] = self._outcome(job, ref)
            del self._refs[job.cohort]
            actor = self._actors.pop(job.cohort, None)
            if actor is not None:
                with contextlib.suppress(Exception):
                    ray.kill(actor)
        return found

    def _outcome(self, job: Job, ref: Any) -> Ended:
        try:
            outcome = ray.get(ref)
        except ray.exceptions.RayActorError as error:
            self._asked = -1e9
            text = _sentence(error)
            return Ended("lost", f"Ray actor of {job.cohort} is gone: {text}", "node" in text)
        except Exception as error:  # noqa: BLE001 - what the actor raised, as Ray wraps it
            return Ended("refused", f"Ray could not run cohort '{job.cohort}': {_sentence(error)}")
        if outcome is None:
            return Ended("lost", "Its worker ended without a word.")
        code, host, said = outcome
        kind = {3: "refused", 4: "held"}.get(code, "lost" if code < 0 else "failed")
        return Ended(kind, f"On host {host}: {said or f'ended with status {code}'}")  # type: ignore[arg-type]

    def stop(self, job: Job) -> None:
        """Kill an actor that waits for resources; one that trains was asked by a file."""
        if self._state(job) in ("PENDING_CREATION", "DEPENDENCIES_UNREADY"):
            with contextlib.suppress(Exception):
                ray.kill(self._actors[job.cohort])

    def _state(self, job: Job) -> str:
        """Return Ray's word for an actor's state; empty where it does not say."""
        with contextlib.suppress(Exception):
            ready = ray.wait([self._actors[job.cohort].__ray_ready__.remote()], timeout=0.05)[0]
            log = self.experiment.cohort(job.cohort)
            return "ALIVE" if ready or log.process_path.exists() else "PENDING_CREATION"
        return ""

    def adopt(self, job: Job) -> bool | None:
        """Find an actor by its name."""
        try:
            actor = ray.get_actor(job.id, namespace=NAMESPACE)
        except ValueError:
            return False
        self._actors[job.cohort] = actor
        self._refs[job.cohort] = actor.result.remote()  # answered once `run` has ended
        return True

    def places(self) -> list[Place]:
        """Return a row per node."""
        free = ray.available_resources()
        all_ = f"{free.get('CPU', 0):g} cores and {free.get('GPU', 0):g} GPUs of all free"
        return [
            Place(
                str(node.get("NodeManagerHostname", node.get("NodeManagerAddress", ""))),
                f"{_has(node, 'CPU'):g} cores"
                + (f", {_has(node, 'GPU'):g} GPUs" if _has(node, "GPU") else "")
                + f" ({all_})",
                self._room(node),
            )
            for node in self.nodes()
        ]

    def close(self) -> None:
        """Leave the cluster; what runs told each other is in files."""
        with contextlib.suppress(Exception):
            ray.kill(ray.get_actor(name_of_offers(self.experiment), namespace=NAMESPACE))
        if self._joined:
            with contextlib.suppress(Exception):
                ray.shutdown()


def join(address: str | None) -> bool:
    """Connect to Ray: the given cluster, else one that runs here, else a new one.

    Returns:
        Whether this made the connection.

    Raises:
        ConfigError: nobody answers there.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": False,
    }
    kept = {number: signal.getsignal(number) for number in SIGNALS}
    if address:
        reach(address)
        _show_token()
    try:
        ray.init(address=address, **options)
    except Exception as error:  # noqa: BLE001 - Ray raises many kinds
        raise _nobody(address, error) from None
    if threading.current_thread() is threading.main_thread():
        for number, handler in kept.items():  # Ray's own would end the driver without a word
            if handler is not None:
                signal.signal(number, handler)
    return True


def reach(address: str) -> None:
    """Open a connection to an address and close it: Ray itself tries a dead one for minutes.

    Raises:
        ConfigError: nobody listens there, or there is no such host.
    """
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        where = (parts.hostname or "", parts.port or CLIENT_PORT)
        with socket.create_connection(where, timeout=KNOCK_SECONDS):
            pass
    except (OSError, ValueError) as error:
        raise _nobody(address, error) from None


def _nobody(address: str | None, error: BaseException) -> ConfigError:
    where = f"at '{address}'" if address else "on this machine"
    return ConfigError(
        f"No Ray cluster answers {where} ({_sentence(error)}); check the address, that "
        "`ray status` works there, and that ~/.ray/auth_token is the same here where the "
        "cluster has one; or use --on ray to start one here."
    )


def _show_token() -> None:
    """Let a client show Ray's token where there is one: a head that finds one asks for it.

    Ray's own client at `ray://` does so only where `RAY_AUTH_MODE` is set, which is respected.
    """
    with contextlib.suppress(ImportError):
        from ray._private.authentication import authentication_token_setup as tokens

        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def name_of_offers(experiment: ExperimentDir) -> str:
    """Return the name of the actor that holds what an experiment's runs tell each other.

    An experiment of the same name in another folder, or made anew in this one, has another.
    """
    made = f"{experiment.path.resolve()}\n{experiment.config_path.stat().st_mtime_ns}"
    return f"{experiment.name}:offers:{hashlib.sha256(made.encode()).hexdigest()[:12]}"


def _has(node: Mapping[str, Any], what: str) -> float:
    return float((node.get("Resources") or {}).get(what, 0.0))


def _sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = (
        " ".join(lines) if isinstance(error, ray.exceptions.RayActorError) else (lines or [""])[-1]
    )
    return text[:300] or type(error).__name__
