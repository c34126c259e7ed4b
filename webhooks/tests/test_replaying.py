"""What was sent, or could not be, is sent again when somebody asks for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collections_app.models import Event
from core import clock
from core.errors import Conflict
from webhooks import sending, sweeping
from webhooks.models import Delivery, Webhook
from webhooks.tests.conftest import Watch
from webhooks.tests.receivers import Receiver, Reply

pytestmark = pytest.mark.engine


@pytest.fixture
def notes(make_collection: Any, records: Any) -> Any:
    make_collection("notes", title="text")
    return records("notes")


def test_a_replay_is_a_delivery_of_its_own_with_the_same_id(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    webhook = make_webhook("notes", receiver.url)
    notes.create(title="a")
    assert sending.send_due() == 1
    first = webhook.deliveries.get()
    for number in (1, 2):
        again = sending.replay(first)
        assert (again.replay, again.event_id, again.status) == (number, first.event_id, "pending") and again.pk
        assert sending.send_due() == 1
    assert [taken.id for taken in receiver.taken] == [f"evt_{first.event_id}"] * 3
    assert len({taken.body for taken in receiver.taken}) == 1
    assert webhook.deliveries.filter(status="delivered").count() == 3


def test_what_can_not_be_sent_again_is_refused(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    webhook = make_webhook("notes", receiver.url)
    notes.create(title="a")
    assert sending.send_due() == 1
    first = webhook.deliveries.get()
    Webhook.objects.update(active=False)
    with pytest.raises(Conflict, match="switched off"):
        sending.replay(first)
    with pytest.raises(Conflict, match="switched off"):
        sending.replay_since(webhook, clock.now() - timedelta(hours=1))
    Webhook.objects.update(active=True)
    test = sending.send_test(webhook)
    with pytest.raises(Conflict, match="test"):
        sending.replay(test)
    Event.objects.all().delete()
    with pytest.raises(Conflict, match="log"):
        sending.replay(first)
    assert Delivery.objects.count() == 2


def test_a_replay_hurries_what_waits_before_it(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    webhook = make_webhook("notes", receiver.url)
    receiver.answer = lambda taken: Reply(500)
    notes.create(title="a")
    assert sending.send_due() == 0
    sending.replay(webhook.deliveries.get())
    receiver.answer = lambda taken: Reply()
    assert sending.send_due() == 2 and len(receiver.taken) == 3


def test_the_time_in_which_a_webhook_was_off_is_sent_on_request(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    webhook = make_webhook("notes", receiver.url, events=["create"])
    before = notes.create(title="before")["id"]
    assert sending.send_due() == 1
    watch.forward(hours=1)
    since = clock.now()
    Webhook.objects.update(active=False)
    missed = [notes.create(title=f"missed {number}")["id"] for number in range(3)]
    notes.delete(missed[0])
    assert sending.send_due() == 0
    Webhook.objects.update(active=True)
    assert sending.send_due() == 0  # not by itself
    assert sending.replay_since(webhook, since) == 3
    assert sending.replay_since(webhook, since) == 0  # what waits is not doubled
    assert sending.send_due() == 3
    assert sorted(taken.json["record_id"] for taken in receiver.taken) == sorted([before, *missed])
    assert sending.replay_since(webhook, since) == 3 and sending.send_due() == 3
    assert sending.replay_since(webhook, since - timedelta(hours=2)) == 4 and sending.send_due() == 4
    assert len({taken.id for taken in receiver.taken}) == 4
    assert sending.replay_since(webhook, clock.now() + timedelta(hours=1)) == 0


def test_a_clock_that_was_wrong_for_a_while_loses_nothing(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    webhook = make_webhook("notes", receiver.url, active=False)
    since = clock.now()
    made = []
    for hours in (0, 5, -10, 6, 0):  # an hour ahead, an hour behind, and right again
        watch.ahead = timedelta(hours=hours)
        made.append(notes.create(title="a")["id"])
    assert sending.send_due() == 0
    Webhook.objects.update(active=True)
    assert sending.replay_since(webhook, since) == 4
    watch.ahead = timedelta(hours=7)
    assert sending.send_due() == 4
    assert {taken.json["record_id"] for taken in receiver.taken} == {made[0], made[1], made[3], made[4]}


def test_old_deliveries_go_and_those_that_wait_stay(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 3)
    webhook = make_webhook("notes", receiver.url)
    for _ in range(5):
        notes.create(title="a")
    assert sending.send_due() == 5
    receiver.answer = lambda taken: Reply(500)
    notes.create(title="waits")
    sending.send_due()
    assert sweeping.sweep() == 0
    watch.forward(days=31)
    receiver.answer = lambda taken: Reply()
    notes.create(title="new")
    planned = webhook.deliveries.get(status="pending")
    assert sweeping.sweep() == 5
    assert webhook.deliveries.get() == planned
    Webhook.objects.update(active=False)
    assert sweeping.sweep() == 1 and not webhook.deliveries.exists()


def test_a_test_whose_process_died_is_given_up(notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch) -> None:
    webhook = make_webhook("notes", receiver.url)
    webhook.deliveries.create(event_id=0, event="test", status="sending", attempt=1, next_attempt_at=None)
    sweeping.sweep()
    assert webhook.deliveries.get().status == "sending"
    watch.forward(minutes=10)
    sweeping.sweep()
    assert webhook.deliveries.get().status == "failed"
    assert sending.send_due() == 0 and not receiver.taken
