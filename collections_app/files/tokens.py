"""File tokens: what an ``<img>`` carries, which can send no header.

One is for the files of one record, signed, and good for some minutes. It speaks for the account
that asked for it, with the rights that this has when it is used, and ends with its sign-in and
with any change of its password, e-mail or role.
"""

from __future__ import annotations

from uuid import UUID

from django.core import signing

from accounts import realms
from accounts.models import SignIn
from accounts.models.owned import Account
from accounts.principals import Principal
from core.errors import NotFound, Unauthorized

SECONDS = 300
BAD = "This file token is invalid, has expired, or is for another record."
MAX_CHARS = 2000
_SALT = "collections_app.files.token"


def make(account: Account, sign_in_id: UUID | None, collection_id: str, record_id: str) -> str:
    """A token for the files of this record; ``sign_in_id`` is None for a browser's session."""
    claims = {
        "realm": account.realm_key,
        "account": account.account_id,
        "stamp": account.credential_stamp(),
        "sign_in": str(sign_in_id) if sign_in_id else "",
        "collection": collection_id,
        "record": record_id,
    }
    return signing.dumps(claims, salt=_SALT)


def principal(raw: str, collection_id: str, record_id: str) -> Principal:
    """Who a token for this record speaks for; Unauthorized where it is no good."""
    try:
        if len(raw) > MAX_CHARS:
            raise signing.BadSignature
        claims = signing.loads(raw, salt=_SALT, max_age=SECONDS)
    except signing.BadSignature as fault:
        raise Unauthorized(BAD) from fault
    if (claims["collection"], claims["record"]) != (collection_id, record_id):
        raise Unauthorized(BAD)
    try:
        realm = realms.get(claims["realm"])
    except NotFound as fault:  # the auth collection is gone
        raise Unauthorized(BAD) from fault
    account = realm.get(claims["account"])
    if account is None or not account.is_active or account.credential_stamp() != claims["stamp"]:
        raise Unauthorized(BAD)
    sign_in = claims["sign_in"]
    if sign_in and not SignIn.objects.of(account).filter(pk=sign_in, revoked=None).exists():
        raise Unauthorized(BAD)
    return realm.principal(account)
