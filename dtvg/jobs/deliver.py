"""Sending an alert: a mail, a web hook. Each takes a bounded time and fails with one sentence.

Messages name experiments, runs and numbers, never rows of data or passwords. docs/alerts.md.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any
from urllib.parse import urlsplit

from dtvg.config.alerts import KEYRING, PASSWORD, AlertsConfig, EmailConfig, expanded
from dtvg.errors import DtvgError, JobError

PATIENCE_S = 10.0
"""Seconds that a server has for one answer."""
MOST_NAMES = 20
EMAIL = "email"


@dataclass(frozen=True)
class Alert:
    """One thing to tell."""

    event: str
    experiment: str
    sentence: str
    runs: tuple[str, ...] = ()
    time: float = 0.0
    link: str = ""

    @property
    def title(self) -> str:
        """The subject of a mail."""
        return f"[dtvg] {self.experiment}: {self.event}"

    @property
    def text(self) -> str:
        """All of it, in plain text."""
        named = "\n".join(f"  {name}" for name in self.runs[:MOST_NAMES])
        more = len(self.runs) - MOST_NAMES
        parts = [self.sentence, named, f"  and {more} more" if more > 0 else "", self.link]
        return "\n".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """What a web hook gets; `text` is what Slack and its like show."""
        return {
            "text": f"{self.title}\n{self.text}",
            "event": self.event,
            "experiment": self.experiment,
            "runs": list(self.runs),
            "sentence": self.sentence,
            "time": self.time,
            "link": self.link,
        }


def channels(config: AlertsConfig) -> list[str]:
    """Return where alerts go: `email`, and the number of each web hook."""
    return [*([EMAIL] if config.email else []), *(f"webhook {i + 1}" for i in _hooks(config))]


def _hooks(config: AlertsConfig) -> range:
    return range(len(config.webhooks))


def send(alert: Alert, channel: str, config: AlertsConfig) -> None:
    """Send an alert on one channel.

    Raises:
        JobError: it was not taken, with why; no secret part of an address is repeated.
    """
    if channel == EMAIL and config.email:
        _mail(alert, config.email)
        return
    try:
        address = config.webhooks[int(channel.rpartition(" ")[2]) - 1]
    except (IndexError, ValueError):
        raise JobError(f"There is no {channel} in the settings any more.") from None
    _post(alert, expanded(address), channel)


def password(user: str) -> str:
    """Return the mail server's password from the environment or the key ring; empty: none."""
    given = os.environ.get(PASSWORD, "")
    if given:
        return given
    with contextlib.suppress(Exception):  # no key ring, a locked one, or not installed
        return importlib.import_module("keyring").get_password(KEYRING, user) or ""
    return ""


def _mail(alert: Alert, to: EmailConfig) -> None:
    message = EmailMessage()
    message["Subject"] = " ".join(alert.title.split())[:200]
    message["From"], message["To"] = to.sender, ", ".join(to.to)
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid("dtvg", domain=to.sender.rpartition("@")[2].strip("> "))
    message.set_content(alert.text + "\n")
    where = f"The mail server {to.host}:{to.port}"
    try:
        server = _connected(to)
        try:
            if to.user:
                _log_in(server, to, where)
            server.send_message(message)
        finally:  # a mail that was taken is not sent again because of the goodbye
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.quit()
            server.close()
    except DtvgError:
        raise
    except (OSError, smtplib.SMTPException) as error:
        raise JobError(f"{where} did not take the mail ({_why(error)}).") from None
    except ValueError:  # of the host: it cannot even be looked up
        raise JobError(f"{where} has a name that cannot be used; mend email.host.") from None


def _connected(to: EmailConfig) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if to.security == "ssl":
        return smtplib.SMTP_SSL(to.host, to.port, timeout=PATIENCE_S, context=context)
    server = smtplib.SMTP(to.host, to.port, timeout=PATIENCE_S)
    if to.security == "starttls":
        server.starttls(context=context)
    return server


def _log_in(server: smtplib.SMTP, to: EmailConfig, where: str) -> None:
    if to.security == "none":
        raise JobError(
            f"{where} would get the password unencrypted, so nothing was sent; set security to "
            "starttls or ssl, or leave user empty."
        )
    secret = password(to.user)
    if not secret:
        raise JobError(
            f"There is no password for '{to.user}': set {PASSWORD}, or store it in the system's "
            f"key ring (service '{KEYRING}')."
        )
    try:
        server.login(to.user, secret)
    except UnicodeEncodeError:
        raise JobError(
            f"Name and password of '{to.user}' can be sent to a mail server only where every "
            "letter is ASCII; choose another password there."
        ) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody: what is posted goes to the address that was configured, or nowhere."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        """Refuse."""
        return


def _post(alert: Alert, address: str, channel: str) -> None:
    host = "?"
    try:
        parts = urlsplit(address)
        host = parts.hostname or "?"
        if parts.scheme not in ("http", "https"):
            raise ValueError(address)
        request = urllib.request.Request(  # noqa: S310 - http and https only
            address,
            data=json.dumps(alert.as_json()).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "dtvg"},
            method="POST",
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=PATIENCE_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        raise JobError(f"{channel} ({host}) answered {error.code}, not 200.") from None
    except (ValueError, http.client.InvalidURL):
        raise JobError(
            f"{channel} ({host}) has an address that cannot be used; write it as "
            "http://HOST/PATH or https://HOST/PATH, without spaces and in ASCII."
        ) from None
    except http.client.HTTPException:
        raise JobError(f"{channel} ({host}) did not answer as a web server does.") from None
    except OSError as error:
        raise JobError(f"{channel} ({host}) could not be reached ({_why(error)}).") from None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError | socket.timeout):
        return f"no answer in {PATIENCE_S:.0f} s"
    reason = getattr(error, "reason", None)
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return f"{error.smtp_code} {text}"[:160]
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        address, (code, said) = next(iter(error.recipients.items()))
        return f"{address}: {code} {said.decode('utf-8', 'replace')}"[:160]
    if isinstance(error, smtplib.SMTPException) and error.args:
        return str(error)[:160]
    return str(reason or getattr(error, "strerror", None) or type(error).__name__)[:160]
