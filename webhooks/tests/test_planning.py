"""From the log to deliveries: each event once, and only for whom it is meant."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.principals import SYSTEM
from collections_app import events
from collections_app.models import Event, EventLogState
from collections_app.records.unit_of_work import unit_of_work
from collections_app.schema import registry, service
from collections_app.tests.threads import at_once, faults
from core import background, clock
from webhooks import planning
from webhooks.models import Delivery, Progress, Webhook

pytestmark = pytest.mark.engine
URL = "http://127.0.0.1:9/"


@pytest.fixture
def notes(make_collection: Any, records: Any) -> Any:
    make_collection("notes", title="text")
    return records("notes")


def planned() -> list[tuple[str, str]]:
    return list(Delivery.objects.order_by("id").values_list("event", "record_id"))


def test_events_become_deliveries_of_those_who_want_them(
    notes: Any, make_collection: Any, records: Any, make_webhook: Any
) -> None:
    make_collection("others", title="text")
    every = make_webhook("notes", URL)
    only_ends = make_webhook("notes", URL, events=["delete"])
    elsewhere = make_webhook("others", URL)
    idle = make_webhook("notes", URL, active=False)
    made = notes.create(title="a")["id"]
    notes.update(made, {"title": "b"})
    notes.delete(made)
    other = records("others").create(title="x")["id"]
    assert planning.make_deliveries() == 5
    found = {
        webhook: [(d.event, d.record_id) for d in webhook.deliveries.order_by("id")]
        for webhook in Webhook.objects.all()
    }
    assert found == {
        every: [("create", made), ("update", made), ("delete", made)],
        only_ends: [("delete", made)],
        elsewhere: [("create", other)],
        idle: [],
    }
    assert planning.make_deliveries() == 0 and Delivery.objects.count() == 5
    assert Progress.objects.get().event_id == events.settled_id()


def test_what_came_before_a_webhook_is_not_its_affair(notes: Any, make_webhook: Any) -> None:
    for _ in range(3):
        notes.create(title="old")
    assert planning.make_deliveries() == 0 and not Progress.objects.exists()
    make_webhook("notes", URL)
    with CaptureQueriesContext(connection) as asked:
        assert planning.make_deliveries() == 0
    assert not any("INSERT" in one["sql"] for one in asked)
    new = notes.create(title="new")["id"]
    assert planning.make_deliveries() == 1 and planned() == [("create", new)]
    make_webhook("notes", URL)
    notes.create(title="newer")
    assert planning.make_deliveries() == 2


def test_without_a_webhook_one_question_is_asked(notes: Any) -> None:
    notes.create(title="a")
    with CaptureQueriesContext(connection) as asked:
        assert planning.make_deliveries() == 0
    assert len(asked) == 1


def test_a_commit_wakes_nobody_while_there_is_no_webhook(
    notes: Any, make_webhook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(background, "wake", lambda name: woken.append(name) if name == planning.TASK else None)
    for _ in range(3):
        notes.create(title="a")
    assert woken == [] and not planning.news.is_set()
    make_webhook("notes", URL)
    notes.create(title="b")
    assert woken == [planning.TASK] and planning.news.is_set()


def test_what_is_rolled_back_is_told_to_nobody(notes: Any, make_webhook: Any) -> None:
    make_webhook("notes", URL)
    before = events.settled_id()
    with suppress(RuntimeError), unit_of_work(registry.latest(), SYSTEM) as work:
        work.created(registry.latest().by_name["notes"], {"id": "never", "title": "x"})
        events.append(work.changes, "", clock.now())
        assert events.settled_id() > before or connection.vendor == "postgresql"
        raise RuntimeError
    assert planning.make_deliveries() == 0 and not Delivery.objects.exists()


def test_webhooks_go_with_their_collection(notes: Any, make_collection: Any, make_webhook: Any) -> None:
    make_collection("others", title="text")
    make_webhook("notes", URL)
    make_webhook("notes", URL, active=False)
    kept = make_webhook("others", URL)
    notes.create(title="a")
    assert planning.make_deliveries() == 1
    service.collection_delete(actor=SYSTEM, name_or_id="notes")
    planning.make_deliveries()
    assert Webhook.objects.get() == kept and not Delivery.objects.exists()


def test_long_logs_are_read_in_pages(notes: Any, make_webhook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PAGE", 7)
    monkeypatch.setattr(planning, "ROWS", 4)
    make_webhook("notes", URL)
    make_webhook("notes", URL)
    made = [notes.create(title="a")["id"] for _ in range(30)]
    assert planning.make_deliveries() == 60
    assert planned() == [("create", one) for one in made for _ in range(2)]


def test_several_readers_at_once_plan_each_event_once(
    notes: Any, make_webhook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PAGE", 5)
    make_webhook("notes", URL)
    done = threading.Event()

    def write() -> None:
        for _ in range(25):
            notes.create(title="a")

    def write_all() -> None:
        try:
            assert not faults(at_once(write, write))
        finally:
            done.set()

    def plan() -> int:
        count = 0
        while True:
            last_look = done.is_set()
            count += planning.make_deliveries()
            if last_look:
                return count

    answers = at_once(write_all, plan, plan)
    assert not faults(answers) and answers[1] + answers[2] == 50
    rows = list(Delivery.objects.order_by("id").values_list("event_id", flat=True))
    assert rows == sorted(set(rows)) and len(rows) == 50


def test_a_log_that_was_trimmed_is_gone_on_with(
    notes: Any, make_webhook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_webhook("notes", URL)
    lost = notes.create(title="lost")["id"]
    kept = notes.create(title="kept")["id"]
    last = Event.objects.get(record_id=lost).id
    Event.objects.filter(id__lte=last).delete()
    EventLogState.objects.create(trimmed_through=last)
    assert planning.make_deliveries() == 1 and planned() == [("create", kept)]
    assert "trimmed" in caplog.text


def test_the_log_keeps_what_is_still_to_be_told(notes: Any, make_webhook: Any) -> None:
    assert planning.needed_from() is None
    make_webhook("notes", URL)
    start = events.settled_id()
    assert planning.needed_from() == start + 1
    notes.create(title="a")
    notes.create(title="b")
    assert planning.needed_from() == start + 1
    planning.make_deliveries()
    first, second = Delivery.objects.order_by("id")
    assert planning.needed_from() == first.event_id
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=clock.now() + timedelta(hours=1))
    assert planning.needed_from() == first.event_id
    Delivery.objects.filter(pk=first.pk).update(next_attempt_at=None, status="failed")
    assert planning.needed_from() == second.event_id
    Delivery.objects.all().update(next_attempt_at=None, status="delivered")
    assert planning.needed_from() == events.settled_id() + 1
    Webhook.objects.all().delete()
    assert planning.needed_from() is None


def test_a_delivery_shows_what_it_would_say(notes: Any, make_webhook: Any) -> None:
    make_webhook("notes", URL)
    made = notes.create(title="a")
    planning.make_deliveries()
    delivery = Delivery.objects.get()
    shown = planning.payload(delivery)
    assert shown is not None and shown["data"] == made and shown["event"] == "create"
    Event.objects.all().delete()
    assert planning.payload(delivery) is None
