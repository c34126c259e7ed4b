"""Which handshakes of WebSockets are let through, and what those are told that are not."""

from __future__ import annotations

import asyncio
import json
import logging
from ipaddress import ip_network

import pytest

from cms_project.front import Front
from cms_project.sockets import Sockets
from core import request_id


class Inner:
    """Takes every socket, says one word, and remembers who came."""

    def __init__(self, fault=None, after=None):
        self.scopes, self.fault, self.after = [], fault, after

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if self.fault:
            raise self.fault
        await receive()
        await send({"type": "websocket.accept"})
        if self.after:
            raise self.after
        await send({"type": "websocket.send", "text": request_id.peek()})
        await send({"type": "websocket.close", "code": 1000})


@pytest.fixture(autouse=True)
def plain(settings):
    settings.RATE_LIMIT_ENABLED = settings.ACCESS_LOG = settings.CORS_ALLOW_ALL_ORIGINS = False
    settings.CORS_ALLOWED_ORIGINS, settings.TRUSTED_PROXIES, settings.REDIS_URL = [], [], ""
    settings.BASE_URL, settings.ALLOWED_HOSTS = "https://cms.example.com", ["localhost", "cms.example.com"]


def build(inner):
    async def nothing(scope, receive, send):
        raise AssertionError("not an HTTP request")

    return Sockets(inner, Front(nothing))


def knock(app, path="/ws/1", *, client="127.0.0.1", answers=True, scheme="ws", **headers):
    """The messages that a server gets; ``answers``: whether it can answer a handshake with a body."""
    sent = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"token=secret",
        "scheme": scheme,
        "client": (client, 1),
        "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "extensions": {"websocket.http.response": {}} if answers else {},
    }
    messages = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        messages.append(message)

    asyncio.run(app(scope, receive, send))
    return messages


def refused(messages):
    start, body = messages
    assert start["type"] == "websocket.http.response.start"
    found = json.loads(body["body"])
    headers = dict(start["headers"])
    assert headers[b"x-request-id"].decode() == found["request_id"]
    assert headers[b"x-content-type-options"] == b"nosniff"
    return start["status"], found["error_code"]


@pytest.mark.parametrize(
    "origin",
    [None, "http://localhost", "https://localhost", "https://cms.example.com", "HTTPS://CMS.EXAMPLE.COM"],
)
def test_our_own_pages_and_programs_come_in(origin):
    inner = Inner()
    messages = knock(build(inner), x_request_id="r-1", **({"origin": origin} if origin else {}))
    assert [message["type"] for message in messages] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert messages[1]["text"] == "r-1" and (b"x-request-id", b"r-1") in messages[0]["headers"]
    assert inner.scopes[0]["fastcms.headers"][b"host"] == b"localhost"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://localhost:81",
        "https://cms.example.com.evil.example",
        "https://notlocalhost",
    ],
)
def test_the_pages_of_strangers_do_not(origin):
    inner = Inner()
    assert refused(knock(build(inner), origin=origin)) == (403, "FORBIDDEN")
    assert knock(build(inner), origin=origin, answers=False) == [{"type": "websocket.close", "code": 4403}]
    assert inner.scopes == []


def test_the_pages_of_friends_do(settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    inner = Inner()
    app = build(inner)
    assert knock(app, origin="https://app.example.org")[0]["type"] == "websocket.accept"
    assert refused(knock(app, origin="https://evil.example")) == (403, "FORBIDDEN")
    settings.CORS_ALLOW_ALL_ORIGINS = True
    assert knock(build(inner), origin="https://evil.example")[0]["type"] == "websocket.accept"
    assert len(inner.scopes) == 2


def test_other_host_names_and_plain_ws_are_refused(settings):
    inner = Inner()
    app = build(inner)
    assert refused(knock(app, host="evil.example")) == (400, "BAD_REQUEST")
    settings.SECURE_SSL_REDIRECT = True
    assert refused(knock(app)) == (403, "FORBIDDEN")
    assert inner.scopes == []
    assert knock(app, scheme="wss")[0]["type"] == "websocket.accept"


def test_a_proxy_speaks_for_its_client_only_if_it_is_trusted(settings):
    inner = Inner()
    told = {"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "https"}
    knock(build(inner), client="10.0.0.1", **told)
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8")]
    knock(build(inner), client="10.0.0.1", **told)
    knock(build(inner), client="192.0.2.1", **told)
    seen = [(scope["client"][0], scope["scheme"]) for scope in inner.scopes]
    assert seen == [("10.0.0.1", "ws"), ("203.0.113.9", "wss"), ("192.0.2.1", "ws")]


def test_handshakes_are_counted_with_requests_and_those_of_strangers_are_not(settings):
    settings.RATE_LIMIT_ENABLED, settings.RATE_LIMIT_REQUESTS = True, 2
    inner = Inner()
    app = build(inner)
    for _ in range(5):
        assert refused(knock(app, origin="https://evil.example")) == (403, "FORBIDDEN")
    for _ in range(2):
        assert knock(app)[0]["type"] == "websocket.accept"
    messages = knock(app)
    assert refused(messages) == (429, "RATE_LIMIT_EXCEEDED") and int(dict(messages[0]["headers"])[b"retry-after"]) > 0
    assert knock(app, client="127.0.0.2")[0]["type"] == "websocket.accept"
    assert len(inner.scopes) == 3


def test_a_fault_is_told_in_the_log_and_not_to_the_client(caplog):
    assert refused(knock(build(Inner(fault=RuntimeError("secret detail"))))) == (500, "INTERNAL_ERROR")
    messages = knock(build(Inner(after=RuntimeError("secret detail"))))
    assert messages[-1] == {"type": "websocket.close", "code": 1011}
    assert "secret detail" not in str(messages) and "secret detail" in caplog.text


def test_the_access_log_has_a_line_for_each_without_its_query(settings, caplog):
    settings.ACCESS_LOG = True
    caplog.set_level(logging.INFO, "access")
    app = build(Inner())
    logging.getLogger("access").addHandler(caplog.handler)
    try:
        knock(app, x_request_id="r-1")
        knock(app, origin="https://evil.example", x_request_id="r-2")
        app._access_log.close()
    finally:
        logging.getLogger("access").removeHandler(caplog.handler)
    assert "[r-1] WEBSOCKET /ws/1 101 " in caplog.text and "[r-2] WEBSOCKET /ws/1 403 " in caplog.text
    assert "secret" not in caplog.text
