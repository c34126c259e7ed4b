"""Where a sign-in may end: at a page of ours, or of an origin that may call us."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.utils.crypto import constant_time_compare
from rest_framework.serializers import ValidationError

MAX_CHARS = 2000
_PORTS = {"http": 80, "https": 443}


def allowed(url: str) -> str:
    """The address as it was given; DRF's ValidationError unless its origin is that of BASE_URL or among CORS_ORIGINS.

    Only what every browser reads as we do is looked at any further.
    """
    is_plain = len(url) <= MAX_CHARS and url.isascii() and url.isprintable() and not set(url) & set(' \\"<>^`{|}')
    origin = _origin(url) if is_plain else None
    if origin is None or origin not in {_origin(known) for known in (settings.BASE_URL, *settings.ORIGINS)}:
        message = "This address is not allowed: its origin has to be BASE_URL's or among CORS_ORIGINS."
        raise ValidationError(message)
    return url


def with_query(url: str, **more: str) -> str:
    """The address with these parameters; of its own ones, those with the same name go."""
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in _OURS]
    return urlunsplit(parts._replace(query=urlencode([*kept, *more.items()])))


_OURS = frozenset({"code", "link", "error", "error_description"})


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def answers(verifier: str, challenge: str) -> bool:
    """Whether it is the verifier of an S256 challenge (RFC 7636); where none was made, there is none."""
    if not challenge:
        return not verifier
    digest = hashlib.sha256(verifier.encode(errors="replace")).digest()
    return constant_time_compare(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)
