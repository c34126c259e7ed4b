"""Backups, for admins: ``/api/v1/backups``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import NothingSerializer
from accounts.scopes import Keys
from backups import selectors, services, storage
from backups.api import documents
from backups.api.permissions import IsSuperadmin
from backups.api.serializers import BackupsQuerySerializer, NewBackupQuerySerializer, NewBackupSerializer
from backups.models import Backup
from collections_app.api.files import BytesView
from collections_app.files import facts, serving
from collections_app.files.serving import Bytes
from core import clock
from core.drf import FormParser, JSONParser, MultiPartParser
from core.errors import NotFound, ValidationFailed
from core.permissions import IsAdmin, caller
from core.query_string import known_parameters
from core.serializers import StrictSerializer
from core.views import CheckedView

_MB = 1024 * 1024
_BYTES = {(status, "application/zip"): OpenApiTypes.BINARY for status in (200, 206)}


class BackupsView(CheckedView, GenericAPIView[Any]):
    """All backups; POST makes one of the present instant, and answers when it is done."""

    crew = "files"  # it takes long
    permission_classes = (IsAdmin,)
    serializer_class = NewBackupSerializer

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        making, listing = (
            frozenset(one._declared_fields) for one in (NewBackupQuerySerializer, BackupsQuerySerializer)
        )
        return {"POST": making, "GET": listing, "HEAD": listing}.get(str(self.request.method), making | listing)

    @extend_schema(
        "backups_list", request=None, parameters=[BackupsQuerySerializer], responses={200: documents.BACKUPS}
    )
    def get(self, request: Request) -> Response:
        asked = _valid(BackupsQuerySerializer, self.query)
        limit, offset = asked["limit"], asked["offset"]
        found = selectors.backups(deleted=asked["deleted"])
        shown = [backup_json(one) for one in found[offset : offset + limit]]
        return Response({"items": shown, "total": found.count(), "limit": limit, "offset": offset})

    @extend_schema(parameters=[NewBackupQuerySerializer], responses={200: documents.BACKUP, 202: documents.BACKUP})
    def post(self, request: Request) -> Response:
        in_background = _valid(NewBackupQuerySerializer, self.query).get("background", False)
        given = _valid(NewBackupSerializer, request.data)
        by = caller(request).id
        if in_background:
            return Response(backup_json(services.request(by, **given)), status=202)
        return Response(backup_json(services.create(by, origin=Backup.Origin.REQUEST, **given)))


class UploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField()


class UploadView(CheckedView):
    """Take in an archive from elsewhere, as ``multipart/form-data``. What could not be restored here is refused."""

    api_keys = Keys.NONE
    crew = "files"
    permission_classes = (IsSuperadmin,)
    parser_classes = (MultiPartParser, JSONParser, FormParser)

    def get_serializer(self) -> serializers.BaseSerializer[Any]:
        return UploadSerializer()

    @extend_schema(
        "backups_upload", request={"multipart/form-data": documents.UPLOAD}, responses={201: documents.BACKUP}
    )
    def post(self, request: Request) -> Response:
        data = request.data if isinstance(request.data, dict) else {}
        problems = {str(key)[:100]: ["Unknown field."] for key in data if key not in ("file", "csrfmiddlewaretoken")}
        sent = request.FILES.getlist("file")
        if len(sent) != 1 or not isinstance(sent[0], UploadedFile) or sent[0].file is None:
            problems["file"] = ["Send one archive as multipart/form-data under this name."]
        if problems:
            raise ValidationFailed(fields=problems)
        name = facts.original_name(str(sent[0].name or ""))
        return Response(backup_json(services.receive(sent[0].file, name, caller(request).id)), status=201)


class BackupView(CheckedView, GenericAPIView[Any]):
    """One backup, by its id or its file name."""

    permission_classes = (IsAdmin,)
    serializer_class = NothingSerializer

    @extend_schema(request=None, responses={200: documents.BACKUP})
    def get(self, request: Request, backup_id: str) -> Response:
        return Response(backup_json(selectors.backup(backup_id)))

    @extend_schema(request=None, responses={200: documents.DELETED})
    def delete(self, request: Request, backup_id: str) -> Response:
        services.delete(selectors.backup(backup_id), caller(request).id)
        return Response({"deleted": True})


class DownloadView(BytesView):
    """The archive, all of it or a range. It holds every secret that the database has: no API key gets it."""

    api_keys = Keys.NONE
    permission_classes = (IsAdmin,)

    @extend_schema("backups_download", responses=_BYTES)
    def get(self, request: Request, backup_id: str) -> HttpResponseBase:
        known_parameters(request.META.get("QUERY_STRING", ""), ())
        backup = selectors.backup(backup_id)
        if backup.status != Backup.Status.COMPLETED:
            raise NotFound("This backup has no archive.")
        asked, etag = self.asked(request), f'"{backup.pk}-{backup.size_bytes}"'
        modified = backup.finished or backup.created
        headers = {"ETag": etag, "Cache-Control": "no-store"}
        if serving.is_known(asked, etag, modified):
            return self.answered(Bytes(304, headers))
        headers["Content-Type"] = "application/octet-stream" if is_encrypted(backup) else "application/zip"
        headers["Content-Disposition"] = serving.disposition("attachment", backup.filename)
        headers["X-Content-Type-Options"] = "nosniff"

        def pieces(start: int, stop: int) -> Any:
            return storage.current().pieces(backup.filename, start, stop)

        try:
            return self.answered(serving.whole(asked, headers, backup.size_bytes, etag, modified, pieces))
        except FileNotFoundError as fault:
            raise NotFound(selectors.MISSING) from fault


def backup_json(backup: Backup) -> dict[str, Any]:
    where = storage.location(backup.filename)
    return {
        "id": backup.pk,
        "filename": backup.filename,
        "name": backup.name,
        "size_bytes": backup.size_bytes,
        "size_mb": round(backup.size_bytes / _MB, 2),
        "status": backup.status,
        "percent": backup.percent,
        "created": clock.isoformat(backup.created),
        "created_by": backup.created_by or None,
        "origin": backup.origin,
        "note": backup.note,
        "with_files": backup.with_files,
        "encrypted": is_encrypted(backup),
        "missing": backup.missing,
        "error": backup.error or None,
        "finished": clock.isoformat(backup.finished) if backup.finished else None,
        "deleted": clock.isoformat(backup.deleted) if backup.deleted else None,
        "deleted_by": backup.deleted_by or None,
        "path": where,
        "location": where,
    }


def is_encrypted(backup: Backup) -> bool:
    return backup.filename.endswith(".enc")


def _valid(kind: Callable[..., StrictSerializer], data: Any) -> dict[str, Any]:
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
