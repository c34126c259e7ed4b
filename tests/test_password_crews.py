"""Hashing takes long: who logs in waits for that, and nobody else does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.conf import settings as django_settings
from django.db import connection

from accounts import tokens
from accounts.models import User
from cms_project import handler
from cms_project.front import Front
from cms_project.handler import DjangoHandler
from collections_app.api.lane import Lane
from core import hashing, ratelimit, routes
from tests.asgi_client import Answer, call

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
PASSWORD = "correct-horse-battery"
JSON = [("Content-Type", "application/json")]


class SlowHasher:
    """Stands in the way of all hashing until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def run(self, action: Any) -> Any:
        if hashing._here.forbidden:
            raise hashing.NotHere
        self.begun.release()
        assert self.go.wait(30)
        return action()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[SlowHasher]:
    settings.PASSWORD_HASHERS = ["accounts.hashers.PBKDF2PasswordHasher"]
    made = SlowHasher()
    made.go.set()
    monkeypatch.setattr(hashing, "run", made.run)
    monkeypatch.setattr("accounts.hashers.PBKDF2PasswordHasher.iterations", 1)
    yield made
    made.go.set()


@pytest.fixture
def app(committed_db: None, settings: Any) -> Iterator[Any]:
    settings.ACCESS_LOG = False
    django = DjangoHandler(2)
    lane = Lane(django)
    with asyncio.Runner() as runner:
        front = Front(lane)

        def ask(*requests: tuple[Any, ...], before_the_last: Any = None) -> list[Answer]:
            async def all_at_once() -> list[Answer]:
                *first, last = [call(front, *request) for request in requests]
                waiting = [asyncio.ensure_future(one) for one in first]
                if before_the_last is not None:
                    await asyncio.to_thread(before_the_last)
                answered = await last
                done = [one.done() for one in waiting]
                release()
                return [answered, *(await asyncio.gather(*waiting)), done]  # type: ignore[list-item]

            return runner.run(all_at_once())

        release = lambda: None  # noqa: E731

        def on_release(action: Any) -> None:
            nonlocal release
            release = action

        ask.on_release = on_release  # type: ignore[attr-defined]
        yield ask
        runner.run(front.close())
    lane.close()
    django.close()


def login(email: str = "ann@example.com") -> tuple[Any, ...]:
    return "POST", "/api/v1/auth/login", JSON, orjson.dumps({"email": email, "password": PASSWORD})


def test_logins_hold_up_neither_reads_nor_writes(
    schema_db: None, slow: SlowHasher, app: Any, make_user: Any, admin: User, make_collection: Any
) -> None:
    make_user("ann")
    make_collection("posts", title="text", **PUBLIC)
    token = [("Authorization", f"Bearer {tokens.issue(admin).access}"), *JSON]
    others = [
        ("GET", "/api/v1/collections/posts/records", []),
        ("POST", "/api/v1/collections/posts/records", JSON, b'{"title": "x"}'),
        ("GET", "/api/v1/auth/me", token),
        ("POST", "/api/v1/collections", token, b'{"name": "more"}'),
    ]
    app.on_release(slow.go.set)
    for other in others:
        slow.go.clear()
        first, *rest, done = app(*[login()] * 8, other, before_the_last=slow.begun.acquire)
        assert first.status in (200, 201), first.content
        assert done == [False] * 8
        assert [answer.status for answer in rest] == [200] * 8


def test_a_record_with_a_password_holds_up_no_other_write(
    schema_db: None, slow: SlowHasher, app: Any, make_collection: Any
) -> None:
    make_collection("posts", title="text", **PUBLIC)
    make_collection("members", type="auth", create_rule=None)
    members = [{"email": f"{number}@example.com", "password": PASSWORD} for number in range(12)]
    creates = [("POST", "/api/v1/collections/members/records", JSON, orjson.dumps(member)) for member in members[:8]]
    batches = [
        ("POST", "/api/v1/batch", JSON, orjson.dumps({"requests": [request]}))
        for request in ({"method": "POST", "collection": "members", "data": member} for member in members[8:])
    ]
    write = ("POST", "/api/v1/collections/posts/records", JSON, b'{"title": "x"}')
    app.on_release(slow.go.set)
    for requests in (creates, batches):
        slow.go.clear()
        first, *made, done = app(*requests, write, before_the_last=slow.begun.acquire)
        assert first.status == 201 and done == [False] * len(requests)
        assert [answer.status for answer in made] == [201 if requests is creates else 200] * len(requests)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events WHERE type = 'record.created'")
        assert cursor.fetchone()[0] >= 14


