"""``manage.py webhooks``: lists, tests, replays and delivers."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from core import clock
from webhooks import planning
from webhooks.models import Delivery, Webhook
from webhooks.tests.receivers import Reply

pytestmark = pytest.mark.engine


@pytest.fixture
def webhook(make_collection: Any, settings: Any) -> Webhook:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    collection = make_collection("posts", title="text")
    # Nobody listens at port 9, which is for discarding.
    return Webhook.objects.create(url="http://127.0.0.1:9/hook", collection_id=collection.id, events=["create"])


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("webhooks", *arguments, stdout=out)
    return out.getvalue()


def delivered(webhook: Webhook, **fields: Any) -> Delivery:
    finished = {"status": "delivered", "next_attempt_at": None}
    return Delivery.objects.create(webhook=webhook, **{"event_id": 1, "event": "create", **finished, **fields})


def test_lists_them_with_what_waits(webhook, make_collection):
    Delivery.objects.create(webhook=webhook, event_id=1, event="create")
    delivered(webhook, event_id=2, status="failed")
    notes = make_collection("notes")
    other = Webhook.objects.create(
        url="https://example.com/", collection_id=notes.id, events=["delete", "update"], active=False, ended="gone"
    )
    head, *lines = run("list").splitlines()
    assert head.split() == ["ID", "COLLECTION", "EVENTS", "STATE", "WAITING", "FAILED", "URL"]
    assert [line.split() for line in lines] == [
        [str(webhook.pk), "posts", "create", "active", "1", "1", webhook.url],
        [str(other.pk), "notes", "delete,update", "gone", "0", "0", other.url],
    ]
    assert run("list", "--collection", "notes").splitlines()[1].startswith(str(other.pk))
    assert run("list", "--collection", "records") == "It has no webhooks.\n"
    Webhook.objects.all().delete()
    assert run("list") == "There are no webhooks.\n"


def test_tells_how_a_test_went(webhook):
    with pytest.raises(CommandError, match=r"^Not delivered: ") as refused:
        run("test", str(webhook.pk))
    assert refused.value.returncode == 1
    assert Delivery.objects.get().status == "failed" and Webhook.objects.get().active


def test_replays_one_or_all_since_a_moment(webhook, records):
    records("posts").create(title="one")
    records("posts").create(title="two")
    planning.make_deliveries()
    Delivery.objects.update(status="delivered", next_attempt_at=None)
    first = Delivery.objects.order_by("pk")[0]
    said = run("replay", str(webhook.pk), "--delivery", str(first.pk))
    again = Delivery.objects.get(replay=1)
    assert str(again.pk) in said and again.event_id == first.event_id and again.status == "pending"
    Delivery.objects.update(status="delivered", next_attempt_at=None)
    said = run("replay", str(webhook.pk), "--since", clock.isoformat(webhook.created))
    assert said.startswith("2 ") and Delivery.objects.filter(status="pending").count() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["test", "nonsense"],
        ["test", "00000000-0000-0000-0000-000000000000"],
        ["replay", "{id}", "--delivery", "99"],
        ["replay", "{id}", "--delivery", "x"],
        ["replay", "nonsense", "--since", "2026-01-15T10:00:00Z"],
        ["replay", "{id}"],
        ["replay", "{id}", "--since", "yesterday"],
        ["replay", "{id}", "--since", "2026-13-01T00:00:00Z"],
        ["replay", "{id}", "--since", "2026-01-01", "--delivery", "1"],
        [],
        ["explode"],
    ],
)
def test_says_what_it_does_not_understand(webhook, arguments):
    with pytest.raises(CommandError):
        run(*(part.format(id=webhook.pk) for part in arguments))
    assert not Delivery.objects.exists()


def test_delivers_what_is_due(webhook, records, receiver):
    Webhook.objects.update(url=receiver.url)
    records("posts").create(title="one")
    receiver.answer = lambda taken: Reply(500)
    assert run("deliver") == "0 delivered, 1 still to be.\n"
    receiver.answer = lambda taken: Reply(200)
    records("posts").create(title="two")
    assert run("deliver") == "1 delivered, 1 still to be.\n"
    assert [taken.json["data"]["title"] for taken in receiver.taken] == ["one", "two"]


def test_tells_that_a_test_was_taken(webhook, receiver):
    Webhook.objects.update(url=receiver.url)
    assert "Delivered: 200 after " in run("test", str(webhook.pk))
    assert receiver.taken[0].json["event"] == "test"
