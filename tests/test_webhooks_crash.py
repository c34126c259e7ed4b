"""Webhooks of a running server, whatever dies: every committed change arrives, twice only under the same id."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts import tokens
from accounts.models import User
from collections_app import events
from collections_app.schema import registry
from collections_app.tests.threads import STRESS
from core import clock
from tests.server import SECRET_KEY, Server, server
from webhooks.models import Delivery, Webhook
from webhooks.tests import receivers
from webhooks.tests.receivers import Receiver, Reply

pytestmark = [pytest.mark.engine, pytest.mark.slow]
OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.receiver() as made:
        yield made


@pytest.fixture
def hook(make_collection: Callable[..., Any]) -> Callable[[str], Webhook]:
    make_collection("notes", title="text", **OPEN)

    def make(url: str, **fields: Any) -> Webhook:
        return Webhook.objects.create(
            url=url,
            collection_id=registry.latest().by_name["notes"].id,
            events=["create", "update", "delete"],
            after_event=events.settled_id(),
            **fields,
        )

    return make


def serving(folder: Path, **more: str) -> Any:
    return server(folder, WEBHOOK_ALLOW_PRIVATE="true", RATE_LIMIT_ENABLED="false", **more)


def write(running: Server, title: str) -> str:
    answer = httpx.post(f"{running.url}/api/v1/collections/notes/records", json={"title": title}, timeout=60)
    assert answer.status_code == 201
    return str(answer.json()["id"])


def as_if_leases_were_over() -> None:
    Delivery.objects.filter(status="sending").update(next_attempt_at=clock.now())


def ids(receiver: Receiver) -> list[str]:
    return [taken.json["record_id"] for taken in receiver.taken]


def test_a_change_arrives_at_once(tmp_path: Path, hook: Any, receiver: Receiver) -> None:
    hook(receiver.url)
    with serving(tmp_path) as running:
        began, made = time.monotonic(), []
        for number in range(5):
            made += [write(running, str(number)), write(running, "too")]
            receiver.wait_for(len(made))
        assert time.monotonic() - began < 20, "by the rounds of every ten seconds it would take forty"
        assert sorted(ids(receiver)) == sorted(made)
        assert running.leave() == 0
    assert set(Delivery.objects.values_list("status", "attempt")) == {("delivered", 1)}


def test_nothing_is_lost_when_the_server_dies_between_commit_and_delivery(
    tmp_path: Path, hook: Any, receiver: Receiver, seed: int
) -> None:
    """Killed at any moment while it writes and delivers; all that was answered arrives."""
    hook(receiver.url)
    made: list[str] = []
    chance = random.Random(seed)
    with serving(tmp_path) as running:
        for _ in range(2 * STRESS):
            death = threading.Timer(chance.uniform(0.05, 0.5), running.kill)
            death.start()
            try:
                while True:
                    made.append(write(running, "a"))
            except httpx.TransportError:
                death.join()
            as_if_leases_were_over()
            running.start()
        deadline = time.monotonic() + 60
        while set(made) - set(ids(receiver)):
            assert time.monotonic() < deadline, len(set(made) - set(ids(receiver)))
            time.sleep(0.1)
    arrived: dict[str, set[str]] = {}
    for taken in receiver.taken:
        arrived.setdefault(taken.json["record_id"], set()).add(taken.id)
    assert all(len(one) == 1 for one in arrived.values())  # whatever came twice came under its id
    assert len(receiver.taken) - len(arrived) <= 2 * STRESS * 16  # what was under way at a death


def test_nothing_is_lost_when_the_server_dies_while_it_delivers(tmp_path: Path, hook: Any, receiver: Receiver) -> None:
    webhook = hook(receiver.url)
    go = threading.Event()
    receiver.answer = lambda taken: (go.wait(60), Reply())[1]
    with serving(tmp_path) as running:
        made = write(running, "a")
        receiver.wait_for(1)
        running.kill()
        row = webhook.deliveries.get()
        assert (row.status, row.attempt) == ("sending", 1) and row.next_attempt_at > clock.now()
        go.set()
        as_if_leases_were_over()
        running.start()
        first, second = receiver.wait_for(2)
        assert first.id == second.id and first.body == second.body and first.json["record_id"] == made
        deadline = time.monotonic() + 60
        while webhook.deliveries.get().status != "delivered":
            assert time.monotonic() < deadline
            time.sleep(0.05)
    row = webhook.deliveries.get()
    assert (row.status, row.attempt) == ("delivered", 1)


def test_a_graceful_stop_leaves_what_is_under_way_to_the_next_server(
    tmp_path: Path, hook: Any, receiver: Receiver
) -> None:
    webhook = hook(receiver.url)
    go = threading.Event()
    receiver.answer = lambda taken: (go.wait(30), Reply())[1]
    with serving(tmp_path) as running:
        write(running, "a")
        receiver.wait_for(1)
        assert running.leave() == 0
    row = webhook.deliveries.get()
    assert (row.status, row.attempt) == ("pending", 0)
    go.set()
    with serving(tmp_path):
        first, second = receiver.wait_for(2)
        assert first.id == second.id


def test_two_servers_deliver_each_change_once(tmp_path: Path, hook: Any, receiver: Receiver) -> None:
    hook(receiver.url)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with serving(tmp_path / "a") as one, serving(tmp_path / "b") as other:
        made = [write((one, other)[number % 2], "a") for number in range(30)]
        receiver.wait_for(30)
        time.sleep(0.5)
    assert sorted(ids(receiver)) == sorted(made)


def test_webhooks_made_by_the_api_are_told_of_the_next_change(
    tmp_path: Path, hook: Any, receiver: Receiver, settings: Any
) -> None:
    settings.SECRET_KEY = SECRET_KEY
    admin = User.objects.create_user("admin@example.com", None, username="admin", role="admin", verified=True)
    with serving(tmp_path) as running:
        write(running, "before")
        bearer = {"Authorization": f"Bearer {tokens.issue(admin).access}"}
        body = {"url": receiver.url, "collection_name": "notes", "events": ["create"], "secret": "s"}
        answer = httpx.post(f"{running.url}/api/v1/webhooks", json=body, headers=bearer)
        assert answer.status_code == 201, answer.text
        made = write(running, "after")
        receiver.wait_for(1)
        assert ids(receiver) == [made]


def test_tests_under_way_are_cut_off_when_the_server_is_asked_to_go(
    tmp_path: Path, hook: Any, receiver: Receiver, settings: Any
) -> None:
    settings.SECRET_KEY = SECRET_KEY
    admin = User.objects.create_user("admin@example.com", None, username="admin", role="admin", verified=True)
    webhook, go = hook(receiver.url), threading.Event()
    receiver.answer = lambda taken: (go.wait(40), Reply())[1]
    answers: list[httpx.Response] = []
    with serving(tmp_path) as running:
        bearer = {"Authorization": f"Bearer {tokens.issue(admin).access}"}

        def test() -> None:
            answers.append(httpx.post(f"{running.url}/api/v1/webhooks/{webhook.pk}/test", headers=bearer, timeout=60))

        threads = [threading.Thread(target=test) for _ in range(3)]
        for thread in threads:
            thread.start()
        receiver.wait_for(3)
        assert running.leave() == 0
        for thread in threads:
            thread.join(60)
        go.set()  # not before: whoever was not cut off would have been told of a timeout
    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(200, "cut off")] * 3
    assert set(webhook.deliveries.values_list("status", "error")) == {("failed", "cut off")}
