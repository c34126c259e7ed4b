"""Schemas on the move: what one installation has, another comes to have, in one transaction or not at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from accounts.models import User
from accounts.principals import SYSTEM
from collections_app.models import Event
from collections_app.schema import consistency, moves, registry, service
from collections_app.tests.other_process import OtherProcess, other_process
from collections_app.tests.test_sudden_death import everything
from collections_app.tests.threads import STRESS
from core.errors import Conflict, DomainError, ValidationFailed

pytestmark = pytest.mark.engine


def relation(target: str, **more: Any) -> dict[str, Any]:
    return {"type": "relation", "relation": {"collection_id": target, **more}}


def document(*collections: dict[str, Any]) -> dict[str, Any]:
    return {"collections": list(collections)}


def entry(name: str, /, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "schema": []}
    for key, value in given.items():
        if key in service.KEYS or key == "id":
            found[key] = value
        else:
            found["schema"].append({"name": key, **({"type": value} if isinstance(value, str) else value)})
    return found


def move(doc: Any, **flags: Any) -> list[dict[str, Any]]:
    return moves.move(doc, actor=SYSTEM, **flags).as_json()


def dumped() -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in moves.dump()["collections"]}


def without_ids(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_ids(value) for key, value in found.items() if key != "id"}
    return [without_ids(one) for one in found] if isinstance(found, list) else found


@pytest.fixture
def a_shop(make_collection: Callable[..., Any]) -> dict[str, Any]:
    """Two that refer to each other, rules over both, an index, a search, an account collection."""
    make_collection("authors", name="text", list_rule=None)
    make_collection(
        "posts",
        title={"type": "text", "validation": {"required": True}},
        author=relation("authors"),
        state={"type": "select", "select": {"values": ["draft", "public"]}},
        list_rule="state = 'public' && author.name != ''",
        indexes=[{"fields": ["state", "title"]}],
        options={"search": ["title"]},
    )
    schema = service.as_json(registry.latest().get("authors"))["schema"]
    service.collection_update(
        actor=SYSTEM,
        name_or_id="authors",
        payload={
            "schema": [*schema, {"name": "best", **relation("posts")}],
            "view_rule": "posts_via_author.state = 'public'",
        },
    )
    make_collection("readers", type="auth", nick="text")
    return moves.dump()


def empty_again() -> None:
    move(document(), delete_missing=True, allow_data_loss=True)
    assert set(registry.latest().by_name) == {"records"}
    Event.objects.all().delete()


def test_a_dump_makes_the_same_elsewhere(a_shop: dict[str, Any]) -> None:
    empty_again()
    plan = move(a_shop)
    assert [(step["action"], step["collection"]) for step in plan] == [
        ("create", "authors"), ("create", "posts"), ("create", "readers"),
    ]  # fmt: skip
    assert moves.dump() == a_shop  # field ids too
    assert move(a_shop) == []
    assert consistency.differences() == []
    kinds = sorted(Event.objects.values_list("type", "collection"))
    assert kinds == [("collection.created", name) for name in ("authors", "posts", "readers")]


def test_where_ids_differ_collections_and_fields_are_known_by_name(
    a_shop: dict[str, Any], records: Any, make_collection: Any
) -> None:
    author = records("authors").create(name="Ann")
    records("posts").create(title="T", author=author["id"], state="public")
    other = without_ids(a_shop)
    assert move(other) == []
    foreign = copy.deepcopy(a_shop)
    for one in foreign["collections"]:
        if one["name"] != "records":
            one["id"] = "x" + one["id"][1:]
            for field in one["schema"]:
                field["id"] = "fz" + field["id"][2:]
    assert move(foreign) == []
    assert records("posts").values("title") == ["T"]


def test_a_rename_keeps_the_data_and_takes_rules_along(
    a_shop: dict[str, Any], records: Any, make_collection: Any
) -> None:
    make_collection("others", title="text", list_rule="@collection.posts.state = 'public'")
    author = records("authors").create(name="Ann")
    records("posts").create(title="T", author=author["id"], state="public")
    by_name = {one["name"]: one for one in a_shop["collections"]}
    posts = by_name["posts"]
    posts["name"] = "articles"
    posts["schema"][0]["name"] = "headline"
    posts["schema"][2]["name"] = "status"
    posts["list_rule"] = "status = 'public' && author.name != ''"
    posts["indexes"] = [{"fields": ["status", "headline"], "unique": False}]
    posts["options"] = {"search": ["headline"]}
    by_name["authors"]["schema"][1]["relation"]["collection_id"] = "articles"
    by_name["authors"]["view_rule"] = "articles_via_author.status = 'public'"
    (step, _) = sorted(move(a_shop), key=lambda step: step["collection"] != "posts")
    told = [change["change"] for change in step["changes"]]
    assert told == ["rename", "rename_field", "rename_field", "change_rule", "change", "change"]
    assert "Rename the field title to headline." in step["text"]
    assert [(one["headline"], one["status"]) for one in records("articles").items()] == [("T", "public")]
    assert dumped()["others"]["list_rule"] == "@collection.articles.status = 'public'"
    assert consistency.differences() == []


def test_names_may_change_hands(make_collection: Any, records: Any) -> None:
    for name in ("one", "two", "three"):
        make_collection(name, title="text")
        records(name).create(title=name)
    doc = moves.dump()
    by_name = {one["name"]: one for one in doc["collections"]}
    by_name["one"]["name"], by_name["two"]["name"], by_name["three"]["name"] = "two", "three", "one"
    move(doc)
    assert [records(name).values("title") for name in ("one", "two", "three")] == [["three"], ["one"], ["two"]]
    doc = moves.dump()
    doc["collections"] = [one for one in doc["collections"] if one["name"] != "one"]
    next(one for one in doc["collections"] if one["name"] == "two")["name"] = "one"
    move(doc, delete_missing=True, allow_data_loss=True)
    assert set(registry.latest().by_name) == {"one", "three", "records"}
    assert records("one").values("title") == ["one"]


def test_fields_may_change_hands_and_come_again_under_the_same_name(make_collection: Any, records: Any) -> None:
    make_collection("things", a="text", b="text", gone="text", list_rule="a = 'x' && gone = ''")
    records("things").create(a="x", b="y")
    doc = moves.dump()
    things = next(one for one in doc["collections"] if one["name"] == "things")
    things["schema"][0]["name"], things["schema"][1]["name"] = "b", "a"
    things["schema"][2] = {"id": "fnewnewnew1", "name": "gone", "type": "number"}
    things["list_rule"] = "a = 'x' && gone = 0"
    move(doc)
    assert [(one["a"], one["b"], one["gone"]) for one in records("things").items()] == [("y", "x", None)]
    assert dumped()["things"]["list_rule"] == "a = 'x' && gone = 0"
    assert dumped()["things"]["schema"][2]["id"] != "fnewnewnew1"  # known by its name, and so it keeps its values


def test_collections_that_refer_to_each_other_are_made_and_dropped(schema_db: None) -> None:
    doc = document(
        entry("a", to=relation("b"), self=relation("a"), list_rule="to.to.label = 'x'", label="text"),
        entry("b", to=relation("c"), list_rule="@collection.c.to.label = 'x'", label="text"),
        entry(
            "c",
            to=relation("a", type="many-to-many"),
            label="text",
            indexes=[{"fields": ["label"]}],
            options={"search": ["label"]},
        ),
    )
    assert [step["action"] for step in move(doc)] == ["create"] * 3
    assert dumped()["c"]["options"] == {"search": ["label"]} and len(dumped()["c"]["indexes"]) == 1
    assert move(doc) == [] and consistency.differences() == []
    assert [step["action"] for step in move(document(), delete_missing=True)] == ["delete"] * 3
    assert set(registry.latest().by_name) == {"records"} and consistency.differences() == []


def test_what_is_missing_stays_unless_told_and_its_records_are_asked_about(make_collection: Any, records: Any) -> None:
    make_collection("old", title="text")
    records("old").create(title="x")
    assert move(document()) == []
    before = everything()
    with pytest.raises(Conflict) as told:
        move(document(), delete_missing=True)
    assert told.value.extra["records"] == {"old": 1} and told.value.extra["plan"][0]["action"] == "delete"
    assert everything() == before
    move(document(), delete_missing=True, allow_data_loss=True)
    assert "old" not in registry.latest().by_name


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_in_the_way_is_told_and_nothing_is_changed(make_collection: Any, records: Any, dry_run: bool) -> None:
    make_collection("things", price="text", note="text", list_rule="note = ''")
    make_collection("watching", title="text", list_rule="@collection.things.note = ''")
    records("things").create(price="cheap", note="n")
    before = everything()
    for doc, message in (
        (entry("things", price="number", note="text"), "things: Changing 'price' from text to number would lose 1"),
        (
            entry("things", price="text", list_rule="price = ''"),
            "list_rule of 'watching' names",
        ),  # the rule of one that is not in the document
        (
            entry(
                "things",
                price={"type": "text", "validation": {"required": True}},
                note="text",
                more={"type": "text", "validation": {"required": True}},
            ),
            "'more' can't be required",
        ),
    ):
        with pytest.raises(DomainError) as told:
            move(document(entry("fresh", x="text"), doc), dry_run=dry_run)
        assert told.value.status in (409, 422) and message in told.value.message, told.value.message
        assert everything() == before
    assert move(document(entry("fresh", x="text")), dry_run=True)[0]["action"] == "create"
    assert everything() == before


def test_everything_that_is_wrong_is_told_at_once(make_collection: Any) -> None:
    make_collection("here", title="text")
    before = everything()
    with pytest.raises(ValidationFailed) as told:
        move(
            document(
                entry("Bad", x="text"),
                entry("a", x="nothing", list_rule="y = 1"),
                entry("b", r=relation("nowhere")),
                entry("here", title="text", type="auth"),
                entry("export", x="text"),
                entry("records", id="records", list_rule="nonsense = 1"),
            )
        )
    found = {key.split(".")[1] for key in told.value.fields}
    assert {"Bad", "a", "b", "here", "export"} <= found, told.value.fields
    with pytest.raises(ValidationFailed) as told:
        move(document(entry("a", x="text", list_rule="y = 1"), entry("b", x="text", list_rule="@collection.z.x = 1")))
    assert set(told.value.fields) == {"collections.a.list_rule", "collections.b.list_rule"}
    with pytest.raises(ValidationFailed):
        move(document(entry("a"), entry("a")))
    for nonsense in ([], {}, {"collections": 1}, {"collections": [1]}, {"collections": [], "more": 1}, None, "x"):
        with pytest.raises(DomainError):
            move(nonsense)
    assert everything() == before


def test_the_built_in_collection_moves_too_and_is_never_dropped(schema_db: None) -> None:
    doc = moves.dump()
    (records,) = doc["collections"]
    assert records["system"] is True
    records["list_rule"] = None
    records["schema"].append({"id": "fextra1", "name": "extra", "type": "text"})
    assert [step["action"] for step in move(doc)] == ["update"]
    assert moves.dump()["collections"][0]["list_rule"] is None
    assert move(document(), delete_missing=True) == []
    records["name"] = "others"
    with pytest.raises(ValidationFailed):
        move(doc)


def test_an_id_that_was_here_before_is_not_given_again(make_collection: Any) -> None:
    made = make_collection("things", title="text")
    doc = moves.dump()
    service.collection_delete(actor=SYSTEM, name_or_id="things")
    move(doc)
    assert registry.latest().get("things").id != made.id


def test_only_admins_may_take_the_schema_and_bring_one(
    a_shop: dict[str, Any], anonymous: APIClient, as_user: Callable[[User], APIClient], member: User, admin: User
) -> None:
    before = everything()
    doc = {"collections": [entry("fresh", x="text")]}
    for client, status in ((anonymous, 401), (as_user(member), 403)):
        assert client.get("/api/v1/collections/export").status_code == status
        assert client.post("/api/v1/collections/import", doc, format="json").status_code == status
    boss = as_user(admin)
    assert boss.get("/api/v1/collections/export").json() == a_shop
    assert boss.get("/api/v1/collections/export?x=1").status_code == 400
    assert boss.post("/api/v1/collections/import?dry_run=maybe", doc, format="json").status_code == 422
    tried = boss.post("/api/v1/collections/import?dry_run=true", doc, format="json")
    assert (tried.status_code, [step["action"] for step in tried.json()["plan"]]) == (200, ["create"])
    assert everything() == before
    assert boss.post("/api/v1/collections/import", doc, format="json").status_code == 200
    assert boss.get("/api/v1/collections/fresh").status_code == 200
    refused = boss.post("/api/v1/collections/import?delete_missing=true", {"collections": [1]}, format="json")
    assert refused.status_code == 422


@pytest.fixture
def another(schema_db: None, tmp_path: Path) -> Iterator[OtherProcess]:
    with other_process(tmp_path) as process:
        yield process


def move_in_words(document: Any, **flags: Any) -> int:
    """For the other process."""
    return len(move(document, **flags))


def test_a_move_that_dies_anywhere_leaves_the_old_schema_or_the_new(
    another: OtherProcess, a_shop: dict[str, Any], records: Any, make_collection: Any, seed: int
) -> None:
    author = records("authors").create(name="Ann")
    records("posts").create(title="T", author=author["id"], state="public")
    make_collection("doomed", x="text", to=relation("authors"))
    doc = a_shop
    by_name = {one["name"]: one for one in doc["collections"]}
    by_name["authors"]["name"], by_name["posts"]["name"] = "posts", "authors"
    by_name["authors"]["schema"][1]["relation"]["collection_id"] = "authors"
    by_name["posts"]["schema"][1]["relation"]["collection_id"] = "posts"
    by_name["posts"]["schema"][2] = {"id": by_name["posts"]["schema"][2]["id"], "name": "state", "type": "text"}
    by_name["authors"]["view_rule"] = "authors_via_author.state = 'public'"
    doc["collections"].append(entry("fresh", x="text", to=relation("later")))
    doc["collections"].append(entry("later", x="text", to=relation("fresh"), list_rule="to.x = 'a'"))
    old = everything()
    stride = 13 if STRESS == 1 else 3
    number = 1 + seed % stride
    died = 0
    while True:
        outcome = another.run(
            "collections_app.tests.test_schema_moves.move_in_words",
            die_before=("statement", number),
            document=doc, delete_missing=True, allow_data_loss=True,
        )  # fmt: skip
        now = everything()
        if not outcome.killed or now["epoch"] != old["epoch"]:
            break
        assert now == old, f"died before statement {number}"
        number, died = number + stride, died + 1
    assert died > 20, outcome
    assert consistency.differences() == []
    assert set(registry.latest().by_name) == {"records", "authors", "posts", "readers", "fresh", "later"}
    assert records("authors").values("title") == ["T"] and records("posts").values("name") == ["Ann"]


def test_the_command_dumps_compares_and_applies(
    a_shop: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], records: Any
) -> None:
    file = tmp_path / "schema.json"
    call_command("schema", "dump", str(file))
    text = file.read_text()
    assert json.loads(text) == a_shop and text.endswith("}\n")
    call_command("schema", "dump")
    assert capsys.readouterr().out.endswith(text)
    call_command("schema", "diff", str(file))
    assert "nothing to change" in capsys.readouterr().out
    records("authors").create(name="Ann")
    a_shop["collections"][0]["schema"][0]["name"] = "full_name"
    a_shop["collections"] = [one for one in a_shop["collections"] if one["name"] != "readers"]
    next(one for one in a_shop["collections"] if one["name"] == "posts")["list_rule"] = None
    file.write_text(json.dumps(a_shop))
    before = everything()
    with pytest.raises(SystemExit) as left:
        call_command("schema", "diff", str(file), "--delete-missing")
    told = capsys.readouterr().out
    assert left.value.code == 1 and "Rename the field name to full_name." in told and "delete readers" in told
    call_command("schema", "apply", str(file), "--dry-run")
    assert everything() == before
    call_command("schema", "apply", str(file), "--delete-missing")
    assert records("authors").values("full_name") == ["Ann"] and "readers" not in registry.latest().by_name
    file.write_text('{"collections": []}')
    with pytest.raises(CommandError, match=r"authors \(1\).*--allow-data-loss"):
        call_command("schema", "apply", str(file), "--delete-missing")
    file.write_text("nothing")
    with pytest.raises(CommandError, match="is no JSON"):
        call_command("schema", "diff", str(file))
    with pytest.raises(CommandError, match="No such file"):
        call_command("schema", "diff", str(tmp_path / "none"))


# --- views ------------------------------------------------------------------------------------


@pytest.fixture
def a_view(make_collection: Callable[..., Any], records: Any) -> dict[str, Any]:
    """A view with a rule over its column, as it is exported."""
    make_collection("things", title="text", n="number")
    records("things").create(title="x", n=2)
    make_collection("seen", type="view", view_query="SELECT title FROM things", list_rule="title = 'x'")
    return dumped()["seen"]


@pytest.mark.parametrize(
    ("query", "rule"), [("SELECT n FROM things", "n > 1"), ("SELECT n AS title FROM things", "title > 1")]
)
def test_a_view_has_the_fields_of_its_query_whatever_the_document_says(
    a_view: dict[str, Any], records: Any, query: str, rule: str
) -> None:
    changed = {"view_query": query, "list_rule": rule}
    for given in ({"name": "seen", **changed}, {**a_view, **changed}):
        assert move(document(given), dry_run=True)[0]["action"] == "update"
    move(document({"name": "seen", **changed}))
    assert records("seen").items()[0].keys() - {"id", "collection"} in ({"n"}, {"title"})
    assert move(document(*dumped().values())) == []


def test_views_keep_the_ids_of_their_fields(a_view: dict[str, Any]) -> None:
    move(document({"name": "seen", "view_query": "SELECT n, title FROM things"}))
    move(document({**a_view, "view_query": "SELECT n, title FROM things", "cache_ttl": 5}))
    seen = registry.latest().get("seen")
    assert (seen.cache_ttl, seen.by_name["title"].id) == (5, a_view["schema"][0]["id"])


def test_a_view_goes_along_with_the_types_of_what_it_reads(a_view: dict[str, Any]) -> None:
    things = dumped()["things"]
    things["schema"][0]["type"] = "markdown"
    move(document(things, a_view))
    assert registry.latest().get("seen").by_name["title"].type == "markdown"
    assert move(document(*dumped().values())) == []


def test_all_that_is_wrong_with_views_is_told_before_anything_is_tried(a_view: dict[str, Any]) -> None:
    before = dumped()
    with pytest.raises(ValidationFailed) as refused:
        move(
            document({**a_view, "view_query": "SELECT nothing FROM things"}, entry("more", type="view", view_query="x"))
        )
    assert set(refused.value.fields) == {"collections.seen.view_query", "collections.more.view_query"}
    with pytest.raises(ValidationFailed) as refused:
        move(document({**a_view, "view_query": "SELECT n FROM things"}))  # the rule is about title
    assert set(refused.value.fields) == {"collections.seen.list_rule"}
    assert dumped() == before
