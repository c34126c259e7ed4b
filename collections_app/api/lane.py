"""The lane: the records API and the files of records as plain ASGI, in front of Django and DRF.

It takes the requests that programs send all day, and leaves the rest (browsers,
forms, keys that make a POST repeatable, whatever looks odd) to Django. Both call
:mod:`collections_app.records.operations` and :mod:`collections_app.files.serving`, so both say
the same; the lane only parses a path, reads a token and writes bytes.

On SQLite a read runs here and now, on the event loop's own read-only connection:
that is quicker than any thread could be told of it. What would take longer than
:data:`BUDGET_SECONDS` stops and starts again in a thread, and one thread writes
for all (group commit), except what hashes a password. On PostgreSQL each request has a thread, with a connection
that stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from django.conf import settings
from django.db import connection

from accounts import callers
from accounts.principals import ANONYMOUS, Principal
from accounts.scopes import Keys
from collections_app.files import serving
from collections_app.records import operations
from collections_app.records.group_commit import Writer
from collections_app.records.operations import Answer, Call
from collections_app.schema import registry
from core import crews, database, hashing, json
from core.asgi import ClientGone, Headers, next_chunk, refusal, send_answer
from core.error_adapter import domain_error
from core.errors import ServiceUnavailable
from core.parts import send_pieces

BUDGET_SECONDS = 0.005  # of a read on the event loop
THREAD_BUDGET_SECONDS = 0.1  # of a statement in a thread that quick reads share
SLOW_THREADS = 2
DISK_THREADS = 4  # for files that are not in memory
# What is longer takes its time to be understood, which the event loop has not.
MAX_BODY_BYTES = 100_000
MAX_QUERY_CHARACTERS = 1000
ATTEMPTS = 3  # to read while the schema is being changed
ROOT = "/api/v1/"

# With these, more is asked than the lane knows of.
_UNUSUAL = frozenset({b"idempotency-key", b"transfer-encoding", b"content-encoding", b"expect"})
_JSON = frozenset({b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"})
_TYPE: Headers = [(b"content-type", b"application/json")]
_VARY = (b"vary", b"Accept")
_READS = frozenset({"GET", "HEAD"})

Application = Callable[[Any, Any, Any], Awaitable[None]]
Fixed = Callable[[], tuple[int, Headers, bytes]]
# A function of ``operations`` or ``serving``, and what it takes between the call and the body.
Route = tuple[Callable[..., Any], tuple[str, ...]]
T = TypeVar("T")


class Lane:
    """An ASGI application for ``http`` scopes around the one that answers all else.

    ``fixed`` answers the GET of a path that needs nothing of a request.
    """

    def __init__(self, app: Application, fixed: Mapping[str, Fixed] | None = None) -> None:
        self._app = app
        self._fixed = fixed or {}
        self._slow = crews.in_the_back(SLOW_THREADS, "lane-slow")
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._schema = ThreadPoolExecutor(1, "lane-schema")  # which nobody's slow query may hold up
        self._hashers = ThreadPoolExecutor(hashing.THREADS + 1, "lane-hash")  # of writes with a password
        self._disk = ThreadPoolExecutor(DISK_THREADS, "lane-disk")
        self._crews = [self._slow, self._schema, self._hashers, self._disk]
        self._on_sqlite = connection.vendor == "sqlite"
        if self._on_sqlite:
            self._session: database.Session | None = None  # the event loop's own
            self._opening = asyncio.Lock()
            self._writer = Writer()
        else:
            self._readers = ThreadPoolExecutor(settings.HANDLER_THREADS, "lane-read")
            self._writers = ThreadPoolExecutor(settings.HANDLER_THREADS, "lane-write")
            self._crews += [self._readers, self._writers]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, method = scope["path"], scope["method"]
        headers = scope["fastcms.headers"]
        if path in self._fixed and method == "GET" and _is_usual(scope, method, headers):
            await send_answer(send, *self._fixed[path]())
            return
        route = _route(method, path) if path.startswith(ROOT) else None
        is_file = route is not None and route[0] is serving.file_get
        if route is None or not _is_usual(scope, method, headers, is_file=is_file):
            await self._app(scope, receive, send)
            return
        if is_file:
            route = partial(serving.file_get, asked=_asked(method, headers), at_once=True), route[1]
        try:
            answer = await self._answer(scope, method, headers, route, receive)
            if isinstance(answer, serving.Bytes) and answer.pieces is not None:
                await send_pieces(scope, send, answer.status, _headers_of_bytes(answer), answer.pieces, self._disk)
                return
        except ClientGone:
            return
        except serving.NotAtOnce:
            await self._app(scope, receive, send)
            return
        except Exception as fault:
            error = domain_error(fault)
            if error is None:
                raise
            status, refused, content = refusal(error)
            await send_answer(send, status, [*refused, _VARY], content)
            return
        if isinstance(answer, serving.Bytes):
            await send_answer(send, answer.status, _headers_of_bytes(answer), b"")
        else:
            await send_answer(send, answer.status, _headers(answer), answer.body)

    async def _answer(
        self, scope: Any, method: str, headers: Mapping[bytes, bytes], route: Route, receive: Any
    ) -> Answer | serving.Bytes:
        operation, args = route
        call = Call(
            method=method,
            query_string=scope["query_string"].decode("ascii"),
            if_match=_text(headers, b"if-match"),
            if_none_match=_text(headers, b"if-none-match"),
        )
        try:
            return await self._ask(scope, method, headers, operation, args, call, receive)
        finally:
            caller = call.principal
            scope["fastcms.who"] = f"{caller.collection}/{caller.id}" if caller.id else ""

    async def _ask(
        self,
        scope: Any,
        method: str,
        headers: Mapping[bytes, bytes],
        operation: Callable[..., Any],
        args: tuple[Any, ...],
        call: Call,
        receive: Any,
    ) -> Answer | serving.Bytes:
        token = _token(headers)
        if method in _READS:
            read = partial(_signed, token, call, operation, *args)
            who = token or (scope["client"] or ("",))[0]
            at_once = len(call.query_string) <= MAX_QUERY_CHARACTERS
            return await (self._reading(read, who) if at_once else self._reading_slowly(read, who))
        body = b"" if method == "DELETE" else await _body(receive)
        if not self._on_sqlite:
            write = partial(_write, token, body, call, operation, *args)
            try:
                return await self._waiting(self._writers, partial(_without_hashing, write))
            except hashing.NotHere:
                return await self._waiting(self._hashers, write)
        call.principal = await self._reading(partial(_principal, token, method), "")
        if body:
            args = (*args, json.loads(body))
        try:
            return await self._writer.submit(partial(operation, call, *args))
        except hashing.NotHere:
            return await self._waiting(self._hashers, partial(operation, call, *args))

    async def _reading(self, action: Callable[[], T], who: str) -> T:
        """What the action finds in a reading session: at once, or where it may take its time."""
        for _ in range(ATTEMPTS):
            try:
                if not self._on_sqlite:
                    return await self._waiting(self._readers, partial(_in_session, action, None, THREAD_BUDGET_SECONDS))
                if self._session is None:
                    async with self._opening:
                        self._session = self._session or await self._waiting(self._schema, database.new_session)
                return _in_session(action, self._session, BUDGET_SECONDS)
            except registry.NotLoaded:
                await self._waiting(self._schema, registry.latest)
            except database.OverBudget:
                break
        return await self._reading_slowly(action, who)

    async def _reading_slowly(self, action: Callable[[], T], who: str) -> T:
        """Each caller has one thread of the crew at a time: what is slow may be slow for them, not for all."""
        share = self._shares.setdefault(who, asyncio.Semaphore(1))
        try:
            async with asyncio.timeout(settings.BUSY_TIMEOUT_MS / 1000):
                await share.acquire()
        except TimeoutError as fault:
            raise ServiceUnavailable from fault
        try:
            return await self._waiting(self._slow, partial(_in_session, action, None, None))
        finally:
            share.release()

    async def _waiting(self, crew: ThreadPoolExecutor, action: Callable[[], T]) -> T:
        """The action in a thread of the crew; ServiceUnavailable if its turn does not come in time."""
        latest = monotonic() + settings.BUSY_TIMEOUT_MS / 1000
        run = partial(copy_context().run, _by, latest, action)
        return await asyncio.get_running_loop().run_in_executor(crew, run)

    def close(self) -> None:
        """Finish what is under way, and end the threads with their connections."""
        if self._on_sqlite:
            self._writer.close()
            if self._session is not None:
                self._session.close()
        for crew in self._crews:
            database.end(crew)


def _by(latest: float, action: Callable[[], T]) -> T:
    if monotonic() > latest:
        raise ServiceUnavailable
    database.fresh()
    return action()


def _without_hashing(action: Callable[[], T]) -> T:
    with hashing.forbidden():
        return action()


def _in_session(action: Callable[[], T], session: database.Session | None, budget: float | None) -> T:
    with database.reading(session, budget):
        return action()


def _signed(token: str | None, call: Call, operation: Callable[..., T], *args: Any) -> T:
    call.principal = _principal(token, call.method)
    return operation(call, *args)


def _write(token: str | None, body: bytes, call: Call, operation: Callable[..., Answer], *args: Any) -> Answer:
    call.principal = _principal(token, call.method)
    return operation(call, *args, json.loads(body)) if body else operation(call, *args)


def _principal(token: str | None, method: str) -> Principal:
    return ANONYMOUS if token is None else callers.caller(token, method, Keys.SCOPED)


_BULK: dict[str, Callable[..., Answer]] = {"bulk-update": operations.bulk_update, "bulk-delete": operations.bulk_delete}
_RECORDS: dict[str, Callable[..., Answer]] = {"GET": operations.record_list, "POST": operations.record_create}
_RECORD: dict[str, Callable[..., Answer]] = {
    "GET": operations.record_get,
    "PATCH": operations.record_update,
    "PUT": operations.record_update,
    "DELETE": operations.record_delete,
}


def _route(method: str, path: str) -> Route | None:
    """What this method does on this path; None where it is not the lane's."""
    kind, *names = path[len(ROOT) :].removesuffix("/").split("/")
    if kind == "batch" and not names and method == "POST":
        return operations.batch, ()
    if kind == "files" and len(names) == 3 and all(names):
        return (serving.file_get, tuple(names)) if method in _READS else None
    if kind != "collections" or not 2 <= len(names) <= 3 or names[1] != "records" or not all(names):
        return None
    del names[1]
    if len(names) == 1:
        operation = _RECORDS.get(method)
    elif names[1] in _BULK:
        operation = _BULK[names.pop()] if method == "POST" else None
    else:
        operation = _RECORD.get(method)
    return None if operation is None else (operation, tuple(names))


