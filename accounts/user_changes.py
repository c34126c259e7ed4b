"""What people change of accounts of ``users``, their own and others': the same rules on every surface.

Who is nobody's admin changes their own account only. Admins change everybody but
superadmins, superadmins everybody, and roles are theirs alone. There is always a
superadmin who can sign in. What a sign-in rests on moves with password, e-mail and
role, and a disabled or deleted account gets a new token key, so whatever was signed in
ends with the change.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import emails, mailing, tries, users
from accounts.models import Role, User, normalise_email
from accounts.principals import Principal
from core.errors import BadRequest, Conflict, Forbidden, NotFound, ValidationFailed

NOT_FOUND = "User not found"
NOT_YOURS = "Not authorized to view this user"
ONLY_SUPERADMIN_ROLES = "Only superadmin can change user roles"
ONLY_SUPERADMIN = "Only superadmin can change or delete a superadmin"
ONLY_ADMIN = "Only an admin can change this."
LAST_SUPERADMIN = "There would be no superadmin left who can sign in."
PASSWORD_NEEDED = "Your current password is needed for this."  # noqa: S105 - a sentence
PASSWORD_WRONG = "Incorrect password"  # noqa: S105 - a sentence
CONFIRM_EMAIL = "A confirmation link has been sent to the new address"

PROFILE = (
    "username", "name", "first_name", "last_name", "phone_number", "avatar_url", "bio", "public_name",
    "timezone", "language",
)  # fmt: skip
OF_ADMINS = ("verified", "is_active")


def see(principal: Principal, user_id: str) -> User:
    """One's own account, or for admins any: NotFound. Else Forbidden, whether there is one or not."""
    if not principal.is_admin and principal.id != _spelled(user_id):
        raise Forbidden(NOT_YOURS)
    return find(user_id)


def find(user_id: str) -> User:
    """The account with this id; NotFound."""
    found = users.USERS.get(user_id)
    if found is None:
        raise NotFound(NOT_FOUND)
    return found


def update(principal: Principal, user_id: str, changes: Mapping[str, Any]) -> tuple[User, bool]:
    """Change an account: any of ``PROFILE`` and ``OF_ADMINS``, ``role``, ``password``, ``email``.

    The values are known to be good ones. Of one's own account, password and e-mail need
    ``current_password`` beside them, and a new address counts once the link that goes
    there is followed; the answer says whether one is on its way. For others it is
    changed at once and no longer verified.

    Raises Forbidden, NotFound, ValidationFailed, Conflict, BadRequest.
    """
    before = see(principal, user_id)
    own = principal.id == before.account_id
    if "role" in changes:
        check_superadmin(principal)
    refused = [name for name in OF_ADMINS if name in changes and not principal.is_admin]
    if refused:
        raise Forbidden(ONLY_ADMIN, fields={name: [ONLY_ADMIN] for name in refused})
    if own and changes.get("is_active") is False:
        raise BadRequest("Cannot disable your own account")
    email = normalise_email(changes.get("email", before.email))
    moves = email != before.email
    if own and (moves or "password" in changes):
        _check_password(before, changes.get("current_password"))
    hashed = make_password(changes["password"]) if "password" in changes else None  # before the lock: it takes time
    may_step_down = "role" in changes or changes.get("is_active") is False
    with transaction.atomic():
        user = _locked(before, among_superadmins=may_step_down)
        _may_touch(principal, user)
        if own and (moves or hashed is not None):
            users.USERS.hold(before)
        for name in (*PROFILE, *OF_ADMINS, "role"):
            if name in changes:
                setattr(user, name, changes[name])
        if user.phone_number != before.phone_number:
            user.phone_verified = False
        if hashed is not None:
            user.password = hashed
        if moves and not own:
            user.email, user.verified = email, bool(changes.get("verified", False))
        if may_step_down:
            _keep_a_superadmin(user)
        _save(user)
        if hashed is not None:
            mailing.post("password_changed", user)
        if moves and own:
            emails.post_email_change(user, email)
        elif moves:
            mailing.post("email_changed", user, to=before.email)
            emails.send_verification(user)
    return user, moves and own


def set_role(principal: Principal, user_id: str, role: str) -> User:
    """Give the account a role; superadmins only."""
    check_superadmin(principal)
    return update(principal, user_id, {"role": role})[0]


def check_superadmin(principal: Principal) -> None:
    """Forbidden for all but superadmins, whatever the role and whoever the account."""
    if not principal.is_superadmin:
        raise Forbidden(ONLY_SUPERADMIN_ROLES)


def delete(principal: Principal, user_id: str) -> None:
    """Delete somebody else's account: hidden, signed out everywhere, its names free again. By admins."""
    if principal.id == _spelled(user_id):
        raise BadRequest("Cannot delete your own account")
    found = find(user_id)
    with transaction.atomic():
        user = _locked(found, among_superadmins=True)
        _may_touch(principal, user)
        _keep_a_superadmin(user, goes=True)
        user.soft_delete()


def _spelled(user_id: str) -> str:
    """An id as principals have it: there are several spellings of a UUID."""
    try:
        return str(uuid.UUID(user_id))
    except ValueError:
        return user_id


def _locked(account: User, *, among_superadmins: bool) -> User:
    """The account, which nobody else changes now; with all superadmins, where there might be one fewer.

    All are locked in the order of their ids, so that nobody waits in a circle.
    """
    wanted = Q(pk=account.pk)
    if among_superadmins:
        wanted |= Q(role=Role.SUPERADMIN)
    for user in User.objects.select_for_update().filter(wanted).order_by("pk"):
        if user.pk == account.pk:
            return user
    raise NotFound(NOT_FOUND)


def _may_touch(principal: Principal, user: User) -> None:
    if user.role == Role.SUPERADMIN and not principal.is_superadmin:
        raise Forbidden(ONLY_SUPERADMIN)


def _keep_a_superadmin(changed: User, *, goes: bool = False) -> None:
    """Before ``changed`` is saved, or ``goes``: Conflict where then no superadmin could sign in.

    Inside the transaction that saves it: no superadmin changes until that ends.
    """
    if changed.role == Role.SUPERADMIN and changed.is_active and not goes:
        return
    there = list(User.objects.select_for_update().filter(role=Role.SUPERADMIN).order_by("pk"))
    is_one = any(user.pk == changed.pk for user in there)
    if is_one and not any(user.is_active for user in there if user.pk != changed.pk):
        raise Conflict(LAST_SUPERADMIN)


def _check_password(user: User, current: str | None) -> None:
    if current is None:
        raise ValidationFailed(fields={"current_password": [PASSWORD_NEEDED]})
    if not tries.is_current(user, current):
        raise ValidationFailed(fields={"current_password": [PASSWORD_WRONG]})


def _save(user: User) -> None:
    users.check_free(user)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as fault:  # somebody took the name between the check and now
        users.check_free(user)
        raise Conflict("This email address or username is already taken.") from fault
