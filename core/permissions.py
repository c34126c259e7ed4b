"""Who may call a view, asked of the principal without knowing what accounts are."""

from __future__ import annotations

from typing import Protocol, cast

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from core.errors import Forbidden, Unauthorized


class Caller(Protocol):
    """What a principal is to those below the accounts."""

    @property
    def id(self) -> str: ...
    @property
    def is_anonymous(self) -> bool: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def is_superadmin(self) -> bool: ...
    @property
    def is_person(self) -> bool: ...


def caller(request: Request) -> Caller:
    return cast(Caller, request.user)


class IsAdmin(BasePermission):
    """Admins and superadmins. Asked before anything is looked up."""

    refusal = "Insufficient permissions. Admin role required."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if caller(request).is_anonymous:
            raise Unauthorized
        if not caller(request).is_admin:
            raise Forbidden(self.refusal)
        return True
