"""DRF's gaps filled: JSON by orjson, forms without NUL, every error in the one body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.http import QueryDict
from rest_framework import metadata, negotiation, parsers, renderers
from rest_framework.request import Request
from rest_framework.response import Response

from core import errors, json
from core.error_adapter import domain_error

if TYPE_CHECKING:  # DRF's views import this module, by the settings that name it
    from rest_framework.views import APIView


class JSONRenderer(renderers.BaseRenderer):
    """Ready bytes pass through; all else is dumped."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"
    ensure_ascii = False
    compact = True

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if isinstance(data, bytes):
            return data
        return b"" if data is None else json.dumps(data)


class JSONParser(parsers.BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return json.loads(read_limited(stream))


class FormParser(parsers.FormParser):
    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = read_limited(stream)
        if b"\x00" in raw or b"%00" in raw:
            raise errors.BadRequest("Unreadable form: a text contains the NUL character")
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError as fault:
            raise errors.BadRequest("Unreadable form: not UTF-8") from fault
        return QueryDict(raw, encoding="utf-8")


class MultiPartParser(parsers.MultiPartParser):
    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        parsed = super().parse(stream, media_type, parser_context)
        if not parsed.data and not parsed.files:
            raise errors.BadRequest("Unreadable form: it has no parts")
        if any("\x00" in value for values in parsed.data.lists() for value in [values[0], *values[1]]):
            raise errors.BadRequest("Unreadable form: a text contains the NUL character")
        return parsed


class ContentNegotiation(negotiation.DefaultContentNegotiation):
    """DRF's, with a short way for programs: nearly all ask for JSON or for anything."""

    def select_renderer(
        self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        first = next(iter(renderers))
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        if accept == "*/*" or accept == first.media_type:
            return first, first.media_type
        return super().select_renderer(request, renderers, format_suffix)


class AllowWhereAsked:
    """Mixed into a view: ``Allow`` only where it is the answer, on 405 and to OPTIONS."""

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        given = response.headers.get("Allow")  # what a refusal knows better than the view
        whole: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if given is not None:
            whole.headers["Allow"] = given
        elif whole.status_code != 405 and request.method != "OPTIONS":
            whole.headers.pop("Allow", None)
        return whole


class Metadata(metadata.BaseMetadata):
    """``OPTIONS`` says what an endpoint speaks; what fields there are is for the OpenAPI document to tell."""

    def determine_metadata(self, request: Request, view: APIView) -> dict[str, Any]:
        return {
            "name": view.get_view_name(),
            "description": view.get_view_description(),
            "renders": [renderer.media_type for renderer in view.renderer_classes],
            "parses": [parser.media_type for parser in view.parser_classes],
        }


def read_limited(stream: IO[Any]) -> bytes:
    """The whole body, or PayloadTooLarge beyond ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    raw: bytes = stream.read() if limit is None else stream.read(limit + 1)
    if limit is not None and len(raw) > limit:
        raise errors.PayloadTooLarge(f"The request body is larger than {limit} bytes.")
    return raw


def exception_handler(fault: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's ``EXCEPTION_HANDLER``; None lets Django answer 500."""
    error = domain_error(fault)
    if error is None:
        return None
    return Response(errors.body(error), status=error.status, headers=error.headers)
