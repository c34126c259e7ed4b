"""What can happen to an account; every surface calls these."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from accounts import first_account, selectors, tokens
from accounts.models import Role, User
from accounts.passwords import check_password_always
from accounts.principals import Principal
from accounts.tokens import TokenPair
from core import clock
from core.errors import Conflict, Forbidden, Unauthorized, ValidationFailed

BAD_LOGIN = "Incorrect username/email or password"
EMAIL_TAKEN = "This email address is already registered."
USERNAME_TAKEN = "This username is already taken."


def register(*, principal: Principal, setup_token: str = "", **fields: Any) -> User:
    """Make an account from validated ``fields`` (``email``, ``password`` and any of the profile).

    The first account of an installation becomes superadmin. A role above ``user``
    is given by admins only, up to their own. Raises Conflict for a taken e-mail or
    username, Forbidden or Unauthorized for a role out of reach.
    """
    user = User.objects.build(**fields)
    with transaction.atomic():
        if first_account.claim(setup_token):
            return _save_first(user)
        _check_role(principal, Role(user.role))
        _check_free(user)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError as fault:  # somebody took the name between the check and now
            raise Conflict("This email address or username is already taken.") from fault
    return user


def register_first(*, setup_token: str = "", **fields: Any) -> User:
    """Make the superadmin of an installation without accounts; Conflict when it has one."""
    user = User.objects.build(**fields)
    with transaction.atomic():
        if not first_account.claim(setup_token):
            raise Conflict("There is an account already. Please sign in.")
        return _save_first(user)


def _save_first(user: User) -> User:
    user.role, user.verified = Role.SUPERADMIN, True
    user.save(force_insert=True)
    return user


def _check_role(principal: Principal, role: Role) -> None:
    if role == Role.USER:
        return
    if principal.is_anonymous:
        raise Unauthorized
    if not principal.is_admin or role.rank > Role(principal.role).rank:
        raise Forbidden("You may not give this role.")


def _check_free(user: User) -> None:
    taken: dict[str, list[str]] = {}
    if User.objects.filter(email__lower=user.email).exists():
        taken["email"] = [EMAIL_TAKEN]
    if User.objects.filter(username__lower=user.username.lower()).exists():
        taken["username"] = [USERNAME_TAKEN]
    if taken:
        raise Conflict(next(iter(taken.values()))[0], fields=taken)


def log_in(identifier: str, password: str) -> tuple[User, TokenPair]:
    """The account of these credentials, and a sign-in of its own.

    Whatever is wrong is the same Unauthorized after the same time; only who knows
    the password learns that the account is disabled (Forbidden).
    """
    user = selectors.user_by_identifier(identifier)
    if not check_password_always(user, password) or user is None:
        raise Unauthorized(BAD_LOGIN)
    if not user.is_active:
        raise Forbidden("This account is disabled.")
    with transaction.atomic():
        user.last_login_at = clock.now()
        user.save(update_fields=["last_login_at"])
        return user, tokens.issue(user)


def change_password(user: User, current: str, new: str) -> None:
    """Set a validated new password; everything signed in with the old one ends."""
    if not check_password_always(user, current):
        raise ValidationFailed(fields={"current_password": ["Incorrect password"]})
    user.set_password(new)
    user.save(update_fields=["password", "updated"])
