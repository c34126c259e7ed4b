"""Deliveries arrive: at once, again after failures, in the order of each record, whatever others do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from accounts import mailing
from accounts.models import Mail, User
from collections_app.models import Event
from collections_app.tests.threads import at_once, faults, held_open
from core import background, clock
from webhooks import attempts, claiming, planning, sending, tasks
from webhooks import client as clients
from webhooks.models import Delivery, Webhook
from webhooks.tests import receivers
from webhooks.tests.conftest import Watch
from webhooks.tests.receivers import Receiver, Reply

pytestmark = pytest.mark.engine


@pytest.fixture
def notes(make_collection: Any, records: Any) -> Any:
    make_collection("notes", title="text", secret={"type": "text", "hidden": True})
    return records("notes")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "WHOLE_SECONDS", 1.0)


def claimed_now(most: int) -> list[Delivery]:
    """What a sender would take up, of the one hungry webhook."""
    with transaction.atomic():
        (one,) = claiming.hungry(())
        claimed, _ = claiming.claim(one, most)
        claiming.lease(claimed)
    return claimed


def failing(status: int = 500, **headers: str) -> Any:
    body = b"" if status == 304 else b"no"
    return lambda taken: Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_a_change_is_told_as_it_is_documented(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    make_webhook("notes", receiver.url)
    made = notes.create(title="a", secret="s")
    changed = notes.update(made["id"], {"title": "b"})
    notes.delete(made["id"])
    assert sending.send_due() == 3
    assert [taken.json["event"] for taken in receiver.taken] == ["create", "update", "delete"]
    first, second, third = (taken.json for taken in receiver.taken)
    visible = {name: value for name, value in made.items() if name != "secret"}
    assert first == {
        "event": "create", "collection": "notes", "record_id": made["id"], "data": visible,
        "timestamp": made["created"],
    }  # fmt: skip
    assert second["data"] == {name: value for name, value in changed.items() if name != "secret"}
    assert third["data"] == {} and third.keys() == first.keys()
    assert len({taken.id for taken in receiver.taken}) == 3
    assert receiver.taken[0].headers["content-type"] == "application/json"
    for row in Delivery.objects.all():
        assert (row.status, row.attempt, row.response_status, row.response_body) == ("delivered", 1, 200, "ok")
        assert (row.error, row.next_attempt_at) == ("", None)
        assert row.finished <= clock.now() and row.duration_ms is not None
    assert sending.send_due() == 0


# --- failures and retries --------------------------------------------------------------------


def test_six_attempts_are_made_by_the_schedule_and_then_no_more(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch, admin: User
) -> None:
    webhook = make_webhook("notes", receiver.url, retry_count=5)
    receiver.answer = failing()
    notes.create(title="a")
    began, made = watch.now(), []
    for _ in range(200):
        before = len(receiver.taken)
        sending.send_due()
        made += [round((watch.now() - began) / timedelta(minutes=1))] * (len(receiver.taken) - before)
        watch.forward(minutes=1)
    assert made == [0, 1, 6, 21, 51, 111]
    assert len({taken.id for taken in receiver.taken}) == 1
    assert len({taken.headers["webhook-timestamp"] for taken in receiver.taken}) == 6
    row = webhook.deliveries.get()
    assert (row.status, row.attempt, row.response_status, row.error) == ("failed", 6, 500, "answered 500")
    assert row.next_attempt_at is None and row.finished is not None
    webhook.refresh_from_db()
    assert (webhook.active, webhook.ended) == (False, "failed")


@pytest.mark.parametrize("count", [0, 2])
def test_there_are_as_many_attempts_as_were_asked_for(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch, count: int
) -> None:
    make_webhook("notes", receiver.url, retry_count=count)
    receiver.answer = failing()
    notes.create(title="a")
    for _ in range(10):
        sending.send_due()
        watch.forward(hours=1)
    assert len(receiver.taken) == count + 1 and not Webhook.objects.get().active


def test_a_receiver_that_recovers_gets_everything(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    webhook = make_webhook("notes", receiver.url)
    receiver.answer = failing(503)
    made = [notes.create(title=str(number))["id"] for number in range(5)]
    assert sending.send_due() == 0 and len(receiver.taken) == 5
    receiver.answer = lambda taken: Reply(204, body=b"")
    assert sending.send_due() == 0 and len(receiver.taken) == 5
    watch.forward(minutes=1)
    assert sending.send_due() == 5
    assert sorted(taken.json["record_id"] for taken in receiver.taken[5:]) == sorted(made)
    assert set(webhook.deliveries.values_list("status", "attempt")) == {("delivered", 2)}
    assert Webhook.objects.get().active


@pytest.mark.parametrize("status", [300, 301, 302, 304, 400, 404, 429, 500, 503])
def test_only_2xx_is_success(notes: Any, make_webhook: Any, receiver: Receiver, status: int) -> None:
    make_webhook("notes", receiver.url)
    receiver.answer = failing(status, Location=receiver.url)
    notes.create(title="a")
    assert sending.send_due() == 0
    row = Delivery.objects.get()
    assert (row.status, row.attempt, row.response_status) == ("pending", 1, status)
    assert len(receiver.taken) == 1 and str(status) in row.error


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_success(notes: Any, make_webhook: Any, receiver: Receiver, status: int) -> None:
    make_webhook("notes", receiver.url)
    receiver.answer = lambda taken: Reply(status, body=b"")
    notes.create(title="a")
    assert sending.send_due() == 1


def test_retry_after_makes_the_wait_longer(notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch) -> None:
    make_webhook("notes", receiver.url)
    receiver.answer = failing(429, Retry_After="600")
    notes.create(title="a")
    sending.send_due()
    wait = Delivery.objects.get().next_attempt_at - clock.now()
    assert timedelta(minutes=9) < wait <= timedelta(minutes=10)
    watch.forward(minutes=9)
    assert sending.send_due() == 0 and len(receiver.taken) == 1
    receiver.answer = lambda taken: Reply()
    watch.forward(minutes=1)
    assert sending.send_due() == 1


def test_gone_ends_a_webhook_at_once_and_the_admins_are_told_once(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch, admin: User, superadmin: User, member: User
) -> None:
    User.objects.create_user("off@example.com", None, username="off", role="admin", is_active=False)
    webhook = make_webhook("notes", f"{receiver.url}?token=private")
    receiver.answer = failing(410)
    for _ in range(4):
        notes.create(title="a")
    sending.send_due()
    webhook.refresh_from_db()
    assert (webhook.active, webhook.ended) == (False, "gone")
    assert Mail.objects.count() == 2
    drafts = [mailing._made(mail) for mail in Mail.objects.all()]
    assert sorted(draft.to[0] for draft in drafts if draft) == [admin.email, superadmin.email]
    assert all(
        draft and "410" in draft.body and "private" not in draft.body and "notes" in draft.subject for draft in drafts
    )
    count = len(receiver.taken)
    watch.forward(hours=5)
    sending.send_due()
    assert len(receiver.taken) == count and Mail.objects.count() == 2


def test_the_admins_are_told_when_all_attempts_have_failed(
    notes: Any, make_webhook: Any, loopback: None, watch: Watch, admin: User
) -> None:
    with receivers.receiver() as gone:
        url = gone.url
    webhook = make_webhook("notes", url, retry_count=1)
    for _ in range(3):
        notes.create(title="a")
    sending.send_due()
    assert not Mail.objects.exists()
    watch.forward(minutes=2)
    sending.send_due()
    assert Mail.objects.count() == 1
    draft = mailing._made(Mail.objects.get())
    assert draft and "connection refused" in draft.body and "127.0.0.1" in draft.body
    webhook.refresh_from_db()
    assert (webhook.active, webhook.ended) == (False, "failed")
    assert webhook.deliveries.filter(status="failed", error="connection refused").count() >= 1


def test_what_fails_at_an_address_given_up_meanwhile_ends_nothing(
    notes: Any, make_webhook: Any, receiver: Receiver, admin: User
) -> None:
    webhook = make_webhook("notes", receiver.url, retry_count=0)

    def moved(taken: Any) -> Reply:
        try:
            Webhook.objects.update(url="http://127.0.0.1:9/")
        finally:
            from django.db import connection

            connection.close()
        return Reply(500)

    receiver.answer = moved
    notes.create(title="a")
    sending.send_due()
    webhook.refresh_from_db()
    assert webhook.active and not Mail.objects.exists()


def test_an_event_that_is_not_in_the_log_any_more_is_no_fault_of_the_receiver(
    notes: Any, make_webhook: Any, receiver: Receiver
) -> None:
    webhook = make_webhook("notes", receiver.url, retry_count=0)
    notes.create(title="a")
    planning.make_deliveries()
    Event.objects.all().delete()
    sending.send_due()
    webhook.refresh_from_db()
    assert webhook.active and webhook.deliveries.get().error == "the event is not in the log any more"
    assert not receiver.taken


# --- order and fairness ----------------------------------------------------------------------


def test_changes_of_a_record_arrive_in_their_order(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    make_webhook("notes", receiver.url)
    ids = [notes.create(title="0")["id"] for _ in range(3)]
    for turn in range(1, 6):
        for one in ids:
            notes.update(one, {"title": str(turn)})
    assert sending.send_due() == 18
    for one in ids:
        told = [taken.json["data"]["title"] for taken in receiver.taken if taken.json["record_id"] == one]
        assert told == list("012345")


def test_nothing_overtakes_a_change_that_is_still_to_be_told(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    make_webhook("notes", receiver.url)
    slow, quick = notes.create(title="0")["id"], notes.create(title="0")["id"]
    receiver.answer = lambda taken: Reply(500 if taken.json["record_id"] == slow else 200)
    for turn in range(1, 4):
        notes.update(slow, {"title": str(turn)})
        notes.update(quick, {"title": str(turn)})
    assert sending.send_due() == 4
    watch.forward(seconds=30)
    assert sending.send_due() == 0
    receiver.answer = lambda taken: Reply()
    watch.forward(seconds=31)
    assert sending.send_due() == 4
    told = [taken.json["data"]["title"] for taken in receiver.taken if taken.json["record_id"] == slow]
    assert told == ["0", "0", "1", "2", "3"]


def test_dead_receivers_keep_no_other_waiting(
    notes: Any, make_webhook: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "WHOLE_SECONDS", 300.0)
    go = threading.Event()  # the dead are held until the others have been told
    with receivers.raw(lambda connection: (go.wait(100), None)[1]) as dead:
        for _ in range(20):
            make_webhook("notes", dead, retry_count=5)
        for _ in range(20):
            make_webhook("notes", receiver.url)
        for _ in range(5):
            notes.create(title="a")
        sender = threading.Thread(target=lambda: at_once(sending.send_due))
        sender.start()
        try:
            receiver.wait_for(100)
        finally:
            go.set()
            sender.join(60)
    assert Delivery.objects.filter(status="delivered").count() == 100


def test_what_was_begun_keeps_its_schedule_however_much_waits(
    notes: Any, make_webhook: Any, loopback: None, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = make_webhook("notes", "http://127.0.0.1:9/")
    for _ in range(60):
        notes.create(title="a")
    planning.make_deliveries()
    first = webhook.deliveries.order_by("id")[0]
    Delivery.objects.filter(pk=first.pk).update(attempt=1)
    claimed = claimed_now(1)
    assert [row.pk for row in claimed] == [first.pk] and claimed[0].attempt == 2


# --- several senders, and sudden death -------------------------------------------------------


def test_a_sender_waits_for_no_row_that_another_one_holds(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("one writes at a time")
    webhook = make_webhook("notes", receiver.url)
    made = notes.create(title="a")
    for title in "bc":
        notes.update(made["id"], {"title": title})
    planning.make_deliveries()
    (first,) = claimed_now(1)
    _, second, third = webhook.deliveries.order_by("pk")

    @contextmanager
    def holding() -> Iterator[None]:
        with transaction.atomic():
            list(Delivery.objects.select_for_update().filter(pk=third.pk))
            yield

    webhook.deliveries.filter(pk__gt=first.pk).update(next_attempt_at=clock.now())
    with held_open(holding), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
        (one,) = claiming.hungry(())
        assert claiming.claim(one, 5) == ([], {(webhook.pk, made["id"])})
    second.refresh_from_db()
    third.refresh_from_db()
    assert second.next_attempt_at > clock.now() > third.next_attempt_at


def test_two_senders_at_once_send_each_delivery_once(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    for _ in range(3):
        make_webhook("notes", receiver.url)
    for _ in range(20):
        one = notes.create(title="a")["id"]
        notes.update(one, {"title": "b"})
    for _ in range(5):
        answers = at_once(*[sending.send_due] * 3)
        assert not faults(answers)
        if not Delivery.objects.exclude(status="delivered").exists():
            break
        # What one of them found to wait for another's is looked at again after some seconds.
        Delivery.objects.filter(status="pending").update(next_attempt_at=clock.now())
    assert set(Delivery.objects.values_list("status", "attempt")) == {("delivered", 1)}
    assert len(receiver.taken) == 120
    assert max(receiver.taken.count(one) for one in receiver.taken) == 1


def test_what_a_dead_sender_had_begun_is_sent_again_as_the_same_attempt(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    webhook = make_webhook("notes", receiver.url)
    notes.create(title="a")
    planning.make_deliveries()
    (row,) = claimed_now(5)
    assert sending.send_due() == 0 and not receiver.taken
    watch.forward(seconds=61)
    assert sending.send_due() == 1
    found = Delivery.objects.get()
    assert (found.status, found.attempt) == ("delivered", 1)
    # The first one was not dead after all; what it brings is too late.
    assert not attempts.store(attempts.make([(row, webhook)])[0], clients.Answer(500, error="late"), clock.now())
    found.refresh_from_db()
    assert found.status == "delivered" and found.error == ""


def test_what_is_under_way_when_the_process_ends_is_given_back(
    notes: Any, make_webhook: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "END_SECONDS", 0.2)
    go = threading.Event()
    first = make_webhook("notes", receiver.url)
    receiver.answer = lambda taken: (go.wait(10), Reply())[1]
    notes.create(title="a")
    sender = threading.Thread(target=lambda: at_once(sending.send_due))
    sender.start()
    receiver.wait_for(1)
    monkeypatch.setattr(background.worker, "is_ending", True)
    sender.join(10)
    assert not sender.is_alive()
    row = first.deliveries.get()
    assert (row.status, row.attempt) == ("pending", 0) and row.next_attempt_at <= clock.now()
    go.set()
    monkeypatch.setattr(background.worker, "is_ending", False)
    assert sending.send_due() == 1
    assert receiver.taken[0].id == receiver.taken[-1].id and first.deliveries.get().attempt == 1


def test_answers_are_kept_while_the_database_is_busy(
    notes: Any, make_webhook: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_webhook("notes", receiver.url)
    notes.create(title="a")
    store, failures = attempts.store, iter([True, True, False])

    def busy(*args: Any) -> bool:
        if next(failures):
            raise OperationalError("database is locked")
        return store(*args)

    monkeypatch.setattr(attempts, "store", busy)
    monkeypatch.setattr(sending, "LOOK_SECONDS", 0.05)
    assert sending.send_due() == 1
    assert len(receiver.taken) == 1 and Delivery.objects.get().status == "delivered"


def test_what_can_not_be_made_keeps_no_other_waiting(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    broken = make_webhook("notes", receiver.url)
    Webhook.objects.filter(pk=broken.pk).update(secret="sealed with another key")
    make_webhook("notes", receiver.url)
    notes.create(title="a")
    assert sending.send_due() == 1
    row = broken.deliveries.get()
    assert row.status == "pending" and row.error == "could not be made; see the server's log"


def test_events_that_come_while_it_sends_are_sent_too(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    make_webhook("notes", receiver.url)
    left = [3]

    def one_more(taken: Any) -> Reply:
        if left[0]:
            left[0] -= 1
            at_once(lambda: notes.create(title="more"))
        return Reply()

    receiver.answer = one_more
    notes.create(title="a")
    assert sending.send_due() == 4


def test_nothing_new_is_begun_after_the_time_is_up(notes: Any, make_webhook: Any, receiver: Receiver) -> None:
    make_webhook("notes", receiver.url)
    notes.create(title="a")
    assert sending.send_due(0) == 0 and not receiver.taken
    planning.make_deliveries()
    assert sending.has_more()
    assert tasks.deliver() == 1 and not sending.has_more()


# --- tests -----------------------------------------------------------------------------------


def test_a_test_is_one_attempt_that_changes_nothing(
    notes: Any, make_webhook: Any, receiver: Receiver, watch: Watch
) -> None:
    webhook = make_webhook("notes", receiver.url, secret="s", active=False, retry_count=0)
    done = sending.send_test(webhook)
    assert (done.status, done.event, done.event_id, done.response_status) == ("delivered", "test", 0, 200)
    receiver.answer = failing(410)
    failed = sending.send_test(webhook)
    assert (failed.status, failed.response_status, failed.replay) == ("failed", 410, 1)
    webhook.refresh_from_db()
    assert not webhook.active and webhook.ended == "" and not Mail.objects.exists()
    first, second = receiver.taken
    assert first.json.keys() == {"event", "collection", "record_id", "data", "timestamp"}
    assert (first.json["event"], first.json["collection"], first.json["record_id"], first.json["data"]) == (
        "test",
        "notes",
        "",
        {},
    )
    assert first.id != second.id and first.headers["x-webhook-signature"]
    Webhook.objects.update(active=True)
    watch.forward(hours=2)
    assert sending.send_due() == 0 and len(receiver.taken) == 2
