"""Windows and bans, counted in this process and in Redis; and what happens when Redis is away."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid

import pytest

from core import ratelimit, ratelimit_redis
from core.ratelimit import Bucket, LocalCounters, client_key
from core.ratelimit_redis import SharedCounters


@pytest.fixture
def clock(monkeypatch):
    """``clock[0]`` is what both clocks of the counters say."""
    now = [1000.0]
    monkeypatch.setattr(ratelimit, "monotonic", lambda: now[0])
    monkeypatch.setattr(ratelimit, "time", lambda: now[0])
    return now


def bucket(limit=3, window=60, ban=30):
    return Bucket(f"test-{uuid.uuid4()}", limit, window, ban)


@pytest.fixture
def redis_url(redis_url, monkeypatch):
    monkeypatch.setattr(ratelimit_redis, "TIMEOUT_SECONDS", 30.0)  # on a busy machine it is not away
    return redis_url


# --- in this process -----------------------------------------------------------------------


def test_a_window_holds_so_many_and_then_starts_anew(clock):
    counters, three = LocalCounters(), bucket()
    assert [tuple(counters.count(three, "a")) for _ in range(3)] == [(2, 1060, 0), (1, 1060, 0), (0, 1060, 0)]
    clock[0] = 1060
    assert counters.count(three, "a") == (2, 1120, 0)


def test_a_ban_is_not_lengthened_by_asking_and_ends_with_an_empty_window(clock):
    counters, three = LocalCounters(), bucket()
    for _ in range(3):
        counters.count(three, "a")
    clock[0] = 1050
    assert counters.count(three, "a") == (0, 1080, 30)
    clock[0] = 1079.5
    assert counters.count(three, "a") == (0, 1080, 1)
    clock[0] = 1080
    assert counters.count(three, "a") == (2, 1140, 0)


def test_clients_and_buckets_are_counted_apart(clock):
    counters, three, other = LocalCounters(), bucket(), bucket()
    assert [counters.count(*which).remaining for which in ((three, "a"), (three, "b"), (other, "a"))] == [2, 2, 2]


def test_what_is_over_is_forgotten_and_the_number_of_clients_is_bounded(clock):
    counters, three = LocalCounters(most=100), bucket()
    for number in range(500):
        counters.count(three, f"at once {number}")
    (held,) = counters._buckets.values()
    assert len(held) <= 100
    for number in range(500):
        clock[0] += 10
        counters.count(three, f"one by one {number}")
    assert len(held) <= 8


def test_a_flood_of_strangers_does_not_lift_a_young_ban(clock):
    counters, three = LocalCounters(most=100), bucket()
    for number in range(99):
        counters.count(three, f"early {number}")
    for _ in range(4):
        counters.count(three, "banned")
    for number in range(50):
        counters.count(three, f"late {number}")
    assert counters.count(three, "banned").retry_after == 30


def growing(name="test"):
    return Bucket(f"{name}-{uuid.uuid4()}", limit=1, window=1, ban=30, growth=30)


def test_each_ban_is_longer_than_the_one_before_up_to_a_day(clock):
    counters, login = LocalCounters(), growing()
    bans = []
    for _ in range(5):
        assert counters.count(login, "a").retry_after == 0
        bans.append(counters.count(login, "a").retry_after)
        clock[0] += bans[-1]
    assert bans == [30, 900, 27_000, 86_400, 86_400]
    assert counters.count(login, "b").retry_after == 0


def test_a_ban_is_forgotten_by_success_or_by_a_day_of_peace(clock):
    counters, login = LocalCounters(), growing()

    def ban():
        counters.count(login, "a")
        found = counters.count(login, "a").retry_after
        clock[0] += found
        return found

    assert [ban(), ban()] == [30, 900]
    counters.count(login, "a")
    asyncio.run(counters.forgive(login, "a"))
    clock[0] += 1
    assert [ban(), ban()] == [30, 900]
    clock[0] += 24 * 3600 - 1
    assert ban() == 27_000
    clock[0] += 24 * 3600
    assert ban() == 30
    asyncio.run(counters.forgive(login, "nobody"))


def test_a_success_does_not_lift_a_ban(clock):
    counters, login = LocalCounters(), growing()
    for _ in range(2):
        counters.count(login, "a")
    asyncio.run(counters.forgive(login, "a"))
    assert counters.count(login, "a").retry_after == 30


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_who_has_a_whole_network_of_addresses_is_one_client(address, key):
    assert client_key(address) == key


# --- in Redis ------------------------------------------------------------------------------


def hits(counters, which, key, number):
    """So many at once, then their verdicts."""

    async def run():
        try:
            asked = asyncio.gather(*(counters.hit(which, key) for _ in range(number)))
            return await asyncio.wait_for(asked, 60)
        finally:
            await counters.close()

    return asyncio.run(run())


def test_redis_counts_like_the_process_does(redis_url):
    two = bucket(limit=2, window=600, ban=600)

    async def run():
        counters = SharedCounters(redis_url, LocalCounters())
        first = [await counters.hit(two, "a") for _ in range(3)]
        key, redis = f"fastcms:limit:{two.name}:a", counters._connected()
        await redis.pexpire(key, 300_000)  # as if half of the ban were over
        during = await counters.hit(two, "a")  # which does not lengthen it
        await redis.pexpire(key, 1)
        while await redis.exists(key):
            await asyncio.sleep(0.001)
        after = await counters.hit(two, "a")
        began = time.time()
        other = await counters.hit(two, "b")
        assert began + 600 <= other.reset <= time.time() + 601
        await counters.close()
        return first, during, after, other

    first, during, after, other = asyncio.run(run())
    assert [(verdict.remaining, verdict.retry_after) for verdict in first] == [(1, 0), (0, 0), (0, 600)]
    assert 0 < during.retry_after <= 300 and (after.remaining, after.retry_after) == (1, 0)
    assert other.remaining == 1


def test_all_workers_together_let_through_no_more_than_the_limit(redis_url):
    hundred = bucket(limit=100)
    passed = []

    def worker():
        verdicts = hits(SharedCounters(redis_url, LocalCounters()), hundred, "a", 400)
        passed.append(sum(not verdict.retry_after for verdict in verdicts))

    workers = [threading.Thread(target=worker) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert len(passed) == 4 and sum(passed) == 100


@pytest.mark.parametrize("kind", ["refuses", "is silent", "talks nonsense"])
def test_while_redis_is_away_requests_are_counted_here_and_nobody_waits(kind, caplog, monkeypatch):
    monkeypatch.setattr(ratelimit_redis, "PAUSE_SECONDS", 600.0)
    three, asked = bucket(), []
    connected = SharedCounters._connected

    def count_and_connect(counters):
        asked.append(counters)
        return connected(counters)

    monkeypatch.setattr(SharedCounters, "_connected", count_and_connect)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if kind != "refuses":
            server.listen(50)
        if kind == "talks nonsense":
            threading.Thread(target=_talk_nonsense, args=[server], daemon=True).start()
        counters = SharedCounters(f"redis://127.0.0.1:{server.getsockname()[1]}/0", LocalCounters())
        verdicts = hits(counters, three, "a", 10)
        verdicts += hits(counters, three, "a", 10)
    assert [bool(verdict.retry_after) for verdict in verdicts] == [False] * 3 + [True] * 17
    assert len(asked) == 1  # the first ones waited for it together, and the others not at all
    assert sum("Redis is away" in record.message for record in caplog.records) == 1


def _talk_nonsense(server):
    while True:
        try:
            peer, _ = server.accept()
        except OSError:
            return
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_redis_is_used_again_once_it_is_back(redis_url, monkeypatch):
    monkeypatch.setattr(ratelimit_redis, "PAUSE_SECONDS", 0.0)
    three = bucket()

    async def run():
        local = LocalCounters()
        counters = SharedCounters("redis://127.0.0.1:1/0", local)
        await counters.hit(three, "a")
        counters._url = redis_url
        deadline = time.monotonic() + 10
        while counters._try_at is not None and time.monotonic() < deadline:
            await counters.hit(three, "b")
            await asyncio.sleep(0.02)
        verdict = await counters.hit(three, "a")
        await counters.close()
        return verdict, local.count(three, "a")

    shared, local = asyncio.run(run())
    assert shared.remaining == 2 and local.remaining == 1


def test_bans_grow_in_redis_too_until_the_client_is_forgiven(redis_url):
    short = Bucket(f"test-{uuid.uuid4()}", limit=1, window=1, ban=1, growth=3, longest=5)

    async def run():
        counters = SharedCounters(redis_url, LocalCounters())

        async def ban():
            for _ in range(2):
                verdict = await counters.hit(short, "a")
            await counters._connected().delete(f"fastcms:limit:{short.name}:a")  # it is over
            return verdict.retry_after

        bans = [await ban() for _ in range(4)]
        await counters.forgive(short, "a")
        bans.append(await ban())
        await counters.close()
        return bans

    assert asyncio.run(run()) == [1, 3, 5, 5, 1]


def test_a_clock_of_redis_that_was_set_back_lengthens_nothing(redis_url):
    short, growing_one = bucket(limit=1, window=60, ban=30), growing()

    async def run():
        counters = SharedCounters(redis_url, LocalCounters())
        redis = counters._connected()
        left = []
        for which in (short, growing_one):
            for _ in range(2):
                await counters.hit(which, "a")
            # As if an hour had been taken back: the end is so much further away.
            await redis.pexpire(f"fastcms:limit:{which.name}:a", 3_630_000)
            left.append((await counters.hit(which, "a")).retry_after)
        await counters.hit(short, "b")
        await redis.pexpire(f"fastcms:limit:{short.name}:b", 3_660_000)
        left.append((await counters.hit(short, "b")).retry_after)
        await counters.close()
        return left

    assert asyncio.run(run()) == [30, 30, 30]
