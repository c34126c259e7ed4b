"""Whatever people do, and whatever goes wrong, no log holds what they keep to themselves."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from django.core import mail

from accounts import mailing, sign_in
from accounts.models import User
from cms_project import handler
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from core.logs import HIDDEN, JSONFormatter, RequestIdFilter, TextFormatter, redact
from tests.asgi_client import Answer, call

PASSWORD, NEW, WRONG = "Correct-horse-7battery", "Another-horse-8battery", "Wrong-horse-9battery"


class Kept(logging.Handler):
    """All that is logged, in both forms."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.addFilter(RequestIdFilter())
        self._forms = (TextFormatter("{name} [{request_id}] {message}", style="{"), JSONFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [form.format(record) for form in self._forms]


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    those = [logging.getLogger(name) for name in (None, "django", "django.request", "django.server", "access")]
    before = [one.level for one in those]
    for one in those:
        one.setLevel(logging.DEBUG)
        if not one.propagate or one.name == "root":
            one.addHandler(kept)
    yield kept
    for one, level in zip(those, before, strict=True):
        one.setLevel(level)
        one.removeHandler(kept)


@pytest.fixture
def ask(
    committed_db: None, settings: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Answer]]:
    settings.ACCESS_LOG = True
    settings.SLOW_REQUEST_MS = 0  # so that all of them are told of twice
    monkeypatch.setattr(handler, "FAILED_LOGIN_SECONDS", 0.001)
    django = DjangoHandler(1)
    front = Front(django)
    with asyncio.Runner() as runner:

        def send(method: str, path: str, data: Any = None, *headers: tuple[str, str]) -> Answer:
            body = data if isinstance(data, bytes) else b"" if data is None else orjson.dumps(data)
            given = [("Content-Type", "application/json"), *headers] if body else list(headers)
            return runner.run(call(front, method, path, given, body))

        yield send
        runner.run(front.close())
    django.close()


@pytest.mark.usefixtures("schema_db")
def test_no_secret_is_logged(
    ask: Callable[..., Answer], kept: Kept, settings: Any, make_collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {PASSWORD, NEW, WRONG}
    settings.OAUTH_PROVIDERS = settings.OAUTH_PROVIDERS | {
        "github": {"client_id": "public-id", "client_secret": "oauth-client-secret", "redirect_uri": ""}
    }
    secrets.add("oauth-client-secret")
    make_collection("posts", title="text", list_rule=None, create_rule=None)
    account = {"email": "ann@example.com", "password": PASSWORD}
    made = ask("POST", "/api/v1/auth/register", account).json()
    token = made["access_token"]
    bearer = ("Authorization", f"Bearer {token}")
    secrets |= {token, made["refresh_token"]}
    for path in ("/api/v1/auth/login", "/api/login", "/api/auth/login/json"):
        ask("POST", path, {"email": "ann@example.com", "password": WRONG})
        found = ask("POST", path, account).json()
        secrets |= {
            value for key, value in (found | found.get("data", {})).items() if "token" in key and len(value) > 20
        }
    form = urlencode({"username": "ann@example.com", "password": PASSWORD}).encode()
    ask("POST", "/api/v1/auth/login", form, ("Content-Type", "application/x-www-form-urlencoded"))
    ask("POST", "/api/v1/auth/login", f'{{"password": "{PASSWORD}",'.encode())  # unreadable
    ask("GET", f"/api/v1/auth/me?token={token}&password={PASSWORD}", None, bearer)
    ask("GET", f"/api/v1/collections/posts/records?filter=password={PASSWORD}", None, bearer)

    ask("POST", "/api/v1/auth/forgot-password", {"email": "ann@example.com"})
    mailing.send_due()
    links = [link for one in mail.outbox for link in re.findall(r"token=([\w-]+)", str(one.body))]
    assert links
    secrets |= set(links)
    ask("GET", f"/reset-password?token={links[-1]}", None, ("Accept", "text/html"))
    ask("POST", "/api/v1/auth/change-password", {"current_password": WRONG, "new_password": NEW}, bearer)

    User.objects.update(role="superadmin")
    found = ask("POST", "/api/v1/auth/login", account).json()
    bearer = ("Authorization", f"Bearer {found['access_token']}")
    secrets |= {found["access_token"], found["refresh_token"]}
    key = ask("POST", "/api/v1/auth/api-keys", {"name": "k"}, bearer).json()["key"]
    ask("GET", "/api/v1/auth/me", None, ("X-API-Key", key))
    ticket = ask("POST", "/api/v1/realtime/ticket", {}, bearer).json()["ticket"]
    ask("GET", f"/api/v1/realtime?token={ticket}", None, ("Accept", "text/plain"))
    hook = {"url": "https://example.com/", "collection_name": "posts", "events": ["create"], "generate_secret": True}
    whsec = ask("POST", "/api/v1/webhooks", hook, bearer).json()["secret"]
    secrets |= {key, ticket, whsec}
    ask("GET", "/api/v1/oauth/github/login")
    ask("GET", "/api/v1/oauth/github/callback?code=oauth-code-123456&state=oauth-state-123456")
    secrets |= {"oauth-code-123456", "oauth-state-123456"}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"Bearer {token} {{'password': '{PASSWORD}', 'code': 'oauth-code-123456'}} X-API-Key: {key}")

    monkeypatch.setattr(sign_in, "log_in", fail)
    assert ask("POST", "/api/v1/auth/login", account).status == 500
    told = "\n".join(kept.lines)
    assert "RuntimeError" in told and "/api/v1/auth/me" in told and " took " in told and HIDDEN in told
    assert sorted(secret for secret in secrets if secret in told) == []


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRET-1234567",
        "{'Authorization': 'Basic SECRET1234567=='}",
        "Cookie: sessionid=SECRET-1234567; csrftoken=SECRET-1234567",
        "[(b'cookie', b'a=SECRET-1234567'), (b'x', b'kept')]",
        "HTTP_COOKIE='a=SECRET-1234567'",
        "GET /reset-password?token=SECRET-1234567&x=kept HTTP/1.1",
        "https://x/callback?code=SECRET-1234567&state=1",
        '{"password": "SECRET \\" 1234567", "title": "kept"}',
        "{'new_password': 'SECRET-1234567'}",
        "User(password='SECRET-1234567', name='kept')",
        "refresh_token=SECRET-1234567",
        "eyJSECRETSECRET.eyJSECRET.SECRET",
        "the key fcms_SECRETSECRET-_1",
        "whsec_SECRETSECRETSECRET=",
        "argon2$argon2id$v=19$m=1,t=2,p=1$SECRETs$SECRETh",
        "$2b$12$SECRETSECRETSECRETSECRET",
        "pbkdf2_sha256$1000$SECRET$SECRET=",
        "postgres://user:SECRET-1234567@host:5432/db",
        "redis://:SECRET-1234567@host",
    ],
)
def test_secrets_are_known_by_their_names_and_looks(text: str) -> None:
    assert "SECRET" not in redact(text) and HIDDEN in redact(text)
    assert ("kept" in text) == ("kept" in redact(text)) or "cookie" in text


def test_what_is_no_secret_stays() -> None:
    for text in (
        "POST /api/v1/collections/posts/records took 1.20 s",
        "task accounts.send_mails waits for its next round: database is locked",
        "error_code=VALIDATION_ERROR status_code: 422",
        "SELECT id, password FROM users WHERE email = ?",
    ):
        assert redact(text) == text
