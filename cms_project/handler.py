"""Django behind ASGI on a fixed crew of threads.

Django's own ASGIHandler makes a thread for every request, and with it a database
connection and its PRAGMAs. Here a request waits for one of ``HANDLER_THREADS``
threads, each of which keeps its connection for good. Requests that may write have
a crew of their own: one that waits for the database's lock holds up no read, and
what has stood in line behind it for as long as the lock is waited for is sent away
with 503. A view whose requests wait for something else says so by ``crew`` (or by a function of the
query string), and holds up nobody else either: ``"hashing"`` (of passwords, which a few threads do; its reads hash
nothing), ``"outgoing"`` (requests to other servers) or ``"health"`` (questions whether they
answer). Streamed answers run on a small crew too. What comes in pieces that any thread may fetch, as
files do (``pieces`` of the response), holds none while its client takes its time.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import tempfile
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from math import inf
from time import monotonic
from typing import IO, Any, cast

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import set_script_prefix
from django.utils.functional import SimpleLazyObject

from core import database, errors, hashing, ratelimit, routes
from core.asgi import ClientGone, Headers, next_chunk, refusal, send_answer
from core.error_adapter import domain_error
from core.line import line_of
from core.parts import send_pieces

logger = logging.getLogger("django.request")

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
STREAM_CHUNK_SECONDS = 60  # and take the next piece of a streamed answer within this one
STREAM_PIECE = 256 * 1024  # bytes
# What a reader has to take on the average, after as long as one piece may take: for what is streamed
# holds a thread, and often a connection to the database in a transaction.
STREAM_BYTES_PER_SECOND = 16 * 1024
STREAM_THREADS = 8
PIECE_THREADS = 4
FILE_THREADS = 4
THUMB_THREADS = 4  # two of which decode pictures (collections_app.files.thumbs)
HEALTH_THREADS = 2  # which wait for what may not answer
OUTGOING_THREADS = 4
OUTGOING_MOST = 20  # requests that wait for other servers, or for their turn to
# A failed login is answered at the next of these after it came: a password that was hashed in an older
# way takes another time to check, and would tell that there is such an account.
FAILED_LOGIN_SECONDS = 0.5

Plain = tuple[int, Headers, bytes]
Respond = Callable[[HTTPScope, IO[bytes]], Plain | StreamingHttpResponse]


@dataclass
class _Crew:
    """Threads that answer requests, at most ``most`` at a time.

    Unless they are ``patient``, they turn away whose turn has taken as long as the database's lock is waited for.
    Those that work now and then do not keep their database connections meanwhile.
    """

    threads: ThreadPoolExecutor
    patient: bool = False
    keeps_connections: bool = True
    most: float = inf
    present: int = 0

    async def answer(
        self, respond: Respond, context: contextvars.Context, scope: HTTPScope, body: IO[bytes]
    ) -> Plain | StreamingHttpResponse:
        if self.present >= self.most:
            return _busy(body)
        latest = inf if self.patient else monotonic() + settings.BUSY_TIMEOUT_MS / 1000

        def in_time() -> Plain | StreamingHttpResponse:
            try:
                return _busy(body) if monotonic() > latest else respond(scope, body)
            finally:
                if not self.keeps_connections:
                    database.close()

        self.present += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, context.run, in_time)
        finally:
            self.present -= 1


def _busy(body: IO[bytes]) -> Plain:
    body.close()
    return refusal(errors.ServiceUnavailable())


class DjangoHandler(BaseHandler):
    """An ASGI application for ``http`` scopes."""

    def __init__(self, threads: int | None = None) -> None:
        super().__init__()
        self.load_middleware(is_async=False)
        threads = threads or settings.HANDLER_THREADS
        readers = _Crew(ThreadPoolExecutor(threads, "django-read"), patient=True)
        writers = _Crew(ThreadPoolExecutor(threads, "django-write"))
        # Beside hashing and the network a new connection is nothing, and PostgreSQL has a hundred for all processes.
        signing_in = _Crew(  # one reads and writes while the others hash
            ThreadPoolExecutor(hashing.THREADS + 1, "django-sign-in"), keeps_connections=False
        )
        outgoing = _Crew(
            ThreadPoolExecutor(OUTGOING_THREADS, "django-outgoing"), most=OUTGOING_MOST, keeps_connections=False
        )
        files = _Crew(ThreadPoolExecutor(FILE_THREADS, "django-files"), patient=True)
        thumbs = _Crew(ThreadPoolExecutor(THUMB_THREADS, "django-thumbs"), patient=True, keeps_connections=False)
        health = _Crew(ThreadPoolExecutor(HEALTH_THREADS, "django-health"), patient=True, keeps_connections=False)
        self._crews = {  # by what the view says, and whether the request is safe
            (None, True): readers,
            (None, False): writers,
            ("hashing", True): readers,
            ("hashing", False): signing_in,
            ("outgoing", True): outgoing,
            ("outgoing", False): outgoing,
            ("health", True): health,
            ("health", False): health,
            ("files", True): files,
            ("files", False): files,
            ("thumbs", True): thumbs,
            ("thumbs", False): thumbs,
        }
        self._streams = ThreadPoolExecutor(STREAM_THREADS, "django-stream")
        self._pieces = ThreadPoolExecutor(PIECE_THREADS, "django-pieces")

    async def __call__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            body = await _read_body(scope, receive)
        except ClientGone:
            return
        except Exception as fault:
            error = domain_error(fault)  # the folder for what does not fit into memory may be full
            if error is None:
                raise
            await send_answer(send, *refusal(error))
            return
        context = contextvars.copy_context()
        # The response closes the request, and so the body, when it is itself closed.
        is_safe = scope["method"] in _SAFE
        declared = routes.declared(scope["path"], "crew")
        named = declared(scope["query_string"]) if callable(declared) else declared
        crew = self._crews[named, is_safe]
        began = monotonic()
        answer = await crew.answer(self._respond, context, scope, body)
        if isinstance(answer, tuple) and not is_safe and _is_failed_login(scope["path"], answer[0]):
            await asyncio.sleep(-(monotonic() - began) % FAILED_LOGIN_SECONDS)
        if isinstance(answer, tuple):
            await send_answer(send, *answer)
        else:
            await self._stream(answer, context, scope, receive, send)

    def close(self) -> None:
        """Let the threads finish what they hold, and end them with their connections."""
        for threads in {crew.threads for crew in self._crews.values()} | {self._streams, self._pieces}:
            database.end(threads)

    # --- in a thread of the crew -----------------------------------------------------------

    def _respond(self, scope: HTTPScope, body: IO[bytes]) -> Plain | StreamingHttpResponse:
        """The whole answer as (status, headers, content), or a response that is to be streamed."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            response = self._response_to(scope, body)
        except Exception:
            logger.exception("no answer could be made")
            signals.request_finished.send(sender=self.__class__)
            return refusal(errors.InternalError())
        if response.streaming:
            return cast(StreamingHttpResponse, response)
        whole = response.status_code, _headers(response), cast(HttpResponse, response).content
        response.close()  # sends request_finished
        return whole

    def _response_to(self, scope: HTTPScope, body: IO[bytes]) -> HttpResponseBase:
        try:
            request = ASGIRequest(scope, body)
        except UnicodeDecodeError:
            status, headers, content = refusal(errors.BadRequest("The URL is not UTF-8."))
            return HttpResponse(content, status=status, headers=dict(_texts(headers)))
        if "HTTP_TRANSFER_ENCODING" in request.META:
            # Of unsaid length; without one, DRF would take it for a request without a body.
            request.META["CONTENT_LENGTH"] = str(body.seek(0, SEEK_END))
            body.seek(0)
        response = self.get_response(request)
        scope["fastcms.who"] = _who(request)  # type: ignore[typeddict-unknown-key]
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # what request_finished names as its sender
        return response

    # --- streamed answers ------------------------------------------------------------------

    async def _stream(
        self,
        response: StreamingHttpResponse,
        context: contextvars.Context,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        """Send chunk by chunk until the end, or until the client goes away."""
        loop = asyncio.get_running_loop()
        gone = threading.Event()
        watch = loop.create_task(_watch(receive, gone))
        pieces: Iterator[bytes] | None = getattr(response, "pieces", None)
        try:
            if pieces is not None:
                headers = _headers(response)
                with suppress(ClientGone):
                    await send_pieces(scope, send, response.status_code, headers, pieces, self._pieces, gone.is_set)
                return
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": _headers(response),
                    "trailers": False,
                }
            )
            if response.is_async:
                await self._pump_async(response, watch, send)
            else:
                in_time = await loop.run_in_executor(self._streams, context.run, _pump, response, gone, loop, send)
                line = line_of(scope)
                if not in_time and line is not None:
                    line.abort()  # else the server would wait for all that this one is still to take
            if not gone.is_set():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watch.cancel()
            crew = self._streams if pieces is None else self._pieces
            await loop.run_in_executor(crew, context.run, response.close)

    async def _pump_async(
        self, response: StreamingHttpResponse, watch: asyncio.Task[None], send: ASGISendCallable
    ) -> None:
        async def pump() -> None:
            async with aclosing(cast(AsyncGenerator[bytes, None], aiter(response))) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})

        pumping = asyncio.ensure_future(pump())
        watch.add_done_callback(lambda _: pumping.cancel())  # nobody reads what would come next
        try:
            await pumping
        except asyncio.CancelledError:
            if not watch.done():
                raise


