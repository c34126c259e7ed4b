"""Who is asking. Rules, read and write paths see a principal, never a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from accounts.scopes import Scope

ADMIN_ROLES = frozenset({"admin", "superadmin"})
STAFF_COLLECTION = "users"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: nobody, an account of ``users``, or a record of an auth collection.

    ``collection`` is ``users`` for staff and members, the auth collection's name
    otherwise, and empty for nobody. ``fields`` holds what ``@request.auth.<field>``
    may name beyond the five below; it never holds a secret. Only an account of
    ``users`` can be an admin: a role in another collection is just a word. ``scope``
    is what an API key narrows these rights to; people have none.
    """

    id: str = ""
    collection: str = ""
    collection_id: str = ""
    email: str = ""
    role: str = ""
    verified: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope | None = None

    @property
    def is_authenticated(self) -> bool:
        return bool(self.id)

    @property
    def is_anonymous(self) -> bool:
        return not self.id

    @property
    def is_admin(self) -> bool:
        return self.collection == STAFF_COLLECTION and self.role in ADMIN_ROLES

    @property
    def is_superadmin(self) -> bool:
        return self.collection == STAFF_COLLECTION and self.role == "superadmin"

    @property
    def is_person(self) -> bool:
        """Whether they are here themselves, and not by an API key."""
        return bool(self.id) and self.scope is None

    @property
    def key(self) -> str:
        """Names the caller across all account tables; empty for nobody."""
        return f"{self.collection_id or self.collection}:{self.id}" if self.id else ""

    def reaches(self, collection_id: str, *, writing: bool = False) -> bool:
        """Whether the caller's key, if it is one, is for this collection at all."""
        return self.scope is None or self.scope.covers(collection_id, writing=writing)

    def value(self, name: str) -> Any:
        """What ``@request.auth.<name>`` is; None where there is nothing."""
        if not self.id:
            return None
        if name == "role" and self.role in ADMIN_ROLES and self.collection != STAFF_COLLECTION:
            # Those words are the staff's: no rule may take another's for theirs.
            return ""
        if name in ("id", "collection", "email", "role", "verified"):
            return getattr(self, name)
        return self.fields.get(name)

    def __str__(self) -> str:
        return self.email or self.id or "anonymous"


ANONYMOUS = Principal()
SYSTEM = Principal(id="system", collection=STAFF_COLLECTION, role="superadmin", verified=True)


class _Account(Protocol):
    """What a principal takes from an account of ``users``."""

    id: UUID
    email: str
    role: str
    verified: bool


# What ``@request.auth.<name>`` may name of an account; never a secret.
USER_FIELDS = (
    "username", "name", "first_name", "last_name", "phone_number", "phone_verified", "avatar_url", "bio",
    "public_name", "timezone", "language", "is_active", "two_fa_enabled",
)  # fmt: skip


def principal_of(user: _Account) -> Principal:
    """The principal of an account of ``users`` that is known to be signed in."""
    return Principal(
        id=str(user.id),
        collection=STAFF_COLLECTION,
        email=user.email,
        role=str(user.role),
        verified=user.verified,
        fields={name: getattr(user, name) for name in USER_FIELDS},
    )
