"""A webhook's whole life on a running server: told of changes, verified, broken, mended, told again."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils.dateparse import parse_datetime

from core import clock
from tests.server import Server, server
from webhooks.tests.receivers import Receiver, Reply, Taken, receiver

pytestmark = [pytest.mark.engine, pytest.mark.slow]
logging.getLogger("httpx").setLevel(logging.WARNING)

SECRET = "myWebhookSecret123"
ROOT = {"email": "root@example.com", "password": "correct-horse-battery"}


class Listener:
    """Who stands at the other end and takes one request after the other; ``status`` is what is said to them."""

    def __init__(self, taking: Receiver) -> None:
        self.url, self.status = taking.url, 200
        self._receiver, self._seen = taking, 0
        taking.answer = lambda taken: Reply(self.status, body=b"what the receiver says")

    def next(self) -> Taken:
        self._seen += 1
        return self._receiver.wait_for(self._seen)[self._seen - 1]

    def has_more(self) -> bool:
        return len(self._receiver.taken) > self._seen


@pytest.fixture
def listener() -> Iterator[Listener]:
    with receiver() as taking:
        yield Listener(taking)


@pytest.fixture
def running(schema_db: None, tmp_path: Path) -> Iterator[Server]:
    with server(tmp_path, WEBHOOK_ALLOW_PRIVATE="true") as started:
        yield started


@pytest.fixture
def http(running: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{running.url}/api/v1", timeout=60) as client:
        registered = client.post("/auth/register", json=ROOT)
        assert registered.status_code == 201, registered.text
        client.headers["Authorization"] = f"Bearer {registered.json()['access_token']}"
        yield client


def eventually(find: Callable[[], Any]) -> Any:
    """What it answers once that is something: what we do after an answer is stored a moment later."""
    until = time.monotonic() + 20
    while not (found := find()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def verify_webhook(request_body: bytes, signature: str, secret: str) -> bool:
    """As receivers do it who have read how."""
    expected = hmac.new(secret.encode(), request_body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


def test_the_whole_story(http: httpx.Client, listener: Listener) -> None:
    fields = [{"name": "title", "type": "text"}, {"name": "cost", "type": "number", "hidden": True}]
    assert http.post("/collections", json={"name": "posts", "schema": fields}).status_code == 201
    answer = http.post(
        "/webhooks",
        json={
            "url": listener.url,
            "collection_name": "posts",
            "events": ["create", "update", "delete"],
            "secret": SECRET,
            "retry_count": 3,
        },
    )
    assert answer.status_code == 201, answer.text
    webhook = answer.json()
    own = f"/webhooks/{webhook['id']}"

    def deliveries(**query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = http.get(f"{own}/deliveries", params=query).json()["items"]
        return found

    # Three changes, three deliveries, in their order.
    record = http.post("/collections/posts/records", json={"title": "New post", "cost": 5}).json()
    address = f"/collections/posts/records/{record['id']}"
    changed = http.patch(address, json={"title": "Better"}).json()
    assert http.delete(address).status_code == 204
    taken = [listener.next() for _ in range(3)]
    for one in taken:
        assert one.headers["content-type"].startswith("application/json")
        assert verify_webhook(one.body, one.headers["x-webhook-signature"], SECRET)
        assert set(one.json) == {"event", "collection", "record_id", "data", "timestamp"}
        assert one.json["collection"] == "posts" and one.json["record_id"] == record["id"]
        assert abs(parse_datetime(one.json["timestamp"]) - clock.now()) < timedelta(minutes=1)  # type: ignore[operator]
    for record_now in (record, changed):
        record_now.pop("cost")  # hidden: seen by admins only, and receivers are none
    assert [(one.json["event"], one.json["data"]) for one in taken] == [
        ("create", record),
        ("update", changed),
        ("delete", {}),
    ]
    assert len({one.headers["webhook-id"] for one in taken}) == 3

    def when_delivered(count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = eventually(
            lambda: (done := deliveries(status="delivered")) and len(done) == count and done
        )
        return found

    # They are in the list, and each can be looked at.
    listed = when_delivered(3)
    assert [item["event"] for item in listed] == ["delete", "update", "create"]
    assert {(item["attempt"], item["response_status"], item["error"]) for item in listed} == {(1, 200, None)}
    created = http.get(f"{own}/deliveries/{listed[-1]['id']}").json()
    assert created["response_body"] == "what the receiver says" and created["duration_ms"] >= 0
    assert created["record_id"] == record["id"] and created["payload"] == taken[0].json

    # One of them again, then all of them.
    replayed = http.post(f"{own}/deliveries/{listed[-1]['id']}/replay")
    assert replayed.status_code == 200 and replayed.json()["event_id"] == created["event_id"]
    again = listener.next()
    assert again.body == taken[0].body and again.headers["webhook-id"] == taken[0].headers["webhook-id"]
    when_delivered(4)  # what is still under way is not doubled
    assert http.post(f"{own}/replay", json={"since": webhook["created"]}).json() == {"count": 3}
    assert [listener.next().json["event"] for _ in range(3)] == ["create", "update", "delete"]

    # The receiver breaks: the next attempt is in a minute.
    listener.status = 500
    http.post("/collections/posts/records", json={"title": "While it is broken"})
    listener.next()
    [broken] = eventually(lambda: deliveries(status="pending") and [d for d in deliveries() if d["error"]])
    assert (broken["attempt"], broken["response_status"]) == (1, 500)
    wait = parse_datetime(broken["next_attempt_at"]) - clock.now()  # type: ignore[operator]
    assert timedelta(seconds=50) < wait <= timedelta(seconds=66)

    # The test button tells, whether it is broken or mended, and changes nothing.
    told = http.post(f"{own}/test").json()
    assert (told["event"], told["status"], told["response_status"]) == ("test", "failed", 500)
    assert listener.next().json["event"] == "test"
    listener.status = 202
    told = http.post(f"{own}/test").json()
    assert (told["event_id"], told["status"], told["response_status"]) == (None, "delivered", 202)
    tested = listener.next()
    assert tested.json["data"] == {} and verify_webhook(tested.body, tested.headers["x-webhook-signature"], SECRET)
    assert http.get(own).json()["active"] is True

    # Switched off and on again: what waited is sent at once.
    assert http.patch(own, json={"active": False}).json()["active"] is False
    assert http.patch(own, json={"active": True}).json()["active"] is True
    assert listener.next().json["data"]["title"] == "While it is broken"
    eventually(lambda: not deliveries(status="pending") and not deliveries(status="sending"))

    # Another secret: both sign for a while, where there is room for both.
    fresh = http.post(f"{own}/rotate_secret").json()["secret"]
    http.post("/collections/posts/records", json={"title": "Signed anew"})
    signed = listener.next()
    assert verify_webhook(signed.body, signed.headers["x-webhook-signature"], fresh)
    assert len(signed.headers["webhook-signature"].split()) == 2

    assert http.delete(own).status_code == 204
    http.post("/collections/posts/records", json={"title": "Nobody is told"})
    assert http.get(own).status_code == 404 and not listener.has_more()
