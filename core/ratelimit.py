"""How often a client may ask: windows of so many requests, and a ban for who asks more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from math import ceil
from time import monotonic, time
from typing import Any, NamedTuple, Protocol

from core import routes

MEMORY = 24 * 3600  # seconds, of earlier bans
BAN_SECONDS = 30
FILES_FACTOR = 10  # times as many requests for files: a page shows a hundred pictures
KEY_SECONDS = 60  # that a key is known for after it was used, and the window of its own limit
_MOST = 50_000  # clients that are remembered, some 11 MB
_MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """``limit`` requests within ``window`` seconds of the first one; the next one bans for ``ban`` seconds.

    Each ban is ``growth`` times as long as the one before, up to ``longest``, until
    the client is forgiven, or has behaved for ``MEMORY`` seconds.
    """

    name: str
    limit: int
    window: int
    ban: int
    growth: int = 1
    longest: int = 24 * 3600

    def ban_after(self, bans: int) -> int:
        """Seconds of a client's next ban, after so many."""
        return min(self.ban * self.growth ** min(bans, 10), self.longest)


@dataclass(frozen=True, slots=True)
class Limited:
    """What a view declares as ``rate_limit``: the bucket that its POSTs are counted in besides,
    and the statuses that say that the client was who they claimed to be."""

    bucket: str
    success: frozenset[int] = frozenset({200, 201})


# A view may also declare a function, which tells by the path and the headers of a POST what it is.
Declared = Limited | Callable[[str, Mapping[bytes, bytes]], Limited | None] | None

LOGIN, LOGIN_PAGE = Limited("login"), Limited("login", frozenset({302}))
REGISTER = Limited("register")
BUCKETS = {name: Bucket(name, limit=1, window=1, ban=30, growth=30) for name in ("login", "register")}


def limited(path: str, headers: Mapping[bytes, bytes]) -> Limited | None:
    """What a POST to this path counts as besides, as the view declares it."""
    declared: Any = routes.declared(path, "rate_limit")
    return declared(path, headers) if callable(declared) else declared


# --- how many requests a client may send, while the server runs ------------------------------


class Numbers(NamedTuple):
    """Of the limit on all requests; None is as the environment says."""

    requests: int | None = None
    window: int | None = None


chosen = Numbers()


def choose(requests: int | None = None, window: int | None = None) -> None:
    """Have this process allow so many requests within so many seconds, from the next request on.

    What was counted stays counted. Whether requests are counted at all, the environment
    says (``RATE_LIMIT_ENABLED``). Any thread may call this; each process has to.
    """
    global chosen
    chosen = Numbers(requests, window)


# --- programs with a key -----------------------------------------------------------------------


class Keys:
    """The keys of admins that were good lately: their requests are counted by key, wherever they come from.

    A key counts for itself from its second request on. What is no key, or not yet known to
    be one, is its client's: nobody gets a fresh count by making keys up.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, int | None, float]] = {}

    def note(self, raw: str, key_id: str, limit: int | None) -> None:
        """This key was good just now; ``limit`` is its own one, of requests a minute. From any thread."""
        if len(self._known) >= _MOST_KEYS:
            self._known = {}
        self._known[raw.encode("latin1", "replace")] = key_id, limit, monotonic() + KEY_SECONDS

    def sent(self, headers: Mapping[bytes, bytes]) -> tuple[str, int | None] | None:
        """The id and the limit of the key in a request's headers, if it is known."""
        if not self._known:
            return None
        raw = headers.get(b"x-api-key")
        if raw is None:
            raw = headers.get(b"authorization", b"")[7:]
        found = self._known.get(raw.strip())
        return None if found is None or found[2] <= monotonic() else found[:2]


keys = Keys()


class Verdict(NamedTuple):
    """``remaining`` requests until ``reset`` (unix time); where ``retry_after`` (seconds) is not 0, a refusal."""

    remaining: int
    reset: int
    retry_after: int


class Counters(Protocol):
    """Where requests are counted."""

    async def hit(self, bucket: Bucket, key: str) -> Verdict: ...

    async def forgive(self, bucket: Bucket, key: str) -> None:
        """Forget earlier bans."""

    async def close(self) -> None: ...


class _Count:
    """``count`` beyond the limit means a ban; ``ends`` is the window's or the ban's, by the monotonic clock.
    ``bans`` are those until now."""

    __slots__ = ("bans", "count", "ends", "reset")

    def __init__(self, now: float, seconds: int, bans: int) -> None:
        self.count, self.bans = 0, bans
        self.last(now, seconds)

    def last(self, now: float, seconds: int) -> None:
        self.ends = now + seconds
        self.reset = ceil(time()) + seconds

    def is_over(self, now: float) -> bool:
        """Whether nothing is left to remember."""
        return self.ends + (MEMORY if self.bans else 0) <= now


class LocalCounters:
    """Counts of this process, for one thread. At most ``most`` clients per bucket: the oldest are forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._buckets: dict[str, dict[str, _Count]] = {}

    async def hit(self, bucket: Bucket, key: str) -> Verdict:
        return self.count(bucket, key)

    async def forgive(self, bucket: Bucket, key: str) -> None:
        entry = self._buckets.get(bucket.name, {}).get(key)
        if entry is not None:
            entry.bans = 0

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
            entry.last(now, bucket.ban_after(entry.bans))
            entry.bans += bucket.growth > 1
            counts[key] = counts.pop(key)  # with the youngest again
        return Verdict(0, entry.reset, ceil(entry.ends - now))

    def _begin(self, counts: dict[str, _Count], key: str, now: float, window: int) -> _Count:
        before = counts.pop(key, None)
        for _ in range(2):  # two looked at for each that comes: what is over does not pile up
            oldest = next(iter(counts), None)
            if oldest is not None and (counts[oldest].is_over(now) or len(counts) >= self._most):
                del counts[oldest]
        bans = 0 if before is None or before.is_over(now) else before.bans
        entry = counts[key] = _Count(now, window, bans)
        return entry


def client_key(address: str) -> str:
    """What a client is counted by: an IPv4 address, or the /64 network that an IPv6 one picks its addresses from."""
    return _network(address) if ":" in address else address


@lru_cache(4096)
def _network(address: str) -> str:
    plain = IPv6Address(address.partition("%")[0])
    return str(plain.ipv4_mapped or ip_network((plain, 64), strict=False))
