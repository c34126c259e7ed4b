"""The definitions against the catalogue: silence on a healthy database, a sentence for each fault."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction

from accounts.principals import SYSTEM
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema import consistency, indexes, registry, service
from collections_app.schema.definition import CollectionDef
from collections_app.schema.fields import names

pytestmark = pytest.mark.engine

NEEDS: dict[str, dict[str, Any]] = {
    "select": {"select": {"values": ["a", "b"], "max_select": 2}},
    "relation": {"relation": {"collection_id": "boxes", "type": "many-to-many"}},
}


@pytest.fixture
def shelf(make_collection: Any, records: Any) -> CollectionDef:
    """A collection with a field of every type, relations to others and to itself, indexes and search."""
    make_collection("boxes", label={"type": "text", "validation": {"unique": True}})
    box = records("boxes").create(label="big")["id"]
    made = make_collection(
        "shelf",
        schema=[
            *({"name": f"a_{name}", "type": name, **NEEDS.get(name, {})} for name in sorted(names())),
            {"name": "box", "type": "relation", "relation": {"collection_id": "boxes"}},
            {"name": "parent", "type": "relation", "relation": {"collection_id": "shelf"}},
            {
                "name": "kin",
                "type": "relation",
                "relation": {"collection_id": "shelf", "type": "many-to-many"},
            },
        ],
        indexes=[{"fields": ["a_number", "a_bool"]}, {"fields": ["a_text", "a_integer"], "unique": True}],
        options={"search": ["a_text", "a_email"]},
    )
    records("shelf").create(a_text="one", box=box, a_relation=[box])
    make_collection("people", type="auth", nick="text", list_rule="nick = @request.auth.id")
    return made  # type: ignore[no-any-return]


def test_a_healthy_database_gives_no_alarm(shelf: CollectionDef) -> None:
    assert consistency.differences() == []


def test_no_alarm_after_renames_removals_and_drops(shelf: CollectionDef) -> None:
    schema = service.as_json(shelf)["schema"]
    for field in list(schema):
        field["name"] = f"{field['name']}_2"
        service.collection_update(actor=SYSTEM, name_or_id="shelf", payload={"schema": schema})
    assert consistency.differences() == []
    for field in list(schema):
        schema.remove(field)
        service.collection_update(actor=SYSTEM, name_or_id="shelf", payload={"schema": schema}, allow_data_loss=True)
        assert consistency.differences() == []
    service.collection_update(actor=SYSTEM, name_or_id="boxes", payload={"name": "crates"})
    assert consistency.differences() == []
    service.collection_delete(actor=SYSTEM, name_or_id="shelf")
    assert consistency.differences() == []


def damage(shelf: CollectionDef) -> list[tuple[str, str]]:
    """SQL that harms the schema behind our back, and a word of the sentence that tells it."""
    table, box = quote(shelf.table), registry.latest().get("boxes")
    link = shelf.by_name["kin"].through
    index = sorted(indexes.existing(shelf.table, connection.vendor))[0]
    harm = [
        (f"ALTER TABLE {table} DROP COLUMN a_json", "the column 'a_json' is missing"),
        (f"ALTER TABLE {table} ADD COLUMN stray text", "the column 'stray' belongs to no field"),
        (f"ALTER TABLE {table} RENAME COLUMN a_url TO a_link", "the column 'a_url' is missing"),
        (f"DROP INDEX {index}", f"the index {index!r}"),
        (f"CREATE INDEX ix_{shelf.id}_0123456789 ON {table} (a_text)", "belongs to no definition"),
        (f"DROP TABLE {link}", f"the table {link!r} of 'kin' is missing"),
        (f"DROP INDEX {link}_target", f"the index '{link}_target' is missing"),
        ("CREATE TABLE tmp_f0123456789 (id integer)", "belongs to no collection"),
        ("CREATE TABLE c_0123456789abcdefghij (id integer)", "belongs to no collection"),
        ("DELETE FROM schema_epoch", "no epoch"),
        (f"UPDATE auth_permission SET name = 'x' WHERE codename = 'view_c_{shelf.id}'", "is called 'x'"),
        (f"UPDATE collections SET name = 'other' WHERE id = '{shelf.id}'", "Can view other"),
        (f"DELETE FROM collections WHERE id = '{box.id}'", "the collection that 'a_relation' points to"),
    ]
    if connection.vendor == "sqlite":
        harm += [
            (f"DROP TABLE fts_{shelf.id}", "its search index"),
            (f"DROP TABLE fts_{shelf.id}_texts", "its search index"),
            (f"DELETE FROM fts_{shelf.id}_texts", "the ids of 1 records are not in the search index"),
            (
                f"INSERT INTO fts_{shelf.id}_texts (id) VALUES ('x')",
                "records are in the search index only",
            ),
            (f"CREATE VIRTUAL TABLE fts_{box.id} USING fts5(id)", "belongs to no collection"),
            (f"DROP TABLE {box.table}", "its table"),
        ]
    else:
        key = dialects.current().execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass", [shelf.table]
        ).fetchone()[0]  # fmt: skip
        harm += [
            (f"ALTER TABLE {table} DROP CONSTRAINT {key}", "the foreign key of"),
            (f"ALTER TABLE {table} ALTER COLUMN a_number TYPE text", "is text, not double precision"),
            (f'ALTER TABLE {table} ALTER COLUMN a_text TYPE text COLLATE "POSIX"', "sorts by 'POSIX'"),
            (f"DROP TABLE {box.table} CASCADE", "its table"),
        ]
    return harm


def test_each_harm_done_to_the_schema_is_told(shelf: CollectionDef) -> None:
    connection.disable_constraint_checking()
    for sql, word in damage(shelf):
        with transaction.atomic():
            dialects.current().execute(sql)
            told = consistency.differences()
            assert any(word in sentence for sentence in told), (sql, told)
            assert consistency.differences() == told, "looking changes nothing"
            transaction.set_rollback(True)
    connection.enable_constraint_checking()
    assert consistency.differences() == []


def test_looking_needs_no_place_among_the_writers(shelf: CollectionDef) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        try:
            seen.append(consistency.differences())
        finally:
            connection.close()

    with transaction.atomic():
        Permission.objects.filter(codename=f"add_c_{shelf.id}").delete()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(4)
        assert seen == [[]]
        transaction.set_rollback(True)


def test_a_permission_that_is_gone_or_too_much_is_told(shelf: CollectionDef) -> None:
    Permission.objects.filter(codename=f"add_c_{shelf.id}").delete()
    assert consistency.differences() == [f"The permission 'add_c_{shelf.id}' is missing."]
    Permission.objects.filter(codename=f"view_c_{shelf.id}").update(codename=f"see_c_{shelf.id}")
    assert f"The permission 'see_c_{shelf.id}' belongs to no collection." in consistency.differences()
