"""The hub tells everybody everything once and in order, whoever comes, goes or changes meanwhile."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import OperationalError

from accounts.principals import SYSTEM, Principal
from collections_app import events
from collections_app.models import Event, EventLogState
from collections_app.records import as_if
from collections_app.schema import registry, service
from collections_app.tests.fixtures import Records, person
from core import database
from realtime import costs, follower, sight
from realtime import hub as hubs
from realtime.callers import Caller, audience_of
from realtime.frames import Frame
from realtime.hub import Hub
from realtime.sight import MEMORY, QUERY
from realtime.sight import RULE as RULED
from realtime.subscriptions import Subscription
from realtime.tests.watching import ADMIN

pytestmark = pytest.mark.engine


class Client:
    """A connection that takes what it is given."""

    def __init__(self, principal: Principal = ADMIN) -> None:
        self.caller = Caller(principal.id, principal, audience_of(principal))
        self.told: list[tuple[str, Frame]] = []
        self.ended = False
        self.gone_ones: list[str] = []

    def deliver(self, subscription: Subscription, frame: Frame) -> None:
        self.told.append((subscription.name, frame))

    def tell(self, frame: Frame) -> None: ...

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def beat(self) -> None: ...

    def end(self) -> None:
        self.ended = True

    def gone(self, subscription: Subscription, reason: str) -> None:
        self.gone_ones.append(reason)

    def ids(self) -> list[int | None]:
        return [frame.id for _, frame in self.told]

    def kinds(self) -> list[str]:
        return [frame.type for _, frame in self.told]


# They hold for all that these tests write, and ask the database for it.
RULE = "@collection.posts.owner ?= 'owner' && owner = @request.auth.id"
QUERIES = ["@collection.posts.owner ?= 'owner'", "@collection.posts.owner ?= 'owner' || owner = 'x'"]


@pytest.fixture
def posts(make_collection: Callable[..., Any]) -> str:
    make_collection("posts", owner="text", list_rule="owner = @request.auth.id")
    return registry.latest().get("posts").id


def create(owner: str = "owner") -> None:
    Records("posts", SYSTEM).create(owner=owner)


def run(story: Callable[[Hub], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The story with a hub that follows the log."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.05)

    async def whole() -> None:
        hub = Hub()
        await hub.ready()
        try:
            await story(hub)
        finally:
            await hub.close()
            await in_thread(database.close)

    asyncio.run(whole())


async def in_thread(work: Callable[[], Any]) -> Any:
    """On a connection that is closed again."""

    def closing() -> Any:
        try:
            return work()
        finally:
            database.close()

    return await asyncio.to_thread(closing)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():
            await asyncio.sleep(0.005)


async def come(
    hub: Hub, client: Client, collection: str | None, after: int | None = None, name: str = "", query: str = ""
) -> Subscription:
    if client not in hub._connections:
        hub.enter(client)
    subscription = Subscription(client, collection, query, name=name)
    await hub.subscribe(subscription, after)
    return subscription


@pytest.mark.parametrize("price", ["memory", "rule", "query"])
def test_who_comes_while_others_write_misses_nothing_and_gets_nothing_twice(
    posts: str, price: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hubs, follower):
        monkeypatch.setattr(module, "BATCH", 7)
    if price == "rule":
        service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"list_rule": RULE})
    monkeypatch.setattr(sight, "TURN_SECONDS", -1.0)  # one at a time
    monkeypatch.setattr(sight, "QUERY_SECONDS", 30.0)
    monkeypatch.setattr(sight, "STOP_SECONDS", 30.0)
    dice = random.Random(1)

    async def story(hub: Hub) -> None:
        begin = hub.position
        writers = [asyncio.create_task(in_thread(lambda: [create() for _ in range(40)])) for _ in range(3)]
        clients: list[tuple[Client, int | None]] = []
        while not all(writer.done() for writer in writers) or len(clients) < 8:
            after = dice.choice([begin, hub.position, max(begin, hub.position - 5)]) if clients else begin
            client = Client(dice.choice([ADMIN, person("owner")]) if clients else person("owner"))
            clients.append((client, after))
            query = dice.choice(QUERIES) if price == "query" else ""
            await come(hub, client, dice.choice([posts, None]), after, query=query)
            if len(clients) > 3 and dice.random() < 0.3:
                hub.leave(dice.choice(clients[1:-1])[0])
            await asyncio.sleep(0.01)
        await asyncio.gather(*writers)
        last = await in_thread(events.settled_id)
        there = [one for one in clients if one[0] in hub._connections]
        await until(lambda: hub.position == last)
        await until(lambda: all(client.ids()[-1:] == [last] or after == last for client, after in there))
        await asyncio.sleep(0.1)
        for client, after in clients:
            found = client.ids()
            assert found == list(range((after or 0) + 1, (after or 0) + 1 + len(found)))
            assert not client.gone_ones
        ranks = {one.rank for ones in hub._connections.values() for one in ones}
        assert ranks <= {"memory": {MEMORY}, "rule": {MEMORY, RULED}, "query": {MEMORY, QUERY}}[price]
        assert max(ranks) == {"memory": MEMORY, "rule": RULED, "query": QUERY}[price]

    run(story, monkeypatch)


class Held:
    """Questions of clients' queries that get no answer before they may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may, self.asked = threading.Event(), threading.Event()
        satisfies = as_if.State.satisfies

        def held(state: as_if.State, rule: Any, env: Any) -> bool:
            if threading.current_thread().name.startswith(f"realtime-follows-{QUERY}"):
                self.asked.set()
                assert self.may.wait(15)
            return satisfies(state, rule, env)

        monkeypatch.setattr(as_if.State, "satisfies", held)
        monkeypatch.setattr(sight, "QUERY_SECONDS", 30.0)


