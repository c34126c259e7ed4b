"""The same request answered twice: by the lane, and by Django and DRF alone, on the same state."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from django.db import connection, transaction

from cms_project.front import Front
from cms_project.handler import DjangoHandler
from cms_project.health import FIXED
from collections_app.api.lane import Lane
from collections_app.dialects import quote
from collections_app.records import totals
from collections_app.tests.web import COLLECTIONS, whole_state
from core import clock, ids, request_id
from tests.asgi_client import Answer, call

NOW = datetime(2026, 1, 15, 10, 30, 0, 123456, tzinfo=UTC)
# What says when, and not what.
_VOLATILE = frozenset({b"x-response-time", b"date", b"x-ratelimit-reset"})
_FORM_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"')


@dataclass(frozen=True)
class Request:
    """``path`` is absolute, or begins with a collection: ``posts/one?fields=id``.

    ``by_lane``: the lane must answer it itself. None where that is left open.
    """

    method: str
    path: str
    who: str = "anonymous"
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    by_lane: bool | None = True
    pieces: Sequence[bytes] = ()

    @property
    def target(self) -> str:
        if self.path.startswith("/"):
            return self.path
        path, mark, query = self.path.partition("?")
        name, _, rest = path.partition("/")
        return f"{COLLECTIONS}/{name}/records{'/' if rest else ''}{rest}{mark}{query}"

    def __str__(self) -> str:
        return f"{self.who}: {self.method} {self.target[:200]} {dict(self.headers)} {self.body[:200]!r}"


def get(path: str, who: str = "anonymous", /, *, by_lane: bool | None = True, **headers: str) -> Request:
    """``get("posts", "owner", if_none_match="*")``."""
    return Request("GET", path, who, _pairs(headers), by_lane=by_lane)


def send(
    method: str, path: str, data: Any = b"", who: str = "anonymous", /, *, by_lane: bool | None = True, **headers: str
) -> Request:
    """Data is sent as JSON; bytes are sent as they are."""
    body = data if isinstance(data, bytes) else orjson.dumps(data)
    if body and "content_type" not in headers:
        headers["content_type"] = "application/json"
    return Request(method, path, who, _pairs(headers), body, by_lane)


def _pairs(headers: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in headers.items()]


class TwoWays:
    """Both applications, as ``serve`` puts them together."""

    def __init__(self, folder: Path, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self.reached_django = 0
        self._django = DjangoHandler(1)
        self._lane = Lane(self._counted, FIXED)
        self._with, self._without = Front(self._lane), Front(self._django)
        self._runner = asyncio.Runner()
        self._state = _OnSQLite(folder) if connection.vendor == "sqlite" else _OnPostgreSQL()
        self.keep()

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached_django += 1
        await self._django(scope, receive, send)

    def keep(self) -> None:
        """Take what is stored now as the state that each request meets."""
        self._state.keep()

    def restore(self) -> None:
        """Undo what was written since."""
        self._state.restore()

    def by_lane(self, request: Request) -> Answer:
        return self._ask(self._with, request)

    def by_django(self, request: Request) -> Answer:
        return self._ask(self._without, request)

    def close(self) -> None:
        self._runner.run(self._with.close())
        self._runner.run(self._without.close())
        self._runner.close()
        self._lane.close()
        self._django.close()
        self._state.close()

    def differences(self, requests: Sequence[Request]) -> list[str]:
        """A paragraph for each request that the two answer differently, or that the wrong one answers."""
        return [text for request in requests for text in self._compare(request)]

    def _compare(self, request: Request) -> Iterator[str]:
        before = self.reached_django
        found = [self.by_lane(request)]
        itself = self.reached_django == before
        if request.method in ("GET", "HEAD", "OPTIONS"):
            found.append(self.by_lane(request))  # now from whatever is remembered
            expected = self.by_django(request)
        else:
            left = self._state.restore()
            expected = self.by_django(request)
            left_by_django = self._state.restore()
            if left != left_by_django:
                yield f"{request}\n    leaves another state: {_unlike(left, left_by_django)}"
        if request.by_lane is not None and request.by_lane != itself:
            yield f"{request}\n    was answered by {'the lane' if itself else 'Django'}: {found[0].content[:200]!r}"
        for answer in found:
            if told(answer) != told(expected):
                yield f"{request}\n    {_difference(told(answer), told(expected))}"
                return
        if expected.status >= 500:
            yield f"{request}\n    {told(expected)}"

    def _ask(self, application: Any, request: Request) -> Answer:
        ids._last_ms = 0  # the next id is the same each time
        headers = [*request.headers]
        if request.who in self.tokens:
            headers.append(("Authorization", f"Bearer {self.tokens[request.who]}"))
        answer = call(application, request.method, request.target, headers, request.body, pieces=request.pieces)
        return self._runner.run(answer)


def told(answer: Answer) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and bytes; the order of headers means nothing, a form's token is always another."""
    headers = sorted(pair for pair in answer.headers if pair[0] not in _VOLATILE)
    return answer.status, headers, _FORM_TOKEN.sub(b"", answer.content)


