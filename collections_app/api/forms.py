"""What the texts of an HTML form stand for, as the JSON that the operations take.

An empty box is an absent value. A box that a browser would not send at all (no
option chosen, not ticked) is preceded by a hidden one of the same name, so that
leaving a name out still means leaving the field as it is.
"""

from __future__ import annotations

import re
from typing import Any

from django.http import QueryDict

from collections_app.records.modifiers import split_key
from collections_app.schema.definition import RULES, CollectionDef, Field
from core import json
from core.errors import BadRequest, DomainError, ValidationFailed

_ITEM = re.compile(r"[^\s,]+")
NOT_JSON = "Value must be valid JSON."


class Form:
    """Reads names out of a form, and remembers what could not be read."""

    def __init__(self, form: QueryDict) -> None:
        self.items: dict[str, list[Any]] = {name: form.getlist(name) for name in form}
        self.items.pop("csrfmiddlewaretoken", None)
        self.problems: dict[str, list[str]] = {}

    def one(self, name: str) -> Any:
        """The only value of that name; BadRequest for several."""
        values = self.items[name]
        if len(values) != 1:
            raise BadRequest(f"The field {name[:50]!r} stands more than once.")
        return values[0]

    def json(self, name: str) -> Any:
        """JSON text, or None for an empty box."""
        text = self.one(name)
        if not isinstance(text, str):
            return text
        if not text.strip():
            return None
        try:
            return json.loads(text.encode("utf-8", "surrogatepass"))
        except DomainError:
            self.problems[name] = [NOT_JSON]
            return None

    def words(self, name: str) -> Any:
        """Several boxes, a JSON list, or one text with commas, blanks or lines between the items."""
        values = [value for value in self.items[name] if value != ""]
        if len(values) != 1 or not isinstance(values[0], str):
            return values
        if values[0].lstrip().startswith("["):
            return self.json(name) if len(self.items[name]) == 1 else values
        return _ITEM.findall(values[0])

    def finish(self, data: dict[str, Any]) -> dict[str, Any]:
        if self.problems:
            raise ValidationFailed(fields=self.problems)
        return data


def record_data(form: QueryDict, collection: CollectionDef) -> dict[str, Any]:
    """The fields of a record."""
    reader = Form(form)
    data: dict[str, Any] = {}
    for name in reader.items:
        field = collection.by_name.get(name) or collection.by_name.get(split_key(name)[0])
        if field is not None and field.secret and reader.items[name] == [""]:
            continue  # a password's box is always empty; it means "as it is"
        data[name] = _field_value(reader, name, field)
    return reader.finish(data)


def _field_value(reader: Form, name: str, field: Field | None) -> Any:
    if field is None:
        return reader.one(name)
    if field.multiple:
        if field.target:
            return reader.words(name)
        values = [value for value in reader.items[name] if value != ""]
        return values[0] if len(values) == 1 else values  # one may be a JSON list of them all
    if field.value == "json":
        return reader.json(name)
    if field.value == "bool":
        value = reader.items[name][-1]
    else:
        value = reader.one(name)
    return None if value == "" else value


def collection_data(form: QueryDict) -> dict[str, Any]:
    """The keys of a collection. An empty box is a key left out; ``null`` in a rule's box is everyone."""
    reader = Form(form)
    data: dict[str, Any] = {}
    for name in reader.items:
        if name in ("schema", "indexes", "options"):
            value = reader.json(name)
        else:
            value = reader.one(name)
            if name in ("cache_ttl", "limit") and str(value).isascii() and str(value).isdigit():
                value = int(value)
        if value is None or value == "":
            continue
        data[name] = None if name in RULES and str(value).strip() == "null" else value
    return reader.finish(data)


def bulk_data(form: QueryDict) -> dict[str, Any]:
    """``record_ids``, and ``data`` as JSON."""
    reader = Form(form)
    readers = {"record_ids": reader.words, "data": reader.json}
    return reader.finish({name: readers.get(name, reader.one)(name) for name in reader.items})


def batch_data(form: QueryDict) -> dict[str, Any]:
    """``requests`` as JSON."""
    reader = Form(form)
    return reader.finish({name: reader.json(name) if name == "requests" else reader.one(name) for name in reader.items})
