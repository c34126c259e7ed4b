"""What happens by mail: an address is verified or changed, a password is reset."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction
from rest_framework import serializers

from accounts import invites, mailing, one_time, realms, reclaim, tries, two_factor
from accounts.mailing import Draft, template
from accounts.models import Invite
from accounts.models.owned import Account
from accounts.oauth.providers import name_of
from accounts.one_time import Purpose
from accounts.principals import STAFF_COLLECTION
from accounts.realms import Realm
from core.errors import BadRequest, Conflict, ValidationFailed

HOUR = 3600  # seconds
MAX_LINKS_AN_HOUR = 5  # of one kind to one account, and to one new address whoever asks for it


def send_verification(account: Account) -> None:
    """Mail a link that proves the address; nothing where it is proved."""
    if not account.verified:
        mailing.post("verify", account)


def request_verification(realm: Realm, email: str) -> None:
    """Mail the link again, if there is such an account and it needs one; nobody can tell."""
    account = realm.find(email) if "@" in email else None
    if account is None or account.verified or not account.is_active:
        account = None
    mailing.post("verify", account)


def verify(token: str, realm: Realm | None = None) -> Account:
    """The account whose address is now proved; BadRequest for a bad token, or one of another realm than wanted."""
    with transaction.atomic():
        account = one_time.use(token, Purpose.VERIFY, realm).account
        return realms.of(account).set_verified(account)


def request_reset(realm: Realm, email: str) -> None:
    """Mail a link to set a new password, if there is such an account; nobody can tell."""
    account = realm.find(email) if "@" in email else None
    if account is not None and not account.is_active:
        account = None
    mailing.post("reset", account)


def reset(token: str, password: str, wanted: Realm | None = None) -> Account:
    """Set a new password. BadRequest as in :func:`verify`, DRF's ValidationError for a bad password.

    Who got the mail has proved the address too. No linked provider signs in any more: whoever
    linked it need not have been the owner, and one that vouches for the address links itself anew.
    """
    account = one_time.peek(token, Purpose.RESET, wanted).account
    realm = realms.of(account)
    try:
        realm.check_new_password(password, account)
    except serializers.ValidationError as fault:
        raise serializers.ValidationError({"new_password": fault.detail}) from fault
    encoded = make_password(password)
    with transaction.atomic():
        account = one_time.use(token, Purpose.RESET).account
        reclaim.unlink(account)
        if not account.verified:
            reclaim.shut(account)
            account = realm.set_verified(account)
        account = realm.set_hash(account, encoded)
        mailing.post("password_changed", account)
    return account


def request_email_change(account: Account, password: str, email: str) -> None:
    """Mail a link to the new address, if it is free; nobody can tell whether it was."""
    if not tries.is_current(account, password):
        raise ValidationFailed(fields={"password": ["Incorrect password"]})
    post_email_change(account, email)


def post_email_change(account: Account, email: str) -> None:
    """The same for somebody who has shown the password."""
    free = realms.of(account).find(email) is None
    data = {"email": email, "stamp": account.credential_stamp()}
    mailing.post("change_email", account if free else None, to=email if free else "", data=data)


def change_email(token: str, realm: Realm | None = None) -> Account:
    """The account with its new address; BadRequest as in :func:`verify`, and for an address taken meanwhile."""
    try:
        with transaction.atomic():
            used = one_time.use(token, Purpose.CHANGE_EMAIL, realm)
            former = used.account.email
            account = realms.of(used.account).set_email(used.account, used.data["email"])
            mailing.post("email_changed", account, to=former)
            return account
    except Conflict as fault:
        raise BadRequest(one_time.BAD) from fault


# --- what the templates are filled with, when a mail is sent ---------------------------------


def _link(path: str, **query: str) -> str:
    return f"{settings.BASE_URL}/{path}" + (f"?{urlencode(query)}" if query else "")


def _link_with_token(path: str, account: Account, purpose: Purpose, data: dict[str, Any] | None = None) -> str:
    """A link of an auth collection names it, so that the page can offer a new one when the token is dead."""
    return _link(path, token=one_time.make(account, purpose, data), **_named(account))


def _is_enough(draft: Draft, purpose: Purpose) -> bool:
    """Whether the account has had its mails of this kind: nobody fills somebody's box, or ends each link with another.

    Asked here, where no answer tells. A mail that is tried again was let through before.
    """
    return draft.mail.attempts == 1 and one_time.made_lately(_to(draft), purpose) >= MAX_LINKS_AN_HOUR


def _named(account: Account) -> dict[str, str]:
    realm = realms.of(account)
    return {} if realm.key == STAFF_COLLECTION else {"collection": realm.name}


def _to(draft: Draft) -> Account:
    assert draft.account is not None  # these are posted for an account, or dropped
    return draft.account


@template("verify")
def _verify(draft: Draft) -> Mapping[str, Any] | None:
    account = _to(draft)
    if account.verified or _is_enough(draft, Purpose.VERIFY):
        return None
    return {"account": account, "link": _link_with_token("verify", account, Purpose.VERIFY)}


@template("reset")
def _reset(draft: Draft) -> Mapping[str, Any] | None:
    account = _to(draft)
    if not account.is_active or _is_enough(draft, Purpose.RESET):
        return None
    return {"account": account, "link": _link_with_token("reset-password", account, Purpose.RESET)}


@template("change_email")
def _change_email(draft: Draft) -> Mapping[str, Any] | None:
    """Nothing where the password, the address or the role changed since it was asked for: the mail may be late."""
    account = _to(draft)
    email = draft.mail.data["email"]
    if draft.mail.data["stamp"] != account.credential_stamp() or _is_enough(draft, Purpose.CHANGE_EMAIL):
        return None
    if draft.mail.attempts == 1 and tries.mails_to(email, HOUR) > MAX_LINKS_AN_HOUR:
        return None
    link = _link_with_token("change-email", account, Purpose.CHANGE_EMAIL, {"email": email})
    return {"account": account, "email": email, "link": link}


@template("two_fa_code")
def _two_fa_code(draft: Draft) -> Mapping[str, Any] | None:
    code = two_factor.mail_code(draft.mail.data["challenge"])
    if code is None:
        return None
    return {"account": _to(draft), "code": code, "minutes": settings.TWO_FA_CODE_EXPIRE_MINUTES}


@template("two_fa_test")
def _two_fa_test(draft: Draft) -> Mapping[str, Any]:
    return {"account": _to(draft), "code": f"{secrets.randbelow(1_000_000):06}"}


@template("invite")
def _invite(draft: Draft) -> Mapping[str, Any] | None:
    invite = Invite.objects.filter(pk=draft.mail.data["invite"], used_at=None).select_related("created_by").first()
    code = None if invite is None else invites.known_code(invite)
    if invite is None or code is None:
        return None
    inviter = " ".join(invite.created_by.get_full_name().split()) if invite.created_by else ""
    return {"invite": invite, "inviter": inviter, "code": code, "link": _link("register", invite=code)}


def _notice(draft: Draft) -> Mapping[str, Any]:
    account = _to(draft)
    return {"account": account, "reset_link": _link("reset-password", **_named(account))}


@template("identity_linked")
@template("identity_unlinked")
def _of_identity(draft: Draft) -> Mapping[str, Any]:
    return {"account": _to(draft), "provider": name_of(draft.mail.data["provider"])}


for _name in ("welcome", "password_changed", "email_changed", "two_fa_enabled", "two_fa_disabled"):
    template(_name)(_notice)
