"""The counts of :mod:`core.ratelimit` in Redis, shared by all workers."""

from __future__ import annotations

import asyncio
import logging
from math import ceil
from time import monotonic, time
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from core.ratelimit import MEMORY, Bucket, LocalCounters, Verdict

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 5.0  # before Redis is tried again
_BATCH = 200

# A count beyond the limit is a ban, whose end is the end of the key. INCR leaves that end alone.
# Where bans grow, a second key counts them. Of each hit: limit, window, ban, growth, longest, memory.
# Ends are moments of Redis' clock: where that was set back, they come no later than they were meant to.
_COUNT = """
local told = {}
for i, key in ipairs(KEYS) do
  local count = redis.call('INCR', key)
  local limit, most = tonumber(ARGV[6 * i - 5]), tonumber(ARGV[6 * i - 4])
  if count > limit then
    local growth, longest = tonumber(ARGV[6 * i - 2]), tonumber(ARGV[6 * i - 1])
    local bans = 1
    if growth > 1 then
      bans = count == limit + 1 and redis.call('INCR', key .. ':bans') or redis.call('GET', key .. ':bans') or 11
    end
    most = math.min(ARGV[6 * i - 3] * growth ^ math.min(bans - 1, 10), longest)
    if growth > 1 and count == limit + 1 then
      redis.call('PEXPIRE', key .. ':bans', most + ARGV[6 * i])
    end
  end
  local left = redis.call('PTTL', key)
  if count == limit + 1 or left < 0 or left > most then
    redis.call('PEXPIRE', key, most)
    left = most
  end
  told[2 * i - 1] = count
  told[2 * i] = left
end
return told
"""

_Hit = tuple["asyncio.Future[Verdict]", Bucket, str]


class SharedCounters:
    """Counts over all workers; while Redis is away each worker counts for itself.

    Requests that come while an answer of Redis is under way go together in the next
    call: one connection, one atomic script. Nobody waits longer than
    ``TIMEOUT_SECONDS``, and after that nobody waits until Redis is back.
    """

    def __init__(self, url: str, local: LocalCounters) -> None:
        self._url, self._local = url, local
        self._waiting: list[_Hit] = []
        self._asking: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self._try_at: float | None = None  # set while Redis is away
        self._redis: Redis | None = None

    async def hit(self, bucket: Bucket, key: str) -> Verdict:
        """As :meth:`LocalCounters.count`, for all workers at once."""
        if self._try_at is not None:
            if monotonic() >= self._try_at and self._probing is None:
                self._probing = asyncio.create_task(self._probe())
            return self._local.count(bucket, key)
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((verdict, bucket, key))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await verdict

    async def forgive(self, bucket: Bucket, key: str) -> None:
        """As :meth:`LocalCounters.forgive`; where Redis is away, what it knows of bans stays."""
        await self._local.forgive(bucket, key)
        if self._try_at is None:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._connected().delete(f"{_name(bucket, key)}:bans")
            except Exception as fault:
                logger.warning("Redis is away, a client stays unforgiven: %r", fault, exc_info=True)
                await self._lose()

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
                for (future, _, _), verdict in zip(batch, await self._verdicts(batch), strict=True):
                    if not future.done():  # its request may have been given up
                        future.set_result(verdict)
        finally:
            self._asking = None

    async def _verdicts(self, batch: list[_Hit]) -> list[Verdict]:
        if self._try_at is None:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await self._counted(batch)
            except Exception as fault:
                # Whatever is wrong with Redis, requests go on and are limited.
                logger.warning("Redis is away, each worker counts requests for itself: %r", fault, exc_info=True)
                await self._lose()
        return [self._local.count(bucket, key) for _, bucket, key in batch]

    async def _counted(self, batch: list[_Hit]) -> list[Verdict]:
        keys: list[str] = []
        numbers: list[int] = []
        for _, bucket, key in batch:
            keys.append(_name(bucket, key))
            numbers += (bucket.limit, bucket.window * 1000, bucket.ban * 1000)
            numbers += (bucket.growth, bucket.longest * 1000, MEMORY * 1000)
        told: Any = await self._connected().eval(_COUNT, len(keys), *keys, *numbers)
        now = time()
        verdicts = []
        for i, (_, bucket, _) in enumerate(batch):
            count, left = told[2 * i], max(told[2 * i + 1], 0) / 1000
            banned = count > bucket.limit
            verdicts.append(
                Verdict(max(bucket.limit - count, 0), ceil(now + left), max(ceil(left), 1) if banned else 0)
            )
        return verdicts

    async def _probe(self) -> None:
        """Look whether Redis is back; no request waits for this."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._connected().ping()
            self._try_at = None
            logger.warning("Redis is back, requests are counted for all workers")
        except Exception as fault:
            logger.info("Redis is still away: %r", fault, exc_info=True)
            await self._lose()
        finally:
            self._probing = None

    async def _lose(self) -> None:
        self._try_at = monotonic() + PAUSE_SECONDS
        lost, self._redis = self._redis, None
        if lost is not None:
            await lost.aclose()

    def _connected(self) -> Redis:
        if self._redis is None:
            self._redis = Redis.from_url(
                self._url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
        return self._redis


def _name(bucket: Bucket, key: str) -> str:
    return f"fastcms:limit:{bucket.name}:{key}"
