"""The book of :mod:`realtime.attendance` that all processes share, in Redis.

What is kept, all under ``fastcms:here:``: the processes with the ends of their leases
(``processes``), what each has (``of:PROCESS``), who is under a name (``at:KIND:NAME``,
fields ``PROCESS/CONNECTION``), the names of a kind (``names:KIND``), whose a name is
(``holders``) and how many there are of a kind (``totals``). Each script is one atom;
the time is Redis' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import json
from realtime.attendance import BESIDE, Change, Entry, Gone, Outcome, Row

TIMEOUT_SECONDS = 2.0
MAX_NAMES = 100_000  # that are read at once
PORTION = 200

_SISTERS = ", ".join(f"['{kind}'] = '{other}'" for kind, other in BESIDE.items())
_COMMON = """
local BESIDE = {BESIDE}
local P = 'fastcms:here:'
local SEP = '\\31'  -- in no name, for it is not printable

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function remove(process, kind, name, connection)
  local key = P .. 'at:' .. kind .. ':' .. name
  redis.call('SREM', P .. 'of:' .. process, kind .. SEP .. name .. SEP .. connection)
  if redis.call('HDEL', key, process .. '/' .. connection) == 0 then return 0 end
  redis.call('HINCRBY', P .. 'totals', kind, -1)
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', P .. 'names:' .. kind, name)
    redis.call('HDEL', P .. 'holders', kind .. SEP .. name)
  end
  return 1
end

local function outcome(kind, name, done, refused, evicted)
  local beside = 0
  if BESIDE[kind] then beside = redis.call('HLEN', P .. 'at:' .. BESIDE[kind] .. ':' .. name) end
  local total = tonumber(redis.call('HGET', P .. 'totals', kind) or '0')
  return {redis.call('HLEN', P .. 'at:' .. kind .. ':' .. name), beside, total, done, refused, evicted}
end
""".replace("{BESIDE}", f"{{{_SISTERS}}}")

_WRITE = (
    _COMMON
    + """
