"""A small OpenID Connect provider on loopback: discovery, PKCE codes, signed tokens, log out.

Whoever logs in chooses an account from a page; there are no passwords.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "dtvg", "a-client-secret-of-the-tests"


class Provider:
    """Serves until `close`; `accounts` are what the identity tokens say, by name."""

    def __init__(self, accounts: Mapping[str, Mapping[str, Any]]) -> None:
        self.accounts = accounts
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                address = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(address.query).items()}
                provider.get(self, address.path, query)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {k: v[0] for k, v in parse_qs(body).items()}
                provider.token(self, form)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def get(self, to: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        """Discovery, keys, the page that asks who it is, and the way out."""
        if path == "/.well-known/openid-configuration":
            _json(to, self._metadata())
        elif path == "/keys":
            _json(to, {"keys": [self.key.as_dict(private=False)]})
        elif path == "/end":
            _redirect(to, query["post_logout_redirect_uri"])
        elif path == "/authorize" and "account" not in query:
            links = [
                f'<a href="/authorize?{html.escape(urlencode({**query, "account": name}))}">'
                f"{name}</a>"
                for name in self.accounts
            ]
            _answer(to, 200, "text/html", "<p>".join(["Who are you?", *links]).encode())
        elif path == "/authorize":
            assert query["client_id"] == CLIENT and query["code_challenge_method"] == "S256"
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            given = urlencode({"code": code, "state": query["state"]})
            _redirect(to, f"{query['redirect_uri']}?{given}")
        else:
            _answer(to, 404, "text/plain", b"")

    def token(self, to: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        """Exchange a code, once, against the verifier of its challenge."""
        asked = self.codes.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        fits = asked["redirect_uri"] == form["redirect_uri"]
        if to.headers["Authorization"] != basic or asked["code_challenge"] != challenge or not fits:
            _answer(to, 400, "application/json", b'{"error": "invalid_grant"}')
            return
        now = int(time.time())
        said = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 600,
            "nonce": asked["nonce"],
            "sub": asked["account"],
            **self.accounts[asked["account"]],
        }
        token = jwt.encode({"alg": "RS256", "kid": "one"}, said, self.key)
        answer = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer"}
        _json(to, {**answer, "expires_in": 600, "id_token": token})

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/end",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }


def secrets_toml(provider: Provider, redirect_uri: str) -> str:
    """Streamlit's secrets for this provider."""
    return (
        "[auth]\n"
        f'redirect_uri = "{redirect_uri}"\n'
        f'cookie_secret = "{secrets.token_hex(16)}"\n'
        f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
        f'server_metadata_url = "{provider.url}/.well-known/openid-configuration"\n'
    )


def _json(to: BaseHTTPRequestHandler, content: Any) -> None:
    _answer(to, 200, "application/json", json.dumps(content).encode())


def _redirect(to: BaseHTTPRequestHandler, where: str) -> None:
    to.send_response(302)
    to.send_header("Location", where)
    to.send_header("Content-Length", "0")
    to.end_headers()


def _answer(to: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    to.send_response(status)
    to.send_header("Content-Type", kind)
    to.send_header("Content-Length", str(len(body)))
    to.end_headers()
    to.wfile.write(body)
