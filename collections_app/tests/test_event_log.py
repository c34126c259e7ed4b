"""Who reads the log by id misses nothing, whatever order the transactions end in."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app import events
from collections_app.events import Change, Logged
from collections_app.models import Event
from collections_app.records.unit_of_work import unit_of_work
from collections_app.schema import registry
from collections_app.tests.threads import STRESS, at_once, faults, held_open
from core import clock, database

pytestmark = pytest.mark.engine


@contextmanager
def an_event_on_its_way() -> Iterator[None]:
    with unit_of_work(registry.latest(), SYSTEM):
        events.append([Change("record.created", "slow", "slow", "slow", 1, {})], "", clock.now())
        yield


def read_on(after: int) -> list[str]:
    return [event.collection for event in events.read(after)]


def test_nothing_is_read_past_an_event_that_is_still_to_be_committed(make_collection: Any, records: Any) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there is one writer at a time")
    make_collection("notes", title="text")
    last = Event.objects.latest("id").id
    with held_open(an_event_on_its_way):
        records("notes").create(title="quick")
        assert Event.objects.filter(id__gt=last).count() == 1
        assert read_on(last) == []
    assert read_on(last) == ["slow", "notes"]
    assert read_on(0) == list(Event.objects.order_by("id").values_list("collection", flat=True))


def test_a_reading_session_too_stops_before_an_event_that_is_still_to_be_committed(
    make_collection: Any, records: Any
) -> None:
    make_collection("notes", title="text")
    last = Event.objects.latest("id").id
    if connection.vendor == "sqlite":
        with database.reading():
            known = read_on(0)
            records_in_another_thread(records, "quick")
            assert read_on(last) == [] and read_on(0) == known  # it reads one state
        with database.reading():
            assert read_on(last) == ["notes"]
        return
    with database.reading():  # which lasts, and sees what is committed meanwhile
        with held_open(an_event_on_its_way):
            records_in_another_thread(records, "quick")
            assert read_on(last) == []
            assert events.settled_id() == last
            assert [event.id for event in events.read(0, through=last + 2)] == list(ids_up_to(last))
            assert [event.id for event in events.read(0, through=last)] == list(ids_up_to(last))
            with database.reading():  # inside of another one it is that one
                assert read_on(last) == []
        assert read_on(last) == ["slow", "notes"]
        assert [event.collection for event in events.read(last, through=last + 1)] == ["slow"]


def records_in_another_thread(records: Any, title: str) -> None:
    assert not faults(at_once(lambda: records("notes").create(title=title)))


def ids_up_to(last: int) -> Any:
    return Event.objects.filter(id__lte=last).order_by("id").values_list("id", flat=True)


def test_a_writer_that_holds_on_for_long_holds_up_readers_and_nothing_is_lost_behind_it(
    make_collection: Any, records: Any
) -> None:
    """Many commit past it; each look finds nothing, the first one after its end finds all."""
    if connection.vendor == "sqlite":
        pytest.skip("there is one writer at a time")
    make_collection("notes", title="text")
    last = Event.objects.latest("id").id
    with held_open(an_event_on_its_way):
        for number in range(20):
            records("notes").create(title=str(number))
            with database.reading():
                assert read_on(last) == []
    assert read_on(last) == ["slow", *["notes"] * 20]


def test_what_is_rolled_back_holds_up_nobody_afterwards(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    last = Event.objects.latest("id").id
    with pytest.raises(RuntimeError), an_event_on_its_way():
        raise RuntimeError
    records("notes").create(title="after")
    assert read_on(last) == ["notes"]
    assert events.settled_id() == Event.objects.latest("id").id


READERS = ("on Django's connection", "in reading sessions", "in one long session", "up to where it is settled")


@pytest.mark.parametrize("way", READERS)
def test_a_reader_gets_every_event_once_and_in_order(make_collection: Any, records: Any, way: str) -> None:
    make_collection("notes", title="text")
    if connection.vendor == "sqlite" and way == "in one long session":
        pytest.skip("it reads one state")
    done = threading.Event()
    seen: list[int] = []

    def look(after: int) -> list[Logged]:
        if way == "on Django's connection":
            return events.read(after, limit=7)
        with database.reading():
            through = events.settled_id() if way == "up to where it is settled" else None
            return events.read(after, 7, through)

    def follow() -> None:
        after = 0
        with database.reading() if way == "in one long session" else nullcontext():
            while True:
                last_look = done.is_set()
                for event in look(after):
                    after = event.id
                    seen.append(after)
                if last_look and not look(after):
                    return

    def write() -> None:
        for turn in range(30 * STRESS):
            try:
                with unit_of_work(registry.latest(), SYSTEM):
                    count = random.randint(1, 3)
                    change = Change("record.created", "notes", "notes", str(turn), 1, {})
                    events.append([change] * count, "", clock.now())
                    if turn % 5 == 0:
                        raise RuntimeError
            except RuntimeError:
                continue

    def write_all() -> None:
        try:
            assert not faults(at_once(*[write] * 6))
        finally:
            done.set()

    assert not faults(at_once(follow, write_all))
    assert seen == list(Event.objects.order_by("id").values_list("id", flat=True))
