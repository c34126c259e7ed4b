"""Each change of a schema, with data that fits and data that does not, on both engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.principals import SYSTEM
from collections_app import dialects
from collections_app.models import Collection, Event
from collections_app.schema import indexes, reading, registry, service
from collections_app.schema.definition import CollectionDef
from core.errors import Conflict, ValidationFailed

pytestmark = pytest.mark.engine


def change(
    name: str, edit: Callable[[list[dict[str, Any]]], Any], *, lossy: bool = False, **keys: Any
) -> CollectionDef:
    """Edit the schema of a collection the way a client does: read it, change it, send it."""
    schema = service.as_json(registry.latest().get(name))["schema"]
    edit(schema)
    return service.collection_update(
        actor=SYSTEM, name_or_id=name, payload={"schema": schema, **keys}, allow_data_loss=lossy
    )


def entry(schema: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(field for field in schema if field["name"] == name)


def retype(name: str, **new: Any) -> Callable[[list[dict[str, Any]]], None]:
    def edit(schema: list[dict[str, Any]]) -> None:
        old = entry(schema, name)
        schema[schema.index(old)] = {"id": old["id"], "name": name, **new}

    return edit


def remove(name: str) -> Callable[[list[dict[str, Any]]], None]:
    return lambda schema: schema.remove(entry(schema, name))


def state_of_the_schema() -> Any:
    rows = list(Collection.objects.order_by("id").values())
    tables = {row["id"]: sorted(columns_of(registry.read_definition(row).table)) for row in rows}
    return rows, tables, registry.read_version(), Event.objects.count()


def columns_of(table: str) -> list[str]:
    from django.db import connection

    with connection.cursor() as cursor:
        return [column.name for column in connection.introspection.get_table_description(cursor, table)]


@pytest.fixture
def things(make_collection: Any, records: Any) -> list[str]:
    """Two records in a collection with one field of many kinds."""
    make_collection("boxes", label="text")
    box = records("boxes").create(label="big")
    make_collection(
        "things",
        title="text", price="number", count="integer", cost="decimal", active="bool", day="date", at="time",
        tags={"type": "select", "select": {"values": ["a", "b", "c"], "max_select": 3}},
        kind={"type": "select", "select": {"values": ["x", "y"]}},
        box={"type": "relation", "relation": {"collection_id": "boxes"}},
        boxes={"type": "relation", "relation": {"collection_id": "boxes", "type": "many-to-many"}},
        meta="json", place="geo_point",
        options={"search": ["title"]}, indexes=[{"fields": ["price", "active"]}],
    )  # fmt: skip
    full = records("things").create(
        title="12", price=1.5, count=3, cost="19.90", active=True, day="2025-01-15", at="10:30", tags=["a", "b"],
        kind="x", box=box["id"], boxes=[box["id"]], meta={"z": [1]}, place={"lon": 1, "lat": 2},
    )  # fmt: skip
    bare = records("things").create(title="abc")
    return [full["id"], bare["id"], box["id"]]


def test_renaming_a_field_moves_no_data(things: list[str], records: Any) -> None:
    before = records("things").get(things[0])
    change("things", lambda schema: entry(schema, "price").update(name="amount"))
    after = records("things").get(things[0])
    assert after.pop("amount") == before.pop("price")
    assert after == before


def test_two_fields_swap_their_names_and_keep_their_values(things: list[str], records: Any) -> None:
    def swap(schema: list[dict[str, Any]]) -> None:
        one, two = entry(schema, "price"), entry(schema, "count")
        one["name"], two["name"] = "count", "price"

    change("things", swap)
    after = records("things").get(things[0])
    assert (after["count"], after["price"]) == (1.5, 3)


def test_renaming_a_collection_keeps_records_relations_and_ids(things: list[str], records: Any) -> None:
    service.collection_update(actor=SYSTEM, name_or_id="boxes", payload={"name": "crates"})
    assert records("crates").get(things[2])["collection"] == "crates"
    assert records("things").get(things[0], "expand=box")["expand"]["box"]["label"] == "big"


@pytest.mark.parametrize(
    ("field", "new", "expected"),
    [
        ("price", {"type": "text"}, "1.5"),
        ("price", {"type": "decimal"}, "1.50"),
        ("count", {"type": "text"}, "3"),
        ("count", {"type": "number"}, 3),
        ("count", {"type": "decimal", "decimal": {"places": 1}}, "3.0"),
        ("cost", {"type": "number"}, 19.9),
        ("cost", {"type": "text"}, "19.90"),
        ("active", {"type": "text"}, "true"),
        ("active", {"type": "json"}, True),
        ("day", {"type": "text"}, "2025-01-15T00:00:00Z"),
        ("day", {"type": "datetime"}, "2025-01-15T00:00:00Z"),
        ("at", {"type": "text"}, "10:30:00"),
        ("kind", {"type": "text"}, "x"),
        ("kind", {"type": "select", "select": {"values": ["x", "y"], "max_select": 2}}, ["x"]),
        ("kind", {"type": "select", "select": {"values": ["z", "x"]}}, "x"),
        ("tags", {"type": "json"}, ["a", "b"]),
        ("meta", {"type": "text"}, '{"z":[1]}'),
        ("place", {"type": "json"}, {"lon": 1, "lat": 2}),
    ],
)
def test_a_type_change_converts_what_fits(
    things: list[str], records: Any, field: str, new: dict[str, Any], expected: Any
) -> None:
    change("things", retype(field, **new))
    assert records("things").get(things[0])[field] == expected
    assert records("things").get(things[1])[field] in (None, [], False, "false")


@pytest.mark.parametrize(
    ("field", "new"),
    [
        ("title", {"type": "number"}),
        ("title", {"type": "email"}),
        ("price", {"type": "integer"}),
        ("cost", {"type": "decimal", "decimal": {"places": 0}}),
        ("tags", {"type": "select", "select": {"values": ["a", "b", "c"]}}),
        ("kind", {"type": "relation", "relation": {"collection_id": "boxes"}}),
        ("kind", {"type": "select", "select": {"values": ["y"]}}),
        ("tags", {"type": "select", "select": {"values": ["a", "c"], "max_select": 3}}),
        ("meta", {"type": "number"}),
        ("box", {"type": "number"}),
    ],
)
def test_a_type_change_that_would_lose_values_is_refused_with_count_and_examples(
    things: list[str], field: str, new: dict[str, Any]
) -> None:
    before = state_of_the_schema()
    with pytest.raises(Conflict) as refusal:
        change("things", retype(field, **new))
    assert refusal.value.extra["count"] == (2 if new["type"] == "email" else 1)
    assert refusal.value.extra["examples"][0]["id"] in things
    assert "allow_data_loss" in refusal.value.message
    assert state_of_the_schema() == before


def test_a_type_change_that_a_rule_would_not_survive_is_refused(make_collection: Any, records: Any) -> None:
    make_collection("posts", score="number", list_rule="score > 3")
    make_collection(
        "likes", post={"type": "relation", "relation": {"collection_id": "posts"}}, list_rule="post.score = 1"
    )
    before = state_of_the_schema()
    with pytest.raises(Conflict, match="list_rule of 'likes'"):
        change("posts", retype("score", type="date"), list_rule="score > '2026-01-01'")
    assert state_of_the_schema() == before
    service.collection_update(actor=SYSTEM, name_or_id="likes", payload={"list_rule": None})
    with pytest.raises(Conflict, match="list_rule of 'posts'"):
        change("posts", retype("score", type="date"))
    change("posts", retype("score", type="date"), list_rule="score > '2026-01-01'")


def test_allowing_data_loss_keeps_what_fits_and_drops_the_rest(things: list[str], records: Any) -> None:
    change("things", retype("title", type="number"), lossy=True)
    assert records("things").get(things[0])["title"] == 12
    assert records("things").get(things[1])["title"] is None


def test_a_relation_becomes_many_to_many_and_comes_back(things: list[str], records: Any) -> None:
    many = {"type": "relation", "relation": {"collection_id": "boxes", "type": "many-to-many"}}
    change("things", retype("box", **many))
    assert records("things").get(things[0])["box"] == [things[2]]
    change("things", retype("box", type="relation", relation={"collection_id": "boxes"}))
    assert records("things").get(things[0])["box"] == things[2]
    assert records("things").items("expand=box")[-1]["expand"]["box"]["label"] == "big"


def test_removing_a_field_with_values_is_refused_and_leaves_everything(things: list[str]) -> None:
    for name in ("title", "tags", "boxes", "active", "meta", "box"):
        before = state_of_the_schema()
        with pytest.raises(Conflict) as refusal:
            change("things", remove(name))
        assert refusal.value.extra["count"] == (2 if name == "title" else 1)
        assert state_of_the_schema() == before


@pytest.mark.parametrize("name", ["title", "tags", "boxes", "active", "meta", "box", "price"])
def test_a_field_is_removed_when_loss_is_allowed(things: list[str], records: Any, name: str) -> None:
    change("things", remove(name), lossy=True)
    assert name not in records("things").get(things[0])
    assert name not in columns_of(registry.latest().get("things").table)


def test_an_empty_field_is_removed_without_asking(make_collection: Any, records: Any) -> None:
    make_collection("notes", a="text", b="text", flag="bool")
    records("notes").create(a="kept", b="")
    change("notes", remove("b"))
    change("notes", remove("flag"))
    assert records("notes").values("a") == ["kept"]


def test_a_required_field_needs_a_default_where_records_are(things: list[str], records: Any) -> None:
    before = state_of_the_schema()
    with pytest.raises(Conflict, match="2 records have no value"):
        change("things", lambda s: s.append({"name": "sku", "type": "text", "validation": {"required": True}}))
    assert state_of_the_schema() == before
    change(
        "things",
        lambda s: s.append({"name": "sku", "type": "text", "validation": {"required": True, "default": "none"}}),
    )
    assert records("things").values("sku") == ["none", "none"]


def test_a_field_becomes_required_only_when_all_records_have_it(things: list[str]) -> None:
    change("things", lambda schema: entry(schema, "title")["validation"].update(required=True))
    with pytest.raises(Conflict) as refusal:
        change("things", lambda schema: entry(schema, "price")["validation"].update(required=True))
    assert refusal.value.extra["examples"] == [{"id": things[1], "value": None}]


def test_a_field_becomes_unique_only_when_its_values_are(make_collection: Any, records: Any) -> None:
    make_collection("codes", code="text")
    for code in ("a", "a", "b", "", ""):
        records("codes").create(code=code)
    with pytest.raises(Conflict) as refusal:
        change("codes", lambda schema: entry(schema, "code")["validation"].update(unique=True))
    assert refusal.value.extra["examples"] == [{"value": "a", "records": 2}]
    double = records("codes").items("filter=code='a'")[0]["id"]
    records("codes").update(double, {"code": "c"})
    change("codes", lambda schema: entry(schema, "code")["validation"].update(unique=True))
    with pytest.raises(Conflict) as taken:
        records("codes").create(code="b")
    assert taken.value.fields == {"code": ["This value is already in use."]}
    records("codes").create(code="")


def test_indexes_come_and_go_with_the_definition_and_survive_changes(things: list[str]) -> None:
    from django.db import connection

    def names() -> set[str]:
        return indexes.existing(registry.latest().get("things").table, connection.vendor)

    first = names()
    change("things", remove("box"), lossy=True)
    change("things", lambda schema: entry(schema, "price").update(name="amount"))
    assert len(names()) == len(first) - 1
    service.collection_update(actor=SYSTEM, name_or_id="things", payload={"indexes": []})
    wanted = indexes.wanted(registry.latest().get("things"), connection.vendor, trigrams=True)
    assert names() == set(wanted)


def test_a_search_index_can_be_made_under_any_search_path(things: list[str]) -> None:
    from django.db import connection, transaction

    if connection.vendor != "postgresql":
        pytest.skip("an index of PostgreSQL")
    collection = registry.latest().get("things")
    search = next(one for one in indexes.wanted(collection, "postgresql", trigrams=True).values() if one.trigram)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute("SET LOCAL search_path = elsewhere")
        cursor.execute(f'CREATE TABLE things ("{search.fields[0].column}" text)')
        cursor.execute(search.create_sql("things", "postgresql"))
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'elsewhere'")
        assert "public.gin_trgm_ops" in cursor.fetchone()[0]
        transaction.set_rollback(True)


def test_search_follows_renames_conversions_and_new_indexes(things: list[str], records: Any) -> None:
    assert records("things").page("search=ABC")["total"] == 1
    change("things", lambda schema: entry(schema, "title").update(name="headline"))
    assert records("things").page("search=ABC")["total"] == 1
    change("things", retype("headline", type="markdown"))
    assert records("things").page("search=ABC")["total"] == 1
    service.collection_update(actor=SYSTEM, name_or_id="things", payload={"options": {}})
    assert records("things").page("search=ABC")["total"] == 1


def test_a_referenced_collection_is_not_dropped(things: list[str], records: Any) -> None:
    before = state_of_the_schema()
    with pytest.raises(Conflict, match=r"things\.box"):
        service.collection_delete(actor=SYSTEM, name_or_id="boxes")
    assert state_of_the_schema() == before
    service.collection_delete(actor=SYSTEM, name_or_id="things")
    service.collection_delete(actor=SYSTEM, name_or_id="boxes")
    assert set(registry.latest().by_name) == {"records"}


def test_common_words_are_fine_as_field_names(make_collection: Any, records: Any) -> None:
    words = [
        "metadata", "data", "type", "order", "key", "user", "group", "select", "from", "where", "index", "save",
        "delete", "check", "clean", "pk", "objects", "rowid", "oid", "a__b", "trailing_", "limit", "table", "class",
        "def", "primary", "null", "values", "default", "natural", "position", "source_id",
    ]  # fmt: skip
    make_collection("words", schema=[{"name": word, "type": "text"} for word in words])
    made = records("words").create(**{word: f"<{word}>" for word in words})
    assert {word: made[word] for word in words} == {word: f"<{word}>" for word in words}
    for word in words:
        assert records("words").page(f"filter=@record.{word}='<{word}>'&sort=-{word}")["total"] == 1
    change("words", lambda schema: entry(schema, "order").update(name="ordering"))
    change("words", remove("group"), lossy=True)
    assert records("words").items()[0]["ordering"] == "<order>"


@pytest.mark.parametrize("name", ["id", "created", "updated", "collection", "expand", "xmin", "Upper", "1a", "a-b", ""])
def test_our_own_and_malformed_field_names_are_refused(make_collection: Any, name: str) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        make_collection("bad", schema=[{"name": name, "type": "text"}])
    assert any(key.startswith("schema") for key in refusal.value.fields)


def test_all_problems_of_a_definition_are_told_at_once(make_collection: Any) -> None:
    before = state_of_the_schema()
    with pytest.raises(ValidationFailed) as refusal:
        make_collection(
            "Bad Name",
            schema=[
                {"name": "a", "type": "nope"},
                {"name": "b", "type": "select"},
                {"name": "c", "type": "text", "validation": {"min_length": 5, "max_length": 2}},
                {"name": "d", "type": "relation", "relation": {"collection_id": "nowhere"}},
            ],
        )
    assert {"name", "schema.a", "schema.b", "schema.c", "schema.d"} <= set(refusal.value.fields)
    assert state_of_the_schema() == before


@pytest.mark.parametrize("name", ["records", "users", "export"])
def test_a_taken_name_is_a_conflict(make_collection: Any, name: str) -> None:
    with pytest.raises(Conflict):
        make_collection(name, title="text")


def test_a_failure_after_the_tables_were_changed_leaves_nothing(
    things: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections_app.schema import permissions

    before = state_of_the_schema()

    def broken(collection: Any) -> None:
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(permissions, "sync", broken)
        with pytest.raises(RuntimeError):
            change("things", lambda schema: entry(schema, "price").update(name="amount"))
    assert state_of_the_schema() == before
    if dialects.current().name == "sqlite":
        assert dialects.current().execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_definitions_stored_and_read_again_are_the_same(things: list[str]) -> None:
    made = registry.latest().get("things")
    row = Collection.objects.filter(pk=made.id).values().get()
    assert service.as_json(registry.read_definition(row)) == service.as_json(made)
    assert reading.NAME.fullmatch(made.name)
