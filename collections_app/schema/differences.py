"""What tells two definitions of a collection apart: as data, and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from collections_app.schema.definition import RULES, CollectionDef

Change = dict[str, Any]
_MAX_WORDS = 80  # characters of a value within a sentence


def portable(collection: CollectionDef, name_of: Callable[[str], str]) -> dict[str, Any]:
    """The definition as it can be taken elsewhere: other collections by name, nothing that varies by itself."""
    stored = collection.stored()
    options = dict(stored["options"])
    if collection.search:
        options["search"] = collection.field_names(collection.search)
    found = {
        "id": collection.id,
        "name": collection.name,
        "type": collection.type,
        "schema": [_by_name(entry, name_of) for entry in stored["schema"]],
        **{key: stored[key] for key in RULES},
        "indexes": [
            {"fields": collection.field_names(index.fields), "unique": index.unique} for index in collection.indexes
        ],
        "options": options,
    }
    if collection.type == "view":
        found |= {"view_query": collection.view_query, "cache_ttl": collection.cache_ttl}
    if collection.system:
        found["system"] = True
    return found


def _by_name(entry: dict[str, Any], name_of: Callable[[str], str]) -> dict[str, Any]:
    relation = entry.get("relation")
    if not relation:
        return entry
    return {**entry, "relation": {**relation, "collection_id": name_of(relation["collection_id"])}}


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The changes from one :func:`portable` definition to another, whose fields have the same ids where they
    are the same: ``{"change", "name", "before", "after", "text"}``."""
    changes = []
    if before["name"] != after["name"]:
        changes.append(_change("rename", after["name"], before["name"], after["name"], "Rename {before} to {after}."))
    changes += _of_fields(before["schema"], after["schema"])
    for key in (*RULES, "indexes", "options", "view_query", "cache_ttl"):
        if before.get(key) != after.get(key):
            kind = "change_rule" if key in RULES else "change"
            changes.append(_change(kind, key, before.get(key), after.get(key), "Change {name}: {before} → {after}."))
    return changes


def created(after: Mapping[str, Any]) -> list[Change]:
    """The fields of a collection that is to be made."""
    return [_change("add_field", field["name"], None, field, _ADDED) for field in after["schema"]]


_ADDED = "Add the field {name} ({after[type]})."


def _of_fields(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Change]:
    old, new = ({field["id"]: field for field in fields} for fields in (before, after))
    changes = [
        _change("remove_field", field["name"], field, None, "Remove the field {name} and its values.")
        for field_id, field in old.items()
        if field_id not in new
    ]
    for field_id, field in new.items():
        known = old.get(field_id)
        if known is None:
            changes.append(_change("add_field", field["name"], None, field, _ADDED))
            continue
        if known["name"] != field["name"]:
            text = "Rename the field {before} to {after}."
            changes.append(_change("rename_field", field["name"], known["name"], field["name"], text))
        if {**known, "name": ""} != {**field, "name": ""}:
            changes.append(_change("change_field", field["name"], known, field, _of_field(known, field)))
    first, then = ([own for own in fields if own in old and own in new] for fields in (old, new))
    if first != then:
        text = "Put the fields in another order: {after}."
        names = [old[own]["name"] for own in first], [new[own]["name"] for own in then]
        changes.append(_change("reorder", "schema", names[0], names[1], text))
    return changes


def _of_field(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    first, second = _flat(before), _flat(after)
    keys = [key for key in (*first, *(key for key in second if key not in first)) if key not in ("id", "name")]
    what = [
        f"{key} {_words(first.get(key))} → {_words(second.get(key))}"
        for key in keys
        if first.get(key) != second.get(key)
    ]
    return "Change the field {name}: " + ", ".join(what).replace("{", "{{").replace("}", "}}") + "."


def _flat(field: Mapping[str, Any]) -> dict[str, Any]:
    """With ``validation`` and the type's options beside the rest."""
    flat: dict[str, Any] = {}
    for key, value in field.items():
        flat |= value if isinstance(value, Mapping) and key != "default" else {key: value}
    return flat


def _change(kind: str, name: str, before: Any, after: Any, text: str) -> Change:
    words = {
        "before": before if isinstance(before, Mapping) else _words(before),
        "after": after if isinstance(after, Mapping) else _words(after),
    }
    if kind == "change":
        words = {"before": _words(before), "after": _words(after)}
    return {"change": kind, "name": name, "before": before, "after": after, "text": text.format(name=name, **words)}


def _words(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _MAX_WORDS else text[: _MAX_WORDS - 1] + "…"
