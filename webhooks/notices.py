"""A webhook that is not sent to any more, and the mail that tells the admins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from accounts import mailing
from accounts.mailing import Draft, template
from accounts.selectors import admins
from collections_app.schema import registry
from webhooks.models import Webhook

logger = logging.getLogger("fastcms.webhooks")

MAIL = "webhook_disabled"


def disable(webhook: Webhook, ended: Webhook.Ended, error: str, now: datetime) -> None:
    """Send nothing more to it, and tell all admins, once. Inside a transaction.

    One that was given another address meanwhile, or switched off, is let alone.
    """
    found = Webhook.objects.filter(pk=webhook.pk, url=webhook.url, active=True)
    if not found.update(active=False, ended=ended, updated=now):
        return
    logger.warning("webhook %s is disabled: %s (%s)", webhook.pk, ended.label, error)
    for admin in admins():
        mailing.post(MAIL, admin, data={"webhook": str(webhook.pk), "ended": ended.value, "error": error})


@template(MAIL)
def _disabled(draft: Draft) -> Mapping[str, Any] | None:
    webhook = Webhook.objects.filter(pk=draft.mail.data["webhook"]).first()
    collection = registry.latest().by_id.get(webhook.collection_id) if webhook else None
    if webhook is None or collection is None:
        return None
    return {
        "webhook_id": str(webhook.pk),
        "address": _address(webhook.url),
        "collection": collection.name,
        "is_gone": draft.mail.data["ended"] == Webhook.Ended.GONE,
        "error": draft.mail.data["error"],
    }


def _address(url: str) -> str:
    """Without its query, in which secrets may be."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
