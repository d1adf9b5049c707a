"""Offers of runs that exchange, held by an actor of the Ray cluster in front of the files.

An actor answers without the file system's delay. Every offer goes to the files as well, so that a
cluster that ends, or an actor that is gone, takes nothing with it. docs/scale.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

from dtvg.jobs.launcher import own_environment
from dtvg.scale.launch import CLUSTER
from dtvg.store.layout import ExperimentDir, load_experiment
from dtvg.store.offers import KEPT, Arrays, OfferFiles, Place

log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
START_SECONDS = 60.0
"""A new actor's process may take long to begin."""


class OfferHolder:
    """What the actor does: keep the newest offers of each run."""

    def __init__(self) -> None:
        self._offers: dict[str, dict[int, Arrays]] = {}

    def put(self, run: str, step: int, offer: Arrays) -> None:
        """Keep an offer, and forget what nobody in step can ask for."""
        mine = self._offers.setdefault(run, {})
        mine[step] = offer
        for old in sorted(mine)[:-KEPT]:
            del mine[old]

    def at(self, run: str, step: int) -> Arrays | None:
        """Return a run's offer after a step."""
        return self._offers.get(run, {}).get(step)

    def newest(self, run: str) -> int | None:
        """Return the step of a run's newest offer."""
        return max(self._offers.get(run, {}), default=None)


class RayOffers:
    """An actor in front of the files; once it does not answer, the files alone."""

    def __init__(self, files: OfferFiles, actor: Any, leave: Callable[[], None]) -> None:
        self.files = files
        self._actor = actor
        self._leave = leave

    def publish(self, run: str, step: int, offer: Arrays) -> None:
        """Write an offer, and tell it to the actor without waiting."""
        self.files.publish(run, step, offer)
        if self._actor is not None:
            with contextlib.suppress(Exception):  # said when it is asked
                self._actor.put.remote(run, step, dict(offer))

    def at(self, run: str, step: int) -> Arrays | None:
        """Return a run's offer after a step."""
        found: Arrays | None = self._ask("at", run, step)
        return self.files.at(run, step) if found is None else found

    def newest(self, run: str) -> int | None:
        """Return the step of a run's newest offer."""
        found: int | None = self._ask("newest", run)
        return self.files.newest(run) if found is None else found

    def _ask(self, what: str, *arguments: Any) -> Any:
        if self._actor is None:
            return None
        import ray

        try:
            asked = getattr(self._actor, what).remote(*arguments)
            return ray.get(asked, timeout=ANSWER_SECONDS)
        except Exception as error:  # noqa: BLE001 - Ray raises many kinds
            why = str(error).partition("\n")[0]
            log.warning("the actor of offers does not answer (%s); from now on files", why)
            self._actor = None
            return None

    def close(self) -> None:
        """Leave the cluster; the actor stays for the others."""
        self._actor = None
        self._leave()


def meeting_of(experiment: ExperimentDir) -> Place | None:
    """Return where a worker's runs meet; None: in files alone.

    That is an actor where the worker was started on Ray and its experiment has runs that exchange.
    """
    address = os.environ.get(CLUSTER)
    if not address or not exchanges(experiment):
        return None
    try:
        import ray

        from dtvg.scale.on_ray import NAMESPACE, join, name_of_offers

        joined = join(address)
        search = own_environment().get("PYTHONPATH")
        holder: Any = ray.remote(OfferHolder)
        actor = holder.options(
            name=name_of_offers(experiment),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            runtime_env={"env_vars": {"PYTHONPATH": search}} if search else None,
        ).remote()
        ray.get(actor.__ray_ready__.remote(), timeout=START_SECONDS)
        leave = ray.shutdown if joined else (lambda: None)
        return RayOffers(OfferFiles(experiment), actor, leave)
    except Exception as error:  # noqa: BLE001 - of a library; files do as well
        log.warning("Ray cannot be reached from this worker (%s); runs meet in files", error)
        return None


def exchanges(experiment: ExperimentDir) -> bool:
    """Whether an experiment has runs that exchange."""
    _, config = load_experiment(experiment.path)
    return any(m.exchanges_with(t) for m in config.methods for t in config.targets)
