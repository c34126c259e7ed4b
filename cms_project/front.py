"""What every HTTP request passes, whoever answers it: plain ASGI around all of them, done once.

On the way in: request id, the true client behind trusted proxies, host name, HTTPS, CORS,
rate limit, maintenance. On the way out: request id, time, limits, security headers, CORS, and a line in
the access log. All of it costs every request, so each is a few instructions where it
has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter, time
from typing import Any, cast
from urllib.parse import quote

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from django.conf import settings

from cms_project.maintenance import Maintenance
from core import access_log, errors, metrics, ratelimit, request_id, routes
from core.admission import Admission, headers_of, host_asked_for, printable_path, see_through
from core.asgi import Headers, refusal, send_answer
from core.cors import is_from_elsewhere, vary_by_origin
from core.gate import Closed, gate

Application = Callable[[Any, Any, Any], Awaitable[None]]

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"x-xss-protection", b"1; mode=block"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
]
_NO_HEADERS: Headers = []
_FILES = "/api/v1/files/"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_KINDS = ("auth", "files", "realtime", "health")  # of what is under /api/v1/, which all else there is "api"
_SECURITY_NAMES = frozenset(name for name, _ in SECURITY_HEADERS)

logger = logging.getLogger("django.request")
slow_log = logging.getLogger("core.slow")


class Front:
    """An ASGI application for ``http`` scopes around another one.

    What it leaves in the scope: the true client as ``client`` and ``scheme``, and as
    ``fastcms.headers`` the request's headers by name (``dict[bytes, bytes]``; what was
    sent twice is joined by a comma, as Django does).
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self.admission = admission = Admission()
        self._hosts, self._proxies, self._cors = admission.hosts, admission.proxies, admission.cors
        self._counters = admission.counters
        self._unlimited = ("/health/", "/api/v1/health/", "/metrics/", settings.STATIC_URL)
        self.maintenance = Maintenance(self._unlimited)
        self._untouched: tuple[int, ratelimit.Bucket | None, Headers] = 0, None, _NO_HEADERS
        self.access_log = access_log.AccessLog()

    async def __call__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        started = perf_counter()
        headers = headers_of(scope)
        scope["fastcms.headers"] = headers  # type: ignore[typeddict-unknown-key]
        sent_id = headers.get(b"x-request-id")
        given_id = request_id.start(sent_id.decode("latin1") if sent_id else None)
        answer = _Answer(scope, send, started, given_id)
        try:
            refused = await self._admit(scope, headers, answer)
            if refused is None and not gate.is_open and not scope["path"].startswith(self._unlimited):
                refused = _refusal(headers, Closed())
            if refused is None:
                await self._answer(scope, receive, answer)
                if answer.limited is not None and answer.status in answer.limited.success:
                    await self._forgive(scope, answer.limited)
            else:
                await send_answer(answer, *refused)
        except Exception:
            logger.exception("no answer could be made")
            if answer.status:
                raise  # too late for another answer: the server breaks the connection
            await send_answer(answer, *refusal(errors.InternalError()))
        finally:
            method, seconds = scope["method"], perf_counter() - started
            metrics.requests.add(
                _kind(scope["path"]), method if method in _METHODS else "OTHER", answer.status, seconds
            )
            client = scope["client"]
            self.access_log.add(
                method,
                printable_path(scope),
                answer.status,
                seconds * 1000,
                given_id,
                client[0] if client else "-",
                str(scope.get("fastcms.who", "")),
            )

    async def _answer(self, scope: HTTPScope, receive: ASGIReceiveCallable, answer: _Answer) -> None:
        """Have it answered, inside the gate where it may change something. Who closes the gate waits outside."""
        method = scope["method"]
        if method in _SAFE or (method == "POST" and routes.declared(scope["path"], "closes_gate")):
            await self._app(scope, receive, answer)
            return
        gate.inside += 1
        try:
            await self._app(scope, receive, answer)
        finally:
            gate.inside -= 1

    async def close(self) -> None:
        """Write the last lines of the access log, and let go of Redis."""
        await asyncio.to_thread(self.access_log.close)
        self.maintenance.close()
        await self.admission.close()

    async def _admit(
        self, scope: HTTPScope, headers: dict[bytes, bytes], answer: _Answer
    ) -> tuple[int, Headers, bytes] | None:
        """The answer to a request that goes no further, else None."""
        if self._proxies is not None and (b"x-forwarded-for" in headers or b"x-forwarded-proto" in headers):
            see_through(self._proxies, scope, headers)
        path = scope["path"]
        if path.startswith("/api/"):
            answer.limits = self._untouched_limits()
        elif path == "/metrics":
            metrics.look()  # the newest, also under a server that has no lifespan
        is_preflight = False
        if self._cors is not None:
            answer.cors = _NO_HEADERS
            if b"origin" in headers:
                is_preflight, answer.cors = self._cors.judge(cast(Mapping[str, Any], scope), headers)
        elif scope["method"] == "OPTIONS":  # no page is let in, and the browser is told no more
            is_preflight = b"origin" in headers and b"access-control-request-method" in headers
        name = host_asked_for(scope, headers)
        if name not in self._hosts:
            return _refusal(headers, errors.BadRequest("This host name is not served here (ALLOWED_HOSTS)."))
        if settings.SECURE_SSL_REDIRECT and scope["scheme"] == "http":
            return 301, [(b"location", _secure_url(scope, name)), (b"content-length", b"0")], b""
        if is_preflight:
            return 200, [(b"content-length", b"0")], b""  # the page's own request will be counted
        limited = ratelimit.limited(path, headers) if scope["method"] == "POST" else None
        if limited is not None and not answer.cors and is_from_elsewhere(headers, name, settings.BASE_URL):
            # Not counted: whatever page somebody looks at could have them banned from signing in.
            return _refusal(headers, errors.Forbidden("Pages of this origin may not do this here (CORS_ORIGINS)."))
        if self._counters is not None and not f"{path}/".startswith(self._unlimited):
            client = scope["client"][0] if scope["client"] else ""
            of_files = path.startswith(_FILES) and scope["method"] in ("GET", "HEAD")
            bucket, key = self.admission.counted_as(client, headers, of_files=of_files)
            verdict = await self._counters.hit(bucket, key)
            answer.limits = _limit_headers(bucket, verdict)
            if not verdict.retry_after and limited is not None:
                answer.limited = limited
                bucket = ratelimit.BUCKETS[limited.bucket]
                verdict = await self._counters.hit(bucket, ratelimit.client_key(client))
            if verdict.retry_after:
                metrics.refusals.labels(bucket.name).inc()
                return _refusal(headers, errors.RateLimited(headers={"Retry-After": str(verdict.retry_after)}))
        if self.maintenance.is_on and gate.is_open:
            try:
                await self.maintenance.admit(scope, headers)
            except errors.ServiceUnavailable as away:
                return _refusal(headers, away)
        return None

    async def _forgive(self, scope: HTTPScope, limited: ratelimit.Limited) -> None:
        """Whoever signs in is let off for what went before."""
        client = scope["client"]
        if self._counters is not None:
            bucket = ratelimit.BUCKETS[limited.bucket]
            await self._counters.forgive(bucket, ratelimit.client_key(client[0] if client else ""))

    def _untouched_limits(self) -> Headers:
        """What answers that are not counted say."""
        now, bucket = int(time()), self.admission.bucket
        second, of, headers = self._untouched
        if now != second or bucket is not of:
            headers = _limit_headers(bucket, ratelimit.Verdict(bucket.limit, now + bucket.window, 0))
            self._untouched = now, bucket, headers
        return headers


