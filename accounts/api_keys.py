"""API keys: how programs act for an account of ``users``.

A key is ``fcms_`` and 40 characters, shown once; its hash is kept. It carries the
account's credential stamp, so it ends with a change of password, e-mail or role and
with the account, as tokens do. What it may do is its owner's right now, within its scope.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from django.db import connection, models, transaction
from django.utils.dateparse import parse_datetime

from accounts import tokens
from accounts.models import ApiKey, User, credential_stamp
from accounts.principals import Principal
from accounts.scopes import Scope
from accounts.tokens import API_KEY_PREFIX, BAD_TOKEN
from core import clock, database, json
from core.errors import Conflict, NotFound, Unauthorized

MOST = 100  # keys of one account
_SHOWN = 12  # characters, to tell keys apart


class Collections(Protocol):
    """What collections there are, told by the app that has them."""

    def ids(self, given: Sequence[str]) -> Mapping[str, str]:
        """The ids of collections given by name or id; of those that exist."""

    def names(self, ids: Sequence[str]) -> Mapping[str, str]:
        """The names of the collections that still exist."""


class _None:
    def ids(self, given: Sequence[str]) -> Mapping[str, str]:
        return {}

    def names(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {}


collections: Collections = _None()


def know(those: Collections) -> None:
    """Let an app say what collections there are; done in its ``AppConfig.ready()``."""
    global collections
    collections = those


def make(
    user: User,
    *,
    name: str,
    access: str,
    collection_ids: Sequence[str] = (),
    expires: datetime | None = None,
    rate_limit: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key, and what it is, which nobody will be able to tell again. Conflict where there are too many."""
    raw = API_KEY_PREFIX + secrets.token_urlsafe(30)
    key = ApiKey(
        user=user,
        name=name,
        prefix=raw[:_SHOWN],
        digest=_digest(raw),
        access=access,
        collections=list(collection_ids),
        expires=expires,
        rate_limit=rate_limit,
        stamp=user.credential_stamp(),
    )
    with transaction.atomic():
        ApiKey.objects.filter(user=user).filter(~models.Q(stamp=key.stamp) | ~models.Q(revoked=None)).delete()
        if ApiKey.objects.filter(user=user).count() >= MOST:
            raise Conflict(f"An account has at most {MOST} API keys. Delete one that is not needed.")
        key.save(force_insert=True)
    return key, raw


def of(user: User) -> models.QuerySet[ApiKey]:
    """The keys that have not ended; those whose time is over are among them."""
    return ApiKey.objects.filter(user=user, revoked=None, stamp=user.credential_stamp())


def revoke(user: User, key_id: str) -> None:
    """End a key of this account; NotFound where it has no such key."""
    try:
        wanted = UUID(key_id)
    except ValueError as fault:
        raise NotFound from fault
    if not of(user).filter(pk=wanted).update(revoked=clock.now()):
        raise NotFound


def keep(user: User, stamp: str) -> None:
    """Let the keys with this earlier stamp go on: the account's credentials are the same, only stored anew."""
    ApiKey.objects.filter(user=user, stamp=stamp).update(stamp=user.credential_stamp())


def _digest(raw: str) -> str:
    return hashlib.sha256(raw.encode(errors="replace")).hexdigest()


# --- from a key to its principal -----------------------------------------------------------

_COLUMNS = len(tokens.ACCOUNT_COLUMNS)
_SQL = (
    f"SELECT {', '.join('u.' + name for name in tokens.ACCOUNT_COLUMNS)},"
    " u.id, k.id, k.stamp, k.access, k.collections, k.rate_limit, k.expires FROM api_keys k CROSS JOIN users u"
    " WHERE k.digest = {} AND k.revoked IS NULL AND u.id = k.user_id AND u.deleted_at IS NULL AND u.is_active"
)
_STATEMENTS = {"sqlite": _SQL.format("?"), "postgresql": _SQL.format("%s")}


class _VerifiedKey:
    """A key that there is; rebuilds its principal only when the row has moved."""

    __slots__ = ("_digest", "_principal", "_row", "_statement", "expires")

    def __init__(self, raw: str) -> None:
        self._statement = _STATEMENTS[connection.vendor]
        self._digest = _digest(raw)
        self._row = self._read()
        self._principal = _principal(self._row)
        expires = _moment(self._row[-1])
        self.expires = float("inf") if expires is None else expires.timestamp()
        if expires is not None and expires <= clock.now():
            raise Unauthorized(BAD_TOKEN)

    def principal(self) -> Principal:
        row = self._read()
        if row != self._row:
            self._principal, self._row = _principal(row), row
        return self._principal

    def _read(self) -> tuple[Any, ...]:
        found = database.rows(self._statement, (self._digest,), keyed=True)
        if not found:
            raise Unauthorized(BAD_TOKEN)
        return found[0]


def _principal(row: tuple[Any, ...]) -> Principal:
    user_id, key_id, stamp, access, listed, limit, _ = row[_COLUMNS:]
    if credential_stamp(*row[:4]) != stamp:
        raise Unauthorized(BAD_TOKEN)
    ids = json.loads(listed.encode()) if isinstance(listed, str) else listed
    scope = Scope(str(_uuid(key_id)), access == ApiKey.Access.READ, frozenset(ids) if ids else None, limit)
    return tokens.account_principal(str(_uuid(user_id)), row[:_COLUMNS], scope)


def _uuid(value: str | UUID) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _moment(value: str | datetime | None) -> datetime | None:
    moment = parse_datetime(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def resolve(raw: str) -> tokens.Verified:
    """The resolver of API keys: Unauthorized for one that is unknown or has ended."""
    return _VerifiedKey(raw)
