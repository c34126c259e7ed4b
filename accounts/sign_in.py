"""Signing in. Every path that gives tokens to a person ends in :func:`admit`, which asks for the second factor."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from accounts import passwords, realms, tokens, two_factor
from accounts.models.owned import Account
from accounts.realms import Realm
from accounts.tokens import Client, TokenPair
from core.errors import Forbidden, Unauthorized, ValidationFailed

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
    """The account of these credentials.

    Whatever is wrong is the same Unauthorized after the same time; only who knows
    the password learns that the account is disabled (Forbidden).
    """
    account = realm.find(identifier)
    if not passwords.is_right(account, password) or account is None:
        raise Unauthorized(BAD_LOGIN)
    return admit(account, "password", client)


def admit(account: Account, method: str, client: Client) -> SignedIn | Pending:
    """Sign in somebody who has shown who they are by ``method``, or ask them for the second factor.

    Forbidden where the account is disabled.
    """
    if not account.is_active:
        raise Forbidden(DISABLED)
    if account.two_fa_enabled:
        challenge, by_mail = two_factor.challenge(account, method)
        return Pending(account, challenge, by_mail)
    return _open(account, method, client)


def complete(realm: Realm, code: str, client: Client, *, challenge: str = "", account_id: str = "") -> SignedIn:
    """Sign in with the code of a challenge, or of that account's newest one. Unauthorized for a bad one."""
    account, method = two_factor.answer(realm, code, challenge=challenge, account_id=account_id)
    if not account.is_active:
        raise Forbidden(DISABLED)
    return _open(account, f"{method}+2fa", client)


def change_password(account: Account, current: str, new: str, client: Client) -> SignedIn:
    """Set an acceptable new password; all that was signed in ends, and the caller starts anew."""
    if not passwords.is_right(account, current):
        raise ValidationFailed(fields={"current_password": [WRONG_PASSWORD]})
    with transaction.atomic():
        account = realms.of(account).set_password(account, new)
        return SignedIn(account, tokens.issue(account, "password", client))


def _open(account: Account, method: str, client: Client) -> SignedIn:
    with transaction.atomic():
        realms.of(account).note_sign_in(account)
        return SignedIn(account, tokens.issue(account, method, client))
