"""The second factor: a code by mail, or of an authenticator app.

A sign-in that needs one becomes a challenge. Its secret is with the client that
signs in; the code comes by mail, made when the mail is sent, or from the account's
app. A challenge takes five tries, ends with the next one of its account, and with
any change of the account's password, e-mail, role or token key.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import mailing, passwords, realms, totp
from accounts.models import Challenge, SignIn
from accounts.models.owned import Account
from accounts.realms import Realm
from core import clock
from core.errors import BadRequest, Unauthorized

BAD_CODE = "Invalid or expired 2FA code"
TRIES = 5
NOT_VERIFIED = "Please verify your email before enabling 2FA"
ALREADY_ON = "2FA is already enabled"
NOT_ON = "2FA is not enabled"
WRONG_PASSWORD = "Incorrect password"  # noqa: S105 - a sentence


def challenge(account: Account, method: str) -> tuple[str, bool]:
    """A new challenge for a sign-in by ``method``: its secret, and whether the code comes by mail."""
    by_mail = not totp.is_on(account)
    raw = secrets.token_urlsafe(32)
    now = clock.now()
    with transaction.atomic():
        Challenge.objects.filter(expires__lt=now).delete()
        Challenge.objects.of(account).delete()
        made = Challenge.objects.create(
            realm=account.realm_key,
            account_id=account.account_id,
            digest=_digest(raw),
            stamp=account.credential_stamp(),
            method=method,
            created=now,
            expires=now + timedelta(minutes=settings.TWO_FA_CODE_EXPIRE_MINUTES),
        )
        if by_mail:
            mailing.post("two_fa_code", account, data={"challenge": str(made.pk)})
    return raw, by_mail


def answer(realm: Realm, code: str, *, challenge: str = "", account_id: str = "") -> tuple[Account, str]:
    """Whose challenge the code answers, and by which method they sign in; Unauthorized for any other code.

    The try is counted before the code is looked at, so more than five never are,
    however many come at once.
    """
    now = clock.now()
    open_ones = Challenge.objects.filter(realm=realm.key, expires__gt=now, attempts__lt=TRIES)
    wanted = open_ones.filter(digest=_digest(challenge)) if challenge else open_ones.filter(account_id=account_id)
    found = wanted.order_by("-created").first()
    if found is None or not open_ones.filter(pk=found.pk).update(attempts=F("attempts") + 1):
        raise Unauthorized(BAD_CODE)
    account = realm.get(found.account_id)
    if account is None or account.credential_stamp() != found.stamp or not _is_right(account, found, code):
        raise Unauthorized(BAD_CODE)
    if not Challenge.objects.filter(pk=found.pk).delete()[0]:  # somebody was quicker with the same code
        raise Unauthorized(BAD_CODE)
    return account, found.method


def mail_code(challenge_id: str) -> str | None:
    """The code of a challenge, made now; None when the challenge is over. An earlier code ends."""
    code = f"{secrets.randbelow(1_000_000):06}"
    marked = Challenge.objects.filter(pk=challenge_id, expires__gt=clock.now()).update(
        code_digest=_code_digest(challenge_id, code)
    )
    return code if marked else None


def enable(account: Account, keep: object = None) -> None:
    """Ask for a mailed code from now on. Whoever is signed in but ``keep``, a sign-in's id, has to sign in again."""
    if account.two_fa_enabled:
        raise BadRequest(ALREADY_ON)
    if not account.verified:
        raise BadRequest(NOT_VERIFIED)
    with transaction.atomic():
        realms.of(account).set_two_fa(account, True)
        SignIn.objects.of(account).filter(revoked=None).exclude(pk=keep).update(revoked=clock.now())
        mailing.post("two_fa_enabled", account)


def disable(account: Account, password: str) -> None:
    """No second factor any more, of any kind; asks for the password (Unauthorized)."""
    if not passwords.is_right(account, password):
        raise Unauthorized(WRONG_PASSWORD)
    if not account.two_fa_enabled:
        raise BadRequest(NOT_ON)
    with transaction.atomic():
        realms.of(account).set_two_fa(account, False)
        totp.remove(account)
        Challenge.objects.of(account).delete()
        mailing.post("two_fa_disabled", account)


def _is_right(account: Account, found: Challenge, code: str) -> bool:
    if totp.is_on(account):
        return totp.accepts(account, code)
    return bool(found.code_digest) and constant_time_compare(found.code_digest, _code_digest(str(found.pk), code))


def _digest(raw: str) -> str:
    return hashlib.sha256(raw[:200].encode(errors="replace")).hexdigest()


def _code_digest(challenge_id: str, code: str) -> str:
    """Six digits are soon tried out, so the key of the installation is in it."""
    return salted_hmac("accounts.two_factor", f"{challenge_id}:{code}", algorithm="sha256").hexdigest()
