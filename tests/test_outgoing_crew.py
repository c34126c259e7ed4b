"""A provider that does not answer keeps those waiting who go there, and nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from accounts import tokens
from accounts.models import User
from accounts.oauth import outgoing, protocols
from cms_project import handler
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from core import routes
from tests.asgi_client import Answer, call

LOGIN = "/api/v1/oauth/oidc/login"


class Issuer:
    """Takes every connection, and says something only once it is let go: that it has nothing."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Semaphore(0)
        self.count = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        self.go.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _take(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            self.count += 1
            self.asked.release()
            threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        with taken:
            self.go.wait(30)
            taken.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    made = Issuer()
    client = {"client_id": "cms", "client_secret": "secret", "redirect_uri": ""}
    settings.OAUTH_PROVIDERS = {"oidc": client | {"name": "Acme", "issuer": made.url}}
    settings.ACCESS_LOG = settings.RATE_LIMIT_ENABLED = False
    cache.clear()
    yield made
    made.close()
    cache.clear()


def test_people_on_the_way_to_a_provider_that_does_not_answer_hold_up_no_read(
    committed_db: None, issuer: Issuer, admin: User
) -> None:
    bearer = [("Authorization", f"Bearer {tokens.issue(admin).access}")]
    django = DjangoHandler(2)
    front = Front(django)

    async def crowd() -> tuple[Answer, float, list[Answer]]:
        going = [asyncio.ensure_future(call(front, "GET", LOGIN)) for _ in range(handler.OUTGOING_MOST + 5)]
        for _ in range(handler.OUTGOING_THREADS):
            await asyncio.to_thread(issuer.asked.acquire)
        began = time.monotonic()
        me = await asyncio.wait_for(call(front, "GET", "/api/v1/auth/me", bearer), 5)
        took = time.monotonic() - began
        refused = [one.result() for one in going if one.done()]
        issuer.go.set()
        await asyncio.gather(*going)
        await front.close()
        return me, took, refused

    try:
        me, took, refused = asyncio.run(crowd())
    finally:
        django.close()
    assert me.status == 200 and took < 2
    assert [answer.status for answer in refused] == [503] * 5  # those beyond the line, at once
    assert issuer.count == handler.OUTGOING_THREADS


def test_an_issuer_without_an_answer_is_not_asked_again_at_once(
    db: None, issuer: Issuer, anonymous: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TIMEOUT", (1, 0.1))
    assert [anonymous.get(LOGIN).status_code for _ in range(5)] == [503] * 5
    assert issuer.count == 1
    monkeypatch.setattr(protocols, "AWAY_SECONDS", 0.05)
    cache.clear()
    assert anonymous.get(LOGIN).status_code == 503
    time.sleep(0.1)
    assert anonymous.get(LOGIN).status_code == 503
    assert issuer.count == 3


def test_views_that_ask_other_servers_say_so(db: None) -> None:
    outside = [f"/api/v1/oauth/{provider}/{step}" for provider in ("oidc", "google") for step in ("login", "callback")]
    assert {routes.declared(path, "crew") for path in outside} == {"outgoing"}
    assert routes.declared("/api/v1/oauth/exchange", "crew") is None
