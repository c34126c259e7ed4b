"""Webhooks on collections, receivers on loopback, and a clock that tests may move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from collections_app import events
from collections_app.schema import registry
from core import clock, secret_box
from webhooks import planning, sending
from webhooks.models import Webhook
from webhooks.tests import receivers
from webhooks.tests.receivers import Receiver


class Watch:
    """The product's clock: it goes on, and can be put forward."""

    def __init__(self) -> None:
        self._now, self.ahead = clock.now, timedelta()

    def now(self) -> datetime:
        return self._now() + self.ahead

    def forward(self, **by: float) -> None:
        self.ahead += timedelta(**by)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture
def loopback(settings: Any) -> None:
    """Receivers of tests are on this machine."""
    settings.WEBHOOK_ALLOW_PRIVATE = True


@pytest.fixture
def receiver(loopback: None) -> Iterator[Receiver]:
    with receivers.receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_is_known() -> None:
    """Of the webhooks of the test before."""
    sending._width.clear()
    planning._whether.__init__()  # type: ignore[misc]
    planning.news.clear()


@pytest.fixture
def make_webhook(loopback: None) -> Callable[..., Webhook]:
    """``make_webhook("notes", receiver.url, secret="s")``: all events of the collection from now on."""

    def make(name: str, url: str, *, secret: str = "", **fields: Any) -> Webhook:
        fields.setdefault("events", ["create", "update", "delete"])
        fields.setdefault("after_event", events.settled_id())
        return Webhook.objects.create(
            url=url,
            collection_id=registry.latest().by_name[name].id,
            secret=secret_box.seal(secret) if secret else "",
            **fields,
        )

    return make
