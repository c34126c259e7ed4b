"""``/api/v1/files``: the files of records, tokens for them, and the media library."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from accounts import realms
from accounts import tokens as sign_in_tokens
from accounts.authentication import principal
from accounts.scopes import Keys
from collections_app.api import file_documents as documents
from collections_app.api.calls import call_of
from collections_app.files import library, serving, tokens
from collections_app.files.serving import Asked, Bytes, Found
from collections_app.records import operations, query
from collections_app.schema import registry
from core.drf import AllowWhereAsked, FormParser, JSONParser, MultiPartParser
from core.errors import Unauthorized, ValidationFailed
from core.permissions import IsAdmin
from core.query_string import known_parameters
from core.serializers import StrictSerializer
from core.views import CheckedView

AT_ONCE = 1024 * 1024  # bytes that are answered whole; more is streamed
_PAGE = frozenset({"page", "per_page"})
_MEDIA = {
    (200, "application/octet-stream"): OpenApiTypes.BINARY,
    (206, "application/octet-stream"): OpenApiTypes.BINARY,
}


class BytesView(AllowWhereAsked, APIView):
    """Answers a file. What a client accepts (an ``<img>`` only pictures) says nothing about refusals."""

    crew = "files"

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, True)

    def asked(self, request: Request) -> Asked:
        """What of the request decides about bytes."""
        meta = request.META
        return Asked(
            method=str(request.method),
            range=meta.get("HTTP_RANGE"),
            if_range=meta.get("HTTP_IF_RANGE"),
            if_none_match=meta.get("HTTP_IF_NONE_MATCH"),
            if_modified_since=meta.get("HTTP_IF_MODIFIED_SINCE"),
        )

    def answered(self, answer: Bytes) -> HttpResponseBase:
        """An answer as one of Django's: whole where it is small, else streamed."""
        length = int(answer.headers.get("Content-Length", 0))
        if answer.pieces is None or length <= AT_ONCE:
            content = b"".join(answer.pieces or ())
            response: HttpResponseBase = HttpResponse(content, status=answer.status)
        else:
            response = StreamingHttpResponse(answer.pieces, status=answer.status)
            response.pieces = answer.pieces  # type: ignore[attr-defined]  # which any thread may fetch (cms_project.handler)
        del response.headers["Content-Type"]
        for name, value in answer.headers.items():
            response.headers[name] = value
        return response


class FileView(BytesView):
    """A file of a record that you may view: all of it, a range, or a thumb."""

    api_keys = Keys.SCOPED

    @staticmethod
    def crew(query_string: bytes) -> str:  # type: ignore[override]
        """Who waits for pictures to be made smaller holds up no plain file."""
        asked = parse_qsl(query_string.decode("latin1"), keep_blank_values=True)
        return "thumbs" if any(name == "thumb" for name, _ in asked) else "files"

    @extend_schema(
        "files_get",
        parameters=[
            OpenApiParameter("thumb", str, description="A size that the field declares, such as `100x100`."),
            OpenApiParameter("download", bool, description="To be saved, not shown."),
            OpenApiParameter("token", str, description="A file token, for those who can send no header."),
        ],
        responses=_MEDIA,
    )
    def get(self, request: Request, collection: str, record_id: str, name: str) -> HttpResponseBase:
        return self.answered(serving.file_get(call_of(request), collection, record_id, name, self.asked(request)))


class FileTokenSerializer(StrictSerializer):
    collection = serializers.CharField(max_length=200, help_text="The name or id of a collection.")
    record_id = serializers.CharField(max_length=64)


