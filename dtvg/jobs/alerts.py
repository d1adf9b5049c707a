"""The process that watches experiments and sends alerts, apart from training and from the app.

It is started with training where `<home>/alerts.yaml` is there, looks at files every few seconds,
and ends once nothing that it watches trains any more. What was told is noted, so that it is told
once, also where the process is killed and started again. docs/alerts.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dtvg import paths
from dtvg.config.alerts import EXAMPLE, AlertsConfig, Event, alerts
from dtvg.errors import ConfigError, DtvgError, JobError
from dtvg.jobs import launcher
from dtvg.jobs.deliver import Alert, channels, send
from dtvg.jobs.news import Told, news
from dtvg.store.files import is_locked, locked, read_json, replace_json
from dtvg.store.layout import ExperimentDir
from dtvg.store.liveness import look_at_all
from dtvg.store.reader import open_experiment

POLL_S = 5.0
TRIES = 4
"""How often an alert is offered to a channel that does not take it."""
QUIET_S = 60.0
"""Seconds after which an experiment that nobody trains is not watched any more."""
KEPT_LINES = 500

log = logging.getLogger(__name__)


class _Waiting(BaseModel):
    """An alert that a channel has not taken yet."""

    alert: Alert
    channel: str
    tries: int = 0


class _Watched(BaseModel):
    """One experiment that is watched: `<home>/alerts/<digest>.json`."""

    path: str
    told: Told = Told()
    quiet_since: float = 0.0
    """Since when nobody trains it; 0: somebody does."""
    outbox: list[_Waiting] = []


def folder() -> Path:
    """Return where it is noted what is watched and what was told."""
    return paths.home() / "alerts"


def watch(experiment: ExperimentDir) -> None:
    """Watch an experiment that is about to train; nothing where no alerts are set up.

    Whatever goes wrong here is logged and never stops training.
    """
    try:
        if alerts() is None:
            return
        folder().mkdir(parents=True, exist_ok=True)
        path = str(experiment.path.resolve())
        place = folder() / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}.json"
        with locked(folder() / ".changing"):
            before = _read(place) or _Watched(path=path, told=_as_it_is(experiment))
            before.told = replace(before.told, grew=0.0, stalled=False)
            before.quiet_since = 0.0
            _write(place, before)
        ensure()
    except (DtvgError, OSError) as error:
        log.warning("alerts are not sent: %s", error)


def _as_it_is(experiment: ExperimentDir) -> Told:
    """Return what of an experiment needs no telling, because it was so before this start."""
    return news(open_experiment(experiment.path), Told(), time.time(), float("inf")).told


def ensure() -> None:
    """Start the process where something is watched and none is at it."""
    if is_locked(folder() / ".worker") or not any(folder().glob("*.json")):
        return
    command = launcher.own_command("alerts", "work")
    with contextlib.suppress(OSError):
        home = {"DTVG_HOME": str(paths.home())}
        launcher.detached(command, folder() / "log.txt", home)


def work(pause: float = POLL_S, quiet: float = QUIET_S) -> None:
    """Watch until nothing is left to be watched; returns at once where another process does."""
    with ExitStack() as stack:
        if not stack.enter_context(locked(folder() / ".worker", wait=False)):
            return
        while True:
            with locked(folder() / ".changing"):
                left = turn(time.time(), quiet)
                if not left:
                    stack.close()  # inside the lock: whoever comes next must find nobody at it
                    return
            _deliver_all()
            time.sleep(pause)


def turn(now: float, quiet: float = QUIET_S) -> int:
    """Look at everything that is watched once; return how much is left. Sends nothing.

    Args:
        now: the time.
        quiet: seconds after which an experiment at rest is not watched any more.
    """
    places = sorted(folder().glob("*.json"))
    try:
        config = alerts()
    except ConfigError as error:
        _warn(f"Nothing is sent until this is mended: {error}")
        return len(places)
    left = 0
    for place in places:
        watched = _read(place)
        if watched is None or config is None or not Path(watched.path).is_dir():
            place.unlink(missing_ok=True)
            continue
        _look(watched, config, now)
        over = watched.quiet_since and now - watched.quiet_since >= quiet
        if over and not watched.outbox:
            place.unlink(missing_ok=True)
            continue
        _write(place, watched)
        left += 1
    return left


@lru_cache(maxsize=1)
def _warn(sentence: str) -> None:
    """Log a sentence, once until there is another: the settings are looked at all the time."""
    log.warning("%s", sentence)


def _look(watched: _Watched, config: AlertsConfig, now: float) -> None:
    """Add what is new in one experiment to its outbox."""
    path = Path(watched.path)
    stalled = config.stalled_minutes * 60
    found = news(open_experiment(path), watched.told, now, stalled, config.events)
    watched.told = found.told
    for alert in found.alerts:
        linked = replace(alert, link=_link(config, path.name, alert.event))
        watched.outbox += [_Waiting(alert=linked, channel=one) for one in channels(config)]
    rests = look_at_all(path).held is False
    watched.quiet_since = (watched.quiet_since or now) if rests else 0.0


def _link(config: AlertsConfig, experiment: str, event: str) -> str:
    """Return the address of the page on what happened: of what is done, the comparison."""
    page = "compare" if event == Event.DONE else "live"
    return f"{config.app.rstrip('/')}/{page}?experiment={experiment}" if config.app else ""


def _deliver_all() -> None:
    """Offer what waits to its channels, without holding anything that training may want."""
    try:
        config = alerts()
    except ConfigError:
        return  # the next turn says so
    for place in sorted(folder().glob("*.json")):
        watched = _read(place)
        if watched is None or config is None:
            continue
        for waiting in list(watched.outbox):
            outcome = _offer(waiting, config)
            with locked(folder() / ".changing"):
                _note(place, waiting, outcome)


def _offer(waiting: _Waiting, config: AlertsConfig) -> str:
    """Send one; return why it was not taken, or nothing."""
    try:
        send(waiting.alert, waiting.channel, config)
    except DtvgError as error:
        return str(error)
    return ""


def _note(place: Path, sent: _Waiting, why: str) -> None:
    """Take an alert that was taken, or offered often enough, out of the outbox."""
    watched = _read(place)
    if watched is None:
        return
    tries = sent.tries + 1
    rest = [one for one in watched.outbox if one != sent]
    if why and tries < TRIES:
        rest.append(sent.model_copy(update={"tries": tries}))
    watched.outbox = rest
    _write(place, watched)
    entry = {"time": time.time(), "channel": sent.channel, "tries": tries, "why": why}
    _log_line({**entry, "event": sent.alert.event, "experiment": sent.alert.experiment})


def _log_line(entry: dict[str, Any]) -> None:
    """Keep the last few hundred deliveries."""
    place = folder() / "sent" / "sent.json"
    place.parent.mkdir(exist_ok=True)
    lines = (read_json(place) or {}).get("sent") or []
    replace_json(place, {"sent": [*lines, entry][-KEPT_LINES:]}, durable=False)


def sent() -> list[dict[str, Any]]:
    """Return the last deliveries, the newest last."""
    found = (read_json(folder() / "sent" / "sent.json") or {}).get("sent")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def test() -> list[tuple[str, str]]:
    """Send a test on every channel.

    Returns:
        Channel, and why it did not take it; empty: it did.

    Raises:
        JobError: no alerts are set up.
        ConfigError: the settings cannot be used.
    """
    config = alerts()
    if config is None:
        raise JobError(
            f"There is no '{paths.home() / 'alerts.yaml'}', so no alerts are sent; write it, "
            f"{EXAMPLE}."
        )
    alert = Alert("test", "a test", "This is a test of the alerts.", (), time.time(), config.app)
    return [(one, _offer(_Waiting(alert=alert, channel=one), config)) for one in channels(config)]


def _read(place: Path) -> _Watched | None:
    try:
        return _Watched.model_validate(read_json(place) or {})
    except ValidationError:
        return None


def _write(place: Path, watched: _Watched) -> None:
    replace_json(place, watched.model_dump(mode="json"), durable=False)
