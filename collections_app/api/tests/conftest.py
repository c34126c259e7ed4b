"""Two collections that hold every field type, and the ways a browser asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collections_app.schema.definition import CollectionDef

PUBLIC: dict[str, None] = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))

EVERY_TYPE: dict[str, Any] = {
    "title": {"type": "text", "validation": {"required": True, "max_length": 200}, "help": "On the label"},
    "body": "editor",
    "notes": "markdown",
    "mail": "email",
    "site": "url",
    "slug": {"type": "slug", "validation": {"unique": True}},
    "price": {"type": "number", "validation": {"min": 0, "max": 100000}},
    "stock": {"type": "integer", "validation": {"min": 0}},
    "cost": "decimal",
    "active": "bool",
    "state": {"type": "select", "select": {"values": ["new", "used"]}},
    "tags": {"type": "select", "select": {"values": ["a", "b", "c, d"], "max_select": 3}},
    "day": "date",
    "moment": "datetime",
    "at": "time",
    "stamp": {"type": "autodate", "autodate": {"on_update": True}},
    "category": {"type": "relation", "relation": {"collection_id": "categories"}},
    "related": {"type": "relation", "relation": {"collection_id": "things", "type": "many-to-many"}},
    "photo": "file",
    "photos": {"type": "file", "file": {"max_files": 3}},
    "meta": "json",
    "place": "geo_point",
    "uid": "uuid",
    "phone": "phone",
    "colour": "color",
    "ip": "ip",
    "pin": "password",
    "cost_price": {"type": "number", "hidden": True},
}


@pytest.fixture
def things(make_collection: Callable[..., CollectionDef]) -> CollectionDef:
    """``things`` has a field of every type and a hidden one; everybody may do everything."""
    make_collection("categories", name={"type": "text", "validation": {"required": True}}, **PUBLIC)
    return make_collection("things", **EVERY_TYPE, **PUBLIC)


@pytest.fixture
def every_type() -> dict[str, Any]:
    return EVERY_TYPE