def test_who_has_expensive_queries_is_late_and_nobody_else(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    service.collection_update(actor=SYSTEM, name_or_id="posts", payload={"list_rule": RULE})

    async def story(hub: Hub) -> None:
        plain, ruled, expensive = Client(), Client(person("owner")), [Client() for _ in range(3)]
        begin = hub.position
        for client in expensive:
            for query in QUERIES:
                await come(hub, client, posts, query=query, name=query)
        await come(hub, plain, posts)
        await come(hub, ruled, posts)
        for number in range(1, 6):
            await in_thread(create)
            await until(lambda: held.asked.is_set() and len(plain.told) == number == len(ruled.told))  # noqa: B023
        late = Client(person("owner"))
        await come(hub, late, posts, begin)
        await until(lambda: len(late.told) == 5)
        assert not any(client.told for client in expensive)
        assert all(hub.known_to(one) in (None, begin) for client in expensive for one in hub._connections[client])
        held.may.set()
        await until(lambda: all(len(client.told) == 10 for client in expensive))
        for client in expensive:
            for query in QUERIES:
                told = [frame.id for name, frame in client.told if name == query]
                assert told == plain.ids() == ruled.ids() == late.ids() == list(range(begin + 1, begin + 6))

    try:
        run(story, monkeypatch)
    finally:
        held.may.set()


def test_queries_that_cost_too_much_end_and_say_so(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(hub: Hub) -> None:
        dear, thrifty = Client(), Client()
        costly = await come(hub, dear, posts, query=QUERIES[0])
        await come(hub, dear, posts, name="plain")
        await come(hub, thrifty, posts, query=QUERIES[1])
        hub.cost(dear).add(2 * costs.MOST_SECONDS)
        await in_thread(lambda: [create() for _ in range(3)])
        await until(lambda: bool(dear.gone_ones))
        hub.unsubscribe(costly)  # as clients do then
        await in_thread(create)
        await until(lambda: len(thrifty.told) == 4 and [name for name, _ in dear.told].count("plain") == 4)
        theirs = [frame for name, frame in dear.told if not name]
        assert theirs[-1].type == "reset" and set(dear.gone_ones) == {hubs.TOO_MUCH}
        assert not thrifty.gone_ones

    run(story, monkeypatch)


def test_those_whose_queries_have_cost_less_are_asked_for_first(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(sight, "TURN_SECONDS", -1.0)

    async def story(hub: Hub) -> None:
        dear, thrifty = Client(), Client()
        many = [f"{QUERIES[0]} && id != 'q{number}'" for number in range(20)]
        for query in many:
            await come(hub, dear, posts, query=query)
        await come(hub, thrifty, posts, query=QUERIES[1])
        hub.cost(dear).add(1.0)
        held.may.set()
        hub._tasks[QUERY].cancel()
        await in_thread(create)
        await until(lambda: len(hub._followers[QUERY].comers) == 21)
        while not thrifty.told:
            await hub._followers[QUERY].step()
        assert len(dear.told) <= 2
        while len(dear.told) < 20:
            await hub._followers[QUERY].step()

    run(story, monkeypatch)


def test_who_knows_more_than_this_process_gets_nothing_twice(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(hub: Hub) -> None:
        client = Client()
        hub._tasks[MEMORY].cancel()  # it has not looked yet
        await in_thread(lambda: [create() for _ in range(3)])
        last = await in_thread(events.settled_id)
        await come(hub, client, posts, last - 1)
        while await hub._followers[MEMORY].step():
            pass
        assert client.ids() == [last]
        stranger = Client()
        await come(hub, stranger, posts, last + 10**6)
        assert stranger.kinds() == ["reset"] and stranger.ids() == [last]

    run(story, monkeypatch)


def test_who_comes_back_from_before_the_log_begins_is_told_so(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(hub: Hub) -> None:
        begin = hub.position
        await in_thread(lambda: [create() for _ in range(5)])
        await until(lambda: hub.position == begin + 5)
        await in_thread(lambda: EventLogState.objects.update_or_create(id=1, defaults={"trimmed_through": begin + 2}))
        await in_thread(lambda: Event.objects.filter(id__lte=begin + 2).delete())
        client, other = Client(), Client()
        await come(hub, client, posts, begin + 1)
        assert client.kinds() == ["reset"] and client.ids() == [hub.position]
        await come(hub, other, posts, begin + 2)
        await in_thread(create)
        await until(lambda: len(other.told) == 4 and len(client.told) == 2)
        assert other.ids() == [begin + 3, begin + 4, begin + 5, begin + 6]
        assert client.ids() == [begin + 5, begin + 6]

    run(story, monkeypatch)


def test_a_log_that_jumped_back_is_followed_from_its_new_end(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(hub: Hub) -> None:
        client = Client()
        await come(hub, client, posts)
        await in_thread(lambda: [create() for _ in range(3)])
        await until(lambda: len(client.told) == 3)
        back = hub.position - 2
        await in_thread(lambda: Event.objects.filter(id__gt=back).delete())
        await until(lambda: client.kinds()[3:] == ["reset"])
        assert hub.position == back and client.told[-1][1].id == back

    run(story, monkeypatch)


def test_who_leaves_or_comes_again_while_frames_are_handed_out_gets_no_other_ones(
    posts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "BREATH", 1)

    async def story(hub: Hub) -> None:
        client = Client()
        first = await come(hub, client, posts, name="one")
        await until(lambda: first.group is not None)
        hub._tasks[MEMORY].cancel()
        await in_thread(lambda: [create() for _ in range(5)])
        step = asyncio.create_task(hub._followers[MEMORY].step())
        await until(lambda: len(client.told) >= 2)
        hub.unsubscribe(first)
        known = len(client.told)
        again = await come(hub, client, posts, client.told[-1][1].id, name="one")
        await step
        assert len(client.told) == known
        while await hub._followers[MEMORY].step():
            pass
        assert again.group is not None
        assert client.ids() == list(range(hub.position - 4, hub.position + 1))
        hub.leave(client)
        assert not any(one.groups or one._by_key for one in hub._followers)
        assert not hub._connections and not hub._costs and not hub._turns

    run(story, monkeypatch)


def test_who_is_somebody_else_by_now_sees_what_they_may_from_the_next_look_on(
    posts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(hub: Hub) -> None:
        client = Client(person("owner"))
        subscription = await come(hub, client, posts)
        await until(lambda: subscription.group is not None)
        await in_thread(create)
        await until(lambda: len(client.told) == 1)
        hub._tasks[MEMORY].cancel()
        now = person("member")
        hub._followers[MEMORY].changed = {"owner": Caller("owner", now, audience_of(now))}
        await in_thread(lambda: (create("owner"), create("member")))
        while await hub._followers[MEMORY].step():
            pass
        assert len(client.told) == 2
        assert client.caller.principal is now
        assert client.ids()[-1] == hub.position
        assert len(hub._followers[MEMORY].groups) == 1

    run(story, monkeypatch)


def test_a_database_that_does_not_answer_costs_time_and_no_event(posts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(hub: Hub) -> None:
        client, late = Client(), Client()
        await come(hub, client, posts)
        look, failures = sight.look, iter(range(3))

        def failing(*args: Any, **kwargs: Any) -> Any:
            followed = threading.current_thread().name.startswith("realtime-follows")
            if followed and next(failures, None) is not None:
                raise OperationalError("the server went away")
            return look(*args, **kwargs)

        monkeypatch.setattr(sight, "look", failing)
        await in_thread(lambda: [create() for _ in range(3)])
        await come(hub, late, posts)
        await until(lambda: len(client.told) == 3)
        await in_thread(create)
        await until(lambda: len(client.told) == 4 and len(late.told) >= 1)
        assert client.ids() == list(range(hub.position - 3, hub.position + 1))

    run(story, monkeypatch)
