"""How webhooks are made, changed and ended; the API and the command call these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from collections_app import events
from collections_app.schema import registry
from core import background, clock, secret_box
from core.errors import Conflict, ValidationFailed
from webhooks import outgoing, planning, selectors, sending, signing
from webhooks.models import Delivery, Webhook

MOST = 1000
OVERLAP = timedelta(hours=24)  # in which the secret before the last is still signed with
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # with room to reckon before it
CHANGES = frozenset({"url", "events", "active", "secret", "retry_count"})


def webhook_create(
    *, url: str, collection: str, events_wanted: Sequence[str], retry_count: int, secret: str | None = None
) -> Webhook:
    """Tell this address of what happens in the collection (its name or id) from now on.

    ValidationFailed for an address that may not be called and for a collection that has no
    changes to tell of; Conflict where there are too many webhooks.
    """
    outgoing.check_url(url)
    with transaction.atomic():
        if len(selectors.webhooks()) >= MOST:
            raise Conflict(f"There are at most {MOST:,} webhooks. Delete one that is not needed.")
        return Webhook.objects.create(
            url=url,
            collection_id=_watchable(collection),
            events=list(events_wanted),
            retry_count=retry_count,
            secret=secret_box.seal(secret) if secret else "",
            after_event=events.settled_id(),
        )


def webhook_update(webhook_id: str, changes: Mapping[str, Any]) -> Webhook:
    """Change those of :data:`CHANGES` that are given; raises what :func:`webhook_create` does, and NotFound.

    Switched on again, it is told at once of what waited for it.
    """
    assert changes.keys() <= CHANGES
    if "url" in changes:
        selectors.webhook(webhook_id)  # who asks for one that is not there learns that first
        outgoing.check_url(changes["url"])
    with transaction.atomic():
        webhook = selectors.webhook(webhook_id, locked=True)
        for name in changes.keys() - {"secret"}:
            setattr(webhook, name, changes[name])
        if "secret" in changes:
            _set_secret(webhook, changes["secret"])
        if changes.get("active"):
            _resume(webhook)
        webhook.updated = clock.now()
        webhook.save(force_update=True)
    return webhook


def webhook_delete(webhook_id: str) -> None:
    """End a webhook, with what it was still to be told; NotFound where there is none."""
    with transaction.atomic():
        selectors.webhook(webhook_id, locked=True).delete()


def rotate_secret(webhook_id: str) -> tuple[Webhook, str]:
    """Give it a new secret, which nobody will be able to tell again; the one so far is good for :data:`OVERLAP`."""
    secret = signing.generate_secret()
    return webhook_update(webhook_id, {"secret": secret}), secret


def replay(delivery: Delivery) -> Delivery:
    """Send its event again; answers the new delivery. Conflict where that can't be."""
    return sending.replay(delivery)


def replay_since(webhook: Webhook, moment: datetime) -> int:
    """Send again all that happened from this moment on; answers how much. Conflict where that can't be."""
    return sending.replay_since(webhook, max(moment, _LONG_AGO))


def _watchable(name: str) -> str:
    snapshot = registry.latest()
    collection = snapshot.by_name.get(name) or snapshot.by_id.get(name)
    if collection is None:
        raise _refused("collection_name", f"There is no collection {name[:100]!r}.")
    if collection.type == "view":
        raise _refused("collection_name", "A view has no changes of its own: watch the collections that it reads.")
    return collection.id


def _refused(field: str, message: str) -> ValidationFailed:
    return ValidationFailed(fields={field: [message]})


def _set_secret(webhook: Webhook, secret: str | None) -> None:
    """Sign with this one from now on, and for a while with the one so far; without one, don't sign any more."""
    if secret is None:
        webhook.secret = webhook.previous_secret = ""
        webhook.previous_secret_until = None
        return
    before = _unsealed(webhook.secret)
    if before == secret:
        return
    webhook.previous_secret = webhook.secret if before is not None else ""
    webhook.previous_secret_until = clock.now() + OVERLAP if before is not None else None
    webhook.secret = secret_box.seal(secret)


def _unsealed(sealed: str) -> str | None:
    """The secret; None where there is none, or another ``SECRET_KEY`` sealed it, so that nothing is signed with it."""
    from cryptography.fernet import InvalidToken  # 7 MB

    try:
        return secret_box.unseal(sealed) if sealed else None
    except InvalidToken:
        return None


def _resume(webhook: Webhook) -> None:
    """Send again. What waits is due now; what happened while it was off is for a replay."""
    webhook.ended = ""
    webhook.deliveries.filter(status=Delivery.Status.PENDING).update(next_attempt_at=clock.now())
    transaction.on_commit(lambda: background.wake(planning.TASK))
