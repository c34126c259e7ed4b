"""The built-in collection on the surface of core/envelope.py: ``/api/records``.

The same operations as under ``/api/v1/collections/records/records``, so rules, events and webhooks hold; what
is here is that surface's names, pages and sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import selectors
from accounts.authentication import principal
from accounts.scopes import Keys
from collections_app.api.calls import call_of
from collections_app.records import operations, read
from collections_app.records.codec import Record
from collections_app.records.query import MAX_PAGE, MAX_SEARCH, Query
from collections_app.rules import RuleEnv
from collections_app.schema.registry import with_schema
from collections_app.schema.snapshot import Snapshot
from core.envelope import AdminOnly, Enveloped, answer
from core.errors import BadRequest, ValidationFailed
from core.serializers import Flag, StrictSerializer, Text
from settings_app import values

RECORDS = "records"  # the id of the built-in collection, whatever it is called by now
MAX_PLAIN = 1000
MAX_LABELS = 100
PAGED = frozenset({"page", "size", "categories", "tags", "search"})
SEARCH_IS_OFF = "Search is turned off"


def _labels() -> serializers.ListField:
    return serializers.ListField(child=Text(max_length=100), required=False, max_length=MAX_LABELS)


class RecordChangeSerializer(StrictSerializer):
    title = Text(required=False, max_length=500)
    description = Text(required=False, allow_blank=True, max_length=10_000)
    content = Text(required=False, max_length=1_000_000, trim_whitespace=False)  # Markdown begins with spaces
    tags = _labels()
    categories = _labels()
    is_published = Flag(required=False)


class RecordSerializer(RecordChangeSerializer):
    title = Text(max_length=500)
    content = Text(max_length=1_000_000, trim_whitespace=False)


class RecordView(Enveloped, GenericAPIView[Any]):
    api_keys = Keys.SCOPED
    serializer_class: type[StrictSerializer] = RecordChangeSerializer
    names = {"user": "user_id"}

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method in SAFE_METHODS else [AdminOnly()]

    def cleaned(self, request: Request) -> dict[str, Any]:
        serializer = self.get_serializer_class()(data=request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def one(self, made: operations.Answer, message: str) -> Response:
        """The answer to an operation on one record."""
        [shown] = _shown([orjson.loads(made.body)])
        found = answer(shown, message, made.status)
        for name, value in made.headers.items():
            found[name] = f"W/{value}" if name == "ETag" else value  # the body is not that record's own
        return found


class RecordsView(RecordView):
    """The records that the caller may list, the newest first; with a parameter of ``PAGED`` by pages."""

    serializer_class = RecordSerializer
    parameters = PAGED

    def get(self, request: Request) -> Response:
        message = "Records retrieved successfully"
        if not self.query:
            page = _page(request, Query(per_page=MAX_PLAIN))
            return answer(_shown(page["items"]), message, total=page["total"])
        wanted = _wanted(self.query)
        page = _page(request, wanted)
        pagination = {"page": wanted.page, "size": wanted.per_page}
        pagination |= {name: page[name] for name in ("total", "total_pages")}
        return answer({"data": _shown(page["items"]), "pagination": pagination}, message)

    def post(self, request: Request) -> Response:
        body = {**self.cleaned(request), "user": principal(request).id}
        return self.one(operations.record_create(call_of(request), RECORDS, body), "Record created successfully")


class OneRecordView(RecordView):
    """One record that the caller may see; PUT changes what is given."""

    def get(self, request: Request, record_id: str) -> Response:
        call = call_of(request)
        call.if_none_match = None  # each answer has its own moment in it
        return self.one(operations.record_get(call, RECORDS, record_id), "Record retrieved successfully")

    def put(self, request: Request, record_id: str) -> Response:
        made = operations.record_update(call_of(request), RECORDS, record_id, self.cleaned(request))
        return self.one(made, "Record updated successfully")

    def delete(self, request: Request, record_id: str) -> Response:
        return Response(status=operations.record_delete(call_of(request), RECORDS, record_id).status)


def _page(request: Request, wanted: Query) -> dict[str, Any]:
    call = call_of(request)

    def unit(snapshot: Snapshot) -> dict[str, Any]:
        env = RuleEnv(principal=call.principal, method=call.method)
        return read.list_page(snapshot.get(RECORDS), wanted, env, snapshot)

    return with_schema(unit, reads=True)


def _wanted(sent: Mapping[str, str]) -> Query:
    """The page that was asked for; ValidationFailed, or BadRequest where search is off."""
    settings = values.several("pagination_size", "pagination_max_size", "enable_search")
    most, problems = settings["pagination_max_size"], dict[str, list[str]]()

    def number(name: str, otherwise: int, highest: int) -> int:
        text = sent.get(name, "")
        if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= highest:
            return int(text)
        if text:
            problems[name] = [f"{name} must be a whole number from 1 to {highest:,}"]
        return otherwise

    wanted = Query(
        page=number("page", 1, MAX_PAGE),
        per_page=number("size", min(settings["pagination_size"], most), most),
        search=sent.get("search", "").strip(),
    )
    if len(wanted.search) > MAX_SEARCH:
        problems["search"] = [f"search has at most {MAX_SEARCH} characters"]
    asked = {name: [part for text in sent.get(name, "").split(",") if (part := text.strip())] for name in _LISTS}
    for name, labels in asked.items():
        if len(labels) > MAX_LABELS:
            problems[name] = [f"{name} names at most {MAX_LABELS}"]
    if problems:
        raise ValidationFailed(fields=problems)
    if wanted.search and not settings["enable_search"]:
        raise BadRequest(SEARCH_IS_OFF)
    wanted.holding = {name: labels for name, labels in asked.items() if labels}
    return wanted


_LISTS = ("categories", "tags")


def _shown(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Records in this surface's words, with what their authors are called."""
    authors = [record["user"] for record in records if isinstance(record.get("user"), str)]
    called = selectors.public_names(authors)
    return [
        {
            "id": record["id"],
            "title": record.get("title"),
            "description": record.get("description") or "",
            "content": record.get("content") or "",
            "user_id": record.get("user"),
            "public_name": called.get(str(record.get("user")), ""),
            **{name: _texts(record.get(name)) for name in ("tags", "categories")},
            "is_published": bool(record.get("is_published")),
            "created_at": record["created"],
            "updated_at": record["updated"],
        }
        for record in records
    ]


def _texts(value: Any) -> list[str]:
    """A list of texts, whatever another way of writing has put there."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