class FileTokenView(CheckedView):
    """A token for the files of one record that you may view, for ``?token=`` in the address of a picture.

    It is good for some minutes, as often as you like. API keys need none: programs send headers.
    """

    api_keys = Keys.NONE

    def get_serializer(self) -> BaseSerializer[Any]:
        return FileTokenSerializer()

    @extend_schema("files_token", request=FileTokenSerializer, responses={200: documents.TOKEN})
    def post(self, request: Request) -> Response:
        caller = principal(request)
        if caller.is_anonymous:
            raise Unauthorized
        given = FileTokenSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        name, record_id = given.validated_data["collection"], given.validated_data["record_id"]
        operations.record_get(operations.Call(principal=caller, method="GET"), name, record_id)  # or the refusal
        realm = realms.get(caller.collection_id or caller.collection)
        account = realm.get(caller.id)
        if account is None or not account.is_active:
            raise Unauthorized
        sign_in_id = sign_in_tokens.sign_in_of(realm, request.auth) if isinstance(request.auth, str) else None
        collection_id = registry.latest().get(name).id
        made = tokens.make(account, sign_in_id, collection_id, record_id)
        return Response({"token": made, "expires_in": tokens.SECONDS})


class UploadSerializer(serializers.Serializer[Any]):
    file = serializers.FileField()


class LibraryView(CheckedView):
    """The media library: files that stand by themselves, and whose names file fields take."""

    crew = "files"
    permission_classes = (IsAdmin,)
    parser_classes = (MultiPartParser, JSONParser, FormParser)

    @property
    def parameters(self) -> frozenset[str]:  # type: ignore[override]
        return _PAGE | {"search"} if self.request.method in ("GET", "HEAD") else frozenset()

    def get_serializer(self) -> BaseSerializer[Any]:
        return UploadSerializer()

    @extend_schema(
        "files_list",
        parameters=[
            OpenApiParameter("page", int, description="Which page."),
            OpenApiParameter("per_page", int, description=f"How many on a page, at most {query.MAX_PER_PAGE}."),
            OpenApiParameter("search", str, description="A part of the original name."),
        ],
        responses={200: documents.ENTRIES},
    )
    def get(self, request: Request) -> Response:
        page = query.read({key: value for key, value in self.query.items() if key in _PAGE}, _PAGE)
        found = library.entries(self.query.get("search", ""))
        total, start = found.count(), (page.page - 1) * page.per_page
        return Response(
            {
                "items": [library.as_json(row) for row in found[start : start + page.per_page]],
                "page": page.page,
                "per_page": page.per_page,
                "total": total,
                "total_pages": -(-total // page.per_page),
            }
        )

    @extend_schema("files_upload", request={"multipart/form-data": documents.UPLOAD}, responses={201: documents.ENTRY})
    def post(self, request: Request) -> Response:
        problems = {
            str(key)[:100]: ["Unknown field."] for key in request.data if key not in ("file", "csrfmiddlewaretoken")
        }
        sent = request.FILES.getlist("file")
        if len(sent) != 1 or not isinstance(sent[0], UploadedFile):
            problems["file"] = ["Send one file as multipart/form-data under this name."]
        if problems:
            raise ValidationFailed(fields=problems)
        return Response(library.as_json(library.add(sent[0], principal(request))), status=201)


class EntryView(CheckedView):
    """An entry of the media library."""

    permission_classes = (IsAdmin,)

    @extend_schema("files_entry", responses={200: documents.ENTRY})
    def get(self, request: Request, entry_id: str) -> Response:
        return Response(library.as_json(library.entry(entry_id)))

    @extend_schema("files_delete", responses={204: None})
    def delete(self, request: Request, entry_id: str) -> Response:
        library.remove(entry_id)
        return Response(status=204)


class EntryContentView(BytesView):
    """The bytes of an entry of the media library."""

    api_keys = Keys.WHOLE
    permission_classes = (IsAdmin,)

    @extend_schema(
        "files_entry_content",
        parameters=[OpenApiParameter("download", bool, description="To be saved, not shown.")],
        responses=_MEDIA,
    )
    def get(self, request: Request, entry_id: str) -> HttpResponseBase:
        given = known_parameters(request.META.get("QUERY_STRING", ""), {"download"})
        found = Found(library.entry(entry_id))
        return self.answered(serving.answer(found, self.asked(request), download=serving.flag(given, "download")))
