"""Webhooks by Celery's workers on a real Redis, whatever happens to Redis or to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server import server
from tests.test_celery import Relay, beat, celery
from tests.test_celery import redis_url as redis_url
from tests.test_celery import relay as relay
from tests.test_webhooks_crash import as_if_leases_were_over, ids, write
from tests.test_webhooks_crash import hook as hook
from tests.test_webhooks_crash import receiver as receiver
from webhooks.tests.receivers import Receiver, Reply

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def environ(redis: str) -> dict[str, str]:
    return {"REDIS_URL": redis, "WEBHOOK_ALLOW_PRIVATE": "true", "RATE_LIMIT_ENABLED": "false"}


def test_a_worker_that_is_killed_over_a_delivery_is_made_up_for(
    tmp_path: Path, redis_url: str, hook: Callable[..., Any], receiver: Receiver
) -> None:
    webhook = hook(receiver.url)
    go = threading.Event()
    receiver.answer = lambda taken: (go.wait(60), Reply())[1]
    with server(tmp_path, **environ(redis_url)) as running:
        with celery(tmp_path / "first", **environ(redis_url)) as worker:
            made = write(running, "a")
            receiver.wait_for(1)
            worker.kill()
        assert webhook.deliveries.get().status == "sending"
        go.set()
        as_if_leases_were_over()
        with celery(tmp_path / "second", *beat(tmp_path), **environ(redis_url)) as worker:
            first, second = receiver.wait_for(2)
            assert first.id == second.id and ids(receiver) == [made, made]
            later = write(running, "b")
            assert receiver.wait_for(3)[2].json["record_id"] == later
            assert worker.leave() == 0
    assert set(webhook.deliveries.values_list("status", "attempt")) == {("delivered", 1)}


def test_while_redis_is_away_changes_are_taken_and_told_later(
    tmp_path: Path, relay: Relay, hook: Callable[..., Any], receiver: Receiver
) -> None:
    hook(receiver.url)
    with (
        server(tmp_path, **environ(relay.url)) as running,
        celery(tmp_path / "w", *beat(tmp_path), **environ(relay.url)),
    ):
        made = [write(running, "warm")]
        receiver.wait_for(1)
        relay.go()
        for number in range(5):
            made.append(write(running, str(number)))  # Redis does not come before they are answered
        relay.come()
        receiver.wait_for(6, seconds=90)
        time.sleep(0.5)
        assert sorted(ids(receiver)) == sorted(made)
