"""A field's value as JSON Schema: as it is answered, and as it may be sent."""

from __future__ import annotations

from typing import Any

from collections_app.schema.definition import CollectionDef, Field

Schema = dict[str, Any]

# They bind what is written from now on; what was stored under an older definition is still answered.
_BINDS_WRITES_ONLY = frozenset({"minLength", "maxLength", "minimum", "maximum", "maxItems"})
_MODIFIABLE = ("number", "integer", "decimal")

RECORD_ID: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
    "description": "The record's id. Made by the server, in order of time, unless the client sends its own.",
}


def answered(field: Field, target: CollectionDef | None) -> Schema:
    """The schema of the value in an answer; ``target`` is where a relation leads, if the reader may know."""
    schema = {key: value for key, value in field.kind.json_schema(field).items() if key not in _BINDS_WRITES_ONLY}
    if not (field.required or field.multiple or field.value == "bool" or field.id in ("id", "created", "updated")):
        schema = nullable(schema)
    if not field.writable:
        schema["readOnly"] = True
    if field.type == "decimal":
        schema["examples"] = [example(field)]
    return _described(schema, _about(field, target))


def sent(field: Field, target: CollectionDef | None) -> Schema:
    """The schema of the value in a request body."""
    schema = dict(field.kind.json_schema(field))
    if not field.required:
        schema = nullable(schema)
    elif field.value == "text" and not field.multiple:
        schema["minLength"] = max(1, schema.get("minLength", 1))
    if field.default is not None:
        schema["default"] = field.default
    return _described(schema, _about(field, target))


def example(field: Field) -> Any:
    """A value that the field takes, or None where there is no telling (ids, patterns, passwords)."""
    if field.default is not None:
        return field.default
    rules = field.validation
    if field.type == "select":
        first = field.options["values"][0]
        return [first] if field.multiple else first
    if field.value in _MODIFIABLE:
        bound = rules.get("min", rules.get("max"))
        number = 1 if bound is None else float(bound)
        if field.type == "decimal":
            return f"{number:.{field.options['places'] or 2}f}"
        return int(number) if field.type == "integer" or float(number).is_integer() else number
    text = _EXAMPLES.get(field.type)
    if not isinstance(text, str) or field.type not in ("text", "editor", "markdown", "slug"):
        return text
    if rules.get("pattern") is not None:
        return None
    text += "x" * ((rules.get("min_length") or 0) - len(text))
    return text[: rules.get("max_length")]


_EXAMPLES: dict[str, Any] = {
    "text": "A text",
    "editor": "<p>Rich text</p>",
    "markdown": "Some *text*",
    "email": "name@example.com",
    "url": "https://example.com",
    "slug": "a-slug",
    "bool": True,
    "date": "2026-01-15",
    "datetime": "2026-01-15T10:00:00Z",
    "time": "10:00:00",
    "autodate": "2026-01-15T10:00:00Z",
    "json": {"key": "value"},
    "geo_point": {"lon": 13.4, "lat": 52.5},
    "uuid": "6f1c1f5e-3c43-4b57-8a28-06ba2a2f3f3d",
    "phone": "+49 30 123456",
    "color": "#3454d1",
    "ip": "192.0.2.1",
}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "type" not in schema:
        return schema
    found = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        found["enum"] = [*schema["enum"], None]
    return found


def modifiers(fields: list[Field]) -> Schema:
    """``patternProperties`` for ``field+``, ``field-`` and ``+field``."""
    numbers = [field.name for field in fields if field.value in _MODIFIABLE]
    lists = [field.name for field in fields if field.multiple]
    patterns: Schema = {}
    if numbers:
        patterns[f"^({'|'.join(numbers)})[+-]$"] = {
            "type": ["number", "string"],
            "description": "Add to, or take from, the stored number.",
        }
    if lists:
        names = "|".join(lists)
        patterns[f"^(({names})[+-]|[+]({names}))$"] = {
            "type": ["string", "array"],
            "items": {"type": "string"},
            "description": "Append, take out, or prepend items.",
        }
    return patterns


def as_form(body: Schema, fields: list[Field]) -> Schema:
    """A body's schema as ``multipart/form-data``, where file fields take uploads."""
    files = [field for field in fields if field.type == "file"]
    properties = dict(body["properties"])
    for field in files:
        one = {"type": "string", "format": "binary"}
        properties[field.name] = _described(
            {"type": "array", "items": one} if field.multiple else one,
            f"{field.help} Uploads, or names of files that are stored already.".strip(),
        )
    found = {**body, "properties": properties}
    several = "|".join(field.name for field in files if field.multiple)
    if several and "patternProperties" in body:
        found["patternProperties"] = {
            f"^(({several})[+]|[+]({several}))$": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "description": "Append, or prepend, uploads.",
            },
            **modifiers([field for field in fields if field.type != "file"]),
        }
    return found


def _about(field: Field, target: CollectionDef | None) -> str:
    parts = [field.help]
    if field.target:
        what = "Ids of records" if field.multiple else "Id of a record"
        parts.append(f"{what} of `{target.name}`." if target else f"{what} of another collection.")
    if field.type == "date":
        parts.append("A bare date is its midnight in UTC.")
    if field.type == "file":
        parts.append("Names of stored files." if field.multiple else "The name of a stored file.")
    if field.unique and not field.system:
        parts.append("Unique.")
    return " ".join(part for part in parts if part)


def _described(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text} if text else schema
