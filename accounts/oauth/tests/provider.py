"""An OpenID Connect provider in a process of its own, for tests: ``python -m accounts.oauth.tests.provider``.

It speaks the protocol over HTTP: discovery, a page to sign in on, codes that work once
and want PKCE, the client's secret and the same redirect address, tokens signed with
RS256, JWKS, userinfo. Under ``/github`` and ``/microsoft`` it has as much of those two as
a sign-in asks for. The test says who its people are, and how it shall misbehave, by
``PUT /-/state``. It prints its address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "cms", "a secret between the two: of us"
PAGE = """<!doctype html><title>Provider</title><h1>Sign in to Provider</h1>
<form method="post" action="?{query}"><label>Name <input name="login" autofocus></label>
<button>Sign in</button> <button name="deny" value="1">No</button></form>"""


class State:
    """Of the provider: ``people`` by the name they sign in with, and what it does wrong."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.people: dict[str, dict[str, Any]] = {}
        self.wrong: dict[str, Any] = {}
        self.codes: dict[str, dict[str, Any]] = {}
        self.access: dict[str, dict[str, Any]] = {}
        self.log: list[list[Any]] = []
        self.key = rsa.generate_private_key(65537, 2048)
        self.strange_key = rsa.generate_private_key(65537, 2048)


class Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"

    @property
    def base(self) -> str:
        host, port = self.server.server_address[:2]  # type: ignore[misc]
        return f"http://{host}:{port}"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        path, query = place.path, dict(parse_qsl(place.query))
        self.state.log.append(["GET", self.path])
        wrong = self.state.wrong
        if self.raw(path):
            pass
        elif path == "/-/log":
            self.answer(self.state.log)
        elif path == "/.well-known/openid-configuration":
            self.answer(
                {
                    "issuer": self.base,
                    "authorization_endpoint": f"{self.base}/authorize",
                    "token_endpoint": f"{self.base}/token",
                    "userinfo_endpoint": f"{self.base}/userinfo",
                    "jwks_uri": f"{self.base}/jwks",
                    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                }
                | wrong.get("discovery", {})
            )
        elif path.endswith("/authorize"):
            self.page(PAGE.format(query=escape(place.query))) if query.get("client_id") == CLIENT_ID else self.refuse()
        elif path == "/jwks":
            from jwt.algorithms import RSAAlgorithm

            jwk = RSAAlgorithm.to_jwk(self.state.key.public_key(), as_dict=True)
            self.answer({"keys": [{**jwk, "kid": "one", "alg": "RS256", "use": "sig"}]})
        elif path in ("/userinfo", "/github/user", "/github/user/emails", "/microsoft/v1.0/me"):
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            person = self.state.access.get(token)
            if person is None or scheme.lower() not in ("bearer", "token"):
                self.refuse(401)
            elif path == "/userinfo":
                self.answer({k: v for k, v in person.items() if k != "emails"} | wrong.get("userinfo", {}))
            elif path == "/github/user/emails":
                self.answer(person["emails"])
            else:
                self.answer({k: v for k, v in person.items() if k != "emails"})
        else:
            self.refuse(404)

    def do_PUT(self) -> None:
        given = json.loads(self.body())
        self.state.people, self.state.wrong = given.get("people", {}), given.get("wrong", {})
        self.answer({})

    def do_POST(self) -> None:
        place = urlsplit(self.path)
        self.state.log.append(["POST", place.path])
        form = {name: values[0] for name, values in parse_qs(self.body().decode()).items()}
        if self.raw(place.path):
            pass
        elif place.path.endswith("/authorize"):
            self.signed_in(dict(parse_qsl(place.query)), form)
        elif place.path.endswith(("/token", "/access_token")):
            self.token(form)
        else:
            self.refuse(404)

    def signed_in(self, asked: dict[str, str], form: dict[str, str]) -> None:
        back = {"state": asked["state"]} if "state" in asked else {}
        person = self.state.people.get(form.get("login", ""))
        if form.get("deny"):
            back |= {"error": "access_denied", "error_description": "The person said no."}
        elif person is None or asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            self.refuse()
            return
        else:
            code = secrets.token_urlsafe(16)
            self.state.codes[code] = {**asked, "person": person}
            back |= {"code": code, "iss": self.state.wrong.get("answer_iss", self.base)}
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def token(self, form: dict[str, str]) -> None:
        wrong = self.state.wrong
        if "moved" in wrong:
            self.send_response(307)
            self.send_header("Location", wrong["moved"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            client, _, secret = base64.b64decode(basic[6:]).decode().partition(":")
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        begun = self.state.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (client, secret) != (CLIENT_ID, CLIENT_SECRET):
            self.answer({"error": "invalid_client"}, 401)
        elif (
            begun is None
            or begun["redirect_uri"] != form.get("redirect_uri")
            or (begun["code_challenge"] != challenge and not wrong.get("without_pkce"))
        ):
            self.answer({"error": "invalid_grant"}, 400)
        else:
            access = secrets.token_urlsafe(16)
            self.state.access[access] = begun["person"]
            given = {"access_token": access, "token_type": "Bearer", "expires_in": 300}
            if "openid" in begun.get("scope", "").split():
                given["id_token"] = self.id_token(begun)
            self.answer(given)

    def id_token(self, begun: dict[str, Any]) -> str:
        import jwt

        wrong, now = self.state.wrong, int(time.time())
        claims = {
            "iss": self.base,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": begun.get("nonce"),
            **{name: value for name, value in begun["person"].items() if name != "emails"},
            **wrong.get("claims", {}),
        }
        if wrong.get("signed") == "none":
            return jwt.encode(claims, "", algorithm="none")
        if wrong.get("signed") == "by the client's secret":
            return jwt.encode(claims, CLIENT_SECRET * 2, algorithm="HS256", headers={"kid": "one"})
        key = self.state.strange_key if wrong.get("signed") == "by a stranger" else self.state.key
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})  # type: ignore[arg-type]

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), "application/json", status)

    def raw(self, path: str) -> bool:
        """Whether this path shall answer with something else: ``raw: {path: [status, type, body]}``."""
        status, kind, body = self.state.wrong.get("raw", {}).get(path, (0, "", ""))
        if status:
            self._send(body.encode(), kind, status)
        return bool(status)

    def page(self, text: str) -> None:
        self._send(text.encode(), "text/html; charset=utf-8", 200)

    def refuse(self, status: int = 400) -> None:
        self._send(b"no", "text/plain", status)

    def _send(self, content: bytes, kind: str, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running() -> Iterator[str]:
    """The provider in a process of its own; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "accounts.oauth.tests.provider"], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()  # type: ignore[union-attr]
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


if __name__ == "__main__":
    Handler.state = State()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
