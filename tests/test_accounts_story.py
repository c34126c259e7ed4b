"""The whole life of an account on a running server with a mail server, on each surface that tells it."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.tests import mail_servers
from accounts.tests.mail_servers import Mailbox
from tests.server import Server, server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

ANN, NAME = "ann@example.com", "annlee"
OLD, NEW = "correct-horse-battery", "another-staple-of-mine-7"
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


@dataclass(frozen=True)
class Surface:
    """Where an account registers, signs in and does the rest; ``login`` is how it names itself."""

    register: str
    login: str
    rest: str
    enveloped: bool = False

    def data(self, answer: httpx.Response) -> Any:
        return answer.json()["data"] if self.enveloped else answer.json()


CUSTOMERS = "/api/v1/collections/customers/auth"
SURFACES = {
    "v1": Surface("/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth"),
    "auth": Surface("/api/auth/register", "/api/auth/login", "/api/auth"),
    "envelopes": Surface("/api/register", "/api/login", "/api/v1/auth", enveloped=True),
    "customers": Surface(f"{CUSTOMERS}/register", f"{CUSTOMERS}/login", CUSTOMERS),
}


class Story:
    """One person, with a browser and a mailbox."""

    def __init__(self, running: Server, box: Mailbox, surface: Surface) -> None:
        self.running, self.box, self.surface = running, box, surface
        self.http = httpx.Client(base_url=running.url, timeout=60)
        self.seen = 0
        self.secrets: set[str] = set()

    def mail(self, pattern: str) -> str:
        """What the next mail, to Ann, says."""
        self.seen += 1
        taken = self.box.wait_for(self.seen)[self.seen - 1]
        assert taken.to == [ANN]
        found = re.search(pattern, taken.text, re.MULTILINE)
        assert found, taken.text
        if found.groups():
            self.secrets.add(found[1])
            return found[1]
        return ""

    def call(self, where: str, access: str = "", /, **data: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {access}"} if access else {}
        return self.http.post(self.surface.rest + where, json=data, headers=headers)

    def me(self, token: str) -> httpx.Response:
        answer = self.http.get(f"{self.surface.rest}/me", headers={"Authorization": f"Bearer {token}"})
        if self.surface.enveloped:
            profile = self.http.get("/api/profile", headers={"Authorization": f"Bearer {token}"})
            assert profile.status_code == answer.status_code
        return answer

    def log_in(self, password: str = OLD) -> httpx.Response:
        name = {"login": NAME} if self.surface.enveloped else {"email": ANN}
        return self.http.post(self.surface.login, json={**name, "password": password})

    def signed_in(self, answer: Any) -> dict[str, str]:
        """The tokens of an answer."""
        pair = {name: answer[name] for name in ("access_token", "refresh_token")}
        self.secrets |= set(pair.values())
        return pair

    def follow(self, link: str, **typed: str) -> httpx.Response:
        """Open the page of a mailed link, twice as scanners do, and press its button."""
        address, _, query = link.partition("?")
        page = f"{self.running.url}/{address.rpartition('/')[2]}?{query}"
        for _ in range(2):
            shown = self.http.get(page, headers={"Accept": "text/html"})
            assert shown.status_code == 200, shown.text
        hidden = {name: html.unescape(value) for name, value in _FIELD.findall(shown.text)}
        assert hidden["token"] in link
        return self.http.post(page.partition("?")[0], data={**hidden, **typed})

    def second_factor(self, pending: Any) -> dict[str, str]:
        assert pending["requires_2fa"] is True and pending["method"] == "email"
        assert "token" not in pending and "access_token" not in pending and "refresh_token" not in pending
        code = self.mail(r"^\s*(\d{6})\s*$")
        wrong = self.call("/verify-2fa", challenge=pending["challenge"], code=f"{(int(code) + 1) % 1_000_000:06}")
        assert wrong.status_code == 401
        done = self.call("/verify-2fa", challenge=pending["challenge"], code=code)
        assert done.status_code == 200, done.text
        again = self.call("/verify-2fa", challenge=pending["challenge"], code=code)
        assert again.status_code == 401
        return self.signed_in(done.json())


@pytest.fixture
def running(make_collection: Any, make_user: Any, tmp_path: Path) -> Iterator[tuple[Server, Mailbox]]:
    make_user("first")
    make_collection("customers", type="auth")
    with mail_servers.smtp() as box:
        smtp = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(box.port), "SMTP_TLS": "false"}
        with server(tmp_path, **smtp) as made:
            yield made, box
            assert "Traceback" not in made.log.read_text()


@pytest.mark.parametrize("name", SURFACES)
def test_from_registration_to_the_end_of_all_old_tokens(
    name: str, running: tuple[Server, Mailbox], real_hashers: None
) -> None:
    surface = SURFACES[name]
    story = Story(*running, surface)
    names = {} if name == "customers" else {"login" if surface.enveloped else "username": NAME}
    made = story.http.post(surface.register, json={"email": ANN, "password": OLD, **names})
    assert made.status_code == 201, made.text
    if not surface.enveloped:
        assert made.json()["verified"] is False

    link = story.mail(r"(\S+/verify\?\S+)")
    assert story.follow(link).status_code == 200
    token = link.partition("token=")[2].partition("&")[0]
    assert story.http.post("/verify", data={"token": token}).status_code == 400

    answer = story.log_in()
    assert answer.status_code == 200, answer.text
    if surface.enveloped:
        assert surface.data(answer)["token"] == surface.data(answer)["access_token"]
    first = story.signed_in(surface.data(answer))
    assert story.me(first["access_token"]).json()["verified"] is True

    other = story.signed_in(surface.data(story.log_in()))
    assert story.call("/enable-2fa", first["access_token"]).status_code == 200
    assert story.me(first["access_token"]).json()["two_fa_enabled"] is True
    assert story.me(other["access_token"]).status_code == 401  # it came without a second factor
    story.mail("2FA|two-factor|second factor|code")

    second = story.second_factor(surface.data(story.log_in()))
    refreshed = story.call("/refresh", refresh_token=second["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    third = story.signed_in(refreshed.json())
    assert story.me(third["access_token"]).status_code == 200
    key = "" if name == "customers" else story.call("/api-keys", third["access_token"], name="mine").json()["key"]
    waiting = surface.data(story.log_in())
    code = story.mail(r"^\s*(\d{6})\s*$")

    assert story.call("/request-password-reset", email=ANN).status_code == 200
    link = story.mail(r"(\S+/reset-password\?\S+)")
    poor = story.follow(link, new_password="12345678", password_confirm="12345678")
    assert poor.status_code == 422
    assert story.me(third["access_token"]).status_code == 200
    assert story.follow(link, new_password=NEW, password_confirm=NEW).status_code == 200
    story.mail("password")

    for pair in (first, other, second, third):
        assert story.me(pair["access_token"]).status_code == 401
        assert story.call("/refresh", refresh_token=pair["refresh_token"]).status_code == 401
    assert story.call("/verify-2fa", challenge=waiting["challenge"], code=code).status_code == 401
    token = link.partition("token=")[2].partition("&")[0]
    assert story.call("/reset-password", token=token, new_password=OLD).status_code == 400
    if key:
        assert story.http.get(f"{surface.rest}/me", headers={"X-API-Key": key}).status_code == 401
    assert story.log_in(OLD).status_code == 401

    last = story.second_factor(surface.data(story.log_in(NEW)))
    assert story.me(last["access_token"]).json()["email"] == ANN
    assert story.call("/logout", last["access_token"]).status_code == 200
    assert story.me(last["access_token"]).status_code == 401
    assert story.call("/refresh", refresh_token=last["refresh_token"]).status_code == 401

    log = story.running.log.read_text()
    long = [secret for secret in story.secrets | {OLD, NEW, key or OLD} if len(secret) > 6]
    assert not [secret for secret in long if secret in log]
    assert len(story.box.taken) == story.seen, [taken.message["Subject"] for taken in story.box.taken]
