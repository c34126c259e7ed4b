"""What allauth's MFA leaves to us: secrets are encrypted at rest, and QR codes can be read on dark pages."""

from __future__ import annotations

from io import BytesIO

from allauth.mfa.adapter import DefaultMFAAdapter

from core import secret_box
from settings_app import values
from settings_app.declared import SITE_NAME


class Adapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return secret_box.seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return secret_box.unseal(encrypted_text)

    def get_totp_issuer(self) -> str:
        return str(values.get(SITE_NAME))

    def build_totp_svg(self, url: str) -> str:
        import qrcode  # not needed before somebody sets up an app
        from qrcode.image.svg import SvgPathFillImage

        drawn = BytesIO()
        qrcode.make(url, image_factory=SvgPathFillImage).save(drawn)
        return drawn.getvalue().decode()
