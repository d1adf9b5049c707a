"""The executor on Slurm: every cohort that is ready becomes a job, submitted through submitit.

Before its time limit or a preemption Slurm sends a signal: the worker commits, submitit requeues
the job under its number, and the cohort goes on from its commit. Jobs outlive the driver.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtvg import paths
from dtvg.config import DeviceConfig, ScaleConfig
from dtvg.errors import ConfigError, JobError
from dtvg.jobs.launcher import own_environment
from dtvg.scale.demand import Demand, demand_of, fits, nowhere
from dtvg.scale.executor import Ended, Job, Place
from dtvg.scale.launch import CohortJob, passed_on, tail
from dtvg.store.layout import ExperimentDir

log = logging.getLogger(__name__)

ASK_SECONDS = 2.0
"""squeue and sinfo are asked so often at most, for all jobs together."""
COMMAND_SECONDS = 60.0
MINUTES, YEAR = 60, 60 * 24 * 365
"""Time limit of a job where none is configured: where the partition has one, and where not."""
TIMEOUTS = 1000
"""A job is requeued at its limit so often; a cohort without progress is given up before."""
GONE = {
    "CANCELLED": "was cancelled",
    "TIMEOUT": "came to its time limit",
    "NODE_FAIL": "lost its node",
    "PREEMPTED": "was preempted",
    "OUT_OF_MEMORY": "ran out of memory",
    "BOOT_FAIL": "lost its node",
    "DEADLINE": "came to its deadline",
}
BLAMELESS = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "CANCELLED")
ALIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "STAGE_OUT"),
    *("REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SIGNALING", "STOPPED"),
}


@dataclass(frozen=True)
class Node:
    """A node as sinfo tells of it."""

    host: str
    cores: float
    gpus: float
    memory_gib: float
    state: str
    idle: float
    """Cores that nobody has."""

    @property
    def words(self) -> str:
        """Say what it has."""
        gpus = f", {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.cores:g} cores ({self.idle:g} free){gpus}, {self.memory_gib:.0f} GiB"


def _node(row: Sequence[str]) -> Node:
    """Read a row of sinfo: name, cores, generic resources, MiB, state, cores by state."""
    idle = row[5].split("/")[1] if row[5].count("/") == 3 else "0"
    return Node(
        row[0], float(row[1]), _gpus(row[2]), float(row[3]) / 1024, row[4], float(idle or 0)
    )


class SlurmExecutor:
    """Jobs of a Slurm cluster."""

    name = "slurm"
    pause = 1.0

    def __init__(
        self,
        experiment: ExperimentDir,
        config: DeviceConfig,
        scale: ScaleConfig,
        arguments: Callable[[str, str], list[str]],
    ) -> None:
        reach()
        self.experiment = experiment
        self.scale = scale
        self.arguments = arguments
        self._nodes_asked = self._jobs_asked = -1e9
        self._nodes: list[Node] = []
        self._states: dict[str, tuple[str, str]] = {}
        gpu_there = any(node.gpus for node in self.nodes())
        self.demand: Demand = demand_of(config, scale, gpu_there)
        if self.demand.gpus % 1:
            raise ConfigError(
                f"scale.gpus is {self.demand.gpus:g}, and Slurm gives whole GPUs; set it to 1."
            )

    def nodes(self) -> list[Node]:
        """Return the partition's nodes; while Slurm does not answer, those it told of last.

        Raises:
            JobError: it never answered.
        """
        if time.monotonic() - self._nodes_asked > 5 * ASK_SECONDS:
            try:
                self._nodes = self._told()
            except JobError as error:
                if not self._nodes:
                    raise
                log.warning("%s What it told of its nodes before counts.", error)
            self._nodes_asked = time.monotonic()
        return self._nodes

    def _told(self) -> list[Node]:
        """Ask Slurm for the partition's nodes."""
        text = _run(["sinfo", "-h", "-N", *self._chosen, "-o", "%N|%c|%G|%m|%T|%C"])
        rows = [line.split("|") for line in text.splitlines() if line.count("|") == 5]
        return list({row[0]: _node(row) for row in rows}.values())

    @functools.cached_property
    def _partitions(self) -> dict[str, int | None]:
        """Each partition that jobs go to, with the minutes it lets a job have; None: any.

        That is the chosen one (or several), else Slurm's default, else all.
        """
        rows = [line.split("|") for line in _run(["sinfo", "-h", "-o", "%P|%l"]).splitlines()]
        there = {row[0]: _minutes(row[1]) for row in rows if len(row) == 2}
        names = {name.removesuffix("*"): limit for name, limit in there.items()}
        if self.scale.partition:
            asked = self.scale.partition.split(",")
            return {name: names.get(name, MINUTES) for name in asked}
        return {n.removesuffix("*"): limit for n, limit in there.items() if n[-1:] == "*"} or names

    @property
    def _chosen(self) -> list[str]:
        """Options by which sinfo tells of these partitions only."""
        return ["-p", ",".join(self._partitions)] if self._partitions else []

    def check(self) -> None:
        """Refuse what no node of the partition has, or what Slurm would never start."""
        nodes = self.nodes()
        if not nodes:
            raise ConfigError(
                f"Slurm knows no node in partition '{self.scale.partition or 'default'}'; "
                "`sinfo` lists the partitions."
            )
        if not any(self._room(node) for node in nodes):
            largest = (
                f"at most {max(n.cores for n in nodes):g} cores, {max(n.gpus for n in nodes):g} "
                f"GPUs and {max(n.memory_gib for n in nodes):.0f} GiB"
            )
            raise nowhere(self.demand, largest, "the Slurm partition")

    def _room(self, node: Node) -> int:
        return fits(self.demand, node.cores, node.gpus, node.memory_gib)

    def capacity(self) -> int:
        """Return how many jobs may be submitted: those asked for, else what the nodes hold."""
        up = [node for node in self.nodes() if not node.state.startswith(("down", "drain", "fail"))]
        return self.scale.slots or max(1, sum(self._room(node) for node in up))

    def start(self, cohort: str, token: str) -> Job:
        """Submit a cohort."""
        import submitit

        log = str(self.experiment.cohort(cohort).log_path)
        variables = {
            **passed_on(os.environ),
            **self.demand.environment(),
            "DTVG_HOME": str(paths.home()),
        }
        search = own_environment().get("PYTHONPATH")
        if search:
            variables["PYTHONPATH"] = search
        work = CohortJob(self.arguments(cohort, token), variables, log, "")
        try:
            folder = self.experiment.path / ".slurm"
            folder.mkdir(exist_ok=True)
            executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=TIMEOUTS)
            executor.update_parameters(**self._parameters(cohort, search))
            job = executor.submit(work)
        except Exception as error:  # noqa: BLE001 - of sbatch, submitit or the disk
            text = " ".join(str(error).split())[-300:]
            raise JobError(f"Slurm did not take cohort '{cohort}': {text}") from None
        self._jobs_asked = -1e9
        return Job(cohort, token, self.name, str(job.job_id), "", {}, time.time())

    def _parameters(self, cohort: str, search: str | None) -> dict[str, Any]:
        """Return submitit's parameters of a job."""
        scale = self.scale
        more: dict[str, Any] = dict(scale.slurm)
        chosen: dict[str, Any] = {
            "job_name": f"dtvg-{self.experiment.name}-{cohort}"[:60],
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": self.demand.cpus,
            "signal_delay_s": scale.grace_seconds,
            "setup": [*([f"export PYTHONPATH={_quoted(search)}"] if search else []), *scale.setup],
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True, "open_mode": "append", **more},
        }
        limits = [limit for limit in self._partitions.values() if limit is not None]
        chosen["time"] = scale.minutes or (min(MINUTES, *limits) if limits else YEAR)
        if self.demand.gpus:
            chosen["gpus_per_node"] = int(self.demand.gpus)
        if self.demand.memory_gib:
            chosen["mem"] = f"{int(self.demand.memory_gib * 1024)}MB"
        for name in ("partition", "account"):
            if getattr(scale, name):
                chosen[name] = getattr(scale, name)
        return chosen

    def _ask(self) -> None:
        """Ask for the states of all of this user's jobs at once."""
        if time.monotonic() - self._jobs_asked < ASK_SECONDS:
            return
        command = ["squeue", "-h", "--states=all", "-u", getpass.getuser(), "-o", "%A|%T|%N"]
        rows = [line.split("|") for line in _run(command).splitlines() if line.count("|") == 2]
        self._states = {row[0]: (row[1], row[2]) for row in rows}
        self._jobs_asked = time.monotonic()

    def watch(self, jobs: Sequence[Job]) -> Mapping[str, Ended]:
        """Ask Slurm which jobs have ended; while it does not answer, none has."""
        if not jobs:
            return {}
        with contextlib.suppress(JobError):
            self._ask()
            return {j.cohort: self._ended(j) for j in jobs if not self._lives(j)}
        return {}

    def _lives(self, job: Job) -> bool:
        known = self._states.get(job.id)
        if known is None:  # just submitted, or forgotten long after its end
            return time.time() - job.started < 5 * ASK_SECONDS
        return known[0] in ALIVE

    def _ended(self, job: Job) -> Ended:
        state, node = self._states.get(job.id, ("forgotten by Slurm", ""))
        on = f" on {node}" if node and node != "n/a" else ""
        word = GONE.get(state, f"ended ({state.lower()})")
        said = self._last_line(job) if state == "FAILED" else ""
        why = f"Slurm job {job.id}{on} {word}." + (f" Its last line: {said}" if said else "")
        if state == "FAILED" and not said:
            why += (
                f" It wrote nothing: either scale.setup ended it, or its node does not see "
                f"'{self.experiment.path}'; mount it there, or give a --runs-dir that every node "
                "sees."
            )
        return Ended("lost", why, blameless=state in BLAMELESS)

    def _last_line(self, job: Job) -> str:
        """Return the last line of the worker's log, else of what the job itself wrote."""
        said = tail(self.experiment.cohort(job.cohort).log_path)
        return said or tail(self.experiment.path / ".slurm" / f"{job.id}_0_log.out")

    def stop(self, job: Job) -> None:
        """Take a pending job back; one that trains was asked by a file."""
        with contextlib.suppress(JobError):
            _run(["scancel", "--state=PENDING", job.id])

    def adopt(self, job: Job) -> bool | None:
        """Ask Slurm for the job."""
        try:
            self._ask()
        except JobError:
            return None
        return job.id in self._states and self._states[job.id][0] in ALIVE

    def places(self) -> list[Place]:
        """Return a row per node."""
        with contextlib.suppress(JobError):
            return [Place(n.host, n.words, self._room(n), n.state) for n in self.nodes()]
        return []

    def close(self) -> None:
        """Nothing is held."""


