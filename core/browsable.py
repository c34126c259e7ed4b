"""DRF's browsable API in the product's own clothes: no foreign asset, no script needed to read.

A view gets its page from what it has anyway. It may say more by these methods,
all optional:

``offers(method)``  whether to show the form of ``POST``, ``PUT`` or ``DELETE`` to this caller
``stored()``        the values that an edit form starts from, as a mapping; None for no form
``link(item)``      the address of an object in the answer, or None
``query_boxes``     ``(name, label, placeholder)`` of the query parameters of a list
``heading``         the title of the page, where the name in the breadcrumbs is too short
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from django.template import loader
from django.urls import Resolver404, resolve
from django.utils.http import urlencode
from rest_framework import renderers
from rest_framework.request import Request, override_method

from core import json, project
from core.html_forms import Box, boxes, sample
from core.json_html import json_html

if TYPE_CHECKING:  # DRF's views import this module, by the setting that names it
    from rest_framework.response import Response
    from rest_framework.views import APIView

# What is stored here never runs, whatever it looks like.
POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_TITLES = {"create": ("Create", "Create"), "update": ("Edit", "Save")}


class BrowsableAPIRenderer(renderers.BrowsableAPIRenderer):
    """``text/html`` for every API view; the status is the one that JSON clients get."""

    template = "rest_framework/api.html"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        assert renderer_context is not None
        request, response = renderer_context["request"], renderer_context["response"]
        context = self.page(_value(data), renderer_context["view"], request, response)
        # The validator is that of the JSON, and the page holds a form of this caller's.
        del response.headers["ETag"]
        response.headers["Cache-Control"] = "no-store"
        response.headers["Content-Security-Policy"] = POLICY
        return loader.get_template(self.template).render(context, request=request)

    def page(self, value: Any, view: APIView, request: Request, response: Response) -> dict[str, Any]:
        """The template's context."""
        headers = {name: text for name, text in response.items() if name not in ("Vary", "Allow")}
        link = getattr(view, "link", lambda item: None)
        found = response.status_code != 404
        forms = [self._form(value, view, request, response, method) for method in ("POST", "PUT")] if found else []
        extra = view.get_extra_action_url_map() if found and hasattr(view, "get_extra_action_url_map") else {}
        return {
            "project": project.name(),
            "view": view,
            "name": getattr(view, "heading", None) or self.get_name(view),
            "description": _description(view),
            "breadcrumbs": _breadcrumbs(request),
            "response": response,
            "headers": {"Content-Type": "application/json", **dict(sorted(headers.items()))},
            "failed": response.status_code >= 400,
            "message": value.get("message") if isinstance(value, Mapping) else None,
            "content": None if value is None else json_html(value, link),
            "user": request.user,
            "by_session": request.user.is_authenticated and request.auth is None,
            "query_boxes": _query_boxes(view, request),
            "pages": _pages(value, request),
            "actions": extra,
            "forms": [form for form in forms if form is not None],
            "can_delete": found and self._offered(view, request, "DELETE"),
        }

    def _form(
        self, value: Any, view: APIView, request: Request, response: Response, method: str
    ) -> dict[str, Any] | None:
        if not self._offered(view, request, method):
            return None
        with override_method(view, request, method):
            stored = view.stored() if method == "PUT" and hasattr(view, "stored") else None
            if (method == "PUT" and stored is None) or not hasattr(view, "get_serializer"):
                return None
            if method == "POST" and not getattr(view, "serializer_class", True):
                return None
            serializer = view.get_serializer()
            title, button = _TITLES.get(getattr(view, "action", "") or "", ("Send", "Send"))
            refused = request.method == method and response.status_code >= 400
            sent = request.data if refused and isinstance(request.data, Mapping) and request.data else None
            fields = value.get("fields", {}) if refused and isinstance(value, Mapping) else {}
            inputs = boxes(serializer, sent if sent is not None else stored, fields)
            raw = orjson.dumps(sample(serializer, stored), option=orjson.OPT_INDENT_2, default=str).decode()
        return {
            "method": method,
            "title": title,
            "button": button,
            "boxes": inputs,
            "raw": raw,
            "other_errors": _other_errors(fields, inputs),
        }

    def _offered(self, view: APIView, request: Request, method: str) -> bool:
        if method not in view.allowed_methods:
            return False
        with override_method(view, request, method):
            return bool(view.offers(method)) if hasattr(view, "offers") else True


def _description(view: APIView) -> str:
    """The first paragraph about what was asked for, else about the view."""
    handler = getattr(view, getattr(view, "action", None) or "", None)
    text = getattr(handler, "__doc__", None) or type(view).__doc__ or ""
    return " ".join(text.strip().split("\n\n")[0].split()).replace("``", "")


def _breadcrumbs(request: Request) -> list[tuple[str, str]]:
    """Name and address of every API view on the way here."""
    found: list[tuple[str, str]] = []
    parts = request.path.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        address = "/" + "/".join(parts[:end])
        try:
            match = resolve(address)
        except Resolver404:
            continue
        view_class = getattr(match.func, "cls", None)
        if view_class is not None:
            view = view_class(**match.func.initkwargs)  # type: ignore[attr-defined]
            view.kwargs = match.kwargs
            found.append((view.get_view_name(), address))
    return found


def _value(data: Any) -> Any:
    """The answer as values; our views answer ready bytes."""
    if isinstance(data, bytes):
        return orjson.loads(data) if data else None
    return None if data is None else orjson.loads(json.dumps(data))


def _other_errors(fields: Mapping[str, Any], inputs: list[Box]) -> list[str]:
    shown = {box.name for box in inputs}
    return [f"{name}: {text}" for name, texts in fields.items() if name not in shown for text in texts]


def _query_boxes(view: APIView, request: Request) -> list[dict[str, str]]:
    return [
        {"name": name, "label": label, "placeholder": placeholder, "value": request.GET.get(name, "")}
        for name, label, placeholder in getattr(view, "query_boxes", ())
    ]


def _pages(value: Any, request: Request) -> dict[str, Any] | None:
    """Where the neighbouring pages are, for an answer that is a page."""
    if not isinstance(value, Mapping) or "items" not in value:
        return None
    given = {name: text for name, text in request.GET.items() if name not in ("page", "cursor")}

    def address(**changed: Any) -> str:
        return "?" + urlencode({**given, **changed})

    if "next_cursor" in value:
        cursor = value["next_cursor"]
        return {"first": address(cursor=""), "next": address(cursor=cursor) if cursor else None}
    page, last, total = (value.get(name) for name in ("page", "total_pages", "total"))
    if not (isinstance(page, int) and isinstance(last, int)):
        return None
    full = len(value["items"]) == value.get("per_page")
    return {
        "page": page,
        "last": last,
        "total": total,
        "previous": address(page=page - 1) if page > 1 else None,
        "next": address(page=page + 1) if page < last or (last < 0 and full) else None,
    }
