"""Signing in. Every path that gives tokens to a person ends in :func:`admit`, which asks for the second factor."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts import passwords, realms, tokens, tries, two_factor
from accounts.models.owned import Account
from accounts.realms import Realm
from accounts.tokens import Client, TokenPair
from core.errors import Conflict, Forbidden, Unauthorized, ValidationFailed
from core.ratelimit import client_key

BAD_LOGIN = "Incorrect username/email or password"
DISABLED = "This account is disabled."
WRONG_PASSWORD = "Incorrect password"  # noqa: S105 - a sentence


@dataclass(frozen=True, slots=True)
class SignedIn:
    account: Account
    tokens: TokenPair


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that waits for a code; ``challenge`` is what the client completes it with."""

    account: Account
    challenge: str
    by_mail: bool


def log_in(realm: Realm, identifier: str, password: str, client: Client) -> SignedIn | Pending:
    """The tokens, or the challenge, of these credentials; Forbidden where the account is disabled."""
    return admit(identify(realm, identifier, password), "password", client)


def identify(realm: Realm, identifier: str, password: str) -> Account:
    """The account of these credentials, disabled ones too.

    Whatever is wrong is the same Unauthorized after the same work. A password
    that was hashed in an older way is hashed anew, which ends what was signed in before.
    """
    account = realm.find(identifier)
    if not passwords.is_right(account, password) or account is None:
        raise Unauthorized(BAD_LOGIN)
    if not passwords.is_old(account.password):
        return account
    try:
        return realm.renew_hash(account, make_password(password))
    except Conflict:  # somebody else was quicker
        renewed = realm.get(account.account_id)
        if not passwords.is_right(renewed, password) or renewed is None:
            raise Unauthorized(BAD_LOGIN) from None
        return renewed


def admit(account: Account, method: str, client: Client) -> SignedIn | Pending:
    """Sign in somebody who has shown who they are by ``method``, or ask them for the second factor.

    Forbidden where the account is disabled.
    """
    if not account.is_active:
        raise Forbidden(DISABLED)
    if account.two_fa_enabled:
        asked = two_factor.challenge(account, method, client_key(client.address))
        return Pending(account, asked.raw, asked.by_mail)
    return _open(account, method, client)


def complete(realm: Realm, code: str, client: Client, *, challenge: str = "", account_id: str = "") -> SignedIn:
    """Sign in with the code of a challenge, or of the newest one that this client has for the account.

    Unauthorized for a bad one, Forbidden where the account is disabled.
    """
    account, method = two_factor.answer(
        realm, code, challenge=challenge, account_id=account_id, client=client_key(client.address)
    )
    if not account.is_active:
        raise Forbidden(DISABLED)
    return _open(account, f"{method}+2fa", client)


def change_password(account: Account, current: str, new: str, client: Client) -> SignedIn:
    """Set an acceptable new password; all that was signed in ends, and the caller starts anew.

    ValidationFailed for a wrong current one, Conflict where the account was changed meanwhile.
    """
    if not tries.is_current(account, current):
        raise ValidationFailed(fields={"current_password": [WRONG_PASSWORD]})
    encoded = make_password(new)
    with transaction.atomic():
        account = realms.of(account).set_hash(account, encoded)
        return SignedIn(account, tokens.issue(account, "password", client))


def _open(account: Account, method: str, client: Client) -> SignedIn:
    with transaction.atomic():
        realms.of(account).note_sign_in(account)
        return SignedIn(account, tokens.issue(account, method, client))
