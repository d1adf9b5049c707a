"""Two people with different roles in two browsers, through nginx with a base path."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks import make_store
from dtvg.store.files import read_json, replace_json
from tests.browser.conftest import App, _wait
from tests.browser.identity import Provider, secrets_toml

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.browser]
ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = {
    "anna": {"email": "anna@example.org", "email_verified": True},
    "ben": {"email": "ben@example.net", "email_verified": True, "groups": ["guests"]},
    "cleo": {"email": "cleo@example.net", "email_verified": True},
}
PEOPLE = "operators: {emails: [anna@example.org]}\nviewers: {groups: [guests]}\n"
RUN = "rte.dtvg.s0"


def _nginx(folder: Path, port: int, app: int) -> subprocess.Popen[bytes]:
    """nginx as docs/server.md sets it up, for this person only."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("needs nginx")
    page = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    found = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)
    assert found
    site = found[1].replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    site = re.sub(r" *ssl_.*\n", "", site).replace("127.0.0.1:8501", f"127.0.0.1:{app}")
    site = site.replace("server_name dtvg.example.org;", "server_name localhost;")
    kept = "".join(
        f"{what}_temp_path {folder};"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;\n"
        f"events {{}}\nhttp {{ access_log off; {kept}\n{site}\n}}\n"
    )
    return subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with the login on, behind nginx under /dtvg, and one experiment that trains."""
    home = tmp_path_factory.mktemp("shared-home")
    make_store.make(home / "runs", "made", runs=2, steps=60, sources=3, distinct=2)
    (home / "runs" / "made" / RUN / "result.json").unlink()
    (home / "people.yaml").write_text(PEOPLE)
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    app, outside = ports
    provider = Provider(ACCOUNTS)
    url = f"http://localhost:{outside}/dtvg"
    (home / "secrets.toml").write_text(secrets_toml(provider, f"{url}/oauth2callback"))
    command = [sys.executable, "-m", "dtvg", "app", "--port", str(app)]
    command += ["--server.baseUrlPath", "dtvg", "--secrets.files", str(home / "secrets.toml")]
    environment = {**os.environ, "DTVG_HOME": str(home), "OMP_NUM_THREADS": "1"}
    started = [_nginx(home, outside, app)]
    try:
        with (home / "server.log").open("wb") as log:
            started.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
            )
        _wait(url)
        yield App(url, home)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(20)
        provider.close()
        for process in psutil.process_iter(["cmdline"]):
            if str(home / "runs") in (process.info["cmdline"] or []):
                process.kill()


def _beat(app: App) -> None:
    """Give the run a sign of life from another host."""
    status = app.home / "runs" / "made" / RUN / "status.json"
    now = time.time()
    live = {"state": "running", "host": "elsewhere", "heartbeat": now, "updated_at": now, "pid": 7}
    replace_json(status, {**(read_json(status) or {}), **live})


def _logged_in(browser: sync_api.Browser, app: App, account: str) -> sync_api.Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(30_000)
    page.goto(app.url)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name=account, exact=True).click()
    page.wait_for_url(f"{app.url}/**")
    return page


def test_a_viewer_looks_and_an_operator_acts(shared: App, browser: sync_api.Browser) -> None:
    stranger = _logged_in(browser, shared, "cleo")
    stranger.get_by_text("has no role on this server").wait_for()
    assert not stranger.get_by_test_id("stSidebarNavLink").count()
    live = f"{shared.url}/live?experiment=made&run={RUN}"

    viewer = _logged_in(browser, shared, "ben")
    viewer.get_by_text("ben@example.net · viewer").wait_for()
    _beat(shared)
    viewer.goto(live)
    viewer.get_by_text("You can look at this, but not change it").wait_for()
    assert not viewer.get_by_role("button", name="Stop").count()

    operator = _logged_in(browser, shared, "anna")
    operator.get_by_text("anna@example.org · operator").wait_for()
    _beat(shared)
    operator.goto(live)
    operator.get_by_role("button", name="Pin or ban a source").click()
    operator.get_by_role("button", name="Pin", exact=True).click()
    operator.get_by_text("Asked for:").first.wait_for()

    lines = [json.loads(line) for line in (shared.home / "audit.jsonl").read_text().splitlines()]
    assert [(e["person"], e["action"], e["outcome"]) for e in lines] == [
        ("ben@example.net", "enter", "done"),
        ("ben@example.net", "enter", "done"),
        ("anna@example.org", "enter", "done"),
        ("anna@example.org", "enter", "done"),
        ("anna@example.org", "pin", "asked"),
        ("anna@example.org", "pin", "done"),
    ]
    control = shared.home / "runs" / "made" / RUN / "control"
    (note,) = [path for path in control.iterdir() if path.name.startswith("person.")]
    assert "anna@example.org (operator): pin" in note.read_text()

    operator.get_by_role("button", name="Log out").click()
    operator.get_by_role("button", name="Log in").wait_for()
