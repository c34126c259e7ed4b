"""What the OAuth endpoints take."""

from __future__ import annotations

import re

from django.core.validators import RegexValidator

from accounts.oauth import redirects
from core.serializers import Secret, StrictSerializer, Text

MAX_TOKEN = 200
CHALLENGE = RegexValidator(re.compile(r"\A[A-Za-z0-9_-]{43}\Z"), "The S256 challenge of RFC 7636: 43 characters.")


class BeginSerializer(StrictSerializer):
    """The query of ``/login``."""

    collection = Text(required=False, max_length=100)
    redirect_to = Text(required=False, max_length=redirects.MAX_CHARS)
    invite_code = Text(required=False, max_length=64)
    code_challenge = Text(required=False, validators=[CHALLENGE])
    link = Text(required=False, max_length=MAX_TOKEN)

    def validate_redirect_to(self, url: str) -> str:
        return redirects.allowed(url)


class ExchangeSerializer(StrictSerializer):
    code = Secret(max_length=MAX_TOKEN)
    collection = Text(required=False, allow_blank=True, max_length=100)
    code_verifier = Secret(required=False, max_length=128)


class StartLinkSerializer(StrictSerializer):
    redirect_to = Text(required=False, max_length=redirects.MAX_CHARS)

    def validate_redirect_to(self, url: str) -> str:
        return redirects.allowed(url)


class LinkSerializer(StrictSerializer):
    code = Secret(max_length=MAX_TOKEN)