def test_who_waits_too_long_to_log_in_is_sent_away(
    schema_db: None, slow: SlowHasher, app: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user("ann")
    monkeypatch.setattr(django_settings, "BUSY_TIMEOUT_MS", 300)
    app.on_release(lambda: (threading.Event().wait(0.5), slow.go.set()))
    slow.go.clear()
    _, *answers, _done = app(*[login()] * 12, ("GET", "/api/v1/collections", []), before_the_last=slow.begun.acquire)
    statuses = sorted(answer.status for answer in answers)
    crew = hashing.THREADS + 1
    assert statuses == [200] * crew + [503] * (12 - crew)
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.header("retry-after") == "1" and refused.json()["error_code"] == "SERVICE_UNAVAILABLE"


def test_a_failed_login_takes_its_time_however_the_password_is_hashed(
    schema_db: None, app: Any, make_user: Any
) -> None:
    make_user("ann")
    make_user("imported")
    User.objects.filter(username="imported").update(password="$2b$04$" + "x" * 53)
    attempts: list[tuple[str, str, dict[str, str]]] = [
        ("/api/v1/auth/login", f"{name}@example.com", {"password": "wrong-password-9"})
        for name in ("ann", "imported", "nobody")
    ]
    for path, email, more in attempts:
        began = time.monotonic()
        answer = app(("POST", path, JSON, orjson.dumps({"email": email, **more})))[0]
        assert answer.status == 401
        assert time.monotonic() - began >= handler.FAILED_LOGIN_SECONDS
    assert app(login())[0].status == 200


def test_what_counts_as_a_failed_login(db: None) -> None:
    judged = {
        (path, status): handler._is_failed_login(path, status)
        for path in ("/api/v1/auth/login", "/admin/login/", "/api/v1/auth/register", "/api/v1/auth/refresh")
        for status in (200, 302, 401, 503)
    }
    assert {key for key, failed in judged.items() if failed} == {
        ("/api/v1/auth/login", 401), ("/api/v1/auth/login", 302), ("/admin/login/", 200), ("/admin/login/", 401),
    }  # fmt: skip


HASHING = [
    *(f"{prefix}/{name}" for prefix in ("/api/v1/auth", "/api/auth", "/api/v1/collections/members/auth")
      for name in ("login", "login/json", "login/", "register", "change-password", "reset-password", "change-email", "disable-2fa")),
    "/admin/login/", "/admin/password_change/", "/admin/accounts/user/add/", "/admin/accounts/user/7/change/",
    "/reset-password", "/register", "/api/login", "/api/register", "/api/profile", "/api/v1/users/me",
    "/api/v1/users/update/7",
]  # fmt: skip
OTHERS = [
    "refresh",
    "logout",
    "verify-2fa",
    "verify-email",
    "resend-verification",
    "request-password-reset",
    "sessions",
    "api-keys",
]


def test_views_say_that_they_hash(db: None) -> None:
    assert [path for path in HASHING if routes.declared(path, "crew") != "hashing"] == []
    others = [*(f"/api/v1/auth/{name}" for name in OTHERS), "/api/v1/collections", "/nothing", "/" + "x" * 300]
    assert [path for path in others if routes.declared(path, "crew")] == []


def test_views_say_what_their_posts_are_counted_as(db: None) -> None:
    kinds = {
        path: routes.declared(path, "rate_limit") for path in [*HASHING, *(f"/api/v1/auth/{name}" for name in OTHERS)]
    }
    assert {path for path, kind in kinds.items() if kind and kind.bucket == "login"} == {
        path for path in HASHING if path.rstrip("/").endswith(("login", "login/json"))
    }
    assert {path for path, kind in kinds.items() if kind and kind.bucket == "register"} == {
        path for path in HASHING if path.endswith("register")
    }
    assert kinds["/admin/login/"] == ratelimit.LOGIN_PAGE
