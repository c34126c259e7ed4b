"""E-mail addresses: whatever their case they are one, and it is lower case that is kept."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

MAX_CHARS = 254  # RFC 5321, and our columns


def email_address(text: str) -> str:
    """The address as it is kept; Django's ValidationError for what is none.

    It is measured as it is kept: some letters become two when lowered. Before the @
    are ASCII letters; those that only a comparison without case takes for them (ı, ſ,
    the Kelvin sign) are not.
    """
    address = text.strip()
    kept = address.lower()
    if len(kept) > MAX_CHARS or not address.rpartition("@")[0].isascii():
        raise ValidationError(validate_email.message, code="invalid")
    validate_email(kept)
    return kept
