"""The second factor: a code by mail, or of an authenticator app.

A sign-in that needs one becomes a challenge. Its secret is with the client that
signs in, or its id in the session of the browser that does; the code comes by mail,
made when the mail is sent, or from the account's app. A challenge takes five tries,
ends with the next one of its account, and with any change of the account's password,
e-mail, role or token key. Who knows a password and goes on guessing codes, challenge
after challenge, is stopped for a while.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Min, Sum
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import mailing, realms, totp, tries
from accounts.models import Challenge, SignIn
from accounts.models.owned import Account
from accounts.realms import Realm
from core import clock
from core.errors import BadRequest, NotFound, RateLimited, Unauthorized

BAD_CODE = "Invalid or expired 2FA code"
NOT_VERIFIED = "Please verify your email before enabling 2FA"
ALREADY_ON = "2FA is already enabled"
NOT_ON = "2FA is not enabled"
WRONG_PASSWORD = "Incorrect password"  # noqa: S105 - a sentence
BY_APP = "The codes of this account come from its authenticator app"
NO_APP = "Recovery codes belong to an authenticator app: set one up first"
ONLY_USERS = "Authenticator apps are for accounts of users; here codes come by mail."

TRIES = 5
RESENDS, PAUSE = 3, timedelta(seconds=30)
GUESSES, MEMORY = 25, timedelta(hours=1)  # wrong codes after the right password, over all challenges

BROWSER = "admin"  # the method of a challenge that only the browser which began it may answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A new challenge. ``raw`` is for the client alone, ``id`` may be kept on the server."""

    id: str
    raw: str
    by_mail: bool


@dataclass(frozen=True, slots=True)
class Status:
    """``method`` is ``email``, ``totp`` or None."""

    enabled: bool
    method: str | None
    recovery_codes_left: int


# --- a sign-in that needs a code -------------------------------------------------------------


def challenge(account: Account, method: str, client: str = "") -> Asked:
    """A new challenge for a sign-in by ``method`` from ``client``; the account's earlier ones end.

    RateLimited after too many wrong codes.
    """
    by_mail = not totp.is_on(account)
    raw = secrets.token_urlsafe(32)
    now = clock.now()
    with transaction.atomic():
        Challenge.objects.filter(expires__lt=now - MEMORY).delete()
        _stop_guessing(account, now)
        _end(account, now)
        made = Challenge.objects.create(
            realm=account.realm_key,
            account_id=account.account_id,
            digest=_digest(raw),
            stamp=account.credential_stamp(),
            method=method,
            client=client,
            created=now,
            sent=now,
            expires=now + timedelta(minutes=settings.TWO_FA_CODE_EXPIRE_MINUTES),
        )
        if by_mail:
            _mail(account, made)
    return Asked(str(made.pk), raw, by_mail)


def answer(
    realm: Realm, code: str, *, challenge: str = "", account_id: str = "", challenge_id: str = "", client: str = ""
) -> tuple[Account, str]:
    """Whose challenge the code answers, and by which method they sign in; Unauthorized for any other code.

    The challenge is named by its secret, by its id, or by its account (whose newest it
    is) where ``client`` asked for it: ids of accounts are no secret, and nobody else
    is to use up its tries. The try is counted before the code is looked at, so more than five never
    are, however many come at once.
    """
    open_ones = _open(realm).filter(attempts__lt=TRIES)
    if challenge:
        wanted = open_ones.filter(digest=_digest(challenge))
    elif challenge_id:
        wanted = open_ones.filter(pk=challenge_id)
    else:
        wanted = open_ones.filter(account_id=account_id, client=client).exclude(method=BROWSER)
    found = wanted.order_by("-created").first()
    if found is None or not open_ones.filter(pk=found.pk).update(attempts=F("attempts") + 1):
        raise Unauthorized(BAD_CODE)
    account = _account_of(realm, found)
    if account is None or not _is_right(account, found, code):
        raise Unauthorized(BAD_CODE)
    if not _open(realm).filter(pk=found.pk).delete()[0]:  # somebody was quicker with the same code
        raise Unauthorized(BAD_CODE)
    return account, found.method


def resend(realm: Realm, *, challenge: str = "", challenge_id: str = "") -> Account:
    """Mail another code for a challenge; the one before ends at once, its tries are not given back.

    Unauthorized where the challenge is over, BadRequest where codes come from an
    app, RateLimited after three, and within half a minute.
    """
    now = clock.now()
    which: dict[str, Any] = {"digest": _digest(challenge)} if challenge else {"pk": challenge_id}
    found = _open(realm).filter(attempts__lt=TRIES, **which).first()
    account = None if found is None else _account_of(realm, found)
    if found is None or account is None:
        raise Unauthorized(BAD_CODE)
    if totp.is_on(account):
        raise BadRequest(BY_APP)
    with transaction.atomic():
        due = Challenge.objects.filter(pk=found.pk, resends__lt=RESENDS, sent__lte=now - PAUSE)
        if due.update(resends=F("resends") + 1, sent=now, code_digest=""):
            _mail(account, found)
            return account
    found.refresh_from_db()
    if found.resends >= RESENDS:
        raise _later("No more codes for this sign-in. Please sign in again.", found.expires - now)
    raise _later("A code was sent a moment ago.", found.sent + PAUSE - now)


def waiting(challenge_id: str) -> Challenge | None:
    """The challenge of this id, while it may be answered."""
    return _open(realms.staff()).filter(attempts__lt=TRIES, pk=challenge_id).first()


def mail_code(challenge_id: str) -> str | None:
    """The code of a challenge, made now; None when the challenge is over. An earlier code ends."""
    code = f"{secrets.randbelow(1_000_000):06}"
    marked = Challenge.objects.filter(pk=challenge_id, expires__gt=clock.now()).update(
        code_digest=_code_digest(challenge_id, code)
    )
    return code if marked else None


