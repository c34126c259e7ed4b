"""Who is let in, whatever they speak: the true client, the host it asks for, and how often it comes.

Requests (``cms_project/front.py``) and handshakes of WebSockets (``cms_project/sockets.py``)
are asked the same, and counted together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from core import ratelimit
from core.cors import Cors
from core.hosts import Hosts
from core.proxies import Proxies


class Admission:
    """``cors`` is None where nobody else's pages may call, ``counters`` where nothing is counted."""

    def __init__(self) -> None:
        self.hosts = Hosts()
        self.proxies = Proxies(settings.TRUSTED_PROXIES) if settings.TRUSTED_PROXIES else None
        self.cors = Cors() if settings.CORS_ALLOW_ALL_ORIGINS or settings.CORS_ALLOWED_ORIGINS else None
        self.counters = _counters() if settings.RATE_LIMIT_ENABLED else None
        self._choose()

    @property
    def bucket(self) -> ratelimit.Bucket:
        """What all requests are counted in."""
        if self._chosen is not ratelimit.chosen:
            self._choose()
        return self._bucket

    def counted_as(
        self, client: str, headers: Mapping[bytes, bytes], *, of_files: bool = False
    ) -> tuple[ratelimit.Bucket, str]:
        """The bucket and the key that a request is counted under."""
        bucket, key = self.bucket, ratelimit.client_key(client)
        known = ratelimit.keys.sent(headers)
        if known is not None:
            key, limit = known
            window = bucket.window if limit is None else ratelimit.KEY_SECONDS
            bucket = ratelimit.Bucket("keys", limit or bucket.limit, window, ratelimit.BAN_SECONDS)
        if of_files:
            limit = bucket.limit * ratelimit.FILES_FACTOR
            bucket = ratelimit.Bucket("files", limit, bucket.window, ratelimit.BAN_SECONDS)
        return bucket, key

    def _choose(self) -> None:
        self._chosen = ratelimit.chosen
        limit = self._chosen.requests or settings.RATE_LIMIT_REQUESTS
        window = self._chosen.window or settings.RATE_LIMIT_WINDOW
        self._bucket = ratelimit.Bucket("requests", limit, window, ratelimit.BAN_SECONDS)

    async def close(self) -> None:
        """Let go of Redis."""
        if self.counters is not None:
            await self.counters.close()


def headers_of(scope: Any) -> dict[bytes, bytes]:
    """The headers by name; what was sent twice is joined by a comma, as Django does."""
    sent: list[tuple[bytes, bytes]] = scope["headers"]
    headers = dict(sent)
    if len(headers) == len(sent):
        return headers
    headers = {}
    for name, value in sent:
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def see_through(proxies: Proxies, scope: Any, headers: Mapping[bytes, bytes]) -> None:
    """Put the client itself into the scope, where a trusted proxy speaks for it."""
    peer = scope.get("client")
    if peer is None or not proxies.trusts(peer[0]):
        return
    forwarded_for = headers.get(b"x-forwarded-for")
    if forwarded_for:
        scope["client"] = proxies.client(peer[0], forwarded_for.decode("latin1")), 0
    scheme = headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip()
    if scheme in (b"http", b"https"):
        is_socket = scope["type"] == "websocket"
        scope["scheme"] = scheme.replace(b"http", b"ws").decode("ascii") if is_socket else scheme.decode("ascii")


def host_asked_for(scope: Any, headers: Mapping[bytes, bytes]) -> str:
    """The name in ``Host``; where there is none that of the server, as Django reads it."""
    host = headers.get(b"host")
    if host is None:
        server = scope.get("server")
        return server[0] if server else "unknown"
    return host.decode("latin1")


def printable_path(scope: Any) -> str:
    """For logs: the path as it was sent, in one line, without its query, for that may hold a secret."""
    path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii", "backslashreplace")
    return path if path.isprintable() else ascii(path)[1:-1]


def _counters() -> ratelimit.Counters:
    local = ratelimit.LocalCounters()
    if not settings.REDIS_URL:
        return local
    from core.ratelimit_redis import SharedCounters  # loads the Redis client, which most do without

    return SharedCounters(settings.REDIS_URL, local)
