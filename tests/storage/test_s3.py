"""A real S3-compatible server (moto's) on loopback: copied, read, refused without credentials."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtvg.errors import ConfigError
from dtvg.storage.cache import refresh
from dtvg.storage.place import Place, check_place
from dtvg.storage.push import push_experiment
from dtvg.storage.restore import restore
from dtvg.store.bank import PromptBank
from dtvg.store.reader import list_runs
from tests.storage.test_storage import Failing, Made, steps_of

pytest.importorskip("s3fs", reason="needs the extra dtvg[s3]")
server = pytest.importorskip("moto.server", reason="needs moto[server]")

SECRET = "hunter22-hunter22-hunter22"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of its own."""
    import s3fs
    from botocore.session import get_session

    made = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = get_session().create_client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="lab")
    s3fs.S3FileSystem.clear_instance_cache()  # one that knows another server, by chance of threads
    yield "s3://lab/group"
    made.stop()


def test_an_experiment_goes_through_s3_and_back_even_when_writes_fail(
    bucket: str, tmp_path: Path
) -> None:
    assert check_place(bucket) == ""
    made, at = Made(tmp_path / "runs"), Place(bucket)
    made.commit()
    for pusher in made.pushers(at):
        pusher.push()
    made.commit()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Exception, match="503"):
        Failing(patch, 3)
        for pusher in made.pushers(at):
            pusher.push()
    refresh(bucket, tmp_path / "copy")
    assert steps_of(tmp_path / "copy" / "runs" / "made") == 10  # the commit before, whole
    made.commit(finish=True)
    push_experiment(at, made.experiment, PromptBank(tmp_path / "bank"))
    refresh(bucket, tmp_path / "copy")
    (run,) = [r for r in list_runs(tmp_path / "copy" / "runs") if r.role == "transfer"]
    assert run.result is not None and steps_of(tmp_path / "copy" / "runs" / "made") == 30
    back = restore(bucket, "made", tmp_path / "elsewhere", tmp_path / "prompts")
    assert steps_of(back.path) == 30


def test_what_a_person_has_to_mend_is_named_without_secrets(
    bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="'s3://nobucket/x' does not exist"):
        check_place("s3://nobucket/x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as raised:
        check_place(bucket)
    assert "lacks credentials" in str(raised.value) and "AWS_ACCESS_KEY_ID" in str(raised.value)
    assert SECRET not in caplog.text
