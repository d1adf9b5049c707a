"""Who may do what: refusals without a login, roles, and what is noted of an action."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from benchmarks import make_store
from dtvg.config.people import PeopleConfig, Role, people
from dtvg.errors import ConfigError, JobError
from dtvg.store import audit, trash
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, RunDir
from dtvg.store.status import requested
from dtvg.ui import people as desk
from dtvg.ui.token import TOKEN

ROOT = Path(__file__).resolve().parents[2]
RUN = "rte.dtvg.s0"
PEOPLE = "operators: {emails: [anna@example.org]}\nviewers: {emails: ['@example.net']}\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    make_store.make(folder, "made", runs=2, steps=60, sources=3, distinct=2)
    (folder / "made" / RUN / "result.json").unlink()
    return folder


@pytest.fixture
def home(store: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(store, own_home / "runs")
    status = own_home / "runs" / "made" / RUN / "status.json"
    now = time.time()
    live = {"state": "running", "host": "elsewhere", "heartbeat": now, "updated_at": now, "pid": 7}
    replace_json(status, {**(read_json(status) or {}), **live})
    monkeypatch.delenv(desk.INSECURE, raising=False)
    return own_home


@pytest.fixture
def log_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Turn the login on and be somebody."""

    def be(email: str | None, **more: Any) -> None:
        (home / "people.yaml").write_text(PEOPLE)
        said = {"email": email, "email_verified": True, "iat": time.time(), **more}
        monkeypatch.setattr(desk, "login_problem", lambda: None)
        monkeypatch.setattr(desk, "providers", lambda: ["default"])
        monkeypatch.setattr(desk, "claims", lambda: said if email else None)

    return be


def _page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def _labels(app: AppTest) -> set[str]:
    return {b.label for b in app.button if not b.disabled}


def _served(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    known = config.get_option
    monkeypatch.setattr(
        config, "get_option", lambda key: address if key == "server.address" else known(key)
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.0.1"])
def test_these_addresses_are_this_machine(address: str) -> None:
    assert desk.is_loopback(address)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "10.0.0.7", "box", "localhost.x"])
def test_these_addresses_are_not(address: str | None) -> None:
    assert not desk.is_loopback(address)


def test_a_page_that_no_server_runs_is_drawn(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _served(monkeypatch, None)
    assert _page("overview").dataframe


@pytest.mark.parametrize("address", [None, "0.0.0.0"])
def test_an_open_app_without_login_shows_only_the_refusal(
    address: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _served(monkeypatch, address)
    monkeypatch.setattr(desk, "_is_served", lambda: True)
    app = _page("overview")
    assert "nobody has to log in" in app.error[0].value
    assert not app.dataframe and not app.button
    with (
        pytest.raises(JobError, match="Only an operator may stop"),
        desk.acting("stop", ExperimentDir(home / "runs" / "made")),
    ):
        pytest.fail("done")
    monkeypatch.setenv(desk.INSECURE, "1")
    assert _page("overview").dataframe
    assert desk.decide() == desk.Person("somebody without login", Role.OPERATOR, shared=True)


def test_a_proxys_request_from_elsewhere_is_refused_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: dict[str, str] = {}
    monkeypatch.setattr(type(desk.st.context), "headers", passed)
    assert isinstance(desk.decide(), desk.Person)
    for header, value in [
        ("X-Forwarded-For", "127.0.0.1, 10.1.2.3"),
        ("Forwarded", 'for="[2001:db8::7]";proto=https'),
    ]:
        passed.clear()
        passed[header] = value
        found = desk.decide()
        assert isinstance(found, desk.Closed) and "a proxy passed on" in found.sentence
    passed["Forwarded"] = "for=127.0.0.1"
    assert isinstance(desk.decide(), desk.Person)


def test_on_one_machine_nothing_is_noted(home: Path) -> None:
    with desk.acting("stop", ExperimentDir(home / "runs" / "made")):
        pass
    assert not audit.path().exists()
    assert not requested(RunDir(home / "runs" / "made" / RUN))


def test_roles_follow_verified_addresses_and_groups() -> None:
    found = PeopleConfig.model_validate(
        {
            "operators": {"emails": ["Anna@Example.org"], "groups": ["lab"]},
            "viewers": {"emails": ["@example.net"]},
            "group_claim": "realm.roles",
        }
    )

    def role(email: str, verified: object = True, **more: Any) -> Role | None:
        return found.role_of({"email": email, "email_verified": verified, **more})

    assert role("ANNA@example.org") is Role.OPERATOR
    assert role("anna@example.org", verified=False) is role("anna@example.org", None) is None
    assert role("ben@example.net") is Role.VIEWER
    assert role("ben@sub.example.net") is role("ben@example.net.evil") is None
    assert role("x@y.z", realm={"roles": ["lab"]}) is Role.OPERATOR
    assert role("ben@example.net", realm={"roles": "lab"}) is Role.OPERATOR
    trusting = found.model_copy(update={"trust_unverified_emails": True})
    assert trusting.role_of({"email": "anna@example.org"}) is Role.OPERATOR


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("viewers: {emails: ['@example.net']}", "names no operator"),
        ("operators: {emails: [anna]}", "anna@example.org"),
        ("operator: {}", "Unknown key 'operator'"),
        ("- anna", "contains no settings"),
        ("operators: {emails: ['*@example.org']}", "@example.org"),
    ],
)
def test_a_wrong_file_lets_nobody_in_and_says_why(text: str, said: str, home: Path) -> None:
    (home / "people.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        people()
    assert said in _page("overview").error[0].value


def test_a_file_without_secrets_lets_nobody_in(home: Path) -> None:
    (home / "people.yaml").write_text(PEOPLE)
    found = desk.decide()
    assert isinstance(found, desk.Closed) and found.sentence


def test_nobody_strangers_and_old_logins_see_no_page(
    home: Path, log_in: Callable[..., None]
) -> None:
    log_in(None)
    app = _page("overview")
    assert _labels(app) == {"Log in"} and not app.error
    log_in("cleo@example.com")
    app = _page("overview")
    assert "has no role" in app.error[0].value and _labels(app) == {"Log out"}
    log_in("anna@example.org", iat=time.time() - 13 * 3600)
    assert "expired" in _page("overview").error[0].value


CHANGING = {
    "Stop", "Resume", "Start", "Pin", "Ban", "Let the rule decide", "Fork and train", "Restore",
    "Erase for good", "Move to the trash", "Import", "Keep", "Check", "Save", "Start now",
    "Stop this cohort", "Kill the process", "Queue",
}  # fmt: skip
SHOWN_TO_OPERATORS = {"overview": {"Restore", "Save", "Erase for good"}, "live": {"Pin", "Stop"}}


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "pages").glob("*.py")))
def test_a_viewer_sees_no_button_that_changes_anything(
    name: str, home: Path, log_in: Callable[..., None]
) -> None:
    made = ExperimentDir(home / "runs" / "made")
    (other,) = [run.name for run in made.runs() if run.name != RUN]
    trash.delete(made, other)

    def labels(email: str) -> set[str]:
        log_in(email)
        app = _page(name, experiment="made", run=RUN)
        if name == "overview":
            chosen = {"selection": {"rows": [0], "columns": [], "cells": []}}
            app.session_state[app.dataframe[0].key] = chosen
            app.run()
        return _labels(app) & CHANGING

    assert not labels("ben@example.net")
    if name in SHOWN_TO_OPERATORS:
        assert labels("anna@example.org") >= SHOWN_TO_OPERATORS[name]


