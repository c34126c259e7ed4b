"""What is slow, broken off or never finished holds up nobody else."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from cms_project.front import Front
from collections_app import dialects
from collections_app.api import lane as lane_module
from collections_app.api.lane import Lane
from collections_app.dialects import quote
from collections_app.models import Event
from collections_app.records import read
from collections_app.schema import registry
from core import database
from tests.asgi_client import Answer, call
from tests.server import server

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

PUBLIC = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))
THINGS = "/api/v1/collections/things/records"
ROWS = 60_000
HALF = 300  # clients that never finish their request


@pytest.fixture
def things(make_collection: Any, records: Any) -> None:
    make_collection("things", note="text", number="integer", indexes=[{"fields": ["number"]}], **PUBLIC)
    records("things").create(id="thing", note="x" * 100, number=-1)


@pytest.fixture
def many(things: None) -> None:
    """As many rows as it takes for a scan to be slow; in SQL, for they need no events here."""
    collection = registry.latest().get("things")
    note, number = (quote(collection.by_name[name].column) for name in ("note", "number"))
    table, others = (
        quote(collection.table),
        [f.column for f in collection.own_fields if f.name not in ("note", "number")],
    )
    assert not others
    execute = dialects.current().execute
    series = (
        f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})"
        if connection.vendor == "sqlite"
        else f"WITH n AS (SELECT generate_series(1, {ROWS}) AS n)"
    )
    execute(
        f"INSERT INTO {table} (id, created, updated, {note}, {number}) {series}"
        f" SELECT 'row-' || n, created, updated, note.text || n, n FROM n,"
        f" (SELECT created, updated, {note} AS text FROM {table} WHERE id = 'thing') AS note"
    )
    execute("ANALYZE")


@pytest.fixture
def lane(things: None, settings: Any) -> Iterator[Callable[[], Any]]:
    """Makes the application: the front and the lane, with nothing behind them."""
    settings.ACCESS_LOG = False
    made: list[Lane] = []

    async def nobody(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(f"not answered by the lane: {scope['path']}")

    def make() -> Any:
        made.append(Lane(nobody))
        return Front(made[-1])

    yield make
    for each in made:
        each.close()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which lists were made from beginning to end."""
    seen: list[str] = []
    whole = read.list_page

    def watched(*args: Any, **kwargs: Any) -> Any:
        page = whole(*args, **kwargs)
        seen.append(threading.current_thread().name)
        return page

    monkeypatch.setattr(read, "list_page", watched)
    monkeypatch.setattr(database, "_slow", type(database._slow)())
    return seen


def scan(number: int) -> str:
    """A list that every row must be looked at for, several times; each number makes another one."""
    return f"{THINGS}?per_page=5&filter=" + "||".join(f"note~'needle {number} {place}'" for place in range(12))


