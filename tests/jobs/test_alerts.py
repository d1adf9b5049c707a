"""Alerts: each thing is told once, by mail and by web hook, and never in the way of training."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dtvg.config import build_config
from dtvg.config.alerts import AlertsConfig, Event, alerts
from dtvg.errors import ConfigError, JobError
from dtvg.jobs import alerts as watcher
from dtvg.jobs import deliver
from dtvg.jobs.deliver import Alert, send
from dtvg.jobs.news import Told, news
from dtvg.records import RunState
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.reader import open_experiment
from dtvg.ui import notify

ALERT = Alert("failed", "walk", "1 run failed.", ("rte.dtvg.s0",), 5.0)


class _Hook(BaseHTTPRequestHandler):
    """Keeps what is posted; answers as it is told."""

    got: list[dict] = []
    answer = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(json.loads(body))
        self.send_response(self.answer)
        if self.answer == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Mail(socketserver.StreamRequestHandler):
    """As much of a mail server as a mail needs."""

    got: list[str] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        inside = False
        lines: list[str] = []
        while line := self.rfile.readline():
            text = line.decode().rstrip("\r\n")
            if inside and text == ".":
                self.got.append("\n".join(lines))
                inside = False
            elif inside:
                lines.append(text)
                continue
            elif text.upper() == "DATA":
                inside = True
                self.wfile.write(b"354 go on\r\n")
                continue
            self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Ports of a web hook and of a mail server on this machine."""
    monkeypatch.setattr(_Hook, "got", [])
    monkeypatch.setattr(_Hook, "answer", 200)
    monkeypatch.setattr(_Mail, "got", [])
    socketserver.TCPServer.allow_reuse_address = True
    hook, mail = (
        HTTPServer(("127.0.0.1", 0), _Hook),
        socketserver.TCPServer(("127.0.0.1", 0), _Mail),
    )
    for server in (hook, mail):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield hook.server_address[1], mail.server_address[1]
    for server in (hook, mail):
        server.shutdown()
        server.server_close()


def _settings(home: Path, hook: int, mail: int, more: str = "") -> AlertsConfig:
    (home / "alerts.yaml").write_text(
        f"webhooks: ['http://127.0.0.1:{hook}/${{TOKEN}}']\n"
        f"email: {{host: 127.0.0.1, port: {mail}, security: none, sender: a@example.org, "
        f"to: [b@example.org]}}\n{more}"
    )
    found = alerts()
    assert found is not None
    return found


