"""A small world for the rule language: tables with adversarial rows, and the same rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from accounts.principals import SYSTEM, Principal
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records import write
from collections_app.records.codec import Record, whole_codec
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import Rule, RuleEnv
from collections_app.schema import registry, service
from collections_app.schema.snapshot import Snapshot

TEXTS = [
    "", " ", "a", "A", "b", "ab", "É", "é", "e\u0301", "ß", "SS", "ss", "ſ", "İ", "i", "I", "ı", "Σ", "σ", "ς", "ΟΔΟΣ",
    "οδος", "%", "_", "a%b", "a_b", "\\", "a\\b", "'", '"', "1", "1.0", "01", "true", "null", "🙂", "Z", "ﬁ", "K", "\u212a",
]  # fmt: skip
NUMBERS = [None, 0, -0.0, 1, -1, 1.5, 2**53, 1e300, -1e-300, 0.1]
INTEGERS = [None, 0, 1, -1, 2**63 - 1, -(2**63), 42]
DECIMALS = [None, "0", "0.1", "19.90", "-5.25", "999999999999.99"]
MOMENTS = [
    None,
    "2025-01-15",
    "2025-01-15T00:00:00.000001Z",
    "2025-01-15T00:00:00.5Z",
    "1999-12-31T23:59:59Z",
    "2026-11-21",
]
TIMES = [None, "10:30", "10:30:00.5", "00:00", "23:59:59"]
JSON = [
    None,
    {},
    {"k": 1},
    {"k": "1"},
    {"k": None},
    {"k": ""},
    {"k": True},
    {"k": {"n": "É"}},
    {"k": [1, 2]},
    [1, 2],
    "",
    "x",
    5,
]
PLACES = [None, {"lon": 0, "lat": 0}, {"lon": -1.5, "lat": 51}]


def build(make_collection: Callable[..., Any]) -> None:
    """Three collections: people and their teams, and a third for ``@collection``."""
    make_collection("teams", name="text", size="number")
    make_collection(
        "people",
        name="text", n="number", i="integer", d="decimal", b="bool", day="date", at="time", j="json", g="geo_point",
        owner="text",
        s={"type": "select", "select": {"values": ["a", "É", "%"], "max_select": 3}},
        team={"type": "relation", "relation": {"collection_id": "teams"}},
        teams={"type": "relation", "relation": {"collection_id": "teams", "type": "many-to-many"}},
        hid={"type": "text", "hidden": True},
    )  # fmt: skip
    # What a caller's filter may see of the teams depends on the people in them.
    rule = "size > 0 || name = @request.auth.id || people_via_team.b ?= true"
    service.collection_update(actor=SYSTEM, name_or_id="teams", payload={"list_rule": rule})
    make_collection("grants", who="text", what="text", list_rule=None)


def put(name: str, *records: dict[str, Any]) -> None:
    snapshot = registry.latest()
    with unit_of_work(snapshot, SYSTEM) as work:
        write.records_create(work, snapshot.get(name), records, RuleEnv(principal=SYSTEM))


def clear() -> None:
    dialect = dialects.current()
    snapshot = registry.latest()
    people = snapshot.get("people")
    for table in [*(field.through for field in people.through_fields), people.table,
                  snapshot.get("teams").table, snapshot.get("grants").table]:  # fmt: skip
        dialect.execute(f"DELETE FROM {quote(table)}")


class Memory:
    """The same rows as dicts: what an in-memory check looks related rows up in."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.rows: dict[str, list[Record]] = {}
        for collection in snapshot.by_id.values():
            reader = whole_codec(collection)
            fetched = dialects.current().execute(f"SELECT {reader.columns} FROM {quote(collection.table)} AS t")
            self.rows[collection.id] = orjson.loads(orjson.dumps(reader.records(fetched.fetchall())))

    def by_ids(self, collection_id: str, ids: Sequence[str]) -> list[Record]:
        return [row for row in self.rows[collection_id] if row["id"] in ids]

    def back(self, collection_id: str, field: Any, record_id: str) -> list[Record]:
        return [
            row for row in self.rows[collection_id]
            if (record_id in row[field.name] if field.multiple else row[field.name] == record_id)
        ]  # fmt: skip

    def all(self, collection_id: str) -> list[Record]:
        return self.rows[collection_id]


def by_sql(rule: Rule, env: RuleEnv, table: str) -> list[str]:
    text, params = rule.sql(env, "t")
    rows = dialects.current().execute(f"SELECT id FROM {quote(table)} AS t WHERE {text}", params).fetchall()
    return sorted(row[0] for row in rows)


def by_memory(rule: Rule, env: RuleEnv, rows: Sequence[Record], memory: Memory) -> list[str]:
    return sorted(row["id"] for row in rows if rule.check(row, env, memory))


PRINCIPALS = [
    Principal(),
    Principal(
        id="a",
        collection="users",
        email="É@x.co",
        role="user",
        verified=True,
        fields={"team": "", "level": 3},
    ),
    Principal(id="É", collection="people", email="", role="editor", fields={"tags": ["a", "É"]}),
]
BODIES: list[dict[str, Any] | None] = [
    None,
    {},
    {"name": "a", "n": 1},
    {"name": "", "s": ["a", "b"]},
    {"n": "1", "b": True},
]
