"""Who is here: in one process, in several on Redis, and while Redis is away."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest

from core import clock
from realtime import attendance as book
from realtime.attendance import GUEST, USER, Attendance, Entry, Gone
from realtime.attendance_redis import RedisBook
from realtime.tests.gate import Gate

LEASE = 10  # where nobody has to die: whoever is off the processor for longer is rightly taken for dead
DYING = 2
TURNS = 600  # of a tenth of a second


@pytest.fixture
def redis_url(redis_url, settings):
    settings.REALTIME_LEASE_SECONDS = LEASE
    return redis_url


@pytest.fixture(params=["local", "redis"])
def shared(request):
    """How to make the shared book of a process: there is none, or Redis has it."""
    if request.param == "local":
        return lambda: None
    url = request.getfixturevalue("redis_url")
    return lambda: RedisBook(url, LEASE)


def entry(name, kind=USER, owner="", proven=False, **data):
    return Entry(kind, name, uuid.uuid4().hex, data, owner, proven)


def some_name():
    return f"somebody-{uuid.uuid4().hex}"


def in_processes(number, make, scenario):
    """Run it with so many attendances, as if each were that of a process."""

    async def run():
        made = [Attendance(make()) for _ in range(number)]
        try:
            return await asyncio.wait_for(scenario(*made), 150)
        finally:
            for one in made:
                await one.close()

    return asyncio.run(run())


def test_the_first_to_come_and_the_last_to_leave_are_told_once(shared):
    async def scenario(here):
        name = some_name()
        one, two = entry(name), entry(name)
        came = [await here.join(one), await here.join(two), await here.join(two)]
        went = [await here.leave(one), await here.leave(one), await here.leave(two)]
        return came, went

    came, went = in_processes(1, shared, scenario)
    assert [(outcome.number, outcome.is_done) for outcome in came] == [(1, True), (2, True), (2, False)]
    assert [(outcome.number, outcome.is_done) for outcome in went] == [(1, True), (1, False), (0, True)]


def test_a_sister_kind_is_counted_with_ones_own(shared):
    async def scenario(here):
        name = some_name()
        guest, user = entry(name, GUEST), entry(name)
        await here.join(guest)
        came = await here.join(user)
        return came, await here.leave(guest)

    came, went = in_processes(1, shared, scenario)
    assert (came.number, came.beside) == (1, 1) and (went.number, went.beside) == (0, 1)


def test_a_name_is_its_owners_as_long_as_they_are_there(shared):
    async def scenario(here):
        name = some_name()
        mine, also_mine, theirs = (
            entry(name, "socket", "me"),
            entry(name, "socket", "me"),
            entry(name, "socket", "them"),
        )
        told = [await here.join(mine), await here.join(also_mine), await here.join(theirs)]
        await here.leave(theirs)  # who never came in turns nobody out by going
        for one in (mine, also_mine):
            await here.leave(one)
        return [*told, await here.join(theirs)]

    told = in_processes(1, shared, scenario)
    assert [outcome.is_refused for outcome in told] == [False, False, True, False]
    assert [outcome.number for outcome in told] == [1, 2, 2, 1]


def test_whoever_has_shown_who_they_are_turns_out_who_has_not(shared):
    async def scenario(here):
        name = some_name()
        squatter = entry(name, "socket", "squatter")
        await here.join(squatter)
        proven = await here.join(entry(name, "socket", "account", proven=True))
        return (
            squatter,
            proven,
            await here.leave(squatter),
            await here.join(entry(name, "socket", "other", proven=True)),
        )

    squatter, proven, left, other = in_processes(1, shared, scenario)
    assert (proven.number, proven.is_refused, proven.evicted) == (1, False, (squatter.connection,))
    assert not left.is_done and left.number == 1
    assert other.is_refused and not other.evicted


def test_readers_find_those_who_are_there(shared, settings):
    settings.REDIS_URL = ""

    async def scenario(here):
        names, kind = sorted(some_name() for _ in range(3)), f"kind{uuid.uuid4().hex[:8]}"
        for name in names:
            await here.join(entry(name, kind, user_name=name.upper()))
        await here.join(entry(names[0], kind, user_name=names[0].upper()))
        reader = here._shared or here.local
        found = await asyncio.to_thread(reader.rows, kind, [*names, "nobody"])
        data = await asyncio.to_thread(reader.data, kind, names[0], 10)
        return names, await asyncio.to_thread(reader.names, kind), found, data

    names, listed, rows, data = in_processes(1, shared, scenario)
    assert listed == names
    assert [(row.name, row.number, row.data) for row in rows] == [
        (name, 2 if name == names[0] else 1, {"user_name": name.upper()}) for name in names
    ]
    assert all(abs(row.last_seen - clock.now()) < timedelta(seconds=LEASE) for row in rows)
    assert data == [{"user_name": names[0].upper()}] * 2


def test_of_many_who_come_and_go_at_once_in_several_processes_one_is_first_and_one_last(redis_url):
    async def scenario(*processes):
        name = some_name()
        entries = [(process, entry(name)) for process in processes for _ in range(50)]
        came = await asyncio.gather(*(process.join(one) for process, one in entries))
        went = await asyncio.gather(*(process.leave(one) for process, one in entries))
        return came, went

    came, went = in_processes(3, lambda: RedisBook(redis_url, LEASE), scenario)
    assert sorted(outcome.number for outcome in came) == list(range(1, 151))
    assert sorted(outcome.number for outcome in went) == list(range(150))


def test_of_many_who_want_a_name_at_once_in_several_processes_one_gets_it(redis_url):
    async def scenario(*processes):
        name = some_name()
        wishes = [process.join(entry(name, "socket", uuid.uuid4().hex)) for process in processes for _ in range(20)]
        return await asyncio.gather(*wishes)

    told = in_processes(3, lambda: RedisBook(redis_url, LEASE), scenario)
    assert [outcome.is_refused for outcome in told].count(False) == 1


class Watching:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.gone: list[Gone] = []
        self.back = []

    def struck_out(self, gone):
        self.gone.append(gone)

    def came_back(self, entry, outcome):
        self.back.append((entry, outcome))


def test_whoever_was_with_a_process_that_died_is_gone_and_one_other_tells(redis_url, settings):
    async def scenario(dying, one, two):
        name, kind = some_name(), f"kind{uuid.uuid4().hex[:8]}"
        watchers = [Watching(), Watching()]
        for process, watcher in zip((one, two), watchers, strict=True):
            process.watch(kind, watcher)
            await process.join(entry(some_name(), "other"))
        ghost = entry(name, kind, owner="ghost", user_name="Ghost")
        await dying.join(ghost)
        dying._keeping.cancel()
        reader = one._shared
        for _ in range(TURNS):
            if not await asyncio.to_thread(reader.rows, kind, [name]):
                break
            await asyncio.sleep(0.1)
        for _ in range(TURNS):
            if any(watcher.gone for watcher in watchers):
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        told = [gone for watcher in watchers for gone in watcher.gone]
        return ghost, told, await one.join(entry(name, kind, owner="another"))

    settings.REALTIME_LEASE_SECONDS = DYING  # so that the others look often
    leases = iter((DYING, 60, 60))
    ghost, told, next_one = in_processes(3, lambda: RedisBook(redis_url, next(leases)), scenario)
    assert [(gone.entry.name, gone.entry.connection, gone.entry.data) for gone in told] == [
        (ghost.name, ghost.connection, {"user_name": "Ghost"})
    ]
    assert told[0].outcome.number == 0 and told[0].outcome.is_done
    assert not next_one.is_refused and next_one.number == 1


def test_a_process_that_was_taken_for_dead_puts_its_own_back(redis_url, settings):
    settings.REALTIME_LEASE_SECONDS = 3  # so that it looks often

    async def scenario(here, other):
        kind, name = f"kind{uuid.uuid4().hex[:8]}", some_name()
        watching = Watching()
        here.watch(kind, watching)
        await here.join(entry(name, kind))
        while await other._shared.strike_out(here._process) is not None:
            pass
        assert await asyncio.to_thread(other._shared.rows, kind, [name]) == []
        for _ in range(TURNS):
            if found := await asyncio.to_thread(other._shared.rows, kind, [name]):
                return found, watching.back
            await asyncio.sleep(0.1)
        raise AssertionError("it did not come back")

    found, back = in_processes(2, lambda: RedisBook(redis_url, LEASE), scenario)
    assert [row.number for row in found] == [1] and [outcome.number for _, outcome in back] == [1]


def test_while_redis_is_away_each_process_decides_for_itself_and_afterwards_they_agree(redis_url, monkeypatch):
    monkeypatch.setattr(book, "PAUSE_SECONDS", 0.3)

    async def scenario():
        gate = Gate(redis_url)
        await gate.come()
        one, two = (Attendance(RedisBook(gate.url, LEASE)) for _ in range(2))
        watching, name, kind = Watching(), some_name(), f"kind{uuid.uuid4().hex[:8]}"
        two.watch(kind, watching)
        staying, going = entry(some_name(), kind), entry(some_name(), kind)
        await one.join(staying)
        await one.join(going)
        await two.join(entry(some_name(), kind))
        await gate.go()
        wishes = [await one.join(entry(name, kind, "one")), await two.join(entry(name, kind, "two"))]
        alone = await one.leave(going)
        await gate.come()
        reader = RedisBook(redis_url, LEASE)
        for _ in range(TURNS):
            rows = await asyncio.to_thread(reader.rows, kind, [staying.name, going.name, name])
            refused = [outcome.is_refused for back, outcome in watching.back if back.name == name]
            if one._is_in and two._is_in and refused and len(rows) == 2:
                break
            await asyncio.sleep(0.1)
        for process in (one, two):
            await process.close()
        await reader.close()
        await gate.go()
        return wishes, alone, rows, len(watching.back), staying.name, name

    wishes, alone, rows, number_back, staying, name = asyncio.run(scenario())
    assert [outcome.is_refused for outcome in wishes] == [False, False]
    assert alone.is_done and alone.number == 0
    assert {(row.name, row.number) for row in rows} == {(staying, 1), (name, 1)}
    assert number_back == 2


def test_a_redis_that_is_not_there_keeps_nobody_from_anything(settings, monkeypatch):
    settings.REDIS_URL, settings.REALTIME_LEASE_SECONDS = "redis://127.0.0.1:1/0", LEASE
    monkeypatch.setattr(book, "_shared_reader", None)
    monkeypatch.setattr(book, "_ask_at", 0.0)

    async def scenario(here):
        monkeypatch.setattr(book, "known", here)
        name = some_name()
        came = await here.join(entry(name))
        return came, await asyncio.to_thread(book.ask, lambda reader: reader.rows(USER, [name]))

    came, rows = in_processes(1, lambda: RedisBook(settings.REDIS_URL, LEASE), scenario)
    assert came.number == 1 and [row.number for row in rows] == [1]
