"""A place in an object store or a folder, named by a URI, reached through fsspec.

What goes wrong there becomes one sentence that holds no credential. docs/scale.md "Storage mirror".
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dtvg.config.storage import WITH_EXTRA, protocol_of, uri_problem
from dtvg.errors import ConfigError, StoreError
from dtvg.extras import require

PROBE_SECONDS = 20.0
"""A place that does not answer for so long at the start is not waited for."""

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (AWS_ENDPOINT_URL for a "
    "server other than Amazon's)",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or "
    "AZURE_STORAGE_CONNECTION_STRING",
    "sftp": "put a key into the SSH agent or into ~/.ssh",
}
"""Protocol → how to give the credentials, which never stand in a URI."""

_SECRET = re.compile(r"secret|token|passw|key|credential|sas|connection_string", re.IGNORECASE)


class Unusable(StoreError):
    """A place that a person has to mend: credentials, permission, a bucket that is not there."""


class Foreign(StoreError):
    """What lies there is another experiment's, or goes on elsewhere: nothing is written."""


class Unreadable(StoreError):
    """What lies there of one experiment cannot be read here; the others can."""


class Place:
    """A folder of a store. Names are relative to it, with `/`; no file is seen half-written."""

    def __init__(self, uri: str) -> None:
        """Connect lazily.

        Raises:
            ConfigError: the URI cannot be used, or the packages for it are not installed.
            StoreError: its client cannot be made.
        """
        problem = uri_problem(uri)
        if problem:
            raise ConfigError(problem)
        check_packages(uri)
        self.uri = uri.rstrip("/")
        self.protocol = protocol_of(uri)
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(self.uri, **_options(self.protocol))
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None
        self.root = str(root).rstrip("/")
        self.threads = 8 if getattr(self.fs, "async_impl", False) else 1
        """So many files may be asked for at once."""

    def _full(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root or "/"

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: there is none.
            StoreError: the store fails.
        """
        try:
            return bytes(self.fs.cat_file(self._full(name)))
        except FileNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file; a reader sees all of it or nothing.

        Raises:
            StoreError: the store fails.
        """
        full = self._full(name)
        try:
            if self.protocol in ("file", "sftp"):
                self.fs.makedirs(full.rpartition("/")[0], exist_ok=True)
                hidden = f"{full}.{secrets.token_hex(4)}.tmp"
                self._put(hidden, content)
                self.fs.mv(hidden, full)
            else:
                self._put(full, content)
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None

    def _put(self, full: str, content: bytes | Path) -> None:
        if isinstance(content, Path):
            self.fs.put_file(str(content), full)
        else:
            self.fs.pipe_file(full, content)

    def names(self, folder: str) -> list[str]:
        """Return the files below a folder, sorted, relative to this place; none where it is absent.

        Raises:
            StoreError: the store fails.
        """
        try:
            self.fs.invalidate_cache()
            found = [str(path) for path in self.fs.find(self._full(folder))]
        except FileNotFoundError:
            return []
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None
        cut = len(self.root.lstrip("/")) + 1
        names = (path.lstrip("/")[cut:] for path in found)
        return sorted(name for name in names if name and not name.endswith(".tmp"))

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted.

        Raises:
            StoreError: the store fails.
        """
        try:
            self.fs.invalidate_cache()
            rows = self.fs.ls(self._full(folder), detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None
        found = (str(row["name"]) for row in rows if row.get("type") == "directory")
        return sorted({name.rstrip("/").rpartition("/")[2] for name in found})

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone is fine.

        Raises:
            StoreError: the store fails.
        """
        try:
            self.fs.rm_file(self._full(name))
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - of a client
            raise self.said(error) from None

    def modified(self, name: str) -> float | None:
        """Return when a file was written, by the store's own clock; None where it does not tell."""
        try:
            when = self.fs.modified(self._full(name))
        except Exception:  # noqa: BLE001 - a client that does not tell
            return None
        return when.timestamp() if isinstance(when, datetime) else float(when)

    def now(self) -> float | None:
        """Return the store's own time: that of a file just written there."""
        name = f".clock-{secrets.token_hex(6)}"
        self.put(name, b"1")
        when = self.modified(name)
        self.remove(name)
        return when

    def said(self, error: BaseException) -> StoreError:
        """Return an error of a client as one sentence without any credential."""
        if isinstance(error, StoreError):
            return error
        names = {kind.__name__ for kind in type(error).__mro__}
        text, where = " ".join(str(error).split()), f"The storage mirror '{self.uri}'"
        lacking = any("Credential" in n or "Authentication" in n for n in names)
        if lacking or "credentials" in text.lower():
            how = CREDENTIALS.get(self.protocol, "give them in its client's own way")
            return Unusable(f"{where} lacks credentials on this machine, or they are wrong; {how}.")
        if isinstance(error, PermissionError) or "AccessDenied" in text or "Forbidden" in text:
            return Unusable(
                f"{where} may not be read or written with the credentials of this machine; allow "
                "them to list, read, write and delete there, or name another place."
            )
        if isinstance(error, FileNotFoundError) or "NoSuchBucket" in text:
            return Unusable(f"{where} does not exist; make the bucket or folder, or name another.")
        if isinstance(error, OSError | TimeoutError) or any("Connect" in n for n in names):
            return StoreError(f"{where} cannot be reached or written now ({hidden(text)}).")
        return StoreError(f"{where} failed ({type(error).__name__}: {hidden(text)}).")


def check_packages(uri: str) -> None:
    """Refuse a place whose packages are not installed.

    Raises:
        ConfigError: with what to install.
    """
    if protocol_of(uri) in WITH_EXTRA:
        require(protocol_of(uri), f"scale.mirror: {uri}")


def check_place(uri: str | None) -> str:
    """Write, read and delete a file at a place before anything is trained.

    Returns:
        A sentence about a place that does not answer now and may later; empty: it works.

    Raises:
        ConfigError: packages or credentials are missing, or the place can never be written.
    """
    if uri is None:
        return ""
    place, found = Place(uri), list[StoreError]()

    def probe() -> None:
        name, content = f".probe-{secrets.token_hex(6)}", secrets.token_bytes(8)
        try:
            place.put(name, content)
            if place.read(name) != content:
                found.append(Unusable(f"'{uri}' does not give back what was written there."))
            place.remove(name)
        except (StoreError, FileNotFoundError) as error:
            found.append(place.said(error))

    thread = threading.Thread(target=probe, name="storage-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if found and isinstance(found[0], Unusable):
        raise ConfigError(f"{found[0]} Nothing was started.")
    if thread.is_alive():
        return f"The storage mirror '{uri}' has not answered for {PROBE_SECONDS:g} s."
    return str(found[0]) if found else ""


def hidden(text: str) -> str:
    """Return what a client said, short, without the values of credentials and without queries."""
    for value in _secrets():
        text = text.replace(value, "…")
    text = re.sub(r"(://[^/\s@:]+):[^/\s@]+@", r"\1:…@", text)
    return re.sub(r"\?\S+", "?…", text)[:200] or "no message"


def _secrets() -> list[str]:
    """Return the values that must not be shown: of variables and settings named like secrets."""
    from fsspec.config import conf

    settings: list[Mapping[str, Any]] = [os.environ, *(v for v in conf.values() if v)]
    found = {
        value
        for group in settings
        for name, value in group.items()
        if isinstance(value, str) and len(value) >= 6 and _SECRET.search(name)
    }
    return sorted(found, key=len, reverse=True)


def _options(protocol: str) -> dict[str, Any]:
    """Return what a client is made with: it gives up on a dead server soon; we try again."""
    if protocol == "s3":
        patience = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 2}}
        return {"config_kwargs": patience, "use_listings_cache": False}
    return {"timeout": 30} if protocol == "sftp" else {}
