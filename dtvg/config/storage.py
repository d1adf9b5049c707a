"""URIs of storage mirrors: which there may be, and what one must not hold."""

from __future__ import annotations

from urllib.parse import urlsplit

from dtvg.errors import unknown

PROTOCOLS = {
    "s3": "s3",
    "gs": "gs",
    "gcs": "gs",
    "abfs": "abfs",
    "abfss": "abfs",
    "az": "abfs",
    "sftp": "sftp",
    "ssh": "sftp",
    "file": "file",
    "memory": "memory",
}
"""Scheme of a URI → protocol."""
WITH_EXTRA = ("s3", "gs", "abfs", "sftp")
"""Protocols whose packages come with the extra of their name."""
SECRET = "may_hold_a_secret"
"""Kind of an error whose sentence must not repeat what was given."""


def is_uri(text: str) -> bool:
    """Whether a text is meant as a URI, not as a path."""
    return "://" in text


def protocol_of(uri: str) -> str:
    """Return the protocol of a URI that can be used."""
    return PROTOCOLS[uri.partition("://")[0].lower()]


def uri_problem(uri: str) -> str:
    """Return why a URI cannot name a storage mirror, as a sentence; empty where it can."""
    scheme, found, rest = uri.partition("://")
    example = "e.g. s3://bucket/lab"
    if not found or not rest.strip("/"):
        shown = uri if "@" not in uri else f"{scheme}://…"
        return (
            f"'{shown}' is not the URI of a storage mirror; give scheme, bucket, folder, {example}."
        )
    if scheme.lower() not in PROTOCOLS:
        return unknown("scheme of a storage mirror", scheme, PROTOCOLS, f"Give one, {example}.")
    try:
        parts = urlsplit(uri)
        password = parts.password
    except ValueError:
        return (
            f"'{scheme}://…' is not a URI that can be read; give scheme, bucket, folder, {example}."
        )
    secret_user = parts.username is not None and PROTOCOLS[scheme.lower()] in ("s3", "gs")
    if password is not None or secret_user or parts.query or parts.fragment:
        return (
            f"The URI of a storage mirror ('{scheme}://…') must not hold a password, a key or a "
            "query, since it is stored with the experiment; give credentials in the environment "
            f"(docs/scale.md), and the place alone, {example}."
        )
    return ""