class _Answer:
    """The ``send`` that the application gets: it completes the headers as they pass."""

    __slots__ = ("_scope", "_send", "_started", "cors", "limited", "limits", "request_id", "status")

    def __init__(self, scope: HTTPScope, send: ASGISendCallable, started: float, request_id: str) -> None:
        self._scope, self._send, self._started = scope, send, started
        self.request_id = request_id
        self.status = 0  # until the answer begins
        self.limits: Headers | None = None
        self.limited: ratelimit.Limited | None = None  # what the request counts as besides
        self.cors: Headers | None = None  # None where it is off

    def __call__(self, message: Any) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._complete(message.get("headers", _NO_HEADERS))
        return self._send(message)

    def _complete(self, given: Headers) -> Headers:
        spent = perf_counter() - self._started
        headers = [
            *given,
            (b"x-request-id", self.request_id.encode("latin1")),
            (b"x-response-time", b"%.2fms" % (spent * 1000)),
        ]
        if self.limits is not None:
            headers += self.limits
        names = {name for name, _ in given}
        if names.isdisjoint(_SECURITY_NAMES):
            headers += SECURITY_HEADERS
        else:
            headers += [header for header in SECURITY_HEADERS if header[0] not in names]
        if self.cors is not None:
            headers += self.cors
            vary_by_origin(headers)
        if spent * 1000 > settings.SLOW_REQUEST_MS:
            slow_log.warning("%s %s took %.2f s", self._scope["method"], printable_path(self._scope), spent)
        return headers


def _limit_headers(bucket: ratelimit.Bucket, verdict: ratelimit.Verdict) -> Headers:
    return [
        (b"x-ratelimit-limit", b"%d" % bucket.limit),
        (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset", b"%d" % verdict.reset),
    ]


def _kind(path: str) -> str:
    """What a path is counted as: of few kinds, whatever clients ask for."""
    if path.startswith("/api/"):
        if path.startswith("/api/v1/collections/"):
            return "records" if "/records" in path else "auth" if "/auth/" in path else "api"
        name = path.removeprefix("/api/").removeprefix("v1/").partition("/")[0]
        return name if name in _KINDS else "api"
    name = path[1:].partition("/")[0]
    return name if name in ("admin", "static", "health", "metrics") else "pages"


def _refusal(headers: Mapping[bytes, bytes], error: errors.DomainError) -> tuple[int, Headers, bytes]:
    return refusal(error, html=b"text/html" in headers.get(b"accept", b""))


def _secure_url(scope: HTTPScope, host: str) -> bytes:
    """The same place by HTTPS; the host's name is one that is served here."""
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    return b"https://" + host.encode("latin1") + path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
