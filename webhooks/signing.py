"""What shows a receiver that a delivery is ours: signatures over its body, in two manners.

``X-Webhook-Signature`` is the one of our own documentation; the three ``webhook-*`` headers are
those of Standard Webhooks, whose libraries verify them.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from datetime import datetime

from core import secret_box
from webhooks.models import Webhook

PREFIX = "whsec_"
_KEY_BYTES = 32


def generate_secret() -> str:
    """A new secret, as text: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def message_id(event_id: int) -> str:
    """The ``webhook-id`` of an event: the same in every attempt and replay, so that receivers can tell them."""
    return f"evt_{event_id}"


def headers(webhook: Webhook, body: bytes, message_id: str, moment: datetime) -> dict[str, str]:
    """The headers that a delivery at ``moment`` carries; without a secret only its id and time.

    While a rotation lasts, ``webhook-signature`` has one of the former key too.
    """
    timestamp = str(int(moment.timestamp()))
    made = {"webhook-id": message_id, "webhook-timestamp": timestamp}
    if not webhook.secret:
        return made
    good = [webhook.secret]
    if webhook.previous_secret and webhook.previous_secret_until and moment < webhook.previous_secret_until:
        good.append(webhook.previous_secret)
    texts = [secret_box.unseal(sealed) for sealed in good]
    signed = f"{message_id}.{timestamp}.".encode() + body
    made["X-Webhook-Signature"] = hmac.new(texts[0].encode(), body, hashlib.sha256).hexdigest()
    made["webhook-signature"] = " ".join(
        "v1," + b64encode(hmac.new(_key(text), signed, hashlib.sha256).digest()).decode() for text in texts
    )
    return made


def _key(secret: str) -> bytes:
    """The key of Standard Webhooks: what stands after the prefix, decoded; of a secret of one's own, its bytes."""
    if secret.startswith(PREFIX):
        try:
            return b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            pass  # somebody's own text that begins like ours
    return secret.encode()
