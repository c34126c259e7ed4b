"""What belongs to an account of any realm."""

from __future__ import annotations

from typing import Any, Protocol

from django.db import models


class Account(Protocol):
    """What flows know of an account: a row of ``users``, or a record of an auth collection.

    ``password`` is a hash. ``credential_stamp()`` moves with password, e-mail, role
    and token key: whatever carries an older one has ended.
    """

    @property
    def realm_key(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def two_fa_enabled(self) -> bool: ...

    email: str
    role: str
    verified: bool
    is_active: bool
    password: str

    def credential_stamp(self) -> str: ...


class OwnedQuerySet(models.QuerySet[Any]):
    def of(self, account: Account) -> OwnedQuerySet:
        return self.filter(realm=account.realm_key, account_id=account.account_id)


class Owned(models.Model):
    """``realm`` is ``users`` or the id of an auth collection; no foreign key leads into a dynamic table."""

    realm = models.CharField(max_length=32)
    account_id = models.CharField(max_length=64)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        abstract = True


def forget(realm: str, account_id: str | None = None) -> None:
    """Delete all that belongs to an account that is gone, or to a whole realm: with it, so that no later
    account of the same id inherits a second factor, an identity elsewhere or a way in."""
    for kind in Owned.__subclasses__():
        rows = kind._default_manager.filter(realm=realm)
        (rows if account_id is None else rows.filter(account_id=account_id)).delete()
