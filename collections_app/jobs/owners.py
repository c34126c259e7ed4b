"""Who a job belongs to, and what they may do when it runs: their rights of then, not of when they asked."""

from __future__ import annotations

from dataclasses import replace

from accounts import api_keys, realms
from accounts.models import ApiKey, User
from accounts.principals import STAFF_COLLECTION, SYSTEM, Principal
from accounts.scopes import Scope
from core import clock
from core.errors import Forbidden, NotFound

GONE = "The account that asked for this may no longer sign in."
KEY_GONE = "The API key that asked for this has ended."


def principal(owner: str, key_id: str) -> Principal:
    """Who that is now, by :attr:`Principal.key` and the id of an API key; Forbidden where they are gone or disabled."""
    if owner == SYSTEM.key:
        return SYSTEM
    realm_key, _, account_id = owner.partition(":")
    try:
        realm = realms.get(realm_key)
    except NotFound:
        raise Forbidden(GONE) from None
    account = realm.get(account_id)
    if account is None or not account.is_active:
        raise Forbidden(GONE)
    found = realm.principal(account)
    if not key_id:
        return found
    if realm_key != STAFF_COLLECTION or not isinstance(account, User):
        raise Forbidden(KEY_GONE)
    key = api_keys.of(account).filter(pk=key_id).first()
    if key is None or (key.expires is not None and key.expires <= clock.now()):
        raise Forbidden(KEY_GONE)
    reads = key.access == ApiKey.Access.READ
    return replace(found, scope=Scope(key_id, reads, frozenset(key.collections) if key.collections else None))
