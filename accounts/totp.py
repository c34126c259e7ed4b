"""Codes of an authenticator app, and recovery codes for when it is lost; only accounts of ``users`` have them.

They are rows of allauth's MFA, their secrets encrypted. A code works once: the
step of the last one is kept, and rows are locked while a code is looked at.
"""

from __future__ import annotations

import hmac
import logging
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import auth as recovery
from allauth.mfa.totp.internal import auth as app
from django.db import transaction

from accounts import one_time, realms
from accounts.models import User
from accounts.models.owned import Account
from accounts.one_time import Purpose
from core import clock

logger = logging.getLogger("fastcms.accounts")

_TOTP, _RECOVERY = Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES
_LETTERS = "bcdfghjklmnpqrstvwxz"  # no vowels, so no words; no digits, so none looks like a code of the app


@dataclass(frozen=True, slots=True)
class SetUp:
    """What an app is told: the secret, as a link and as a picture of it (a data URI)."""

    secret: str
    otpauth_url: str
    qr: str


def is_on(account: Account) -> bool:
    """Whether the account's codes come from an app."""
    return _has_app(account) and _rows(account).filter(type=_TOTP).exists()


def accepts(account: Account, code: str) -> bool:
    """Whether it is the app's code of now, or a recovery code; each works once."""
    with transaction.atomic():
        for row in _rows(account).select_for_update().order_by("pk"):
            if _use_step(row, code) if row.type == _TOTP else RecoveryCodes(row).validate_code(code):
                return True
    return False


def begin(account: Account) -> SetUp:
    """A secret for an app. It is kept for a quarter of an hour; the next one ends it."""
    secret = app.generate_totp_secret()
    adapter = get_adapter()
    one_time.make(account, Purpose.TOTP, {"secret": adapter.encrypt(secret)})
    url = adapter.build_totp_url(account, secret)
    picture = b64encode(adapter.build_totp_svg(url).encode()).decode()
    return SetUp(secret, url, f"data:image/svg+xml;base64,{picture}")


def confirm(account: Account, code: str) -> list[str] | None:
    """Inside a transaction: take the app whose code this is for the account's, and answer its recovery codes.

    None for any other code, and for all but one of those who send it at once.
    """
    pending = one_time.newest(account, Purpose.TOTP)
    if pending is None:
        return None
    secret = get_adapter().decrypt(pending.data["secret"])
    step = _step(secret, code)
    if step is None or not one_time.drop(pending):
        return None
    user = User.objects.select_for_update().get(pk=account.account_id)
    _rows(account).delete()
    data = {"secret": get_adapter().encrypt(secret), "last_step": step}
    Authenticator.objects.create(user=user, type=_TOTP, data=data)
    return renew_recovery_codes(account)


def renew_recovery_codes(account: Account) -> list[str]:
    """Ten new recovery codes; the old ones end."""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=account.account_id)
        _rows(account).filter(type=_RECOVERY).delete()
        codes: list[str] = RecoveryCodes.activate(user).generate_codes()
        return codes


def recovery_codes_left(account: Account) -> int:
    row = _rows(account).filter(type=_RECOVERY).first()
    return app_settings.RECOVERY_CODE_COUNT - row.data["used_mask"].bit_count() if row else 0


def remove(account: Account) -> None:
    """Forget the app and the recovery codes."""
    if _has_app(account):
        _rows(account).delete()


class RecoveryCodes(recovery.RecoveryCodes):
    """allauth's, in letters: ``bcdfg-hjklm`` is no code of an app, and 43 bits."""

    def generate_codes(self) -> list[str]:
        seed = _secret(self.instance, "seed")
        numbers = range(app_settings.RECOVERY_CODE_COUNT if seed else 0)
        return [_letters(hmac.digest(seed.encode(), b"%d" % number, "sha256")) for number in numbers]


def _letters(digest: bytes) -> str:
    number, letters = int.from_bytes(digest), ""
    for _ in range(10):
        number, digit = divmod(number, len(_LETTERS))
        letters += _LETTERS[digit]
    return f"{letters[:5]}-{letters[5:]}"


def _has_app(account: Account) -> bool:
    return realms.of(account).has_totp


def _rows(account: Account) -> Any:
    return Authenticator.objects.filter(user_id=account.account_id)


def _use_step(row: Authenticator, code: str) -> bool:
    step = _step(_secret(row, "secret"), code)
    if step is None or step <= row.data["last_step"]:
        return False
    row.data["last_step"] = step
    row.last_used_at = clock.now()
    row.save(update_fields=["data", "last_used_at"])
    return True


def _step(secret: str, code: str) -> int | None:
    """Of which step of now it is the code, the phone's clock being one off at most."""
    if not secret:
        return None
    now = int(clock.now().timestamp()) // app_settings.TOTP_PERIOD
    for step in range(now - app_settings.TOTP_TOLERANCE, now + app_settings.TOTP_TOLERANCE + 1):
        if compare_user_code(actual=code, expected=app.format_hotp_value(app.hotp_value(secret, step))):
            return step
    return None


def _secret(row: Authenticator, name: str) -> str:
    """Empty where it was stored under another SECRET_KEY."""
    from cryptography.fernet import InvalidToken

    try:
        secret: str = get_adapter().decrypt(row.data[name])
    except InvalidToken:
        logger.error("the second factor of account %s was stored under another SECRET_KEY", row.user_id)
        return ""
    return secret
