"""Somebody whom a provider vouches for arrives in a realm: whose account is it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction

from accounts import reclaim
from accounts.models import ExternalIdentity, normalise_email
from accounts.models.owned import Account
from accounts.oauth.providers import name_of
from accounts.realms import Realm
from accounts.sign_in import DISABLED
from core import clock
from core.errors import Conflict, Forbidden, ValidationFailed


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is at a provider. Only ``provider``, ``issuer`` and ``subject`` say so; all else may change.

    ``profile`` has ``name``, ``username`` and ``avatar_url``, empty where unknown.
    """

    provider: str
    subject: str
    issuer: str = ""
    email: str = ""
    email_verified: bool = False
    profile: Mapping[str, str] = field(default_factory=dict)


def arrive(realm: Realm, person: Person, invite_code: str = "") -> Account:
    """The person's account: the linked one, the one with their address, or a new one.

    By address only where both sides have verified it; an account whose address was
    never verified is taken over by who has. Forbidden where the account is disabled
    or no new one may be made, Conflict where the address is somebody's and not proved,
    ValidationFailed without an address or with a bad invitation.
    """
    account = _known(realm, person)
    if account is None:
        try:
            with transaction.atomic():
                account = _by_address(realm, person) or _newcomer(realm, person, invite_code)
                _remember(account, person)
        except (Conflict, IntegrityError):
            account = _known(realm, person)  # they came by another window at the same time
            if account is None:
                raise
    if not account.is_active:
        raise Forbidden(DISABLED)
    return account


def link(account: Account, person: Person) -> ExternalIdentity:
    """Let the person sign in as this account; Conflict where they sign in as another one of its realm."""
    found = linked(account.realm_key, person)
    if found is None:
        try:
            with transaction.atomic():
                return _remember(account, person)
        except IntegrityError as fault:
            raise Conflict(taken(person)) from fault
    if found.account_id != account.account_id:
        raise Conflict(taken(person))
    return found


def linked(realm_key: str, person: Person) -> ExternalIdentity | None:
    """What is known of the person in a realm."""
    found: ExternalIdentity | None = ExternalIdentity.objects.filter(
        realm=realm_key, provider=person.provider, issuer=person.issuer, subject=person.subject
    ).first()
    return found


def taken(person: Person) -> str:
    return f"This {name_of(person.provider)} account is linked to another account already."


def _known(realm: Realm, person: Person) -> Account | None:
    found = linked(realm.key, person)
    if found is None:
        return None
    account = realm.get(found.account_id)
    if account is None:
        found.delete()  # the account is deleted, and the person as new as anybody
        return None
    ExternalIdentity.objects.filter(pk=found.pk).update(email=person.email, last_login=clock.now())
    return account


def _by_address(realm: Realm, person: Person) -> Account | None:
    account = realm.find(person.email) if person.email else None
    if account is None or normalise_email(account.email) != normalise_email(person.email):
        return None
    if not person.email_verified:
        raise Conflict(
            f"There is an account with this address, and {name_of(person.provider)} does not say that the address "
            "is yours. Sign in with your password and link them."
        )
    if not account.is_active:
        raise Forbidden(DISABLED)
    return account if account.verified else reclaim.take_over(account)


def _newcomer(realm: Realm, person: Person, invite_code: str) -> Account:
    if not person.email:
        raise ValidationFailed(
            f"{name_of(person.provider)} did not tell your e-mail address, which an account needs. Make it known "
            "there, or register with a password and link them."
        )
    return realm.adopt(person.email, verified=person.email_verified, profile=person.profile, invite_code=invite_code)


def _remember(account: Account, person: Person) -> ExternalIdentity:
    now = clock.now()
    return ExternalIdentity.objects.create(
        realm=account.realm_key,
        account_id=account.account_id,
        provider=person.provider,
        issuer=person.issuer,
        subject=person.subject,
        email=person.email[:254],
        created=now,
        last_login=now,
    )
