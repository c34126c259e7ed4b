"""How often a client may ask: windows of so many requests, and a ban for who asks more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from math import ceil
from time import monotonic, time
from typing import NamedTuple, Protocol

_MOST = 50_000  # clients that are remembered, some 11 MB


@dataclass(frozen=True, slots=True)
class Bucket:
    """``limit`` requests within ``window`` seconds of the first one; the next one bans for ``ban`` seconds."""

    name: str
    limit: int
    window: int
    ban: int


class Verdict(NamedTuple):
    """``remaining`` requests until ``reset`` (unix time); where ``retry_after`` (seconds) is not 0, a refusal."""

    remaining: int
    reset: int
    retry_after: int


class Counters(Protocol):
    """Where requests are counted."""

    async def hit(self, bucket: Bucket, key: str) -> Verdict: ...

    async def close(self) -> None: ...


class _Count:
    """``count`` beyond the limit means a ban; ``ends`` is the window's or the ban's, by the monotonic clock."""

    __slots__ = ("count", "ends", "reset")

    def __init__(self, now: float, seconds: int) -> None:
        self.count = 0
        self.last(now, seconds)

    def last(self, now: float, seconds: int) -> None:
        self.ends = now + seconds
        self.reset = ceil(time()) + seconds


class LocalCounters:
    """Counts of this process, for one thread. At most ``most`` clients per bucket: the oldest are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._buckets: dict[str, dict[str, _Count]] = {}

    async def hit(self, bucket: Bucket, key: str) -> Verdict:
        return self.count(bucket, key)

    async def close(self) -> None:
        self._buckets.clear()

    def count(self, bucket: Bucket, key: str) -> Verdict:
        """Count a request of ``key``. One during a ban changes nothing, and a ban ends with an empty window."""
        counts = self._buckets.setdefault(bucket.name, {})
        now = monotonic()
        entry = counts.get(key)
        if entry is None or entry.ends <= now:
            entry = self._begin(counts, key, now, bucket.window)
        count = entry.count = entry.count + 1
        if count <= bucket.limit:
            return Verdict(bucket.limit - count, entry.reset, 0)
        if count == bucket.limit + 1:
            entry.last(now, bucket.ban)
            counts[key] = counts.pop(key)  # with the youngest again
        return Verdict(0, entry.reset, ceil(entry.ends - now))

    def _begin(self, counts: dict[str, _Count], key: str, now: float, window: int) -> _Count:
        counts.pop(key, None)
        for _ in range(2):  # two looked at for each that comes: what is over does not pile up
            oldest = next(iter(counts), None)
            if oldest is not None and (counts[oldest].ends <= now or len(counts) >= self._most):
                del counts[oldest]
        entry = counts[key] = _Count(now, window)
        return entry


def client_key(address: str) -> str:
    """What a client is counted by: an IPv4 address, or the /64 network that an IPv6 one picks its addresses from."""
    return _network(address) if ":" in address else address


@lru_cache(4096)
def _network(address: str) -> str:
    plain = IPv6Address(address.partition("%")[0])
    return str(plain.ipv4_mapped or ip_network((plain, 64), strict=False))