def _pump(
    response: StreamingHttpResponse,
    gone: threading.Event,
    loop: asyncio.AbstractEventLoop,
    send: Callable[[Any], Awaitable[None]],
) -> bool:
    """In one thread from the first chunk to the last: an iterator may hold that thread's connection.

    False where the client took too little of it, and is given up.
    """
    sent, waited = 0, 0.0
    try:
        for chunk in response:
            for start in range(0, len(chunk), STREAM_PIECE):
                if gone.is_set():
                    return True
                piece = chunk[start : start + STREAM_PIECE]
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                began = monotonic()
                delivery = asyncio.run_coroutine_threadsafe(_deliver(send, message), loop)
                try:
                    delivery.result(STREAM_CHUNK_SECONDS)
                except TimeoutError:
                    delivery.cancel()
                sent, waited = sent + len(piece), waited + monotonic() - began
                if delivery.cancelled() or waited > STREAM_CHUNK_SECONDS + sent / STREAM_BYTES_PER_SECOND:
                    gone.set()
                    return False
        return True
    finally:
        database.close()


def _who(request: ASGIRequest) -> str:
    """Whom DRF or the session has found to be asking, for the log; nobody is looked up for it."""
    found: Any = getattr(request, "_cached_user", None) or request.__dict__.get("user")
    if found is None or isinstance(found, SimpleLazyObject):
        return ""
    collection, name = getattr(found, "collection", "users"), getattr(found, "id", None) or getattr(found, "pk", None)
    return f"{collection}/{name}" if name else ""