def test_a_role_is_asked_again_when_something_is_done(
    home: Path, log_in: Callable[..., None]
) -> None:
    log_in("anna@example.org")
    app = _page("live", experiment="made", run=RUN)
    (button,) = [b for b in app.button if b.label == "Pin"]
    log_in("ben@example.net")  # became a viewer after the button was drawn
    app = button.click().run()
    run = RunDir(home / "runs" / "made" / RUN)
    assert not requested(run)
    with (
        pytest.raises(JobError, match="Only an operator may kill"),
        desk.acting("kill", ExperimentDir(run.path.parent)),
    ):
        pytest.fail("done")
    assert [e["outcome"] for e in audit.entries() if e["action"] == "kill"] == ["refused"]


def test_an_action_is_noted_with_the_person_before_and_after(
    home: Path, log_in: Callable[..., None]
) -> None:
    log_in("anna@example.org")
    app = _page("live", experiment="made", run=RUN)
    (button,) = [b for b in app.button if b.label == "Pin"]
    button.click().run()
    lines = [e for e in audit.entries() if e["action"] == "pin"]
    assert [e["outcome"] for e in lines] == ["asked", "done"]
    assert {(e["person"], e["experiment"], e["runs"]) for e in lines} == {
        ("anna@example.org", "made", RUN)
    }
    ((_, sentence),) = audit.told(RunDir(home / "runs" / "made" / RUN))
    assert sentence.startswith("anna@example.org (operator): pin ")
    with pytest.raises(JobError), desk.acting("stop", what="x"):
        raise JobError("It would not.")
    assert list(audit.entries())[-1]["why"] == "It would not."
    assert all(json.loads(line) for line in audit.path().read_text().splitlines())
    assert os.stat(audit.path()).st_mode & 0o077 == 0


def test_nothing_is_done_that_cannot_be_noted(home: Path, log_in: Callable[..., None]) -> None:
    log_in("anna@example.org")
    audit.path().mkdir()
    with (
        pytest.raises(Exception, match="without noting who did it"),
        desk.acting("stop", ExperimentDir(home / "runs" / "made")),
    ):
        pytest.fail("done")


def test_a_token_opens_the_pages_once_per_tab_and_leaves_the_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret")
    page = AppTest.from_file(str(ROOT / "pages" / "overview.py"), default_timeout=60).run()
    assert [t.label for t in page.text_input] == ["Token"] and not page.exception
    page.text_input[0].set_value("wrong")
    page.button[0].click().run()
    assert "not the token" in page.error[0].value and len(page.text_input) == 1
    page.text_input[0].set_value("s3cret")
    page.button[0].click().run()
    assert "Token" not in [t.label for t in page.text_input] and not page.exception
    other = AppTest.from_file(str(ROOT / "pages" / "overview.py"), default_timeout=60)
    other.query_params["token"] = "s3cret"
    other.run()
    assert "Token" not in [t.label for t in other.text_input] and not other.exception
    assert "token" not in other.query_params


def test_a_token_is_asked_for_where_other_machines_reach_the_app_without_a_login(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _served(monkeypatch, "0.0.0.0")
    monkeypatch.setenv(desk.INSECURE, "1")
    monkeypatch.setenv(TOKEN, "s3cret")
    app = _page("overview")
    assert [t.label for t in app.text_input] == ["Token"] and not app.dataframe
    app.text_input[0].set_value("s3cret")
    app.button[0].click().run()
    assert app.dataframe and not app.exception