# --- what an account asks for ----------------------------------------------------------------


def status(account: Account) -> Status:
    """Whether sign-ins need a code, from where, and how many recovery codes are left."""
    if not account.two_fa_enabled:
        return Status(False, None, 0)
    by_app = totp.is_on(account)
    return Status(True, "totp" if by_app else "email", totp.recovery_codes_left(account) if by_app else 0)


def enable(account: Account, keep: uuid.UUID | None = None) -> None:
    """Ask for a mailed code from now on. Whoever is signed in but ``keep``, a sign-in's id, has to sign in again."""
    if account.two_fa_enabled:
        raise BadRequest(ALREADY_ON)
    if not account.verified:
        raise BadRequest(NOT_VERIFIED)
    with transaction.atomic():
        _turn_on(account, keep)


def begin_app(account: Account, password: str) -> totp.SetUp:
    """What an authenticator app needs to know; nothing changes until :func:`confirm_app`.

    NotFound where the realm has no such thing, Unauthorized for a wrong password,
    BadRequest before the address is verified.
    """
    if not realms.of(account).has_totp:
        raise NotFound(ONLY_USERS)
    _ask_password(account, password)
    if not account.verified:
        raise BadRequest(NOT_VERIFIED)
    return totp.begin(account)


def confirm_app(account: Account, code: str, keep: uuid.UUID | None = None) -> list[str]:
    """Take codes from the app, whose first one this is, instead of mail; answers the recovery codes.

    NotFound where the realm has no such thing, Unauthorized for any other code.
    All that is signed in but ``keep`` ends.
    """
    if not realms.of(account).has_totp:
        raise NotFound(ONLY_USERS)
    with transaction.atomic():
        codes = totp.confirm(account, code)
        if codes is None:
            raise Unauthorized(BAD_CODE)
        _turn_on(account, keep)
    return codes


def renew_recovery_codes(account: Account, password: str) -> list[str]:
    """New recovery codes; the old ones end. Errors as of :func:`begin_app`, and BadRequest without an app."""
    if not realms.of(account).has_totp:
        raise NotFound(ONLY_USERS)
    _ask_password(account, password)
    if not totp.is_on(account):
        raise BadRequest(NO_APP)
    with transaction.atomic():
        realms.of(account).hold(account)
        return totp.renew_recovery_codes(account)


def disable(account: Account, password: str) -> None:
    """No second factor any more, of any kind; asks for the password.

    Unauthorized for a wrong one, Conflict where the account was changed meanwhile.
    """
    _ask_password(account, password)
    if not account.two_fa_enabled:
        raise BadRequest(NOT_ON)
    with transaction.atomic():
        realms.of(account).hold(account)
        lift(account)


def lift(account: Account) -> None:
    """No second factor any more, by word of an admin: for who has lost their phone and their recovery codes."""
    with transaction.atomic():
        realms.of(account).set_two_fa(account, False)
        totp.remove(account)
        _end(account, clock.now())
        mailing.post("two_fa_disabled", account)


def _turn_on(account: Account, keep: uuid.UUID | None) -> None:
    now = clock.now()
    realms.of(account).set_two_fa(account, True)
    SignIn.objects.of(account).filter(revoked=None).exclude(pk=keep).update(revoked=now)
    _end(account, now)
    mailing.post("two_fa_enabled", account)


def _ask_password(account: Account, password: str) -> None:
    if not tries.is_current(account, password):
        raise Unauthorized(WRONG_PASSWORD)


# --- challenges ------------------------------------------------------------------------------


def _open(realm: Realm) -> Any:
    return Challenge.objects.filter(realm=realm.key, expires__gt=clock.now())


def _end(account: Account, now: datetime) -> None:
    """End the account's challenges; the tries that they took are remembered for a while."""
    Challenge.objects.of(account).filter(expires__gt=now).update(expires=now, code_digest="")


def _stop_guessing(account: Account, now: datetime) -> None:
    """RateLimited where the account's challenges took too many wrong codes. A new password begins anew."""
    recent = Challenge.objects.of(account).filter(created__gt=now - MEMORY, stamp=account.credential_stamp())
    taken = recent.filter(attempts__gt=0).aggregate(wrong=Sum("attempts"), first=Min("created"))
    if (taken["wrong"] or 0) >= GUESSES:
        raise _later("Too many wrong codes. Please try again later.", taken["first"] + MEMORY - now)


def _account_of(realm: Realm, found: Challenge) -> Account | None:
    """Whose challenge it is, unless their credentials have changed since."""
    account = realm.get(found.account_id)
    return account if account is not None and account.credential_stamp() == found.stamp else None


def _is_right(account: Account, found: Challenge, code: str) -> bool:
    if totp.is_on(account):
        return totp.accepts(account, code)
    return bool(found.code_digest) and constant_time_compare(found.code_digest, _code_digest(str(found.pk), code))


def _mail(account: Account, found: Challenge) -> None:
    mailing.post("two_fa_code", account, data={"challenge": str(found.pk)})


def _later(message: str, wait: timedelta) -> RateLimited:
    return RateLimited(message, headers={"Retry-After": str(max(1, ceil(wait.total_seconds())))})


def _digest(raw: str) -> str:
    return hashlib.sha256(raw[:200].encode(errors="replace")).hexdigest()


def _code_digest(challenge_id: str, code: str) -> str:
    """Six digits are soon tried out, so the key of the installation is in it."""
    return salted_hmac("accounts.two_factor", f"{challenge_id}:{code}", algorithm="sha256").hexdigest()
