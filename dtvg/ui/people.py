"""Who uses the app and what they may do: the one place that decides, when drawing and when acting.

Without `<home>/people.yaml` there is no login; then the app serves this machine only, unless it is
told otherwise. docs/server.md.
"""

from __future__ import annotations

import contextlib
import getpass
import ipaddress
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit import config, runtime
from streamlit.auth_util import get_secrets_auth_section, validate_auth_credentials
from streamlit.errors import StreamlitAuthError

from dtvg import paths
from dtvg.config.people import PeopleConfig, Role, path, people
from dtvg.errors import ConfigError, DtvgError, JobError
from dtvg.extras import require
from dtvg.storage import cache
from dtvg.store import audit
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.ui import token

log = logging.getLogger(__name__)

INSECURE = "DTVG_INSECURE"
"""Variable that opens the app to everybody who reaches it, without a login."""
FORWARDED = ("X-Forwarded-For", "X-Real-Ip", "Forwarded")
ONLY = "Only an operator can do this."
MIRRORED = "a storage mirror is looked at (DTVG_RUNS), which is read-only"
REFUSAL = (
    "This app can be reached from other machines ({how}) and nobody has to log in, so it shows "
    "nothing. Serve this machine only (address 127.0.0.1), set up the login (docs/server.md), or "
    "let everybody in who reaches it: `dtvg app --insecure`, or DTVG_INSECURE=1."
)


@dataclass(frozen=True)
class Person:
    """Who uses the app."""

    name: str
    """Address, or what else is known."""
    role: Role
    shared: bool
    """Whether others use the app too, so that it is noted who does what."""


@dataclass(frozen=True)
class Closed:
    """Why nothing is shown to somebody."""

    sentence: str = ""
    """Empty: nobody is logged in yet."""
    who: str = ""
    """The account that is logged in."""
    needs_token: bool = False
    """Whether the token of `dtvg app --token` opens it."""


# ---- who it is


