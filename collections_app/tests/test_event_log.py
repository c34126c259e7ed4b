"""Who reads the log by id misses nothing, whatever order the transactions end in."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app import events
from collections_app.events import Change
from collections_app.models import Event
from collections_app.records.unit_of_work import unit_of_work
from collections_app.schema import registry
from collections_app.tests.threads import STRESS, at_once, faults, held_open
from core import clock

pytestmark = pytest.mark.engine


@contextmanager
def an_event_on_its_way() -> Iterator[None]:
    with unit_of_work(registry.latest(), SYSTEM):
        events.append([Change("record.created", "slow", "slow", "slow", {})], "", clock.now())
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


def test_a_reader_gets_every_event_once_and_in_order(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    done = threading.Event()
    seen: list[int] = []

    def follow() -> None:
        after = 0
        while True:
            last_look = done.is_set()
            for event in events.read(after, limit=7):
                after = event.id
                seen.append(after)
            if last_look and not events.read(after):
                return

    def write() -> None:
        for turn in range(30 * STRESS):
            try:
                with unit_of_work(registry.latest(), SYSTEM):
                    count = random.randint(1, 3)
                    change = Change("record.created", "notes", "notes", str(turn), {})
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
