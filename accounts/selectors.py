"""Looking accounts up."""

from __future__ import annotations

from accounts.models import User, normalise_email
from accounts.principals import ADMIN_ROLES


def user_by_identifier(identifier: str) -> User | None:
    """The account of an e-mail address or a username; usernames hold no ``@``."""
    if "\x00" in identifier or len(identifier) > 254:
        return None
    if "@" in identifier:
        return User.objects.filter(email__lower=normalise_email(identifier)).first()
    return User.objects.filter(username__lower=identifier.strip().lower()).first()


def admins() -> list[User]:
    """Who may see and change everything, and can sign in."""
    return list(User.objects.filter(role__in=ADMIN_ROLES, is_active=True))
