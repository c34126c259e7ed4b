"""The surface whose answers are ``{success, data, message, errors?}``, over the same services as the others.

A view derives from :class:`Enveloped`, raises what any view raises, and answers with
:func:`answer`. Refusals have the one body of core/errors.py, with the sentences of this
surface: bare ones in ``errors``, and ``fields`` with the keys. Of what clients send,
``script``, ``iframe`` and ``object`` elements are taken out, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any

from django.http import QueryDict
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.response import Response

from core import clock, drf, errors
from core.elements import cleaned
from core.error_adapter import domain_error
from core.permissions import IsAdmin
from core.views import CheckedView

BAD_REQUEST = "Invalid request data"
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class JSONParser(drf.JSONParser):
    def parse(self, stream: IO[Any], *args: Any, **kwargs: Any) -> Any:
        return cleaned(super().parse(stream, *args, **kwargs))


class FormParser(drf.FormParser):
    def parse(self, stream: IO[Any], *args: Any, **kwargs: Any) -> Any:
        return _cleaned_form(super().parse(stream, *args, **kwargs))


class MultiPartParser(drf.MultiPartParser):
    def parse(self, stream: IO[Any], *args: Any, **kwargs: Any) -> Any:
        parsed = super().parse(stream, *args, **kwargs)
        return DataAndFiles(_cleaned_form(parsed.data), parsed.files)


class AdminOnly(IsAdmin):
    refusal = "Admin access required"


class Enveloped(CheckedView):
    """A view of this surface. ``names`` are its names of fields that our serializers call otherwise."""

    parser_classes: tuple[type[BaseParser], ...] = (JSONParser, FormParser, MultiPartParser)
    renderer_classes = (drf.JSONRenderer,)
    names: Mapping[str, str] = {}

    def get_exception_handler(self) -> Callable[..., Any]:
        return partial(_refuse, names=self.names)


def answer(data: Any, message: str, status: int = 200, **more: Any) -> Response:
    """The success that every view of this surface answers with; ``more`` stands beside ``data``."""
    moment = clock.isoformat(clock.now())
    return Response({"success": True, "data": data, "message": message, **more, "timestamp": moment}, status=status)


def _cleaned_form(form: Any) -> QueryDict:
    found = QueryDict(mutable=True)
    for name, values in form.lists():
        found.setlist(name, cleaned({name: values})[name])
    return found


def _refuse(fault: Exception, context: Mapping[str, Any], *, names: Mapping[str, str]) -> Response | None:
    """The exception handler of these views; None lets Django answer 500."""
    error = domain_error(fault)
    if error is None:
        return None
    if isinstance(error, errors.Conflict) and error.fields:
        error = errors.ValidationFailed(error.message, fields=error.fields)  # a taken name is a bad value here
    body = errors.body(error)
    body["errors"] = [_sentence(name, text) for name, texts in error.fields.items() for text in texts]
    body["errors"] = body["errors"] or [error.message]
    body["fields"] = {names.get(name, name): texts for name, texts in error.fields.items()}
    if error.status == 400:
        body["message"] = body["detail"] = BAD_REQUEST
    return Response(body, status=error.status, headers=error.headers)


def _sentence(name: str, text: str) -> str:
    """A message that says by itself which field it is about."""
    if text.startswith("This field "):
        label = _CAPITAL.sub(" ", name.rpartition(".")[2].replace("_", " ")).lower()
        return f"{label.capitalize()} {text.removeprefix('This field ')}"
    return f"Unknown field: {name}" if text == "Unknown field." else text