def is_loopback(address: str | None) -> bool:
    """Whether a server bound to an address, or a request from it, stays on this machine.

    Args:
        address: of an interface; None: all of them, as Streamlit takes it.
    """
    bare = (address or "").strip().strip('"').strip("[]").lower()
    if bare == "localhost":
        return True
    try:
        found = ipaddress.ip_address(bare.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def is_insecure() -> bool:
    """Whether everybody is let in without a login."""
    return os.environ.get(INSECURE, "").strip().lower() in ("1", "true", "yes")


def login_problem() -> str | None:
    """Return what prevents people from logging in, or None."""
    try:
        require("server", "The login")
        for provider in providers():
            validate_auth_credentials(provider)
    except ConfigError as error:
        return str(error)
    except StreamlitAuthError as error:
        said = " ".join(str(error).split())
        return f"'{path()}' turns the login on, but Streamlit cannot log anybody in: {said}"
    return None


def providers() -> list[str]:
    """Return the names of the identity providers in Streamlit's secrets; `default` for [auth]."""
    section = get_secrets_auth_section()
    named = [name for name, value in section.items() if _is_provider(value)]
    return ["default"] if section.get("client_id") or not named else named


def public_names() -> list[str]:
    """Return the host that people log in through, as the secrets' `redirect_uri` names it."""
    try:
        host = urlsplit(str(get_secrets_auth_section().get("redirect_uri", ""))).hostname
    except ValueError:
        return []
    return [host] if host else []


def _is_provider(value: object) -> bool:
    return isinstance(value, Mapping) and "client_id" in value


def claims() -> Mapping[str, Any] | None:
    """Return what the provider says of who is logged in; None where nobody is."""
    found = st.user.to_dict()
    return found if found.get("is_logged_in") else None


def decide() -> Person | Closed:
    """Say who uses the app, or why nothing is shown; asked anew at every look and every action."""
    try:
        known = people()
    except ConfigError as error:
        return Closed(str(error))
    return _without_login() if known is None else _with_login(known)


def _without_login() -> Person | Closed:
    address = config.get_option("server.address")
    if not is_loopback(address) and (address or _is_served()):
        how = f"it serves {address}" if address else "it serves every interface"
    elif _forwarded():
        how = f"a proxy passed on a request from {_forwarded()}"
    elif token.is_missing():
        return Closed("", needs_token=True)
    else:
        role = Role.VIEWER if paths.mirrored_uri() else Role.OPERATOR
        return Person(_account(), role, shared=False)
    if is_insecure():
        if token.is_missing():
            return Closed("", needs_token=True)
        role = Role.VIEWER if paths.mirrored_uri() else Role.OPERATOR
        return Person("somebody without login", role, shared=True)
    return Closed(REFUSAL.format(how=how))


def _is_served() -> bool:
    """Whether a server runs this page, not a test of it, which nobody reaches."""
    return runtime.exists() and type(runtime.get_instance()) is runtime.Runtime


def _forwarded() -> str:
    """Return from which other machine a proxy on this one passed the request on, if it did."""
    for header in FORWARDED:
        for part in (st.context.headers.get(header) or "").split(","):
            address = part.strip()
            if header == "Forwarded":
                fields = [f.strip() for f in address.split(";")]
                address = next((f[4:] for f in fields if f.lower().startswith("for=")), "")
            if address and not is_loopback(address):
                return address
    return ""


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _with_login(known: PeopleConfig) -> Person | Closed:
    problem = login_problem()
    if problem:
        return Closed(problem)
    found = claims()
    if found is None:
        return Closed()
    who = str(found.get("email") or found.get("preferred_username") or found.get("sub") or "?")
    since = found.get("iat")
    if not isinstance(since, int | float) or time.time() - since > known.login_hours * 3600:
        return Closed("Your login has expired; log in again.", who)
    role = known.role_of(found)
    if role is None:
        return Closed(
            f"'{who}' has no role on this server. Ask whoever runs it to be added as a viewer or "
            "an operator; then log in again.",
            who,
        )
    return Person(who, Role.VIEWER if paths.mirrored_uri() else role, shared=True)


# ---- what is drawn


def is_open() -> bool:
    """Whether the pages are shown to whom is looking."""
    return isinstance(decide(), Person)


def gate() -> None:
    """Show nothing more to whom nothing is shown: say why, or ask for the login."""
    found = decide()
    if isinstance(found, Person):
        _entered(found)
        cache.FOLLOWER.look()
        return
    st.title("DTVG workbench", anchor=False)
    if found.sentence:
        st.error(found.sentence, icon=":material/lock:")
    if found.who:
        st.button("Log out", on_click=st.logout, icon=":material/logout:")
    elif found.needs_token:
        st.caption("Others reach this app too; the token shows that you may use it.")
        token.ask()
    elif not found.sentence:
        st.caption("This server is for people it knows; log in to go on.")
        several = providers()
        for provider in several:
            label = "Log in" if len(several) == 1 else f"Log in with {provider}"
            given = () if provider == "default" else (provider,)
            st.button(label, on_click=st.login, args=given, type="primary", key=f"in-{provider}")
    st.stop()


def _entered(found: Person) -> None:
    """Note once per session that somebody came in."""
    if found.shared and st.session_state.get("entered") != found.name:
        st.session_state["entered"] = found.name
        with contextlib.suppress(DtvgError):  # looking is not refused where the disk is full
            audit.append({**_who(found), "action": "enter", "outcome": "done"})


def badge() -> None:
    """Show in the side bar who is logged in, and the way out."""
    found = decide()
    if isinstance(found, Person) and paths.mirrored_uri():
        st.sidebar.caption(cache.sentence())
    if not isinstance(found, Person) or not found.shared:
        return
    with st.sidebar:
        st.caption(f"{found.name} · {found.role}")
        if claims() is not None:
            st.button("Log out", on_click=st.logout, icon=":material/logout:", type="tertiary")


def may_change() -> bool:
    """Whether the person may change anything."""
    found = decide()
    return isinstance(found, Person) and found.role is Role.OPERATOR


def only_looks(what: str = "change it") -> bool:
    """Say that a viewer cannot do something, and return whether that is so.

    Args:
        what: what cannot be done.
    """
    if may_change():
        return False
    why = MIRRORED if paths.mirrored_uri() else "only operators can"
    st.caption(f"You can look at this, but not {what}: {why}.")
    return True


def button(label: str, *, disabled: bool = False, help: str | None = None, **more: Any) -> bool:
    """Draw a button that changes something; a viewer sees it without being able to press it.

    Args:
        label: as of `st.button`.
        disabled: whether it would do nothing.
        help: its tooltip.
        **more: the rest of what `st.button` takes.
    """
    allowed = may_change()
    return st.button(
        label, disabled=disabled or not allowed, help=help if allowed else _refused(), **more
    )


def _refused() -> str:
    return f"This cannot be done: {MIRRORED}." if paths.mirrored_uri() else ONLY


# ---- what is done


@contextlib.contextmanager
def acting(
    action: str, experiment: ExperimentDir | None = None, runs: Iterable[str] = (), what: str = ""
) -> Iterator[None]:
    """Let an operator do something, and note who did what, before and after it is done.

    Args:
        action: a verb, e.g. `stop`.
        experiment: to which it is done; its unfinished runs have it among their events.
        runs: names of the runs to which it is done; empty: to all of them.
        what: to what else, e.g. the source that is pinned.

    Raises:
        JobError: the person may not change anything.
        StoreError: who did it could not be noted, so that it was not begun.
    """
    found, names = decide(), list(runs)
    entry = {"action": action}
    entry |= {"experiment": experiment.name} if experiment else {}
    entry |= {"runs": " ".join(names)} if names else {}
    entry |= {"what": what} if what else {}
    if not isinstance(found, Person) or found.role is not Role.OPERATOR:
        entry |= _who(found) | {"outcome": "refused"}
        with contextlib.suppress(DtvgError):
            audit.append(entry)
        if paths.mirrored_uri():
            raise JobError(f"Nothing was done ({action}): {MIRRORED}.")
        raise JobError(f"Only an operator may {action}{' ' + what if what else ''} here.")
    if not found.shared:
        yield
        return
    entry = {"id": secrets.token_hex(6), **_who(found), **entry}
    audit.append({**entry, "outcome": "asked"})
    if experiment is not None:
        tell(experiment, names, found, f"{action} {what}".strip())
    try:
        yield
    except Exception as error:
        _after({**entry, "outcome": "failed", "why": str(error) or type(error).__name__})
        raise
    _after({**entry, "outcome": "done"})


def _after(entry: Mapping[str, Any]) -> None:
    try:
        audit.append(entry)
    except DtvgError as error:
        log.warning("%s", error)


def _who(found: Person | Closed) -> dict[str, str]:
    who = found.name if isinstance(found, Person) else found.who or "nobody"
    role = found.role.value if isinstance(found, Person) else "none"
    passed = st.context.headers.get("X-Forwarded-For")
    here = {"person": who, "role": role, "address": st.context.ip_address or "this machine"}
    return here | ({"forwarded_for": passed} if passed else {})


def tell(experiment: ExperimentDir, names: Iterable[str], found: Person, done: str) -> None:
    """Leave with runs who did what, for their events.

    Args:
        experiment: theirs.
        names: of the runs; none: all.
        found: who.
        done: what.
    """
    chosen = [experiment.run(name) for name in names] or list(experiment.runs())
    chosen = [run for run in chosen if run.status_path.exists()]
    for run in chosen:
        _tell(run, f"{found.name} ({found.role}): {done}.")


def _tell(run: RunDir, sentence: str) -> None:
    try:
        audit.tell(run, sentence)
    except DtvgError as error:  # the audit file has it
        log.warning("%s", error)


def launched(experiment: ExperimentDir) -> None:
    """Note with the runs of an experiment just made who made it."""
    found = decide()
    if isinstance(found, Person) and found.shared:
        tell(experiment, (), found, "launch")