def test_mail_and_web_hook_bring_what_happened(
    own_home: Path, servers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _settings(own_home, *servers)
    with pytest.raises(ConfigError, match="variable TOKEN, which is not set"):
        send(ALERT, "webhook 1", config)
    monkeypatch.setenv("TOKEN", "secret")
    assert watcher.test() == [("email", ""), ("webhook 1", "")]
    send(ALERT, "webhook 1", config)
    assert _Hook.got[-1]["text"] == "[dtvg] walk: failed\n1 run failed.\n  rte.dtvg.s0"
    send(ALERT, "email", config)
    assert "Subject: [dtvg] walk: failed" in _Mail.got[-1] and "rte.dtvg.s0" in _Mail.got[-1]
    assert "\nDate: " in _Mail.got[-1] and "@example.org>" in _Mail.got[-1]  # of the Message-ID
    for answer in (500, 302):
        monkeypatch.setattr(_Hook, "answer", answer)
        with pytest.raises(JobError, match=f"answered {answer}") as told:
            send(ALERT, "webhook 1", config)
        assert "secret" not in str(told.value)


def test_what_is_done_links_to_its_comparison_and_all_else_to_live() -> None:
    config = AlertsConfig(app="http://127.0.0.1:8501/")
    for event in Event:
        page = "compare" if event is Event.DONE else "live"
        found = watcher._link(config, "walk", event.value)
        assert found == f"http://127.0.0.1:8501/{page}?experiment=walk"
    assert watcher._link(AlertsConfig(), "walk", "done") == ""


def test_a_password_is_never_in_the_file_and_never_sent_unencrypted(
    own_home: Path, servers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_home / "alerts.yaml").write_text(
        "email: {host: h, sender: a@b.c, to: [a@b.c], user: me, password: hush}\n"
    )
    with pytest.raises(ConfigError, match="does not belong into a file") as told:
        alerts()
    assert "hush" not in str(told.value)
    config = _settings(own_home, *servers)
    assert config.email is not None
    named = config.model_copy(update={"email": config.email.model_copy(update={"user": "me"})})
    monkeypatch.setenv("DTVG_SMTP_PASSWORD", "hush")
    with pytest.raises(JobError, match="would get the password unencrypted"):
        send(ALERT, "email", named)
    assert not _Mail.got


@pytest.fixture
def walk(own_home: Path) -> ExperimentDir:
    values = {"name": "walk", "targets": ["rte"], "methods": ["none"], "seeds": [0, 1]}
    return create_experiment(build_config(values), own_home / "runs")


def test_each_thing_is_told_once(walk: ExperimentDir) -> None:
    experiment = open_experiment(walk.path)
    first, second = experiment.runs

    def at(now: float, told: Told, **states: object):
        runs = (replace(first, **states), second)
        return news(replace(experiment, runs=runs), told, now, 60.0)

    running = at(1000.0, Told(), state=RunState.RUNNING, step=5)
    assert not running.alerts and running.going
    assert not at(1059.0, running.told, state=RunState.RUNNING, step=5).alerts
    still = at(1061.0, running.told, state=RunState.RUNNING, step=5)
    assert [a.event for a in still.alerts] == ["stalled"]
    assert not at(1090.0, still.told, state=RunState.RUNNING, step=5).alerts
    failed = at(1099.0, still.told, state=RunState.FAILED, step=6, updated_at=99.0, message="No.")
    assert [(a.event, a.sentence) for a in failed.alerts] == [("failed", "1 run failed. No.")]
    again = at(1100.0, failed.told, state=RunState.FAILED, step=6, updated_at=99.0)
    assert not again.alerts
    anew = at(1101.0, again.told, state=RunState.FAILED, step=6, updated_at=101.0)
    assert [a.event for a in anew.alerts] == ["failed"]
    lost = at(1102.0, anew.told, state=RunState.LOST, step=6, updated_at=101.0)
    assert [a.event for a in lost.alerts] == ["lost"]


def test_what_no_server_takes_is_offered_a_few_times_and_nothing_waits(
    own_home: Path, walk: ExperimentDir, servers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t")
    monkeypatch.setattr(watcher, "ensure", lambda: None)
    watcher.watch(walk)
    assert not watcher.folder().exists()  # no settings, nothing is watched
    _settings(own_home, *servers, more="events: [failed, done]\n")
    watcher.watch(walk)
    run = walk.runs()[0]
    status = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**status, "state": "failed", "message": "Odd."}))
    monkeypatch.setattr(_Hook, "answer", 503)
    began = time.monotonic()
    for _ in range(watcher.TRIES + 2):
        watcher.turn(time.time(), quiet=1e9)
        watcher._deliver_all()
    assert len(_Hook.got) == watcher.TRIES  # given up on
    assert len(_Mail.got) == 1  # told once
    assert "1 run failed. Odd." in _Mail.got[0]
    assert time.monotonic() - began < 60
    assert [one["why"] == "" for one in watcher.sent()].count(True) == 1
    assert watcher.turn(time.time(), quiet=0.0) == 0  # nobody trains it any more
    assert watcher.turn(time.time() + 9, quiet=0.0) == 0
    (own_home / "alerts.yaml").write_text("events: [nonsense]\n")
    watcher.watch(walk)  # never in the way of training


