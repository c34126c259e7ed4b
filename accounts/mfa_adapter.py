"""What allauth's MFA leaves to us: secrets are encrypted at rest, and QR codes can be read on dark pages."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Adapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return _box(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _box(settings.SECRET_KEY).decrypt(encrypted_text).decode()

    def build_totp_svg(self, url: str) -> str:
        import qrcode  # neither is needed before somebody sets up an app
        from qrcode.image.svg import SvgPathFillImage

        drawn = BytesIO()
        qrcode.make(url, image_factory=SvgPathFillImage).save(drawn)
        return drawn.getvalue().decode()


@lru_cache(maxsize=2)
def _box(secret_key: str) -> Fernet:
    from cryptography.fernet import Fernet  # 7 MB

    key = salted_hmac("accounts.mfa", "at rest", secret=secret_key, algorithm="sha256").digest()
    return Fernet(urlsafe_b64encode(key))
