"""Accounts of staff and members: the table ``users``."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from accounts.models.owned import forget
from accounts.principals import ADMIN_ROLES, STAFF_COLLECTION
from core import clock

models.CharField.register_lookup(Lower)  # email__lower=, served by the unique indexes below
_CREDENTIALS = frozenset({"password", "email", "role"})


class Role(models.TextChoices):
    USER = "user"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


def new_token_key() -> str:
    return secrets.token_hex(16)


def normalise_email(email: str) -> str:
    """E-mail addresses are one account whatever their case."""
    return email.strip().lower()


class UserManager(BaseUserManager["User"]):
    """Accounts that are not deleted. ``User.all_objects`` has the deleted ones too."""

    def get_queryset(self) -> models.QuerySet[User]:
        return super().get_queryset().filter(deleted_at=None)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__lower=normalise_email(username or ""))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.build(email, password, **fields)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """As ``createsuperuser`` calls it: a taken name is a ValidationError, in words."""
        user = self.build(email, password, **{**fields, "role": Role.SUPERADMIN, "verified": True})
        user.validate_constraints()
        user.save(using=self._db)
        return user

    def build(self, email: str, password: str | None, **fields: Any) -> User:
        """An account that is not saved yet. Hashing takes its time: do it before taking locks."""
        user = self.model(email=normalise_email(email), **fields)
        if not user.username:
            user.username = self.free_username(user.email.partition("@")[0])
        user.set_password(password)
        return user

    def free_username(self, wanted: str) -> str:
        """``wanted`` in the alphabet of usernames, with a number where it is taken."""
        base = re.sub(r"[^A-Za-z0-9._-]", "-", wanted)[:40] or "user"
        base = base.ljust(3, "0")
        name = base
        while self.model.all_objects.filter(username__lower=name.lower()).exists():
            name = f"{base}-{secrets.token_hex(3)}"
        return name


class User(AbstractBaseUser):
    """An account: one role, soft-deleted, known by e-mail or username.

    Whatever is signed in the account's name (tokens, sessions) carries
    :meth:`credential_stamp`, so a change of password, e-mail, role or token key
    ends it; an account saved with such a change, or while closed, gets a new token
    key, so nothing issued before comes back with an earlier address or role.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.CharField(max_length=254)
    username = models.CharField(max_length=50)
    name = models.CharField(max_length=150, blank=True)
    first_name = models.CharField(max_length=100, blank=True)
    last_name = models.CharField(max_length=100, blank=True)
    phone_number = models.CharField(max_length=20, blank=True)
    phone_verified = models.BooleanField(default=False)
    avatar_url = models.CharField(max_length=500, blank=True)
    bio = models.TextField(blank=True)
    public_name = models.CharField(max_length=150, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    language = models.CharField(max_length=10, default="en")
    role = models.CharField(max_length=20, choices=Role, default=Role.USER)
    verified = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    two_fa_enabled = models.BooleanField(default=False)
    used_invite_code = models.CharField(max_length=64, blank=True)
    last_login_at = models.DateTimeField(null=True, blank=True, editable=False)
    created = models.DateTimeField(default=clock.now, editable=False)
    updated = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    token_key = models.CharField(max_length=32, default=new_token_key, editable=False)
    groups = models.ManyToManyField(Group, db_table="user_groups", blank=True, related_name="users")

    last_login = None  # ours is last_login_at
    realm_key = STAFF_COLLECTION  # see accounts/realms.py
    _stored: dict[str, Any] | None = None  # the credentials as the database has them
    second_factor_shown = False  # in this request; without it no session is opened where it is needed

    objects: ClassVar[UserManager] = UserManager()
    all_objects: ClassVar[models.Manager[User]] = models.Manager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["username"]

    class Meta:
        db_table = "users"
        ordering = ("-created",)
        base_manager_name = "all_objects"
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                condition=models.Q(deleted_at=None),
                name="users_email_unique",
                violation_error_message="This email address is already registered.",
            ),
            models.UniqueConstraint(
                Lower("username"),
                condition=models.Q(deleted_at=None),
                name="users_username_unique",
                violation_error_message="This username is already taken.",
            ),
        )

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = normalise_email(self.email)

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        # No form shows deleted_at, and Django skips a constraint whose condition a form leaves out.
        super().validate_constraints(exclude=set(exclude or ()) - {"deleted_at"})

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> User:
        user = super().from_db(*args, **kwargs)
        user._stored = user._credentials()
        return user

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        super().refresh_from_db(*args, **kwargs)
        self._stored = self._credentials()

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        writes = fields is None or not _CREDENTIALS.isdisjoint(fields)
        moved = writes and self._stored is not None and self._stored != self._credentials()
        if moved or not self.is_active or self.deleted_at is not None:
            self.token_key = new_token_key()
            if fields is not None:
                kwargs["update_fields"] = {*fields, "token_key"}
        super().save(*args, **kwargs)
        self._stored = self._credentials()

    def _credentials(self) -> dict[str, Any]:
        """What a sign-in rests on besides the token key; None for what was not read."""
        return {name: self.__dict__.get(name) for name in _CREDENTIALS}

    def soft_delete(self) -> None:
        """Hide the account, and leave nothing by which anybody signs in as it."""
        self.deleted_at = clock.now()
        with transaction.atomic():
            self.save(update_fields=["deleted_at", "updated"])
            forget(STAFF_COLLECTION, self.account_id)

    @property
    def account_id(self) -> str:
        return str(self.pk)

    def credential_stamp(self) -> str:
        return credential_stamp(self.token_key, self.password, self.email, self.role)

    def get_session_auth_hash(self) -> str:
        # Turning the second factor on or off ends the other sessions too.
        return f"{self.credential_stamp()}{'+2fa' if self.two_fa_enabled else ''}"

    def get_full_name(self) -> str:
        return self.name or f"{self.first_name} {self.last_name}".strip() or self.username

    def get_short_name(self) -> str:
        return self.first_name or self.username

    # What Django's admin asks of an account. Admins may do all there; what an admin
    # may not do to a superadmin is the admin class's own affair.
    @property
    def is_staff(self) -> bool:
        return self.role in ADMIN_ROLES

    @property
    def is_superuser(self) -> bool:
        return self.role == Role.SUPERADMIN

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return self.is_active and self.is_staff

    def has_perms(self, perms: Any, obj: Any = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perms)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff


def credential_stamp(token_key: str, password: str, email: str, role: str) -> str:
    """A digest that moves when any of what a sign-in rests on does; 32 hex characters."""
    return salted_hmac(
        "accounts.credential_stamp", "\x00".join((token_key, password, email, role)), algorithm="sha256"
    ).hexdigest()[:32]