def _is_failed_login(path: str, status: int) -> bool:
    limited = ratelimit.limited(path, {})
    return limited is not None and limited.bucket == "login" and status < 500 and status not in limited.success


async def _deliver(send: Callable[[Any], Awaitable[None]], message: Any) -> None:
    await send(message)


async def _watch(receive: ASGIReceiveCallable, gone: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _read_body(scope: HTTPScope, receive: ASGIReceiveCallable) -> IO[bytes]:
    """The request's body, in memory while it is small; PayloadTooLarge beyond ``REQUEST_MAX_BYTES``."""
    length = 0
    chunked = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"transfer-encoding":
            chunked = True
    if not length and not chunked and scope["http_version"].startswith("1"):
        return BytesIO()
    limit = settings.REQUEST_MAX_BYTES
    if length > limit:
        raise errors.PayloadTooLarge(f"The request body is larger than {limit} bytes.")
    first = await next_chunk(receive)
    if not first.get("more_body", False):
        return BytesIO(first.get("body", b""))
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115
    try:
        received, message = 0, first
        while True:
            piece = message.get("body", b"")
            received += len(piece)
            if received > limit:
                raise errors.PayloadTooLarge(f"The request body is larger than {limit} bytes.")
            spool.write(piece)
            if not message.get("more_body", False):
                break
            message = await next_chunk(receive)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def _headers(response: HttpResponseBase) -> Headers:
    """Names and values as bytes; a cookie is a header of its own each time."""
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.headers.items()]
    headers.extend((b"set-cookie", morsel.OutputString().encode("ascii")) for morsel in response.cookies.values())
    return headers


def _texts(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("latin1")) for name, value in headers]
