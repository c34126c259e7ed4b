"""One attempt at a delivery: what is sent, and what the row says afterwards."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from collections_app import events
from collections_app.schema import registry
from core import clock
from webhooks import claiming, notices, payload, schedule, signing
from webhooks.models import Delivery, Webhook
from webhooks.outgoing import Answer

logger = logging.getLogger("fastcms.webhooks")

GONE = 410
_NO_EVENT = "the event is not in the log any more"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A delivery that is ours to send, to its webhook as it was when it was claimed.

    ``problem`` says why there is nothing to send.
    """

    delivery: Delivery
    webhook: Webhook
    headers: Mapping[str, str]
    body: bytes
    problem: str = ""


def make(claimed: Sequence[tuple[Delivery, Webhook]]) -> list[Attempt]:
    """What is to be sent for these deliveries."""
    logged = events.find(sorted({delivery.event_id for delivery, _ in claimed}))
    known = registry.latest().by_id  # asked after the events, so that it is no older than they are
    bodies: dict[int, bytes] = {}
    made = []
    for delivery, webhook in claimed:
        event, collection = logged.get(delivery.event_id), known.get(webhook.collection_id)
        if event is None or collection is None:
            made.append(Attempt(delivery, webhook, {}, b"", _NO_EVENT))
            continue
        try:
            if event.id not in bodies:
                bodies[event.id] = payload.encode(payload.payload(event, collection))
            body = bodies[event.id]
            made.append(Attempt(delivery, webhook, headers(webhook, body, signing.message_id(event.id)), body))
        except Exception:  # others wait behind it
            logger.exception("delivery %s of webhook %s could not be made", delivery.pk, webhook.pk)
            made.append(Attempt(delivery, webhook, {}, b"", "could not be made; see the server's log"))
    return made


def headers(webhook: Webhook, body: bytes, message_id: str) -> dict[str, str]:
    """All that we say of a body."""
    return {"Content-Type": "application/json", **signing.headers(webhook, body, message_id, clock.now())}


def told(answer: Answer) -> dict[str, Any]:
    """The answer, as columns of a delivery."""
    return {
        "response_status": answer.status,
        "response_body": answer.body,
        "duration_ms": answer.duration_ms,
        "error": answer.error[:500],
    }


def store(attempt: Attempt, answer: Answer, now: datetime) -> bool:
    """Write down what came of it; answers whether the delivery is done. Inside a transaction.

    Nothing is written when the lease had lapsed and somebody else has taken the delivery up.
    """
    delivery, webhook = attempt.delivery, attempt.webhook
    row = claiming.leased(delivery)
    if answer.is_success:
        return bool(row.update(**told(answer), status=Delivery.Status.DELIVERED, next_attempt_at=None, finished=now))
    following = None
    if answer.status != GONE and attempt.problem != _NO_EVENT:
        following = schedule.next_attempt(delivery.attempt, webhook.retry_count, now, answer.retry_after)
    if following is not None:
        row.update(**told(answer), status=Delivery.Status.PENDING, next_attempt_at=following)
        return False
    done = row.update(**told(answer), status=Delivery.Status.FAILED, next_attempt_at=None, finished=now)
    if done and attempt.problem != _NO_EVENT:
        ended = Webhook.Ended.GONE if answer.status == GONE else Webhook.Ended.FAILED
        notices.disable(webhook, ended, answer.error, now)
    return bool(done)
