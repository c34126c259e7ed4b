"""The one HTTP client that goes where others say: an event loop in a thread of its own.

Whatever an address resolves to, each machine is judged when its socket is made, and that socket
goes nowhere else. No redirect is followed, no proxy taken from the environment, no cookie kept,
nothing decompressed; time, size and headers of an answer are bounded.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from time import monotonic
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from webhooks import outgoing
from webhooks.outgoing import Answer
from webhooks.resolving import Resolve, Resolver, resolve

CONNECT_SECONDS = 10.0
WHOLE_SECONDS = 30.0
BODY_SECONDS = 5.0  # of an answer whose status is known; the rest of it is for the log only
MAX_BYTES = 64 * 1024
IDLE_SECONDS = 15.0  # that a connection is kept for the next delivery
NOT_ALLOWED = "address not allowed"


class NotAllowed(OSError):
    """The machine behind the address is not on the public internet."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, NOT_ALLOWED)


class Client:
    """Sends requests, any number at once. Made in any thread, used from any thread."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        self._resolve = resolve
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="webhooks", daemon=True)
        self._thread.start()
        self._session = asyncio.run_coroutine_threadsafe(self._opened(), self._loop).result()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Future[Answer]:
        """What comes of it, before long; the future raises nothing of the network's."""
        return asyncio.run_coroutine_threadsafe(self._post(url, headers, body), self._loop)

    def close(self) -> None:
        """End the connections and the thread; what is under way is cut off."""
        asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _opened(self) -> aiohttp.ClientSession:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        connector = aiohttp.TCPConnector(
            resolver=Resolver(self._resolve),
            use_dns_cache=False,
            socket_factory=_socket,
            limit=0,  # whoever sends bounds what is under way
            keepalive_timeout=IDLE_SECONDS,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            trace_configs=[tracing],
            headers={"User-Agent": "FastCMS-Webhooks", "Accept": "*/*", "Accept-Encoding": "identity"},
            max_line_size=8 * 1024,
            max_field_size=8 * 1024,
            max_headers=100,
        )

    async def _closed(self) -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._session.close()

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        began = monotonic()
        try:
            answer = await self._answer(url, headers, body, began + WHOLE_SECONDS)
        except Exception as fault:  # noqa: BLE001 - whatever a peer, the network or the library makes up
            answer = Answer(error=words(fault))
        return Answer(answer.status, answer.body, answer.retry_after, answer.error, round((monotonic() - began) * 1000))

    async def _answer(self, url: str, headers: Mapping[str, str], body: bytes, until: float) -> Answer:
        told = SimpleNamespace(reused=False)
        try:
            return await self._once(url, headers, body, until, told)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as fault:
            if not told.reused or isinstance(fault, aiohttp.ClientConnectorError):
                raise
        # A connection that was kept, and that they had closed meanwhile: not an attempt yet.
        return await self._once(url, {**headers, "Connection": "close"}, body, until, told)

    async def _once(
        self, url: str, headers: Mapping[str, str], body: bytes, until: float, told: SimpleNamespace
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(total=max(until - monotonic(), 0.001), connect=CONNECT_SECONDS)
        sending = self._session.post(
            URL(url, encoded=url.isascii()),  # as it was given: its owner may have signed it
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=timeout,
            trace_request_ctx=told,
        )
        async with sending as response:
            received = await _beginning(response)
            status = response.status
            error = "" if 200 <= status < 300 else f"answered {status}"
            if 300 <= status < 400:
                error += ", and redirects are not followed"
            return Answer(status, received, response.headers.get("Retry-After", ""), error)


def _socket(info: tuple[Any, ...]) -> socket.socket:
    """The socket for one address that is about to be connected to: the one gate."""
    family, kind, protocol, _, address = info
    if family not in (socket.AF_INET, socket.AF_INET6) or not outgoing.may_connect(address[0]):
        raise NotAllowed
    return socket.socket(family, kind, protocol)


async def _note_reuse(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.reused = True


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """As much of the body as is kept, as text; the connection is closed if there is more."""
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(received) < MAX_BYTES:
                piece = await response.content.read(MAX_BYTES - len(received))
                if not piece:
                    break
                received += piece
            else:
                response.close()
    except (aiohttp.ClientError, OSError, TimeoutError):
        response.close()  # the status has been said
    return received.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def words(fault: BaseException) -> str:
    """What went wrong, for the log: a few words of our own, in which nothing of an address can be."""
    if NOT_ALLOWED in str(fault) or isinstance(getattr(fault, "os_error", None), NotAllowed):
        return NOT_ALLOWED
    match fault:
        case aiohttp.ClientConnectorDNSError():
            return "dns failure"
        case aiohttp.ClientConnectorCertificateError():
            return "bad certificate"
        case aiohttp.ClientSSLError():
            return "TLS failure"
        case aiohttp.ConnectionTimeoutError():
            return "timeout while connecting"
        case TimeoutError():
            return "timeout"
        case aiohttp.InvalidURL() | UnicodeError():
            return "bad address"
        case aiohttp.ServerDisconnectedError():
            return "connection closed without an answer"
        case OSError():
            return _ERRORS.get(fault.errno or 0, "connection failed")
        case aiohttp.ClientError():
            return "bad answer"
    return f"failed ({type(fault).__name__})"


_ERRORS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout while connecting",
}


_making = threading.Lock()
_shared: list[Client] = []


def shared() -> Client:
    """This process's client; made when it is first needed, for it costs some memory."""
    with _making:
        if not _shared:
            _shared.append(Client())
            atexit.register(_shared[0].close)
        return _shared[0]
