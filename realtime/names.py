"""What those who are here are called: by a name of their own choice, or by their account's."""

from __future__ import annotations

from typing import Any

from accounts.principals import STAFF_COLLECTION, Principal
from core.errors import ValidationFailed

MAX_USER_ID, MAX_NAME = 128, 100


def checked(name: Any, field: str, most: int = MAX_NAME) -> str:
    """The name that a client gives; ValidationFailed unless it is ``most`` printable characters at the most."""
    if not isinstance(name, str) or not 1 <= len(name) <= most or not name.isprintable() or name.isspace():
        raise ValidationFailed(fields={field: [f"Must be 1 to {most} printable characters."]})
    return name


def id_of(principal: Principal) -> str:
    """What names an account to others: its id, and before it the auth collection where it is of one.

    Ids of records can be chosen, so without its collection one could be taken for somebody else's.
    """
    return principal.id if principal.collection == STAFF_COLLECTION else f"{principal.collection}:{principal.id}"


def name_of(principal: Principal) -> str:
    """How an account wants to be called; never its address."""
    for field in ("name", "username"):
        name = principal.fields.get(field)
        if isinstance(name, str) and name.strip():
            return name.strip()[:MAX_USER_ID]
    return id_of(principal)
