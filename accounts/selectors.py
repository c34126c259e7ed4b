"""Looking accounts up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from contextlib import suppress

from accounts.models import User, normalise_email
from accounts.principals import ADMIN_ROLES


def user_by_identifier(identifier: str) -> User | None:
    """The account of an e-mail address or a username; usernames hold no ``@``."""
    if "\x00" in identifier or len(identifier) > 254:
        return None
    if "@" in identifier:
        return User.objects.filter(email__lower=normalise_email(identifier)).first()
    return User.objects.filter(username__lower=identifier.strip().lower()).first()


def public_names(user_ids: Iterable[str]) -> dict[str, str]:
    """What accounts of ``users`` want to be called in public, by their ids; those that say nothing are left out."""
    ids = set()
    for user_id in user_ids:
        with suppress(ValueError):  # whatever stands in a text field
            ids.add(uuid.UUID(user_id))
    found = User.objects.filter(pk__in=ids).exclude(public_name="").values_list("pk", "public_name")
    return {str(pk): name for pk, name in found}


def admins() -> list[User]:
    """Who may see and change everything, and can sign in."""
    return list(User.objects.filter(role__in=ADMIN_ROLES, is_active=True))