def _is_usual(scope: Any, method: str, headers: Mapping[bytes, bytes], *, is_file: bool = False) -> bool:
    """Whether nothing in the request is for Django and DRF to make sense of."""
    if not _UNUSUAL.isdisjoint(headers) or b"%" in scope["raw_path"] or not scope["query_string"].isascii():
        return False
    accept = headers.get(b"accept", b"*/*")
    if is_file:  # whatever a picture's reader accepts, but a refusal may be wanted as a page
        if b"text/" in accept or b"html" in accept or (b"json" in accept and accept != b"application/json"):
            return False
    elif accept != b"*/*" and accept != b"application/json":
        first = accept.partition(b",")[0]
        if first != b"application/json" or b";" in accept or b"html" in accept:
            return False
    if settings.SESSION_COOKIE_NAME.encode() in headers.get(b"cookie", b""):
        return False
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:7].lower() != b"bearer ":
        return False
    length = headers.get(b"content-length", b"0")
    if method in _READS or method == "DELETE":
        return length == b"0"
    return (
        headers.get(b"content-type", b"").lower() in _JSON
        and length.isdigit()
        and 0 < int(length) <= min(MAX_BODY_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE, settings.REQUEST_MAX_BYTES)
    )


def _token(headers: Mapping[bytes, bytes]) -> str | None:
    key = headers.get(b"x-api-key")
    if key is not None:
        return callers.key_sent(key.decode("latin1"))
    authorization = headers.get(b"authorization")
    return None if authorization is None else authorization[7:].decode("latin1").strip()


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin1")


def _asked(method: str, headers: Mapping[bytes, bytes]) -> serving.Asked:
    return serving.Asked(
        method,
        _text(headers, b"range"),
        _text(headers, b"if-range"),
        _text(headers, b"if-none-match"),
        _text(headers, b"if-modified-since"),
    )


async def _body(receive: Any) -> bytes:
    pieces = []
    while True:
        message = await next_chunk(receive)
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _headers(answer: Answer) -> Headers:
    headers = [*_TYPE, (b"content-length", b"%d" % len(answer.body))] if answer.body else []
    headers.append(_VARY)
    headers += [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in answer.headers.items()]
    return headers


def _headers_of_bytes(answer: serving.Bytes) -> Headers:
    """Those of the answer; refusals of the same address differ by what is accepted."""
    named = dict(answer.headers)
    named["Vary"] = f"{named['Vary']}, Accept"
    return [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in named.items()]
