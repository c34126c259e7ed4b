"""The blog of docs/rules.md: a few collections and rows that examples can be read against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accounts.principals import Principal
from collections_app import rules
from collections_app.rules import RuleEnv
from collections_app.rules.tests import world
from collections_app.schema import reading, registry
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot

ADMINS = "@request.auth.role = 'admin'"
SCHEMAS: dict[str, dict[str, Any]] = {
    "teams": {"fields": {"name": "text"}, "list_rule": None},
    "people": {
        "fields": {
            "name": "text",
            "team": {"type": "relation", "relation": {"collection_id": "teams"}},
            "salary": {"type": "integer", "hidden": True},
            "pin": "password",
        },
        "list_rule": None,
    },
    "vault": {"fields": {"code": "text"}, "list_rule": ADMINS},
    "posts": {
        "fields": {
            "title": "text", "status": "text", "views": "integer", "score": "number", "price": "decimal",
            "live": "bool", "day": "date", "opens": "time", "meta": "json", "place": "geo_point",
            "tags": {"type": "select", "select": {"values": ["red", "green", "blue"], "max_select": 3}},
            "author": {"type": "relation", "relation": {"collection_id": "people"}},
            "editors": {"type": "relation", "relation": {"collection_id": "people", "type": "many-to-many"}},
            "box": {"type": "relation", "relation": {"collection_id": "vault"}},
            "note": {"type": "text", "hidden": True},
            "owner": "text",
        },
        "list_rule": None,
    },
    "comments": {
        "fields": {
            "body": "text", "approved": "bool",
            "post": {"type": "relation", "relation": {"collection_id": "posts"}},
            "author": {"type": "relation", "relation": {"collection_id": "people"}},
        },
        "list_rule": "approved = true",
    },
    "members": {"fields": {"user": "text", "team": "text"}, "list_rule": None},
}  # fmt: skip

ROWS: dict[str, list[dict[str, Any]]] = {
    "teams": [{"id": "red", "name": "Reds"}, {"id": "blue", "name": "Blues"}],
    "people": [
        {"id": "ann", "name": "Ann", "team": "red", "salary": 10},
        {"id": "bob", "name": "Bob", "team": "blue", "salary": 20},
        {"id": "cid", "name": "Cid"},
    ],
    "posts": [
        {"id": "p1", "title": "Élan vital", "status": "published", "views": 100, "score": 4.5, "price": "9.90",
         "live": True, "day": "2026-01-15T10:00:00Z", "opens": "09:00", "tags": ["red", "green"],
         "author": "ann", "editors": ["ann", "bob"], "owner": "ann", "note": "hush",
         "meta": {"lang": "en", "stars": 5, "pinned": True, "refs": [1, 2]}, "place": {"lon": 13.4, "lat": 52.5}},
        {"id": "p2", "title": "50% off", "status": "draft", "views": 5, "score": 0, "price": "10.00",
         "live": False, "day": "2026-02-01", "tags": ["red"], "author": "bob", "editors": ["bob"],
         "owner": "bob", "meta": {"lang": 7, "stars": "5"}},
        {"id": "p3", "title": "", "status": "draft", "author": "cid", "tags": [], "meta": {}},
        {"id": "p4"},
    ],
    "comments": [
        {"id": "c1", "body": "Nice", "approved": True, "post": "p1", "author": "bob"},
        {"id": "c2", "body": "Spam", "approved": False, "post": "p1", "author": "cid"},
        {"id": "c3", "body": "Nice try", "approved": True, "post": "p2"},
    ],
    "members": [{"user": "ann", "team": "red"}, {"user": "bob", "team": "blue"}],
}  # fmt: skip

NOBODY = Principal()
ANN = Principal(
    id="ann", collection="users", email="ann@example.com", role="user", verified=True,
    fields={"team": "red", "teams": ["red", "blue"], "level": 5},
)  # fmt: skip
ADMIN = Principal(id="root", collection="users", role="admin")


def _payload(name: str) -> dict[str, Any]:
    spec = SCHEMAS[name]
    fields = [
        {"name": field, **({"type": given} if isinstance(given, str) else given)}
        for field, given in spec["fields"].items()
    ]
    return {"name": name, "schema": fields, "list_rule": spec["list_rule"]}


def snapshot() -> Snapshot:
    """The blog's definitions alone, without a database. A collection's id is its name in capitals."""
    collections: list[CollectionDef] = [
        reading.read(_payload(name), collection_id=name.upper(), resolve_target=str.upper) for name in SCHEMAS
    ]
    return Snapshot(1, collections)


def build(make_collection: Callable[..., Any]) -> None:
    for name, spec in SCHEMAS.items():
        make_collection(name, list_rule=spec["list_rule"], **spec["fields"])
    for name, rows in ROWS.items():
        world.put(name, *rows)


class Posts:
    """Which posts an expression holds for; SQL and memory are asked, and have to agree."""

    def __init__(self) -> None:
        self.snapshot = registry.latest()
        self.collection = self.snapshot.get("posts")
        self.memory = world.Memory(self.snapshot)

    def _ids(self, rule: Any, env: RuleEnv) -> str:
        by_sql = world.by_sql(rule, env, self.collection.table)
        by_memory = world.by_memory(rule, env, self.memory.rows[self.collection.id], self.memory)
        assert by_sql == by_memory
        return " ".join(by_sql)

    def by_rule(self, source: str, env: RuleEnv | None = None) -> str:
        rule = rules.compile_rule(source, self.collection, self.snapshot)
        return self._ids(rule, env or RuleEnv(principal=NOBODY))

    def by_filter(self, source: str, principal: Principal = NOBODY, **env: Any) -> str:
        rule = rules.compile_filter(source, self.collection, self.snapshot, principal)
        return self._ids(rule, RuleEnv(principal=principal, **env))
