"""The ASGI handler: its threads, bodies, streams, and what it does when clients leave."""

from __future__ import annotations

import asyncio
import errno
import json
import tempfile
import threading
from collections.abc import Iterator

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from cms_project.handler import DjangoHandler
from core import line, request_id

seen: dict[str, set[int]] = {"threads": set(), "connections": set()}
produced: list[int] = []


def who(request: HttpRequest) -> HttpResponse:
    connection.ensure_connection()
    seen["threads"].add(threading.get_ident())
    seen["connections"].add(id(connection.connection))
    return HttpResponse(b"ok")


def echo(request: HttpRequest) -> HttpResponse:
    response = HttpResponse(request.body)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def bug(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret detail")


def numbers(request: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        for number in range(10_000):
            produced.append(threading.get_ident())
            yield b"%d\n" % number

    return StreamingHttpResponse(chunks())


handler500 = "core.error_pages.server_error"
urlpatterns = [path("who", who), path("echo", echo), path("bug", bug), path("numbers", numbers)]


@pytest.fixture
def handler() -> Iterator[DjangoHandler]:
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        made = DjangoHandler(threads=2)
        yield made
        made.close()


async def call(handler, path="/who", method="GET", chunks=(b"",), headers=(), leave_after=None):
    """One request; answers (status, headers, body)."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }
    messages = [
        {"type": "http.request", "body": chunk, "more_body": n < len(chunks)} for n, chunk in enumerate(chunks, 1)
    ]
    gone, sent = asyncio.Event(), []

    async def receive():
        if messages:
            return messages.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if leave_after is not None and len(sent) > leave_after:
            gone.set()

    await handler(scope, receive, send)
    body = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], sent[0]["headers"], body


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.usefixtures("committed_db")
def test_many_requests_share_few_threads_and_connections(handler):
    seen["threads"].clear()
    seen["connections"].clear()

    async def crowd():
        return await asyncio.gather(*(call(handler) for _ in range(60)))

    assert {status for status, _, _ in run(crowd())} == {200}
    assert len(seen["threads"]) <= 2 and len(seen["connections"]) <= 2


def test_a_body_in_pieces_arrives_whole_and_each_cookie_has_its_header(handler):
    pieces = [b"x" * 100_000] * 40
    status, headers, body = run(
        call(handler, "/echo", "POST", pieces, [(b"transfer-encoding", b"chunked"), (b"cookie", b"a=1")])
    )
    assert (status, len(body)) == (200, 4_000_000)
    assert [value.split(b";")[0] for name, value in headers if name == b"set-cookie"] == [b"a=1", b"b=2"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_body_beyond_the_limit_is_413_before_it_is_read_whole(handler, settings, honest):
    settings.REQUEST_MAX_BYTES = 1000
    size = (b"content-length", b"5000") if honest else (b"transfer-encoding", b"chunked")
    status, _, body = run(call(handler, "/echo", "POST", [b"x" * 500] * 10, [size]))
    assert status == 413 and json.loads(body)["error_code"] == "PAYLOAD_TOO_LARGE"


def test_a_body_that_finds_no_room_is_503(handler, settings, monkeypatch):
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1000

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile.SpooledTemporaryFile, "write", full)
        chunked = [(b"transfer-encoding", b"chunked")]
        status, headers, body = run(call(handler, "/echo", "POST", [b"x" * 800] * 2, chunked))
    assert status == 503 and json.loads(body)["error_code"] == "SERVICE_UNAVAILABLE"
    assert int(dict(headers)[b"retry-after"]) > 0


def test_a_bug_is_500_with_the_one_body_and_no_detail(handler):
    request_id.start("r-1")
    status, _, body = run(call(handler, "/bug"))
    assert status == 500
    assert json.loads(body)["request_id"] == "r-1" and b"secret" not in body


def test_a_url_that_is_not_utf8_is_400(handler):
    scope_path = "/who"

    async def bad():
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await handler(
            {
                "type": "http",
                "http_version": "1.1",
                "method": "GET",
                "path": scope_path,
                "query_string": b"\xff",
                "headers": [(b"host", b"testserver")],
            },
            receive,
            send,
        )
        return sent[0]["status"]

    assert run(bad()) == 400


def test_a_stream_is_sent_chunk_by_chunk_from_one_thread(handler):
    produced.clear()
    status, _, body = run(call(handler, "/numbers"))
    assert status == 200 and body.count(b"\n") == 10_000
    assert len(set(produced)) == 1


def test_a_stream_stops_when_the_client_leaves(handler):
    produced.clear()
    run(call(handler, "/numbers", leave_after=5))
    assert 0 < len(produced) < 10_000


def test_a_client_that_leaves_before_its_body_is_whole_gets_nothing(handler):
    async def half():
        messages = [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        await handler(
            {
                "type": "http",
                "http_version": "1.1",
                "method": "POST",
                "path": "/echo",
                "query_string": b"",
                "headers": [(b"host", b"testserver"), (b"content-length", b"10")],
            },
            receive,
            send,
        )
        return sent

    assert run(half()) == []


@pytest.mark.parametrize("takes", ["nothing", "little"])
def test_who_takes_too_little_of_a_stream_is_given_up(handler, monkeypatch, takes):
    """At once where a piece is not taken in time, later where all together are too few."""
    monkeypatch.setattr("cms_project.handler.STREAM_CHUNK_SECONDS", 0.3)
    monkeypatch.setattr("cms_project.handler.STREAM_BYTES_PER_SECOND", 1_000_000)
    produced.clear()
    aborted = []

    class Transport:
        def get_extra_info(self, name):
            return None

        def abort(self):
            aborted.append(True)

    async def slow():
        sent = 0
        requests = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if requests:
                return requests.pop()
            return await asyncio.Event().wait()

        async def send(message):
            nonlocal sent
            sent += 1
            if sent > 3:
                await asyncio.sleep(1000 if takes == "nothing" else 0.05)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/numbers",
            "query_string": b"",
            "headers": [(b"host", b"testserver")],
            "state": {line.KEY: line.Line(Transport())},
        }
        await handler(scope, receive, send)

    run(slow())
    assert aborted == [True] and len(produced) < 10_000


def test_large_chunks_are_sent_in_pieces(handler, monkeypatch):
    monkeypatch.setattr("cms_project.handler.STREAM_PIECE", 3)
    assert run(call(handler, "/numbers", leave_after=5000))[2].startswith(b"0\n1\n2\n")
    assert run(call(handler, "/numbers"))[2] == b"".join(b"%d\n" % number for number in range(10_000))
