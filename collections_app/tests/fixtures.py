"""Collections for tests, on a database whose schema they may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from django.db import connection

from accounts.principals import ANONYMOUS, SYSTEM, Principal
from collections_app import builtin, dialects
from collections_app.dialects import quote
from collections_app.models import Collection
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.schema import registry, service
from collections_app.schema.definition import CollectionDef


def drop_dynamic_tables() -> None:
    """What a flush does not know of: tables of collections, links, search indexes."""
    names = connection.introspection.table_names()
    ours = [name for name in names if name.startswith(("c_", "rel_", "fts_")) or name == "records"]
    made = {name for name in ours if name.startswith("fts_") and (name.count("_") == 1 or name.endswith("_texts"))}
    dialect = dialects.current()
    connection.disable_constraint_checking()
    for name in ours:
        if name.startswith("fts_") and name not in made:
            continue
        cascade = " CASCADE" if connection.vendor == "postgresql" else ""
        dialect.execute(f"DROP TABLE IF EXISTS {quote(name)}{cascade}")
    connection.enable_constraint_checking()


@pytest.fixture
def schema_db(transactional_db: None) -> Iterator[None]:
    """A database where collections can be made and changed; afterwards they are gone."""
    registry.forget()
    builtin.ensure_builtin(None, "default")
    yield
    drop_dynamic_tables()
    Collection.objects.all().delete()
    registry.forget()


@pytest.fixture
def make_collection(schema_db: None) -> Callable[..., CollectionDef]:
    """``make_collection("posts", title="text", views={"type": "integer"}, list_rule=None)``.

    Keywords that are rules, indexes, options or type go to the collection, all
    others are fields: a type's name, or the whole field without its name.
    """

    def make(name: str, /, **given: Any) -> CollectionDef:
        payload: dict[str, Any] = {"name": name, "schema": []}
        for key, value in given.items():
            if key in service.KEYS and key != "name":
                payload[key] = value
            else:
                entry = {"type": value} if isinstance(value, str) else value
                payload["schema"].append({"name": key, **entry})
        return service.collection_create(actor=SYSTEM, payload=payload)

    return make


class Records:
    """One caller's way to the records of a collection, below HTTP."""

    def __init__(self, name: str, principal: Principal) -> None:
        self.name, self.principal = name, principal

    def call(self, method: str = "GET", query: str = "", **headers: Any) -> Call:
        return Call(principal=self.principal, method=method, query_string=query, path=self.name, **headers)

    def create(self, /, **data: Any) -> dict[str, Any]:
        return orjson.loads(operations.record_create(self.call("POST"), self.name, data).body)  # type: ignore[no-any-return]

    def update(self, record_id: str, data: dict[str, Any], **headers: Any) -> dict[str, Any]:
        answer = operations.record_update(self.call("PATCH", **headers), self.name, record_id, data)
        return orjson.loads(answer.body)  # type: ignore[no-any-return]

    def delete(self, record_id: str, **headers: Any) -> None:
        operations.record_delete(self.call("DELETE", **headers), self.name, record_id)

    def get(self, record_id: str, query: str = "") -> dict[str, Any]:
        return orjson.loads(operations.record_get(self.call(query=query), self.name, record_id).body)  # type: ignore[no-any-return]

    def page(self, query: str = "") -> dict[str, Any]:
        return orjson.loads(operations.record_list(self.call(query=query), self.name).body)  # type: ignore[no-any-return]

    def items(self, query: str = "") -> list[dict[str, Any]]:
        return self.page(query)["items"]  # type: ignore[no-any-return]

    def values(self, field: str, query: str = "") -> list[Any]:
        return [item[field] for item in self.items(query)]


@pytest.fixture
def records() -> Callable[..., Records]:
    """``records("posts").create(title="x")``; as an admin unless another principal is given."""

    def of(name: str, principal: Principal = SYSTEM) -> Records:
        return Records(name, principal)

    return of


@pytest.fixture
def nobody() -> Principal:
    return ANONYMOUS


def person(name: str, **fields: Any) -> Principal:
    """A signed-in principal that is no admin."""
    return Principal(id=name, collection="users", email=f"{name}@example.com", role="user", verified=True, **fields)