local me = ARGV[1]
if not redis.call('ZSCORE', P .. 'processes', me) then return false end
local told = {}
for i = 2, #ARGV, 7 do
  local coming, kind, name, connection = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local data, owner, proven = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6]
  local done, refused, evicted = 0, 0, {}
  if coming == '1' then
    local key, here = P .. 'at:' .. kind .. ':' .. name, kind .. SEP .. name
    local holder = owner ~= '' and redis.call('HGET', P .. 'holders', here)
    if holder and holder ~= proven .. owner then
      if proven == '1' and string.sub(holder, 1, 1) == '0' then
        for _, field in ipairs(redis.call('HKEYS', key)) do
          local process, other = string.match(field, '^([^/]*)/(.*)$')
          remove(process, kind, name, other)
          evicted[#evicted + 1] = other
        end
      else
        refused = 1
      end
    end
    if refused == 0 then
      if owner ~= '' then redis.call('HSET', P .. 'holders', here, proven .. owner) end
      done = redis.call('HSET', key, me .. '/' .. connection, data)
      if done == 1 then
        redis.call('SADD', P .. 'of:' .. me, here .. SEP .. connection)
        redis.call('ZADD', P .. 'names:' .. kind, 0, name)
        redis.call('HINCRBY', P .. 'totals', kind, 1)
      end
    end
  else
    done = remove(me, kind, name, connection)
  end
  told[#told + 1] = outcome(kind, name, done, refused, evicted)
end
return told
"""
)

# Of the process in ARGV[1], or of one whose lease has ended: false where there is none.
_STRIKE_OUT = (
    _COMMON
    + """
local process = ARGV[1]
if process == '' then
  process = redis.call('ZRANGEBYSCORE', P .. 'processes', '-inf', now(), 'LIMIT', 0, 1)[1]
end
if not process or not redis.call('ZSCORE', P .. 'processes', process) then return false end
local entries, gone = redis.call('SPOP', P .. 'of:' .. process, ARGV[2]), {}
for _, entry in ipairs(entries) do
  local kind, name, connection = string.match(entry, '^([^\\31]*)\\31(.*)\\31([^\\31]*)$')
  local data = redis.call('HGET', P .. 'at:' .. kind .. ':' .. name, process .. '/' .. connection)
  if remove(process, kind, name, connection) == 1 then
    gone[#gone + 1] = {kind, name, connection, data, outcome(kind, name, 1, 0, {})}
  end
end
if #entries == 0 then redis.call('ZREM', P .. 'processes', process) end
return gone
"""
)

_LEASE = (
    _COMMON
    + """
if ARGV[3] == '1' and not redis.call('ZSCORE', P .. 'processes', ARGV[1]) then return 0 end
redis.call('ZADD', P .. 'processes', now() + ARGV[2], ARGV[1])
return 1
"""
)

# Of each name: how many there are, the data of one, and when its lease was renewed (milliseconds). Who is of a
# process that is overdue does not count.
_ROWS = (
    _COMMON
    + """
local moment, kind, lease = now(), ARGV[1], tonumber(ARGV[2])
local overdue = redis.call('ZCOUNT', P .. 'processes', '-inf', moment) > 0
local rows = {}
for i = 3, #ARGV do
  local key = P .. 'at:' .. kind .. ':' .. ARGV[i]
  local count, data, seen = 0, false, 0
  local fields = overdue and redis.call('HGETALL', key) or redis.call('HSCAN', key, 0, 'COUNT', 1)[2]
  for j = 1, #fields, 2 do
    local ends = tonumber(redis.call('ZSCORE', P .. 'processes', string.match(fields[j], '^[^/]*')) or '0')
    if ends > moment then
      count, data, seen = count + 1, fields[j + 1], math.max(seen, ends - lease)
    end
    if not overdue then break end
  end
  if count > 0 and not overdue then count = redis.call('HLEN', key) end
  rows[#rows + 1] = {count, data, seen}
end
return rows
"""
)

# The data of those under a name, about ARGV[3] of them.
_DATA = (
    _COMMON
    + """
local moment, cursor, found = now(), '0', {}
local key = P .. 'at:' .. ARGV[1] .. ':' .. ARGV[2]
repeat
  local page = redis.call('HSCAN', key, cursor, 'COUNT', 500)
  cursor = page[1]
  for j = 1, #page[2], 2 do
    local ends = tonumber(redis.call('ZSCORE', P .. 'processes', string.match(page[2][j], '^[^/]*')) or '0')
    if ends > moment then found[#found + 1] = page[2][j + 1] end
  end
until cursor == '0' or #found >= tonumber(ARGV[3])
return found
"""
)


class RedisBook:
    """See :class:`realtime.attendance.Shared`. Reading blocks its thread, the rest is for the event loop."""

    def __init__(self, url: str, lease_seconds: int) -> None:
        self._url, self._lease = url, lease_seconds * 1000
        timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        self._redis = AsyncRedis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **timeouts)
        self._blocking = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)
        self._write = self._redis.register_script(_WRITE)
        self._strike = self._redis.register_script(_STRIKE_OUT)
        self._enter = self._redis.register_script(_LEASE)
        self._rows = self._blocking.register_script(_ROWS)
        self._data = self._blocking.register_script(_DATA)

    async def enter(self, process: str) -> None:
        await self._enter(args=[process, self._lease, 0])

    async def renew(self, process: str) -> bool:
        return bool(await self._enter(args=[process, self._lease, 1]))

    async def write(self, process: str, changes: Sequence[Change]) -> list[Outcome] | None:
        arguments: list[Any] = [process]
        for change in changes:
            entry = change.entry
            arguments += (int(change.is_coming), entry.kind, entry.name, entry.connection)
            arguments += (json.dumps(entry.data), entry.owner, int(entry.proven))
        told = await self._write(args=arguments)
        return None if told is None else [_outcome(one) for one in told]

    async def strike_out(self, process: str | None) -> list[Gone] | None:
        gone = await self._strike(args=[process or "", PORTION])
        if gone is None:
            return None
        return [
            Gone(Entry(kind.decode(), name.decode(), connection.decode(), json.loads(data)), _outcome(told))
            for kind, name, connection, data, told in gone
        ]

    def names(self, kind: str) -> list[str]:
        found: Any = self._blocking.zrange(f"fastcms:here:names:{kind}", 0, MAX_NAMES - 1)
        return [name.decode() for name in found]

    def rows(self, kind: str, names: Sequence[str]) -> list[Row]:
        rows = []
        for start in range(0, len(names), PORTION):
            portion = names[start : start + PORTION]
            told: Any = self._rows(args=[kind, self._lease, *portion])
            for name, (count, data, seen) in zip(portion, told, strict=True):
                if count:
                    last_seen = datetime.fromtimestamp(seen / 1000, UTC)
                    rows.append(Row(name, count, json.loads(data), last_seen))
        return rows

    def data(self, kind: str, name: str, limit: int) -> list[dict[str, Any]]:
        told: Any = self._data(args=[kind, name, limit])
        return [json.loads(data) for data in told[:limit]]

    async def close(self) -> None:
        await self._redis.aclose()
        self._blocking.close()


def _outcome(told: Any) -> Outcome:
    count, beside, total, done, refused, evicted = told
    return Outcome(count, beside, total, bool(done), bool(refused), tuple(one.decode() for one in evicted))
