"""One record's life through HTTP: shapes, defaults, changes, relations, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.tests.web import BATCH, COLLECTIONS, Callers, get, nothing_changes, path

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


def relation(collection: str, kind: str = "many-to-one", validation: dict[str, Any] | None = None, **more: Any) -> Any:
    options = {"collection_id": collection, "type": kind, **more}
    return {"type": "relation", "relation": options, "validation": validation or {}}


@pytest.fixture
def client(callers: Callers) -> APIClient:
    return callers["stranger"]


@pytest.fixture
def posts(make_collection: Any) -> str:
    make_collection(
        "posts", title={"type": "text", "validation": {"required": True, "max_length": 20}}, votes="integer",
        price="decimal",
        rate="number", status={"type": "text", "validation": {"default": "draft"}}, live={"type": "bool",
        "validation": {"default": True}},
        slug={"type": "slug", "validation": {"unique": True}}, body="editor", at="datetime",
        tags={"type": "select", "select": {"values": ["a", "b", "c", "d"], "max_select": 3}},
        meta={"type": "json", "validation": {"default": {"a": [1]}}},
        indexes=[{"fields": ["status", "votes"], "unique": True}], **OPEN,
    )  # fmt: skip
    return path("posts")


# -- shapes -------------------------------------------------------------------------------------
def test_a_record_is_flat_and_has_all_its_fields(posts: str, client: APIClient) -> None:
    made = client.post(posts, {"title": "x"})
    assert made.status_code == 201
    record = made.json()
    assert list(record)[:4] == ["id", "collection", "created", "updated"]
    assert {**record, "id": 0, "created": 0, "updated": 0} == {
        "id": 0, "collection": "posts", "created": 0, "updated": 0, "title": "x", "votes": None, "price": None,
        "rate": None,
        "status": "draft", "live": True, "slug": None, "body": None, "at": None, "tags": [], "meta": {"a": [1]},
    }  # fmt: skip
    assert record["created"] == record["updated"] and record["created"].endswith("Z")
    assert client.get(f"{posts}/{record['id']}").json() == record
    assert client.get(posts).json() == {"items": [record], "page": 1, "per_page": 30, "total": 1, "total_pages": 1}
    assert made.headers["Content-Type"] == "application/json"


def test_a_body_may_stand_under_data_or_flat(posts: str, client: APIClient) -> None:
    for body in ({"title": "x"}, {"data": {"title": "x"}}):
        assert client.post(posts, body).json()["title"] == "x"
    with nothing_changes():
        both = client.post(posts, {"data": {"title": "x"}, "title": "y"})
    assert both.status_code == 422 and "data" in both.json()["fields"]


def test_a_field_called_data_can_be_written(make_collection: Any, client: APIClient) -> None:
    make_collection("logs", data="json", **OPEN)
    assert client.post(path("logs"), {"data": {"data": {"x": 1}}}).json()["data"] == {"x": 1}
    assert client.post(path("logs"), {"data": [1]}).json()["data"] == [1]


def test_words_that_others_reserve_are_field_names_here(schema_db: None, callers: Callers, client: APIClient) -> None:
    names = [
        "metadata",
        "data",
        "type",
        "order",
        "key",
        "user",
        "group",
        "select",
        "from",
        "table",
        "index",
        "value",
        "name",
        "order_by",
    ]
    schema = [{"name": name, "type": "text"} for name in names]
    body = {"name": "words", "schema": schema, "indexes": [{"fields": ["order", "group"]}], **OPEN}
    assert callers["admin"].post(COLLECTIONS, body).status_code == 201
    made = client.post(path("words"), {"data": dict.fromkeys(names, "v")})
    assert made.status_code == 201
    record_id = made.json()["id"]
    for name in names:
        assert get(client, f"{path('words')}?filter={name}=v%26%26{name}:length=1&sort=-{name}&fields={name}").json()[
            "items"
        ] == [{name: "v"}]
    assert client.patch(path("words", record_id), {"order": "w", "group": "g"}).json()["order"] == "w"


def test_ids_grow_with_time_and_a_client_may_choose_its_own(posts: str, client: APIClient) -> None:
    ids = [client.post(posts, {"title": "x"}).json()["id"] for _ in range(5)]
    assert ids == sorted(ids) and len(set(ids)) == 5
    assert client.post(posts, {"id": "My-own_1", "title": "x"}).json()["id"] == "My-own_1"
    with nothing_changes():
        again = client.post(posts, {"id": "My-own_1", "title": "x"})
    assert again.status_code == 409
    assert again.json()["fields"] == {"id": ["This value is already in use."]}


# -- validation ---------------------------------------------------------------------------------
def test_all_problems_are_told_at_once_in_the_one_body(posts: str, client: APIClient) -> None:
    with nothing_changes():
        refusal = client.post(
            posts, {"votes": "x", "price": [], "slug": "a b", "tags": ["z"], "nothing": 1, "live": "maybe"}
        )
    body = refusal.json()
    assert refusal.status_code == 422
    assert set(body["fields"]) == {"title", "votes", "slug", "tags", "nothing", "live"}
    assert body["fields"]["title"] == ["This field is required."]
    assert body["fields"]["votes"] == ["A valid integer is required."]
    assert body["fields"]["nothing"] == ["Unknown field."]
    assert "title: This field is required." in body["errors"] and len(body["errors"]) == 6
    assert (body["success"], body["error_code"], body["message"]) == (False, "VALIDATION_ERROR", "Validation failed")
    assert body["detail"] == body["message"] and body["request_id"]
    assert set(body) == {"success", "message", "error_code", "errors", "fields", "detail", "request_id", "timestamp"}


def test_a_required_field_may_be_left_out_of_an_update_but_not_emptied(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x"}).json()
    assert client.patch(f"{posts}/{record['id']}", {"votes": 1}).status_code == 200
    assert client.put(f"{posts}/{record['id']}", {"votes": 2}).json()["title"] == "x"
    for value in (None, ""):
        with nothing_changes():
            refusal = client.patch(f"{posts}/{record['id']}", {"title": value})
        assert refusal.json()["fields"] == {"title": ["This field is required."]}


def test_put_keeps_what_is_left_out_like_patch(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "votes": 5, "tags": ["a"], "at": "2026-01-15T10:00:00+02:00"}).json()
    for method in (client.put, client.patch):
        changed = method(f"{posts}/{record['id']}", {"title": "y"}).json()
        assert {**changed, "updated": 0, "title": 0} == {**record, "updated": 0, "title": 0}
        assert changed["updated"] > record["updated"]
    assert record["at"] == "2026-01-15T08:00:00Z"


def test_null_empties_and_a_default_is_for_creation_only(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "votes": 5, "tags": ["a"], "meta": None, "status": None}).json()
    assert (record["meta"], record["status"]) == (None, None)
    emptied = {"votes": None, "tags": None, "at": None, "live": None, "meta": None, "slug": "", "price": ""}
    changed = client.patch(f"{posts}/{record['id']}", emptied).json()
    assert [changed[name] for name in emptied] == [None, [], None, False, None, None, None]


def test_an_update_that_changes_nothing_is_no_error(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "slug": "s"}).json()
    for body in ({}, {"slug": "s"}, {"data": {}}, record):
        answer = client.patch(f"{posts}/{record['id']}", body)
        assert answer.status_code == 200, answer.json()
        assert {**answer.json(), "updated": 0} == {**record, "updated": 0}


def test_values_keep_their_form(posts: str, client: APIClient) -> None:
    given = {"title": " x ", "votes": "7", "price": "0.10", "rate": 5.0, "at": "2026-01-15", "tags": "b", "live": "off"}
    record = client.post(posts, given).json()
    assert [record[name] for name in given] == [" x ", 7, "0.10", 5, "2026-01-15T00:00:00Z", ["b"], False]


def test_rich_text_is_cleaned_when_it_is_written(posts: str, client: APIClient) -> None:
    dirty = '<p onclick="x()">a</p><script>alert(1)</script><a href="javascript:x">b</a><iframe src="x"></iframe>'
    record = client.post(posts, {"title": "<script>x", "body": dirty}).json()
    assert record["title"] == "<script>x"
    assert "script" not in record["body"] and "onclick" not in record["body"] and "<p>a</p>" in record["body"]
    changed = client.patch(f"{posts}/{record['id']}", {"body": dirty}).json()
    assert changed["body"] == record["body"]


# -- unique values ------------------------------------------------------------------------------
def test_a_taken_value_is_a_conflict_on_every_route(posts: str, client: APIClient) -> None:
    first = client.post(posts, {"title": "x", "slug": "s", "votes": 1}).json()
    other = client.post(posts, {"title": "y", "slug": "t", "votes": 2}).json()
    mine = f"{posts}/{other['id']}"
    batch = {"method": "PATCH", "collection": "posts", "id": other["id"], "data": {"slug": "s"}}
    with nothing_changes():
        for refusal in (
            client.post(posts, {"title": "z", "slug": "s"}), client.patch(mine, {"slug": "s"}), client.put(mine,
            {"slug": "s"}),
            client.post(BATCH, {"requests": [batch]}),
        ):  # fmt: skip
            assert (refusal.status_code, refusal.json()["error_code"]) == (409, "CONFLICT")
            assert refusal.json()["fields"] == {"slug": ["This value is already in use."]}
        bulk = client.post(f"{posts}/bulk-update", {"record_ids": [other["id"]], "data": {"slug": "s"}}).json()
        assert bulk["errors"] == [{"record_id": other["id"], "error": "slug: This value is already in use."}]
        both = client.patch(mine, {"votes": 1})
        assert both.status_code == 409 and set(both.json()["fields"]) == {"status", "votes"}
    assert client.patch(f"{posts}/{first['id']}", {"slug": "s"}).status_code == 200


def test_empty_values_are_never_in_conflict(posts: str, client: APIClient) -> None:
    for value in (None, "", None, ""):
        assert client.post(posts, {"title": "x", "slug": value}).status_code == 201


def test_a_value_is_free_again_when_its_record_is_gone(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "slug": "s"}).json()
    assert client.delete(f"{posts}/{record['id']}").status_code == 204
    assert client.post(posts, {"title": "x", "slug": "s"}).status_code == 201


# -- field+ and its like ------------------------------------------------------------------------
CHANGES: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"votes": 5}, {"votes+": 3}, {"votes": 8}),
    ({"votes": 5}, {"votes-": "3"}, {"votes": 2}),
    ({}, {"votes+": 3}, {"votes": 3}),
    ({"price": "1.10"}, {"price+": "2.20"}, {"price": "3.30"}),
    ({"price": "1.10"}, {"price-": 0.1}, {"price": "1.00"}),
    ({"rate": 1.5}, {"rate+": 1}, {"rate": 2.5}),
    ({"tags": ["a", "b"]}, {"tags+": "c"}, {"tags": ["a", "b", "c"]}),
    ({"tags": ["a", "b"]}, {"tags+": ["b", "c"]}, {"tags": ["a", "b", "c"]}),
    ({"tags": ["a", "b"]}, {"+tags": ["c", "b"]}, {"tags": ["c", "b", "a"]}),
    ({"tags": ["a", "b"]}, {"tags-": ["a", "d"]}, {"tags": ["b"]}),
    ({"tags": ["a", "b"]}, {"tags-": "a", "tags+": "c"}, {"tags": ["b", "c"]}),
]


@pytest.mark.parametrize(("stored", "change", "expected"), CHANGES, ids=str)
def test_a_modifier_works_on_what_is_stored(
    posts: str, client: APIClient, stored: dict[str, Any], change: dict[str, Any], expected: dict[str, Any]
) -> None:
    record = client.post(posts, {"title": "x", **stored}).json()
    answer = client.patch(f"{posts}/{record['id']}", change)
    assert answer.status_code == 200, answer.json()
    assert {name: answer.json()[name] for name in expected} == expected


def test_a_modifier_is_held_to_the_limits_of_its_field(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x", "votes": 2**63 - 1, "tags": ["a", "b", "c"], "rate": 1e308}).json()
    with nothing_changes():
        for change in (
            {"votes+": 1}, {"tags+": "d"}, {"tags+": "z"}, {"title+": "y"}, {"votes+": None}, {"votes+": 0.5},
            {"rate+": 1e308},
            {"price+": "0.00000000000000001"}, {"live+": 1}, {"meta+": 1}, {"at+": 1}, {"+votes": 1}, {"nothing+": 1},
        ):  # fmt: skip
            refusal = client.patch(f"{posts}/{record['id']}", change)
            assert refusal.status_code == 422, change


def test_modifiers_work_in_a_create_and_in_bulk(posts: str, client: APIClient) -> None:
    made = client.post(posts, {"title": "x", "votes+": 3, "tags+": ["a"]}).json()
    assert (made["votes"], made["tags"]) == (3, ["a"])
    other = client.post(posts, {"title": "y", "votes": 10}).json()
    body = {"record_ids": [made["id"], other["id"]], "data": {"votes+": 1}}
    assert client.post(f"{posts}/bulk-update", body).json()["success"] == 2
    assert [client.get(f"{posts}/{r['id']}").json()["votes"] for r in (made, other)] == [4, 11]


# -- relations ----------------------------------------------------------------------------------
@pytest.fixture
def library(make_collection: Any, records: Any) -> dict[str, str]:
    make_collection("authors", name="text", **OPEN)
    make_collection(
        "books", title="text", author=relation("authors", cascade_delete=True), editor=relation("authors"),
        publisher=relation("authors", validation={"required": True}), authors=relation("authors", "many-to-many"),
        judges=relation("authors", "many-to-many", max_select=2), parent=relation("books", cascade_delete=True),
        twin=relation("books", "one-to-one"), **OPEN,
    )  # fmt: skip
    return {name: records("authors").create(name=name)["id"] for name in ("ann", "bob", "cid")}


def test_a_related_record_must_exist(library: dict[str, str], client: APIClient) -> None:
    for field in ("author", "authors", "twin", "judges"):
        with nothing_changes():
            refusal = client.post(path("books"), {"publisher": library["ann"], field: "nope"})
        # Which collection it would be in is not for everybody to know.
        assert refusal.json()["fields"] == {field: ["The record 'nope' does not exist."]}
    with nothing_changes():
        some = [library["ann"], library["bob"], library["cid"]]
        assert client.post(path("books"), {"publisher": library["ann"], "judges": some}).status_code == 422


def test_many_to_many_keeps_its_order_and_has_nobody_twice(library: dict[str, str], client: APIClient) -> None:
    ann, bob, cid = library.values()
    book = client.post(path("books"), {"publisher": ann, "authors": [cid, ann, bob, ann]}).json()
    assert book["authors"] == [cid, ann, bob]
    url = path("books", book["id"])
    assert client.get(url).json()["authors"] == [cid, ann, bob]
    assert client.patch(url, {"authors": [bob, cid]}).json()["authors"] == [bob, cid]
    assert client.patch(url, {"+authors": ann}).json()["authors"] == [ann, bob, cid]
    assert client.patch(url, {"authors-": [bob]}).json()["authors"] == [ann, cid]
    assert client.get(path("books")).json()["items"][0]["authors"] == [ann, cid]
    assert client.patch(url, {"title": "t"}).json()["authors"] == [ann, cid]


def test_what_a_deleted_target_leaves_behind(library: dict[str, str], client: APIClient) -> None:
    ann, bob, cid = library.values()
    gone = client.post(path("books"), {"title": "gone", "publisher": cid, "author": ann}).json()["id"]
    child = client.post(path("books"), {"title": "child", "publisher": cid, "parent": gone}).json()["id"]
    twin = client.post(path("books"), {"title": "twin", "publisher": cid, "twin": gone}).json()["id"]
    kept = client.post(
        path("books"), {"title": "kept", "publisher": cid, "editor": ann, "authors": [bob, ann, cid]}
    ).json()
    with nothing_changes():
        assert client.delete(path("authors", cid)).status_code == 409
    assert client.delete(path("authors", ann)).status_code == 204
    assert [client.get(path("books", i)).status_code for i in (gone, child, twin)] == [404, 404, 200]
    assert client.get(path("books", twin)).json()["twin"] is None
    now = client.get(path("books", kept["id"])).json()
    assert (now["editor"], now["authors"], now["publisher"]) == (None, [bob, cid], cid)
    assert now["updated"] > kept["updated"]


def test_a_refused_cascade_takes_nothing_with_it(library: dict[str, str], client: APIClient) -> None:
    ann, bob, _ = library.values()
    gone = client.post(path("books"), {"title": "gone", "publisher": bob, "author": ann}).json()["id"]
    client.post(path("books"), {"title": "needs ann", "publisher": ann})
    with nothing_changes():
        assert client.delete(path("authors", ann)).status_code == 409
        bulk = client.post(path("authors", "bulk-delete"), {"record_ids": [ann]}).json()
        assert (bulk["success"], bulk["failed"]) == (0, 1)
    assert client.get(path("books", gone)).status_code == 200


def test_a_required_list_of_records_may_lose_some_but_not_the_last(make_collection: Any, client: APIClient) -> None:
    make_collection("cooks", name="text", **OPEN)
    make_collection("dishes", cooks=relation("cooks", "many-to-many", {"required": True}), **OPEN)
    make_collection("menus", cooks=relation("cooks", "many-to-many", cascade_delete=True), **OPEN)
    ann, bob = (client.post(path("cooks"), {"name": name}).json()["id"] for name in ("ann", "bob"))
    dish = client.post(path("dishes"), {"cooks": [ann, bob]}).json()["id"]
    menu = client.post(path("menus"), {"cooks": [bob, ann]}).json()["id"]
    with nothing_changes():
        assert client.post(path("dishes"), {"cooks": []}).status_code == 422
        assert client.patch(path("dishes", dish), {"cooks-": [ann, bob]}).status_code == 422
    assert client.delete(path("cooks", ann)).status_code == 204
    assert client.get(path("dishes", dish)).json()["cooks"] == [bob]
    assert client.get(path("menus", menu)).json()["cooks"] == [bob]
    with nothing_changes():
        assert client.delete(path("cooks", bob)).status_code == 409
    client.delete(path("dishes", dish))
    assert client.delete(path("cooks", bob)).status_code == 204
    assert client.get(path("menus", menu)).status_code == 404


def test_records_that_refer_to_each_other_can_be_deleted(library: dict[str, str], client: APIClient) -> None:
    ann = library["ann"]
    one = client.post(path("books"), {"publisher": ann}).json()["id"]
    two = client.post(path("books"), {"publisher": ann, "parent": one}).json()["id"]
    assert client.patch(path("books", one), {"parent": two}).status_code == 200
    own = client.post(path("books"), {"id": "own", "publisher": ann, "parent": "own", "twin": "own"})
    assert own.status_code == 201
    assert client.delete(path("books", one)).status_code == 204
    assert client.delete(path("books", "own")).status_code == 204
    assert client.get(path("books")).json()["total"] == 0


def test_one_to_one_is_taken_once(library: dict[str, str], client: APIClient) -> None:
    ann = library["ann"]
    one = client.post(path("books"), {"publisher": ann}).json()["id"]
    assert client.post(path("books"), {"publisher": ann, "twin": one}).status_code == 201
    with nothing_changes():
        assert client.post(path("books"), {"publisher": ann, "twin": one}).status_code == 409


# -- the rest of the surface --------------------------------------------------------------------
def test_a_trailing_slash_is_optional_everywhere(posts: str, client: APIClient) -> None:
    made = client.post(f"{posts}/", {"title": "x"})
    assert made.status_code == 201
    url = f"{posts}/{made.json()['id']}/"
    assert client.get(f"{posts}/?per_page=1").status_code == 200
    assert (
        client.get(url).status_code
        == client.patch(url, {"votes": 1}).status_code
        == client.put(url, {}).status_code
        == 200
    )
    assert client.post(f"{posts}/bulk-delete/", {"record_ids": ["x"]}).status_code == 200
    assert (
        client.post(
            f"{BATCH}/", {"requests": [{"method": "DELETE", "collection": "posts", "id": made.json()["id"]}]}
        ).status_code
        == 200
    )


def test_a_collection_is_addressed_by_name_or_id(posts: str, client: APIClient, callers: Callers) -> None:
    collection_id = callers["admin"].get("/api/v1/collections/posts").json()["id"]
    made = client.post(path(collection_id), {"title": "x"}).json()
    assert made["collection"] == "posts"
    assert client.get(path(collection_id, made["id"])).json() == made
    batch = {"requests": [{"method": "PATCH", "collection": collection_id, "id": made["id"], "data": {"votes": 1}}]}
    assert client.post(BATCH, batch).json()["results"][0]["record"]["votes"] == 1


def test_a_form_writes_like_json(posts: str, client: APIClient) -> None:
    data = {"title": "x", "votes": "5", "live": "false", "tags": ["a", "b"], "meta": '{"k": [1]}', "price": "1.5"}
    made = client.post(posts, data, format="multipart")
    assert made.status_code == 201, made.json()
    record = made.json()
    assert [record[n] for n in data] == ["x", 5, False, ["a", "b"], {"k": [1]}, "1.50"]
    changed = client.patch(
        f"{posts}/{record['id']}", "votes%2B=2&tags-=a", content_type="application/x-www-form-urlencoded"
    )
    assert (changed.json()["votes"], changed.json()["tags"]) == (7, ["b"])


def test_a_deleted_record_is_gone(posts: str, client: APIClient) -> None:
    record = client.post(posts, {"title": "x"}).json()
    url = f"{posts}/{record['id']}"
    answer = client.delete(url)
    assert (answer.status_code, answer.content) == (204, b"")
    with nothing_changes():
        assert (
            client.get(url).status_code
            == client.delete(url).status_code
            == client.patch(url, {"votes": 1}).status_code
            == 404
        )


def test_what_is_not_there_is_404_in_the_one_body(posts: str, client: APIClient) -> None:
    for url, message in (
        (path("nothing"), "There is no collection 'nothing'."),
        (f"{posts}/nothing", "Record not found"),
    ):
        refusal = client.get(url)
        assert (refusal.status_code, refusal.json()["message"], refusal.json()["error_code"]) == (
            404,
            message,
            "NOT_FOUND",
        )


def test_a_list_is_newest_first_and_pages_are_exact(posts: str, client: APIClient) -> None:
    ids = [client.post(posts, {"title": f"t{n}"}).json()["id"] for n in range(7)][::-1]
    pages = [client.get(f"{posts}?per_page=3&page={n}").json() for n in (1, 2, 3, 4)]
    assert [item["id"] for page in pages for item in page["items"]] == ids
    assert {(page["total"], page["total_pages"], page["per_page"]) for page in pages} == {(7, 3, 3)}
    assert [len(page["items"]) for page in pages] == [3, 3, 1, 0]
    skipped = client.get(f"{posts}?per_page=3&skip_total=true").json()
    assert (skipped["total"], skipped["total_pages"], len(skipped["items"])) == (-1, -1, 3)
    assert client.get(f"{posts}?filter=title=none").json() == {
        "items": [],
        "page": 1,
        "per_page": 30,
        "total": 0,
        "total_pages": 0,
    }


def test_fields_choose_what_is_shown(posts: str, client: APIClient) -> None:
    client.post(posts, {"title": "x", "body": "<p>One  two</p> three &amp; four", "votes": 1})
    item = get(client, f"{posts}?fields=votes,body:excerpt(7,true)").json()["items"][0]
    assert item == {"votes": 1, "body": "One two…"}
    assert list(get(client, f"{posts}?fields=*").json()["items"][0])[:4] == ["id", "collection", "created", "updated"]


def test_a_write_answers_in_the_form_that_is_asked_for(library: dict[str, str], client: APIClient) -> None:
    ann = library["ann"]
    made = client.post(
        f"{path('books')}?expand=publisher&fields=title,expand.publisher.name", {"title": "t", "publisher": ann}
    )
    assert (made.status_code, made.json()) == (201, {"title": "t", "expand": {"publisher": {"name": "ann"}}})
    book = client.get(path("books")).json()["items"][0]["id"]
    assert client.patch(f"{path('books', book)}?fields=title", {"title": "u"}).json() == {"title": "u"}
    with nothing_changes():
        for query in ("expand=nothing", "fields=nothing", "unknown=1", "filter=title=1", "page=1"):
            assert client.post(f"{path('books')}?{query}", {"publisher": ann}).status_code == 400, query
            assert client.patch(f"{path('books', book)}?{query}", {"title": "v"}).status_code == 400, query
        assert client.delete(f"{path('books', book)}?fields=id").status_code == 400
        assert client.post(f"{path('books', 'bulk-delete')}?fields=id", {"record_ids": [book]}).status_code == 400
        batch = {"requests": [{"method": "DELETE", "collection": "books", "id": book}]}
        assert client.post(f"{BATCH}?expand=x", batch).status_code == 400


def test_a_refused_write_does_not_tell_what_fields_there_are(make_collection: Any, client: APIClient) -> None:
    make_collection("vault", inside=relation("vault"), **{**OPEN, "create_rule": "@request.auth.role = 'x'"})
    for query in ("expand=inside", "expand=nothing", "fields=inside", "fields=nothing"):
        with nothing_changes():
            assert client.post(f"{path('vault')}?{query}", {}).status_code == 403


def test_rules_may_ask_for_query_parameters(make_collection: Any, client: APIClient) -> None:
    asked = "@request.query.code = 'abc'"
    make_collection("codes", title="text", list_rule=asked, view_rule=asked, create_rule=asked, update_rule=asked)
    url = path("codes")
    made = client.post(f"{url}?code=abc", {"title": "x"}).json()
    one = f"{url}/{made['id']}"
    assert client.get(f"{url}?code=abc").json()["total"] == 1
    assert (
        client.get(f"{one}?code=abc").status_code == client.patch(f"{one}?code=abc", {"title": "y"}).status_code == 200
    )
    body = {"record_ids": [made["id"]], "data": {"title": "z"}}
    assert client.post(f"{url}/bulk-update?code=abc", body).json()["success"] == 1
    with nothing_changes():
        assert client.post(f"{url}?code=x", {"title": "x"}).status_code == client.get(url).status_code == 403
        assert client.get(f"{url}?code=abc&other=1").status_code == 400
        assert client.post(f"{url}/bulk-update", body).json()["failed"] == 1


def test_empty_json_values_are_kept_as_they_are(make_collection: Any, records: Any) -> None:
    make_collection("notes", meta="json")
    for value in ([], {}, 0, False):
        made = records("notes").create(meta=value)
        assert made["meta"] == value
        assert records("notes").get(made["id"])["meta"] == value
