"""Restoring backups: ``/api/v1/backups/{id}/restore`` and ``/api/v1/backups/restore``.

Of superadmins alone: whoever restores decides who has which role, by the choice of the backup.
"""

from __future__ import annotations

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import NothingSerializer
from accounts.principals import Principal
from accounts.scopes import Keys
from backups import selectors, storage
from backups.api import documents
from backups.api.permissions import IsSuperadmin
from backups.models import Backup
from backups.restoring import applying, staging
from core.errors import Conflict, NotFound
from core.serializers import Flag, StrictSerializer
from core.views import CheckedView

STAGED = "Backup staged for restore. Please restart the server to complete restoration."
RESTORED = "Backup restored. Everybody has to sign in again."


class RestoreQuerySerializer(StrictSerializer):
    now = Flag(required=False, help_text="Restore at once; other requests get 503 meanwhile.")


class RestoreView(CheckedView, GenericAPIView[Any]):
    """Stage a backup, by its id or its file name, for the next start of the server; or restore it at once."""

    api_keys = Keys.NONE
    closes_gate = True
    crew = "files"  # it takes long
    parameters = frozenset({"now"})
    permission_classes = (IsSuperadmin,)
    serializer_class = NothingSerializer

    @extend_schema(
        "backups_restore",
        request=None,
        parameters=[RestoreQuerySerializer],
        responses={200: documents.RESTORE},
    )
    def post(self, request: Request, backup_id: str) -> Response:
        asked = RestoreQuerySerializer(data=self.query)
        asked.is_valid(raise_exception=True)
        backup, by = selectors.backup(backup_id), cast(Principal, request.user).key
        if backup.status != Backup.Status.COMPLETED:
            raise Conflict("This backup has no archive: it is being made, or came to nothing.")
        told = {"success": True, "backup_filename": backup.filename}
        try:
            with storage.fetched(backup.filename) as path:
                if not asked.validated_data.get("now"):
                    staging.stage(path, backup.filename, by)
                    return Response({**told, "status": "pending_restart", "message": STAGED})
                done = applying.now(path, backup.filename, by)
        except FileNotFoundError as fault:
            raise NotFound(selectors.MISSING) from fault
        return Response({**told, "status": "restored", "message": RESTORED, "safety_copy": done.safety_copy})


class StagedRestoreView(CheckedView, GenericAPIView[Any]):
    """The restore that waits for the next start, or how the last one failed. DELETE gives it up."""

    api_keys = Keys.NONE
    permission_classes = (IsSuperadmin,)
    serializer_class = NothingSerializer

    @extend_schema("backups_restore_get", request=None, responses={200: documents.STAGED})
    def get(self, request: Request) -> Response:
        staged, failure = staging.waiting(), staging.failure()
        shown: dict[str, Any] = dict.fromkeys(("backup_filename", "backup_created", "staged", "staged_by", "error"))
        if staged is not None:
            status = "pending_restart"
            shown |= {
                "backup_filename": staged.backup_filename,
                "backup_created": staged.backup_created or None,
                "staged": staged.staged,
                "staged_by": staged.by.partition(":")[2],
            }
        elif failure is not None:
            status = "failed"
            shown |= {"backup_filename": failure.backup_filename, "error": failure.error}
        else:
            status = "none"
        return Response({"status": status, **shown})

    @extend_schema("backups_restore_cancel", request=None, responses={200: documents.CANCELLED})
    def delete(self, request: Request) -> Response:
        return Response({"cancelled": True, "backup_filename": staging.cancel().backup_filename})
