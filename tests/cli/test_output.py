"""Where output goes: a reader who has enough, a full disk, an encoding that lacks signs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dtvg.cli
from dtvg.cli import main

SEEN = "from dtvg.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def start(words: list[str], **more: object) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own, whose output waits in its buffer."""
    env = {**os.environ, "PYTHONUNBUFFERED": "", **more.pop("env", {})}  # type: ignore[dict-item]
    command = [sys.executable, "-c", SEEN, *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=env, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("words", [["--help"], ["methods", "list"], ["runs", "show", "RECORDED"]])
def test_who_reads_may_have_enough(own_home: Path, words: list[str]) -> None:
    given, taken = os.pipe()
    os.close(given)
    process = start([w.replace("RECORDED", "demo-recorded") for w in words], stdout=taken)
    os.close(taken)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_output_that_no_disk_takes_is_a_sentence(own_home: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(["methods", "list"], stdout=full)
        said = process.communicate()[1].decode()
    assert process.returncode == 2
    assert said.startswith("dtvg: ") and said.count("\n") == 1


def test_a_sign_that_the_encoding_lacks_ends_no_command(own_home: Path) -> None:
    narrow = {"PYTHONIOENCODING": "ascii"}
    process = start(["runs", "show", "demo-recorded"], stdout=subprocess.PIPE, env=narrow)
    out, said = process.communicate()
    assert said == b"" and process.returncode == 0
    assert b"96.4 \\xb1 2.9" in out


@pytest.mark.parametrize(("words", "goes_on"), [(["runs", "list"], False), (["run", "x"], True)])
def test_only_what_trains_is_resumed_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    goes_on: bool,
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dtvg.cli, "parser", interrupt)  # while modules are loaded
    assert main(words) == 130
    assert ("runs resume" in capsys.readouterr().err) is goes_on