def run(action: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await action()

    return asyncio.run(main())


def is_slow(name: str) -> bool:
    return name.startswith("lane-slow")


def test_a_scan_runs_where_it_holds_up_nobody(many: None, lane: Any, threads: list[str]) -> None:
    app = lane()
    on_sqlite = connection.vendor == "sqlite"

    async def ask() -> list[Answer]:
        quick = f"{THINGS}?per_page=2&skip_total=true", f"{THINGS}?filter=number=5"
        paths = (scan(1), *quick, scan(2)) if on_sqlite else (scan(1), *quick, scan(1))
        if not on_sqlite:
            await call(app, "GET", scan(1))  # once is an accident
            threads.clear()
        return [await call(app, "GET", path) for path in paths]

    answers = run(ask)
    assert [answer.status for answer in answers] == [200] * 4
    assert [answer.json()["total"] for answer in answers] == [0, -1, 1, 0]
    # PostgreSQL's answer shows that it was slow only when it is there.
    assert list(map(is_slow, threads)) == [on_sqlite, False, False, True]


def test_point_reads_go_on_while_scans_take_their_time(
    many: None, lane: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """All threads for what is slow stand still in the middle of it, and others are read and written."""
    settings.BUSY_TIMEOUT_MS = 60_000  # of patience with those that wait for a thread
    # The collection of this process's garbage, which may fall into any read, takes longer than a read may.
    monkeypatch.setattr(lane_module, "BUDGET_SECONDS", 1)
    app = lane()
    go_on = threading.Event()
    standing: list[str] = []
    whole = read.list_page

    def stopped(*args: Any, **kwargs: Any) -> Any:
        page = whole(*args, **kwargs)
        if is_slow(threading.current_thread().name):
            standing.append(threading.current_thread().name)
            assert go_on.wait(60)
        return page

    async def ask() -> None:
        if connection.vendor == "postgresql":
            for _ in range(2):
                await call(app, "GET", scan(0))  # known to be slow from here on
        go_on.clear()
        paths = [scan(0 if connection.vendor == "postgresql" else number) for number in range(6)]
        first = asyncio.ensure_future(call(app, "GET", paths[0], client="10.0.0.1"))
        again = asyncio.ensure_future(call(app, "GET", paths[1], client="10.0.0.1"))
        while not standing:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(set(standing)) == 1, "one client has one thread"
        others = [
            asyncio.ensure_future(call(app, "GET", path, client=f"10.0.1.{number}"))
            for number, path in enumerate(paths[2:])
        ]
        scans = [first, again, *others]
        while len(set(standing)) < 2:
            await asyncio.sleep(0.01)
        for number in range(50):
            assert (await call(app, "GET", f"{THINGS}/row-{number + 1}")).json()["number"] == number + 1
            assert (await call(app, "GET", f"{THINGS}?filter=number={number + 1}")).json()["total"] == 1
            changed = await call(app, "PATCH", f"{THINGS}/thing", JSON, b'{"number": -2}')
            assert changed.status == 200
        assert not any(waiting.done() for waiting in scans)
        go_on.set()
        assert [(await waiting).status for waiting in scans] == [200] * 6

    go_on.set()
    monkeypatch.setattr(read, "list_page", stopped)
    run(ask)


JSON = {"Content-Type": "application/json"}


def test_a_value_that_makes_a_question_slow_does_not_slow_it_down_for_others(
    many: None, lane: Any, threads: list[str]
) -> None:
    """Pages far down, common words and frequent values are the same SQL as their quick sisters."""
    app = lane()

    async def ask() -> None:
        slow = f"{THINGS}?sort=note&skip_total=true&per_page=3&filter=number>="
        for number in (0, 1, 2):
            assert len((await call(app, "GET", f"{slow}{number}")).json()["items"]) == 3
        threads.clear()
        for number in range(5):
            assert len((await call(app, "GET", f"{slow}{ROWS - number}")).json()["items"]) == min(number + 1, 3)

    run(ask)
    assert not any(map(is_slow, threads)), threads


def test_a_query_over_the_time_limit_is_refused_and_nothing_else(many: None, lane: Any, settings: Any) -> None:
    settings.QUERY_TIMEOUT_MS = 10
    database.close()
    app = lane()

    async def ask() -> None:
        for _ in range(3):
            answers = await asyncio.gather(*(call(app, "GET", scan(number)) for number in range(4)))
            assert [answer.status for answer in answers] == [400] * 4
            assert "longer than 0.01 seconds" in answers[0].json()["message"]
            assert (await call(app, "GET", f"{THINGS}/thing")).status == 200
            assert (await call(app, "GET", f"{THINGS}?filter=number=5")).json()["total"] == 1
            assert (await call(app, "PATCH", f"{THINGS}/thing", JSON, b'{"number": 5}')).status == 200
            assert (await call(app, "GET", f"{THINGS}?filter=number=5")).json()["total"] == 2
            assert (await call(app, "PATCH", f"{THINGS}/thing", JSON, b'{"number": -1}')).status == 200

    try:
        run(ask)
    finally:
        database.close()  # what was opened with this limit


def test_a_client_that_goes_away_in_the_middle_of_its_body_leaves_nothing(lane: Any) -> None:
    app = lane()
    sent: list[Any] = []

    def left(pieces: list[bytes]) -> Awaitable[None]:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append({"type": "http.disconnect"})

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": THINGS,
            "raw_path": THINGS.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 5), "server": None,
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"30")],
        }  # fmt: skip
        return app(scope, receive, send)  # type: ignore[no-any-return]

    async def ask() -> None:
        for pieces in ([], [b'{"note"'], [b'{"note": "x"}'], [b"{}", b""]):
            await left(pieces)
        assert (await call(app, "POST", THINGS, JSON, b'{"note": "whole"}')).status == 201

    before = Event.objects.count()
    run(ask)
    assert not sent
    assert Event.objects.count() == before + 1


def test_requests_that_are_never_finished_and_too_large_ones_stop_nobody(
    things: None, tmp_path: Path, records: Any
) -> None:
    with server(tmp_path, MAX_BODY_BYTES="100000") as running, ExitStack() as stack:
        address = ("127.0.0.1", running.port)
        head = (
            f"POST {THINGS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
        )
        halves = [head.encode(), f"{head}\r\n".encode(), f"{head}\r\n{{".encode(), f"GET {THINGS}/th".encode()]
        for number in range(HALF):
            client = stack.enter_context(socket.create_connection(address))
            client.sendall(halves[number % len(halves)])

        def work(number: int) -> list[int]:
            with httpx.Client(base_url=running.url, timeout=60) as client:
                made = client.post(THINGS, json={"note": "x", "number": number})
                path = f"{THINGS}/{made.json()['id']}"
                large = client.post(THINGS, json={"note": "x" * 100_000})
                chunked = client.post(THINGS, content=iter([b'{"note": "', b"x" * 60_000, b"x" * 60_000]), headers=JSON)
                read = client.get(path)
                assert read.json()["number"] == number
                return [made.status_code, large.status_code, chunked.status_code, read.status_code]

        with ThreadPoolExecutor(16) as pool:
            for statuses in pool.map(work, range(64)):
                assert statuses == [201, 413, 413, 200]
        # Who goes on in the end gets an answer too.
        client = stack.enter_context(socket.create_connection(address))
        body = json.dumps({"note": "slowly"}).encode()
        client.sendall(f"{head.replace('1000', str(len(body)))}\r\n".encode() + body[:5])
        assert httpx.get(f"{running.url}{THINGS}/thing").status_code == 200
        client.sendall(body[5:])
        assert client.recv(1000).startswith(b"HTTP/1.1 201 ")
        stack.close()
        assert httpx.get(f"{running.url}{THINGS}?filter=note='slowly'").json()["total"] == 1
        assert running.leave() == 0
    told = running.log.read_text()
    assert "Traceback" not in told, told[-3000:]
    assert records("things").page("per_page=1")["total"] == 64 + 2
