"""While the site is maintained nobody gets in but admins, whichever way they come, and who wants to become one."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.conf import settings as project
from django.db import transaction
from django.test import Client

from accounts import api_keys, one_time, tokens
from accounts.one_time import Purpose
from cms_project.front import Front
from cms_project.sockets import Sockets
from core.asgi import send_answer
from settings_app import seen, services
from tests.asgi_client import request

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]
RECORDS = "/api/v1/collections/records/records"


async def inner(scope, receive, send):
    """What stands behind the front."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    else:
        await send_answer(send, 200, [], b"in")


@pytest.fixture(autouse=True)
def plain(settings):
    settings.RATE_LIMIT_ENABLED = settings.ACCESS_LOG = False


@pytest.fixture
def front(committed_db):
    """One that was there before the site was closed."""
    made = Front(inner)
    services.put("maintenance_mode", True, by="")
    yield made
    seen.forget()
    made.maintenance.close()


def session_of(user):
    browser = Client()
    browser.force_login(user)
    return {"cookie": f"{project.SESSION_COOKIE_NAME}={browser.cookies[project.SESSION_COOKIE_NAME].value}"}


def ways_in(user):
    """Each way in which a request can carry who sends it: path and headers."""
    access = tokens.issue(user).access
    key = api_keys.make(user, name="k", access="read")[1]
    ticket = one_time.make(user, Purpose.TICKET, {})
    return [
        (RECORDS, {"authorization": f"Bearer {access}"}),
        (RECORDS, {"authorization": f"Bearer {key}"}),
        (RECORDS, {"x-api-key": key}),
        ("/api/v1/settings", session_of(user)),
        (f"/api/v1/realtime?token={access}", {}),
        (f"/api/v1/realtime?query=x&token={ticket}", {}),
    ]


def test_nobody_else_gets_in_and_each_is_told_in_their_own_words(front):
    services.put("maintenance_message", "Back at <b>noon</b>", by="")
    for path in ("/", RECORDS, "/api/v1/realtime", "/api/v1/files/a/b/c", "/api/records", "/docs", "/nowhere"):
        answer = request(front, path=path)
        assert (answer.status, answer.header("Retry-After")) == (503, "60"), path
        body = answer.json()
        assert (body["message"], body["error_code"]) == ("Back at <b>noon</b>", "SERVICE_UNAVAILABLE")
    page = request(front, path="/", headers={"accept": "text/html"})
    assert page.status == 503 and page.header("Retry-After") == "60"
    assert "Back at &lt;b&gt;noon&lt;/b&gt;" in page.content.decode() and b"<b>noon" not in page.content
    assert request(front, "POST", RECORDS, body=b"{}").status == 503


@pytest.mark.parametrize("role", ["admin", "superadmin"])
def test_admins_get_in_by_whatever_says_who_they_are(front, make_user, role):
    for path, headers in ways_in(make_user("chief", role=role)):
        for _ in range(2):  # nothing is used up by looking
            assert request(front, path=path, headers=headers).content == b"in", (path, headers)


def test_others_do_not_whoever_they_say_they_are(front, member, admin):
    ways = ways_in(member)
    good = tokens.issue(admin).access
    for bad in (good[:-2], "x", "", "a.b.c", "\x00"):
        ways += [(RECORDS, {"authorization": f"Bearer {bad}"}), (RECORDS, {"x-api-key": bad})]
        ways += [(f"/api/v1/realtime?token={bad}", {}), ("/", {"cookie": f"{project.SESSION_COOKIE_NAME}={bad}"})]
    ways += [(RECORDS, {"authorization": f"Basic {good}"}), ("/?token=%ff%zz", {}), ("/?token=1&token=2", {})]
    for path, headers in ways:
        assert request(front, path=path, headers=headers).status == 503, (path, headers)


def test_whoever_is_no_admin_any_more_is_out(front, admin):
    headers = {"authorization": f"Bearer {tokens.issue(admin).access}"}
    assert request(front, path=RECORDS, headers=headers).status == 200
    type(admin).objects.filter(pk=admin.pk).update(is_active=False)
    assert request(front, path=RECORDS, headers=headers).status == 503


def test_the_ways_to_sign_in_stay_open_and_those_of_collections_do_not(front):
    for path in (
        "/health", "/health/ready", "/api/v1/health/live", "/metrics", "/static/core/api.css", "/admin", "/admin/login/",
        "/api/v1/auth/login", "/api/auth/login/json", "/api/v1/auth/verify-2fa", "/api/v1/auth/refresh", "/api/login",
        "/api/v1/auth/logout", "/api/v1/auth/me", "/api/v1/oauth/google/login", "/api/v1/auth/reset-password",
        "/reset-password", "/theme.css", "/theme-custom.css",
    ):  # fmt: skip
        assert request(front, "POST", path).status == 200, path
    for path in (
        "/api/v1/auth/register", "/api/register", "/register", "/api/v1/collections/members/auth/login", "/adminx",
        "/healthy", "/api/v1/auth/sessions",
    ):  # fmt: skip
        assert request(front, "POST", path).status == 503, path


def test_an_admin_opens_the_site_again(front):
    services.put("maintenance_mode", False, by="")
    assert request(front, path=RECORDS).status == 200
    services.put("maintenance_mode", True, by="")
    services.remove("maintenance_mode")
    assert request(front, path=RECORDS).status == 200


def test_what_was_rolled_back_closes_nothing(committed_db):
    front = Front(inner)
    with transaction.atomic():
        services.put("maintenance_mode", True, by="")
        transaction.set_rollback(True)
    assert request(front, path=RECORDS).status == 200


def test_sockets_are_turned_away_alike(front, admin, member):
    app = Sockets(inner, front)

    def knock(query: str):
        messages = []
        scope = {
            "type": "websocket", "path": "/ws/1", "raw_path": b"/ws/1", "query_string": query.encode(),
            "scheme": "ws", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
            "headers": [(b"host", b"localhost")], "extensions": {"websocket.http.response": {}},
        }  # fmt: skip

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            messages.append(message)

        asyncio.run(app(scope, receive, send))
        return messages

    for query in ("", f"token={tokens.issue(member).access}"):
        start, body = knock(query)
        assert start["status"] == 503 and (b"retry-after", b"60") in start["headers"]
        assert json.loads(body["body"])["error_code"] == "SERVICE_UNAVAILABLE"
    assert [message["type"] for message in knock(f"token={tokens.issue(admin).access}")] == ["websocket.accept"]
