"""`dtvg app`, and mistakes on the command line: one sentence for each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit import auth_util, config
from streamlit.runtime.secrets import Secrets

from dtvg import paths
from dtvg.cli import app as command
from dtvg.cli import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """What would be served, instead of serving it."""
    calls: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(command, "serve", lambda *given: calls.append(given) or 0)
    return calls


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program serves."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed as a mistake."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said, said
    return said


def test_the_app_serves_this_machine_only_and_asks_and_reports_nothing(
    started: list[tuple[Path, list[str]]], capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    assert main(["app"]) == 0
    script, options = started[0]
    said = dict(zip(options[::2], options[1::2], strict=True))
    assert script == paths.app() and script.is_file()
    assert said["--server.address"] == "127.0.0.1"
    assert said["--browser.gatherUsageStats"] == said["--server.showEmailPrompt"] == "false"
    assert str(own_home) in capsys.readouterr().out


def test_port_and_options_go_on_to_streamlit(started: list[tuple[Path, list[str]]]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert main(["app", "--theme.base", "dark", "--port", str(free)]) == 0
    options = started[0][1]
    assert options[options.index("--server.port") + 1] == str(free)
    assert options[-2:] == ["--theme.base", "dark"]


@pytest.mark.parametrize("option", ["--port", "--server.port"])
def test_a_port_that_is_taken_is_one_sentence(
    option: str,
    taken: int,
    started: list[tuple[Path, list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["app", option, str(taken)]) == 2
    assert f"Port {taken} of 127.0.0.1 cannot be used" in sentence(capsys)
    assert not started


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_number_that_is_no_port_is_refused(
    port: str, started: list[tuple[Path, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["app", f"--port={port}"]) == 2
    assert "Allowed: 1 to 65535" in sentence(capsys) and not started


def test_an_option_that_streamlit_knows_not_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["app", "--nonsense", "3"]) == 2
    assert "No such option '--nonsense'" in sentence(capsys)


def test_a_word_after_app_is_refused(
    started: list[tuple[Path, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["app", "hello"]) == 2
    assert "does not accept 'hello'" in sentence(capsys) and not started


@pytest.mark.parametrize("words", [["app"], ["demo", "run"], ["queue", "add", "FILE"]])
def test_a_home_that_cannot_be_written_is_one_sentence(
    words: list[str],
    started: list[tuple[Path, list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "file" / "home"))
    words = [str(paths.demo() / "experiment.yaml") if w == "FILE" else w for w in words]
    assert main(words) == 2
    assert "cannot be written" in sentence(capsys) and not started


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["runz"], "Unknown command 'runz'. Did you mean 'run"),
        (["-v", "nonsense"], "Unknown command 'nonsense'"),
        (["runs", "lst"], "invalid choice: 'lst'"),
        (["runs", "list", "--bogus"], "--bogus"),
        ([], "`dtvg --help`"),
    ],
)
def test_a_command_there_is_not_is_one_sentence(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert hint in sentence(capsys)


def test_other_machines_need_a_login_or_an_open_word(
    started: list[tuple[Path, list[str]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DTVG_INSECURE", "")
    for option in ("--host", "--server.address"):
        assert main(["app", option, "0.0.0.0"]) == 2
        assert "nobody has to log in" in sentence(capsys) and not started
    assert main(["app", "--host", "0.0.0.0", "--insecure"]) == 0
    options = started[0][1]
    assert options[options.index("--server.address") + 1] == "0.0.0.0"
    assert "*" in options


def test_a_login_that_cannot_work_is_refused_before_anything_is_served(
    started: list[tuple[Path, list[str]]], capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    (own_home / "people.yaml").write_text("operators: {emails: [anna@example.org]}\n")
    assert main(["app"]) == 2
    assert "log" in sentence(capsys) and not started
    (own_home / "people.yaml").write_text("operators: {emails: [anna]}\n")
    assert main(["app"]) == 2
    assert "anna@example.org" in sentence(capsys) and not started


def test_the_host_of_the_redirect_address_is_let_in_also_from_secrets_elsewhere(
    started: list[tuple[Path, list[str]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    own_home: Path,
) -> None:
    monkeypatch.setattr(auth_util, "secrets_singleton", Secrets())
    before = config.get_option("secrets.files")
    (own_home / "people.yaml").write_text("operators: {emails: [anna@example.org]}\n")
    file = own_home / "login.toml"
    address = "https://login.example.org/.well-known/openid-configuration"
    known = {"cookie_secret": "long", "client_id": "a", "client_secret": "b"}
    known |= {"redirect_uri": "https://dtvg.example.org/oauth2callback"}
    known |= {"server_metadata_url": address}
    file.write_text("[auth]\n" + "".join(f'{key} = "{value}"\n' for key, value in known.items()))
    try:
        assert main(["app", "--secrets.files", str(own_home / "none.toml")]) == 2
        assert "log" in sentence(capsys) and not started
        assert main(["app", "--secrets.files", str(file)]) == 0
    finally:
        config.set_option("secrets.files", before)
    options = started[0][1]
    assert options[options.index("--secrets.files") + 1] == str(file)
    assert "dtvg.example.org" in options


def test_a_token_of_ones_own_is_printed_as_an_address_takes_it(
    started: list[tuple[Path, list[str]]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DTVG_TOKEN", "a+b/c&d=")
    assert main(["app", "--token"]) == 0
    said = capsys.readouterr().out
    assert "token: a+b/c&d= (" in said and "?token=a%2Bb%2Fc%26d%3D)" in said


def test_a_token_beside_a_login_which_nobody_would_be_asked_for_is_refused(
    started: list[tuple[Path, list[str]]], capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    (own_home / "people.yaml").write_text("operators: {emails: [anna@example.org]}\n")
    assert main(["app", "--token"]) == 2
    assert "leave --token out" in sentence(capsys) and not started
