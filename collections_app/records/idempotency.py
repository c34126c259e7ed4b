"""``Idempotency-Key``: a POST that may be repeated has one effect and one answer.

The key is claimed in a transaction of its own, so that a repetition at the same
time is told so; the answer is stored in the transaction of the effect, so that
the two can't come apart in a crash. A claim whose request died ends by itself.
Codes follow draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from collections_app.files.staging import Staged
from collections_app.models import IdempotencyKey
from collections_app.records.unit_of_work import in_group
from core import clock
from core.errors import BadRequest, Conflict, ValidationFailed

KEPT = timedelta(hours=24)
CLAIM = timedelta(seconds=60)
MAX_KEY = 255
_SWEEP_EVERY = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that this request may answer."""

    row_id: int
    until: datetime

    def answer(self, status: int, body: bytes) -> None:
        """Store the answer; call it inside the transaction of the effect.

        Raises Conflict when the claim took so long that another request took it over:
        that one has the effect.
        """
        if not self._mine().update(status=status, body=body):
            raise Conflict("A repetition of this request was faster.")

    def release(self) -> None:
        """Nothing was done: the key may be used again."""
        self._mine().delete()

    def _mine(self) -> QuerySet[IdempotencyKey]:
        return IdempotencyKey.objects.filter(pk=self.row_id, claimed_until=self.until, status=None)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The answer that the first request with this key got."""

    status: int
    body: bytes


def fingerprint(path: str, data: Any) -> str:
    """Names a request by where it goes and what it says.

    Under our key: bodies hold passwords, and who reads the table could try them out.
    """
    options = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
    text = orjson.dumps([path, data], option=options, default=_said)
    key = salted_hmac("records.idempotency", "", algorithm="sha256").digest()
    return hashlib.blake2b(text, digest_size=20, key=key).hexdigest()


def _said(value: Any) -> Any:
    """What is no plain JSON value: of an uploaded file its content, not the name that it was given this time."""
    return value.sha256 if isinstance(value, Staged) else str.__str__(str(value))


def claim(caller: str, key: str, request: str) -> Claim | Earlier:
    """Take the key for this request, or get the earlier answer.

    Raises ValidationFailed when it was used for another request, Conflict while
    that is still under way.
    """
    if in_group():
        raise RuntimeError("A claim must be committed at once, and can't be inside of a group.")
    if not key.strip() or len(key) > MAX_KEY or not key.isprintable():
        raise BadRequest(f"Idempotency-Key must have 1 to {MAX_KEY} printable characters.")
    now = clock.now()
    fields = {"fingerprint": request, "created": now, "claimed_until": now + CLAIM}
    try:
        with transaction.atomic():
            row = IdempotencyKey.objects.create(caller=caller, key=key, **fields)
    except IntegrityError:
        return _taken(caller, key, request)
    if row.pk % _SWEEP_EVERY == 0:
        IdempotencyKey.objects.filter(created__lt=now - KEPT).delete()
    return Claim(row.pk, row.claimed_until)


def _taken(caller: str, key: str, request: str) -> Claim | Earlier:
    now = clock.now()
    with transaction.atomic():
        row = IdempotencyKey.objects.select_for_update().filter(caller=caller, key=key).first()
        if row is None:
            raise Conflict("A request with this Idempotency-Key has just failed. Please try again.")
        expired = row.created < now - KEPT
        if not expired and row.fingerprint != request:
            raise ValidationFailed("This Idempotency-Key was used for another request.")
        if not expired and row.status is not None:
            return Earlier(row.status, bytes(row.body or b""))
        if not expired and row.claimed_until > now:
            raise Conflict("A request with this Idempotency-Key is still under way.")
        row.fingerprint, row.created, row.claimed_until = request, now, now + CLAIM
        row.status, row.body = None, None
        row.save()
        return Claim(row.pk, row.claimed_until)
