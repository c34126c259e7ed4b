"""Tokens that work once: what links in mails and redirects carry, and tickets.

Of a token only the hash is kept. It is for one purpose of one account, ends with
the next one for that purpose, after its time, and with any change of the account's
password, e-mail, role or token key.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction

from accounts import realms
from accounts.models import OneTimeToken
from accounts.models.owned import Account
from accounts.realms import Realm
from core import clock
from core.errors import BadRequest, NotFound

BAD = "This link or token is invalid, has expired or has been used."
MAX_CHARS = 200


class Purpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"
    CHANGE_EMAIL = "change_email"
    EXCHANGE = "exchange"  # an OAuth redirect's code for tokens
    LINK = "link"  # a signed-in account's browser on its way to a provider
    LINKED = "linked"  # that somebody came back from there, for the account to present
    TOTP = "totp"  # the secret that an authenticator app is being told; nobody has the token
    TICKET = "ticket"  # a subscriber's way in, without a token in the URL


LIFETIMES = {
    Purpose.VERIFY: timedelta(hours=24),
    Purpose.RESET: timedelta(hours=1),
    Purpose.CHANGE_EMAIL: timedelta(hours=1),
    Purpose.EXCHANGE: timedelta(seconds=60),
    Purpose.LINK: timedelta(minutes=5),
    Purpose.LINKED: timedelta(minutes=5),
    Purpose.TOTP: timedelta(minutes=15),
    Purpose.TICKET: timedelta(seconds=60),
}
LATELY = timedelta(hours=1)
# A page may have several of these at a time.
_MANY = frozenset({Purpose.EXCHANGE, Purpose.TICKET})


@dataclass(frozen=True, slots=True)
class Use:
    """What a good token was: whose, and the data that it was made with."""

    account: Account
    data: dict[str, Any]


def make(account: Account, purpose: Purpose, data: dict[str, Any] | None = None) -> str:
    """A new token; an earlier one for this purpose ends."""
    raw = secrets.token_urlsafe(32)
    now = clock.now()
    with transaction.atomic():
        OneTimeToken.objects.filter(expires__lt=now).delete()
        earlier: list[float] = []
        if purpose not in _MANY:
            earlier = _made_lately(account, purpose)
            OneTimeToken.objects.of(account).filter(purpose=purpose).delete()
        OneTimeToken.objects.create(
            digest=_digest(raw),
            realm=account.realm_key,
            account_id=account.account_id,
            purpose=purpose,
            stamp=account.credential_stamp(),
            data=data or {},
            created=now,
            expires=now + LIFETIMES[purpose],
            earlier=earlier,
        )
    return raw


def made_lately(account: Account, purpose: Purpose) -> int:
    """How many were made in the last hour, of which the newest has not been used yet."""
    return len(_made_lately(account, purpose))


def peek(raw: str, purpose: Purpose, realm: Realm | None = None) -> Use:
    """What the token is for, without using it; BadRequest where it is no good, or of another realm than wanted."""
    found = _find(raw, purpose, realm)
    account = None if found is None else _account(found)
    if found is None or account is None:
        raise BadRequest(BAD)
    return Use(account, found.data)


def use(raw: str, purpose: Purpose, realm: Realm | None = None) -> Use:
    """Use the token up; BadRequest as for :func:`peek`, and for all but one of those who use it at once."""
    with transaction.atomic():
        found = _find(raw, purpose, realm)
        if found is None or not OneTimeToken.objects.filter(pk=found.pk).delete()[0]:
            raise BadRequest(BAD)
    account = _account(found)
    if account is None:
        raise BadRequest(BAD)
    return Use(account, found.data)


def newest(account: Account, purpose: Purpose) -> OneTimeToken | None:
    """What the account has under way for this purpose, where the token itself is with nobody."""
    found: OneTimeToken | None = (
        OneTimeToken.objects.of(account)
        .filter(purpose=purpose, stamp=account.credential_stamp(), expires__gt=clock.now())
        .order_by("-created")
        .first()
    )
    return found


def drop(token: OneTimeToken) -> bool:
    """Use up what :func:`newest` found; False where somebody was quicker."""
    return bool(OneTimeToken.objects.filter(pk=token.pk).delete()[0])


def _find(raw: str, purpose: Purpose, realm: Realm | None) -> OneTimeToken | None:
    found = OneTimeToken.objects.filter(digest=_digest(raw), purpose=purpose, expires__gt=clock.now())
    token: OneTimeToken | None = (found if realm is None else found.filter(realm=realm.key)).first()
    return token


def _made_lately(account: Account, purpose: Purpose) -> list[float]:
    since = (clock.now() - LATELY).timestamp()
    rows = OneTimeToken.objects.of(account).filter(purpose=purpose)
    return [moment for row in rows for moment in (*row.earlier, row.created.timestamp()) if moment > since]


def _account(token: OneTimeToken) -> Account | None:
    try:
        account = realms.get(token.realm).get(token.account_id)
    except NotFound:  # the collection is gone
        return None
    if account is None or not account.is_active or account.credential_stamp() != token.stamp:
        return None
    return account


def _digest(raw: str) -> str:
    return hashlib.sha256(raw[:MAX_CHARS].encode(errors="replace")).hexdigest()
