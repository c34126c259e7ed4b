"""The realm of ``users``: staff and members."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, cast

from django.db import IntegrityError, transaction

from accounts import api_keys, emails, first_account, invites, passwords, selectors, shapes
from accounts.models import Role, User, normalise_email
from accounts.models.owned import Account
from accounts.principals import STAFF_COLLECTION, Principal, principal_of
from accounts.realms import Realm
from core import clock
from core.errors import Conflict, Forbidden, Unauthorized
from core.query_string import known_parameters

EMAIL_TAKEN = "This email address is already registered."
USERNAME_TAKEN = "This username is already taken."


class Users(Realm):
    key = name = STAFF_COLLECTION
    has_totp = True

    def find(self, identifier: str) -> User | None:
        return selectors.user_by_identifier(identifier)

    def get(self, account_id: str) -> User | None:
        try:
            return User.objects.filter(pk=uuid.UUID(account_id)).first()
        except ValueError:
            return None

    def principal(self, account: Account) -> Principal:
        return principal_of(_user(account))

    def to_json(self, account: Account) -> dict[str, Any]:
        return shapes.user_json(_user(account))

    def register(self, principal: Principal, data: Any, query: str = "") -> User:
        """The first account of an installation becomes superadmin. A role above ``user``
        is given by admins only, up to their own, or by an invitation. Who is an admin
        needs no invitation.
        """
        known_parameters(query, ())
        serializer = shapes.RegisterSerializer(data=data)
        serializer.is_valid(raise_exception=True)
        return self.create(principal, serializer.validated_data)

    def create(self, principal: Principal, values: Mapping[str, Any]) -> User:
        """Register with values that a serializer has checked. Raises as :meth:`register`."""
        fields = dict(values)
        setup_token, code = fields.pop("setup_token", ""), fields.pop("invite_code", "")
        return self.add(principal, User.objects.build(**fields), setup_token, code)

    def add(self, principal: Principal, user: User, setup_token: str = "", code: str = "") -> User:
        """Register an account that was built. Raises as :meth:`register`."""
        with transaction.atomic():
            if first_account.claim(setup_token):
                return _save_first(user)
            _check_role(principal, Role(user.role))
            admission = None if principal.is_admin else invites.admit(code, user.email)
            check_free(user)
            if admission is not None:
                user.role = max(Role(user.role), invites.role_given(admission), key=lambda role: role.rank)
                user.used_invite_code = code
            _insert(user)
            if admission is not None:
                invites.use(admission, user)
            emails.send_verification(user)
        return user

    def adopt(self, email: str, *, verified: bool, profile: Mapping[str, str], invite_code: str = "") -> User:
        username = profile.get("username") or email.partition("@")[0]
        user = User.objects.build(
            email,
            None,
            username=User.objects.free_username(username),
            name=profile.get("name", "")[:150],
            avatar_url=profile.get("avatar_url", "")[:500],
            verified=verified,
        )
        with transaction.atomic():
            if first_account.is_open():
                raise Forbidden("The first account of an installation needs a password; make it at /admin.")
            check_free(user)
            admission = invites.admit(invite_code, user.email)
            if admission is not None:
                user.role, user.used_invite_code = invites.role_given(admission), invite_code
            _insert(user)
            if admission is not None:
                invites.use(admission, user)
            emails.send_verification(user)
        return user

    def renew_hash(self, account: Account, encoded: str) -> Account:
        """API keys go on: nobody has changed the password."""
        stamp = account.credential_stamp()
        with transaction.atomic():
            renewed = super().renew_hash(account, encoded)
            api_keys.keep(_user(renewed), stamp)
        return renewed

    def _write_hash(self, account: Account, encoded: str) -> User:
        user = _user(account)
        user.password = encoded
        user.save(update_fields=["password", "updated"])
        return user

    def _locked_stamp(self, account: Account) -> str | None:
        found = User.objects.select_for_update().filter(pk=_user(account).pk).first()
        return None if found is None else found.credential_stamp()

    def check_new_password(self, password: str, account: Account | None) -> str:
        return passwords.acceptable(password, None if account is None else _user(account))

    def set_verified(self, account: Account) -> User:
        user = _user(account)
        user.verified = True
        user.save(update_fields=["verified", "updated"])
        return user

    def set_email(self, account: Account, email: str) -> User:
        user = _user(account)
        user.email, user.verified = normalise_email(email), True
        try:
            with transaction.atomic():
                user.save(update_fields=["email", "verified", "updated"])
        except IntegrityError as fault:
            raise Conflict(EMAIL_TAKEN, fields={"email": [EMAIL_TAKEN]}) from fault
        return user

    def set_two_fa(self, account: Account, enabled: bool) -> User:
        user = _user(account)
        user.two_fa_enabled = enabled
        user.save(update_fields=["two_fa_enabled", "updated"])
        return user

    def note_sign_in(self, account: Account) -> None:
        user = _user(account)
        user.last_login_at = clock.now()
        user.save(update_fields=["last_login_at"])


USERS = Users()


def find(key: str) -> Realm | None:
    """The finder of :mod:`accounts.realms` for ``users``."""
    return USERS if key == STAFF_COLLECTION else None


def register_first(*, setup_token: str = "", **fields: Any) -> User:
    """Make the superadmin of an installation without accounts; Conflict when it has one."""
    user = User.objects.build(**fields)
    with transaction.atomic():
        if not first_account.claim(setup_token):
            raise Conflict("There is an account already. Please sign in.")
        return _save_first(user)


def _user(account: Account) -> User:
    return cast(User, account)


def _save_first(user: User) -> User:
    user.role, user.verified = Role.SUPERADMIN, True
    user.save(force_insert=True)
    return user


def _insert(user: User) -> None:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as fault:  # somebody took the name between the check and now
        check_free(user)
        raise Conflict("This email address or username is already taken.") from fault


def _check_role(principal: Principal, role: Role) -> None:
    if role == Role.USER:
        return
    if principal.is_anonymous:
        raise Unauthorized
    if not principal.is_admin or role.rank > Role(principal.role).rank:
        raise Forbidden("You may not give this role.")


def check_free(user: User) -> None:
    """Conflict where another account has the user's e-mail address or username."""
    others = User.objects.exclude(pk=user.pk)
    taken: dict[str, list[str]] = {}
    if others.filter(email__lower=user.email).exists():
        taken["email"] = [EMAIL_TAKEN]
    if others.filter(username__lower=user.username.lower()).exists():
        taken["username"] = [USERNAME_TAKEN]
    if taken:
        raise Conflict(next(iter(taken.values()))[0], fields=taken)
