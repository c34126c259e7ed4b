"""A DRF serializer as the boxes of an HTML form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import Any

import orjson
from django.http import QueryDict
from rest_framework import serializers

# What the browser's own pickers can hold; anything finer or odder is edited as text.
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)Z?")
_TIME = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?")
_MIDNIGHT = ("", "T00:00", "T00:00:00", "T00:00:00Z")
_PICKERS = (
    (serializers.DateTimeField, "datetime-local", _MOMENT),
    (serializers.TimeField, "time", _TIME),
)
_INPUTS: tuple[tuple[type[Any], str], ...] = (
    (serializers.EmailField, "email"),
    (serializers.URLField, "url"),
    (serializers.IntegerField, "number"),
    (serializers.FloatField, "number"),
    (serializers.DateField, "date"),
)
_STRUCTURED = (serializers.JSONField, serializers.DictField, serializers.BaseSerializer)


@dataclass(slots=True)
class Box:
    """One input: ``kind`` is input, textarea, select, multiselect or checkbox."""

    name: str
    label: str
    help: str
    required: bool
    kind: str = "input"
    type: str = "text"
    value: Any = ""
    step: str = ""
    rows: int = 3
    mono: bool = False
    multiple: bool = False  # of files
    choices: list[tuple[str, str, bool]] = dc_field(default_factory=list)
    errors: list[str] = dc_field(default_factory=list)


def boxes(
    serializer: serializers.BaseSerializer[Any],
    values: Mapping[str, Any] | None,
    errors: Mapping[str, Sequence[str]],
) -> list[Box]:
    """The inputs of a serializer's fields; ``values`` are stored or just sent, None for a new thing."""
    found = []
    for name, field in _fields(serializer):
        if field.read_only or isinstance(field, serializers.HiddenField):
            continue
        if values is None or field.write_only:
            value = field.get_initial()
        elif isinstance(values, QueryDict):
            value = values.getlist(name) if _takes_many(field) else values.get(name)
        else:
            value = values.get(name)
        box = Box(
            name=name,
            label=str(field.label or name),
            help=str(field.help_text or ""),
            required=field.required,
            errors=[str(message) for message in errors.get(name, ())],
        )
        _fill(box, field, value)
        if box.kind == "textarea":
            box.rows = min(max(3, box.value.count("\n") + 1), 20)
        found.append(box)
    return found


def sample(serializer: serializers.BaseSerializer[Any], values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same fields as a JSON object to edit; what is write-only is left out."""
    return {
        name: field.get_initial() if values is None else values.get(name)
        for name, field in _fields(serializer)
        if not field.read_only and not (field.write_only and values is not None)
    }


def _fields(serializer: serializers.BaseSerializer[Any]) -> Iterable[tuple[str, Any]]:
    return getattr(serializer, "fields", {}).items()


def _takes_many(field: Any) -> bool:
    return isinstance(field, (serializers.MultipleChoiceField, serializers.ManyRelatedField))


def _fill(box: Box, field: Any, value: Any) -> None:
    if isinstance(field, serializers.FileField):
        box.type, box.multiple = "file", bool(field.style.get("multiple"))
        if value:  # what is there already; a box that is left empty is not sent
            now = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            box.help = f"{box.help} Now: {now}".strip()
    elif isinstance(field, serializers.BooleanField):
        box.kind, box.value = "checkbox", value in (True, "true", "on", "1")
        box.required = False
    elif isinstance(field, serializers.MultipleChoiceField):
        chosen = {str(item) for item in value or ()}
        box.kind = "multiselect"
        box.choices = [(str(key), str(label), str(key) in chosen) for key, label in field.choices.items()]
    elif isinstance(field, serializers.ChoiceField):
        box.kind = "select"
        box.choices = [(str(key), str(label), str(key) == str(value)) for key, label in field.choices.items()]
    elif isinstance(field, _STRUCTURED):
        box.kind, box.mono, box.value = "textarea", True, _structured(value)
    elif isinstance(field, serializers.ListField):
        box.kind, box.mono = "textarea", True
        box.value = "\n".join(map(str, value)) if isinstance(value, list) else _text(value)
    elif field.style.get("base_template") == "textarea.html":
        box.kind, box.value = "textarea", _text(value)
    else:
        _fill_input(box, field, _text(value))


def _fill_input(box: Box, field: Any, text: str) -> None:
    box.value = text
    box.type = field.style.get("input_type", "text")
    if box.type == "date" and (text[10:] in _MIDNIGHT or not text):
        box.value = text[:10]
        return
    for kind, input_type, form in _PICKERS:
        if isinstance(field, kind):
            match = form.fullmatch(text)
            if match or not text:
                box.type, box.step = input_type, "0.001" if "." in text else "1"
                box.value = match[match.lastindex or 0] if match else ""
            else:
                box.type = "text"
            return
    for kind, input_type in _INPUTS:
        if isinstance(field, kind):
            box.type = input_type
            box.step = "any" if kind is serializers.FloatField else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _structured(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
