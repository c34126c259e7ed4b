"""The ways in by providers that an account has; adding and removing them."""

from __future__ import annotations

from dataclasses import asdict

from django.contrib.auth.hashers import is_password_usable
from django.db import transaction

from accounts import mailing, one_time, realms
from accounts.models import ExternalIdentity, SignIn
from accounts.models.owned import Account, OwnedQuerySet
from accounts.oauth import arrival
from accounts.oauth.arrival import Person
from accounts.one_time import Purpose
from core import clock
from core.errors import BadRequest, Conflict, NotFound

NOT_VERIFIED = "Please verify your email before linking another account"
LAST = "This is the only way into your account. Set a password first."


def of(account: Account) -> OwnedQuerySet:
    return ExternalIdentity.objects.of(account).order_by("pk")


def ticket(account: Account, provider_id: str) -> str:
    """With which the account's browser begins the way to a provider; BadRequest before the address is verified."""
    _check_verified(account)
    return one_time.make(account, Purpose.LINK, {"provider": provider_id})


def whose(raw: str, provider_id: str) -> Account:
    """Whose ticket it is, used up; BadRequest for a bad one."""
    if one_time.peek(raw, Purpose.LINK).data["provider"] != provider_id:
        raise BadRequest(one_time.BAD)
    return one_time.use(raw, Purpose.LINK).account


def proof(account: Account, person: Person) -> str:
    """That the person went the way that this account began; Conflict where they are linked to another.

    It is for the account to present: the browser that came back may be that of somebody
    who was sent there.
    """
    found = arrival.linked(account.realm_key, person)
    if found is not None and found.account_id != account.account_id:
        raise Conflict(arrival.taken(person))
    return one_time.make(account, Purpose.LINKED, asdict(person))


def link(account: Account, raw: str) -> ExternalIdentity:
    """Add what is proved.

    BadRequest for a bad proof or somebody else's and before the address is verified,
    Conflict for somebody else's identity and where the account was changed meanwhile.
    """
    _check_verified(account)
    proved = one_time.peek(raw, Purpose.LINKED).account
    if (proved.realm_key, proved.account_id) != (account.realm_key, account.account_id):
        raise BadRequest(one_time.BAD)
    with transaction.atomic():
        used = one_time.use(raw, Purpose.LINKED)
        realms.of(account).hold(used.account)
        made = arrival.link(account, Person(**used.data))
        mailing.post("identity_linked", account, data={"provider": made.provider})
    return made


def unlink(account: Account, identity_id: str, keep: object = None) -> None:
    """Remove a way in, and end what came by it but ``keep``, a sign-in's id.

    NotFound, or Conflict where it is the account's only way in.
    """
    if not identity_id.isdecimal() or len(identity_id) > 18:
        raise NotFound
    with transaction.atomic():
        rows = {row.pk: row for row in of(account).select_for_update()}
        row = rows.pop(int(identity_id), None)
        if row is None:
            raise NotFound
        if not rows and not is_password_usable(account.password):
            raise Conflict(LAST)
        row.delete()
        by_it = [f"oauth:{row.provider}", f"oauth:{row.provider}+2fa"]
        SignIn.objects.of(account).filter(revoked=None, method__in=by_it).exclude(pk=keep).update(revoked=clock.now())
        mailing.post("identity_unlinked", account, data={"provider": row.provider})


def _check_verified(account: Account) -> None:
    """Until then it may be somebody else's address, who would find our provider linked when they come."""
    if not account.verified:
        raise BadRequest(NOT_VERIFIED)