def reach() -> None:
    """Look whether jobs can be submitted from here.

    Raises:
        ConfigError: they cannot.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "There is no Slurm on this machine (no `sbatch`); run this on a login node of the "
            "cluster, or use --on local."
        )


def _run(command: Sequence[str]) -> str:
    """Run one of Slurm's commands.

    Raises:
        JobError: it fails or does not answer.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"Slurm does not answer ({error}).") from None
    if done.returncode:
        raise JobError(f"`{' '.join(command)}` failed: {done.stderr.strip()[:300]}")
    return done.stdout


def _minutes(text: str) -> int | None:
    """Return a limit in Slurm's words in minutes, `[days-]hours:minutes:seconds`; None: without."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in (days or "0", *parts)):
        return None
    hours, minutes = ([0, 0, *map(int, parts[:-1])])[-2:]
    return max(1, (24 * int(days or 0) + hours) * 60 + minutes)


def _gpus(text: str) -> float:
    """Return the number of GPUs in Slurm's words for generic resources: `gpu:a100:4(S:0)`."""
    found = 0.0
    for part in text.split(","):
        if part.startswith("gpu"):
            number = part.partition("(")[0].rpartition(":")[2]
            found += float(number) if number.isdecimal() else 0.0
    return found


def _quoted(text: str | None) -> str:
    import shlex

    return shlex.quote(text or "")