def _difference(lane: tuple[Any, ...], django: tuple[Any, ...]) -> str:
    headers = [sorted(set(one[1]) - set(two[1])) for one, two in ((lane, django), (django, lane))]
    texts = [text[:600] for text in (lane[2], django[2])] if lane[2] != django[2] else ["the same", "bytes"]
    return f"lane:   {lane[0]} {headers[0]} {texts[0]!r}\n    Django: {django[0]} {headers[1]} {texts[1]!r}"


def _unlike(one: dict[str, Any], two: dict[str, Any]) -> str:
    return "; ".join(
        f"{name}: {str(one.get(name))[:500]} / {str(two.get(name))[:500]}"
        for name in sorted(one | two)
        if one.get(name) != two.get(name)
    )


def stand_still(patch: pytest.MonkeyPatch) -> None:
    """The clock stands, and what is made up is always the same."""
    patch.setattr(clock, "now", lambda: NOW)
    patch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: 1_768_473_000_000_000_000))
    patch.setattr(ids, "secrets", SimpleNamespace(randbits=lambda bits: bits))
    patch.setattr(request_id, "_new", lambda: "made-up-request-id")


class _OnSQLite:
    """The whole file is copied back and forth."""

    def __init__(self, folder: Path) -> None:
        self._kept_file = str(folder / "kept.db")
        self._kept: dict[str, list[str]] = {}
        self._watch = sqlite3.connect(connection.settings_dict["NAME"])
        self._version = 0

    def keep(self) -> None:
        copy_file(connection.settings_dict["NAME"], self._kept_file)
        self._kept = self._seen()
        self._version = self._current_version()

    def restore(self) -> dict[str, list[str]]:
        """What is stored now; afterwards it is again what was kept."""
        if self._current_version() == self._version:
            return self._kept  # nobody has committed anything
        found = self._seen()
        if found != self._kept:
            copy_file(self._kept_file, connection.settings_dict["NAME"])
            totals._totals.clear()  # the numbers of events come a second time
        self._version = self._current_version()
        return found

    def close(self) -> None:
        self._watch.close()

    def _current_version(self) -> int:
        """Another one after each commit of anybody else, as SQLite promises."""
        return int(self._watch.execute("PRAGMA data_version").fetchone()[0])

    def _seen(self) -> dict[str, list[str]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, seq FROM sqlite_sequence ORDER BY name")
            return whole_state() | {"sqlite_sequence": [repr(row) for row in cursor.fetchall()]}


def copy_file(source: str, target: str) -> None:
    """One SQLite database over the other, also while others have it open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as two:
        two.execute("PRAGMA synchronous = OFF")
        one.backup(two)


class _OnPostgreSQL:
    """Tables in their own text."""

    def __init__(self) -> None:
        with connection.cursor() as cursor:
            self._tables = sorted(connection.introspection.table_names(cursor))
        rows = "SELECT %s, array_agg(t::text ORDER BY t::text) FROM %s t"
        looks = " UNION ALL ".join(rows % (f"'{name}'", quote(name)) for name in self._tables)
        self._look = f"look_{id(self)}"
        with connection.cursor() as cursor:
            cursor.execute(f"PREPARE {self._look} AS {looks}")  # to plan it takes longer than to run it
        self._kept: dict[str, list[str] | None] = {}
        self._last = ""
        self._copies: dict[str, bytes] = {}
        self._renumber = ""

    def keep(self) -> None:
        self._kept = self._seen()
        with connection.cursor() as cursor:
            for name in self._tables:
                with cursor.cursor.copy(f"COPY {quote(name)} TO STDOUT") as copy:
                    self._copies[name] = b"".join(bytes(piece) for piece in copy)
            cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'")
            numbers = [f"setval('{quote(name)}', {last or 1}, {last is not None})" for name, last in cursor.fetchall()]
            self._renumber = f"SELECT {', '.join(numbers)}"
        self._last = self._last_transaction()

    def restore(self) -> dict[str, list[str] | None]:
        """What is stored now; afterwards it is again what was kept."""
        if self._last_transaction() == self._last:
            return self._kept  # nobody has written anything, in any database
        found = self._seen()
        with transaction.atomic(), connection.cursor() as cursor:
            # No foreign keys for the moment, and no wait for the disk.
            cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL synchronous_commit = off")
            for name in self._tables:
                if found[name] != self._kept[name]:
                    cursor.execute(f"DELETE FROM {quote(name)}")
                    with cursor.cursor.copy(f"COPY {quote(name)} FROM STDIN") as copy:
                        copy.write(self._copies[name])
            cursor.execute(self._renumber)  # a transaction that was rolled back has taken some
        self._last = self._last_transaction()
        return found

    def close(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DEALLOCATE {self._look}")

    def _last_transaction(self) -> str:
        """Another one after whoever took a transaction's number, as any write does."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_snapshot()::text")
            return str(cursor.fetchone()[0])

    def _seen(self) -> dict[str, list[str] | None]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXECUTE {self._look}")
            return dict(cursor.fetchall())