def test_a_mistake_in_the_settings_sends_nothing_and_forgets_nothing(
    own_home: Path,
    walk: ExperimentDir,
    servers: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TOKEN", "t")
    monkeypatch.setattr(watcher, "ensure", lambda: None)
    _settings(own_home, *servers)
    watcher.watch(walk)
    run = walk.runs()[0]
    status = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**status, "state": "failed", "message": "Odd."}))
    for wrong in ("webhooks: [", "", "events: [nonsense]\n"):
        (own_home / "alerts.yaml").write_text(wrong)
        for _ in range(2):
            assert watcher.turn(time.time(), quiet=0.0) == 1
            watcher._deliver_all()
    assert len(list(watcher.folder().glob("*.json"))) == 1 and not _Mail.got
    said = [one for one in caplog.messages if "Nothing is sent until" in one]
    assert len(said) == 3  # each mistake once, however often it is looked at
    _settings(own_home, *servers)
    assert watcher.turn(time.time(), quiet=0.0) == 1
    watcher._deliver_all()
    assert len(_Mail.got) == len(_Hook.got) == 1 and "1 run failed. Odd." in _Mail.got[0]
    (own_home / "alerts.yaml").unlink()
    assert watcher.turn(time.time(), quiet=1e9) == 0
    assert not list(watcher.folder().glob("*.json"))


def test_nobody_waits_for_a_silent_server_for_ever(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(deliver, "PATIENCE_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        config = _settings(own_home, silent.getsockname()[1], silent.getsockname()[1])
        monkeypatch.setenv("TOKEN", "t")
        for channel in ("email", "webhook 1"):
            with pytest.raises(JobError, match="no answer|could not be reached|did not take"):
                send(ALERT, channel, config)


def test_an_address_that_nothing_can_be_posted_to_is_said_and_never_repeated(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def answer(listening: socket.socket) -> None:
        with listening.accept()[0] as one:
            one.sendall(b"SSH-2.0-OpenSSH\r\n")
            one.recv(4096)

    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen(1)
        threading.Thread(target=answer, args=(foreign,), daemon=True).start()
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{foreign.getsockname()[1]}/secret")
        config = AlertsConfig(webhooks=("${HOOK}",))
        with pytest.raises(JobError, match="did not answer as a web server does"):
            send(ALERT, "webhook 1", config)
    for address in ("h/secret", "http://h:port/secret", "http://h/a secret", "http://[::1/secret"):
        monkeypatch.setenv("HOOK", address)
        with pytest.raises(JobError, match="has an address that cannot be used") as told:
            send(ALERT, "webhook 1", config)
        assert "secret" not in str(told.value)


def test_what_a_mail_server_cannot_be_sent_is_said(
    own_home: Path, servers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _settings(own_home, *servers).email
    assert plain is not None

    def refusal(**changes: object) -> str:
        given = AlertsConfig(email=plain.model_copy(update=changes))
        with pytest.raises(JobError) as told:
            send(ALERT, "email", given)
        return str(told.value)

    assert "STARTTLS extension not supported by server" in refusal(security="starttls")
    assert "has a name that cannot be used" in refusal(host="mail..example.org")

    class Login(deliver.smtplib.SMTP):
        def starttls(self, *_: object, **__: object) -> None: ...
        def login(self, user: str, password: str, **_: object) -> None:
            password.encode("ascii")

    monkeypatch.setattr(deliver.smtplib, "SMTP", Login)
    monkeypatch.setenv("DTVG_SMTP_PASSWORD", "größe")
    said = refusal(security="starttls", user="anna")
    assert "only where every letter is ASCII" in said and "größe" not in said


def test_a_toast_names_the_best_run_by_its_title() -> None:
    said = "All 4 runs have finished. Best test score: 100.0 % (who-sent.single-who-sold.s1)."
    read = notify.read(Alert("done", "x", said))
    assert read.endswith("100.0 % (Who sent · Single source: Who sold · seed 1).")
    other = "1 run failed. There is no file (x.yaml)."
    assert notify.read(Alert("failed", "x", other)) == other
