"""What the handshake of every WebSocket passes, as every request passes the front.

Request id, the true client behind trusted proxies, host name, HTTPS, whose page it is,
rate limit, and a line in the access log. What is refused gets the one error body as an
answer to the handshake, where the server can do that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from django.conf import settings

from cms_project.front import SECURITY_HEADERS, Application, Front
from core import errors, metrics, request_id
from core.admission import headers_of, host_asked_for, printable_path, see_through
from core.asgi import refuse_socket
from core.cors import refuse_strangers
from core.gate import Closed, gate
from core.line import line_of

GHOST_SECONDS = 40  # as for the server's pings (serve): until a client is given up that has vanished

logger = logging.getLogger("django.request")


class Sockets:
    """An ASGI application for ``websocket`` scopes around another one; ``front`` counts and logs for both.

    It leaves the same in the scope as the front: the true ``client`` and ``scheme``, and ``fastcms.headers``.
    """

    def __init__(self, app: Application, front: Front) -> None:
        self._app, self._admission, self._access_log = app, front.admission, front.access_log
        self._maintenance = front.maintenance
        self._open = 0
        metrics.gauge("websockets", "WebSockets that are open, those of rooms too.", lambda: self._open)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        started = perf_counter()
        headers = scope["fastcms.headers"] = headers_of(scope)
        sent_id = headers.get(b"x-request-id")
        given_id = request_id.start(sent_id.decode("latin1") if sent_id else None)
        wire = _Wire(send, given_id)
        try:
            try:
                await self._admit(scope, headers)
            except errors.DomainError as refused:
                await receive()
                await refuse_socket(scope, wire, refused)
            else:
                line = line_of(scope)
                if line is not None:
                    line.notice_silence(GHOST_SECONDS)
                self._open += 1
                try:
                    await self._app(scope, receive, wire)
                finally:
                    self._open -= 1
        except Exception:
            if wire.is_gone:
                return  # it went away while it was told something
            logger.exception("a WebSocket ended by a fault")
            if wire.status == 0:
                await refuse_socket(scope, wire, errors.InternalError())
            elif wire.is_open:
                await wire({"type": "websocket.close", "code": 1011})
        finally:
            spent = (perf_counter() - started) * 1000
            client = _client(scope) or "-"
            self._access_log.add("WEBSOCKET", printable_path(scope), wire.status, spent, given_id, client)

    async def _admit(self, scope: Any, headers: Mapping[bytes, bytes]) -> None:
        """Raises BadRequest, Forbidden, RateLimited, ServiceUnavailable for a handshake that goes no further."""
        admission = self._admission
        if admission.proxies is not None:
            see_through(admission.proxies, scope, headers)
        name = host_asked_for(scope, headers)
        if name not in admission.hosts:
            raise errors.BadRequest("This host name is not served here (ALLOWED_HOSTS).")
        if settings.SECURE_SSL_REDIRECT and scope["scheme"] == "ws":
            raise errors.Forbidden("Only wss:// is served here (SECURE_SSL_REDIRECT).")
        if not gate.is_open:
            raise Closed
        # Before it is counted: whatever page somebody looks at could have them banned.
        refuse_strangers(scope["path"], headers, name)
        if admission.counters is not None:
            bucket, key = admission.counted_as(_client(scope), headers)
            verdict = await admission.counters.hit(bucket, key)
            if verdict.retry_after:
                metrics.refusals.labels(bucket.name).inc()
                raise errors.RateLimited(headers={"Retry-After": str(verdict.retry_after)})
        if self._maintenance.is_on:
            await self._maintenance.admit(scope, headers)


def _client(scope: Any) -> str:
    client = scope.get("client")
    return client[0] if client else ""


class _Wire:
    """The ``send`` that the application gets: it knows how the handshake was answered.

    ``status`` is 101, that of a refusal, or 0 as long as there was no answer.
    """

    __slots__ = ("_request_id", "_send", "is_gone", "is_open", "status")

    def __init__(self, send: Any, given_id: str) -> None:
        self._send, self._request_id = send, given_id
        self.status, self.is_open, self.is_gone = 0, False, False

    async def __call__(self, message: Any) -> None:
        kind = message["type"]
        if kind != "websocket.send":
            self._note(kind, message)
        try:
            await self._send(message)
        except Exception:
            self.is_gone = True  # whatever a server raises then
            raise

    def _note(self, kind: str, message: Any) -> None:
        if kind == "websocket.accept":
            self.status, self.is_open = 101, True
        elif kind == "websocket.http.response.start":
            self.status = message["status"]
        elif kind == "websocket.close":
            self.status, self.is_open = self.status or 403, False
        if kind in ("websocket.accept", "websocket.http.response.start"):
            own = (b"x-request-id", self._request_id.encode("latin1"))
            message["headers"] = [*message.get("headers", ()), own, *SECURITY_HEADERS]
