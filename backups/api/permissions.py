"""Who decides what a restore brings back."""

from __future__ import annotations

from typing import cast

from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.principals import Principal
from core.errors import Forbidden
from core.permissions import IsAdmin


class IsSuperadmin(IsAdmin):
    def has_permission(self, request: Request, view: APIView) -> bool:
        if super().has_permission(request, view) and not cast(Principal, request.user).is_superadmin:
            raise Forbidden("Only a superadmin restores or uploads backups: who has which role comes with them.")
        return True
