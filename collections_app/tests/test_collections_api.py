"""``/api/v1/collections`` through HTTP: who sees what, and what a definition may be."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.tests.web import COLLECTIONS, Callers, nothing_changes, path, whole_state

pytestmark = pytest.mark.engine

ADMINS_ONLY = "@request.auth.role = 'admin'"
RULES = ("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule")
KEYS = {"id", "name", "type", "schema", *RULES, "indexes", "options", "system", "created", "updated"}


@pytest.fixture
def admin(schema_db: None, callers: Callers) -> APIClient:
    return callers["admin"]


def create(admin: APIClient, name: str = "posts", schema: list[Any] | None = None, **more: Any) -> Any:
    return admin.post(COLLECTIONS, {"name": name, "schema": schema or [{"name": "title", "type": "text"}], **more})


# -- who -----------------------------------------------------------------------------------------
def test_only_admins_change_collections(admin: APIClient, callers: Callers) -> None:
    create(admin)
    body = {"name": "mine", "schema": []}
    for name, status in (("anonymous", 401), ("stranger", 403), ("owner", 403)):
        client = callers[name]
        with nothing_changes():
            for answer in (
                client.post(COLLECTIONS, body), client.patch(f"{COLLECTIONS}/posts", {"list_rule": None}),
                client.put(f"{COLLECTIONS}/posts", body), client.delete(f"{COLLECTIONS}/posts"),
                client.patch(f"{COLLECTIONS}/nothing", {"list_rule": None}), client.delete(f"{COLLECTIONS}/nothing"),
                client.post(COLLECTIONS, {"name": "BAD"}), client.post(COLLECTIONS, {"name": "posts"}),
                client.generic("POST", COLLECTIONS, b'{"name":"posts"}', "application/json"),
                client.delete(f"{COLLECTIONS}/posts?unknown=1"),
            ):  # fmt: skip
                assert answer.status_code == status


def test_others_see_the_names_and_fields_of_what_they_may_list(admin: APIClient, callers: Callers) -> None:
    schema = [{"name": "title", "type": "text"}, {"name": "inner", "type": "text", "hidden": True}]
    create(admin, "open", schema, list_rule=None)
    create(admin, "closed", schema)
    create(admin, "members", schema, list_rule="@request.auth.id != ''")
    create(admin, "owned", [*schema, {"name": "owner", "type": "text"}], list_rule="owner = @request.auth.id")
    outline = {"schema": [{"name": "title", "type": "text"}]}
    shown = {name: callers[name].get(COLLECTIONS).json() for name in ("anonymous", "stranger", "admin")}
    assert [c["name"] for c in shown["anonymous"]["items"]] == ["open", "records"]
    assert [c["name"] for c in shown["stranger"]["items"]] == ["members", "open", "owned", "records"]
    assert [c["name"] for c in shown["admin"]["items"]] == ["closed", "members", "open", "owned", "records"]
    assert shown["stranger"]["items"][0] == {"name": "members", **outline}
    assert {key: shown["stranger"][key] for key in ("total", "page", "per_page", "total_pages")} == {
        "total": 4, "page": 1, "per_page": 100, "total_pages": 1,
    }  # fmt: skip
    assert callers["anonymous"].get(f"{COLLECTIONS}/open").json() == {"name": "open", **outline}
    for name in ("closed", "members", "owned", "nothing"):
        refusal = callers["anonymous"].get(f"{COLLECTIONS}/{name}")
        assert (refusal.status_code, refusal.json()["message"]) == (404, f"There is no collection {name!r}.")
    assert set(callers["admin"].get(f"{COLLECTIONS}/closed").json()) == KEYS


def test_a_collection_is_found_by_its_id_by_admins(admin: APIClient, callers: Callers) -> None:
    made = create(admin, list_rule=None).json()
    assert admin.get(f"{COLLECTIONS}/{made['id']}").json() == made
    assert admin.get(f"{COLLECTIONS}/{made['id']}/").json() == made


# -- shapes --------------------------------------------------------------------------------------
def test_an_omitted_rule_is_for_admins_and_null_is_public(admin: APIClient) -> None:
    made = create(admin, view_rule=None, list_rule="@request.auth.id != ''").json()
    assert {rule: made[rule] for rule in RULES} == {
        **dict.fromkeys(RULES, ADMINS_ONLY), "view_rule": None, "list_rule": "@request.auth.id != ''",
    }  # fmt: skip
    changed = admin.patch(f"{COLLECTIONS}/posts", {"view_rule": ADMINS_ONLY}).json()
    assert changed["view_rule"] == ADMINS_ONLY and changed["list_rule"] == "@request.auth.id != ''"
    assert admin.put(f"{COLLECTIONS}/posts", {"options": {}}).json()["list_rule"] == "@request.auth.id != ''"
    account = create(admin, "vendors", [], type="auth").json()
    assert account["create_rule"] is None and account["delete_rule"] == ADMINS_ONLY
    own = "@request.auth.id = @record.id && @request.auth.collection = @record.collection"
    assert account["list_rule"] == account["view_rule"] == account["update_rule"] == own


def test_what_is_created_is_what_is_read_and_can_be_sent_back(admin: APIClient) -> None:
    schema = [
        {"name": "title", "type": "text", "validation": {"required": True, "max_length": 9}, "help": "h"},
        {"name": "kind", "type": "select", "select": {"values": ["a"]}},
    ]
    made = create(
        admin, schema=schema, indexes=[{"fields": ["title", "kind"], "unique": True}], options={"search": ["title"]}
    )
    assert made.status_code == 201 and set(made.json()) == KEYS
    body = admin.get(f"{COLLECTIONS}/posts").json()
    assert body == made.json()
    assert [field["id"] for field in body["schema"]] == list(dict.fromkeys(field["id"] for field in body["schema"]))
    assert body["indexes"] == [{"fields": ["title", "kind"], "unique": True}] and body["options"] == {
        "search": ["title"]
    }
    for method in (admin.put, admin.patch):
        again = method(f"{COLLECTIONS}/posts", body)
        assert again.status_code == 200
        assert {**again.json(), "updated": 0} == {**body, "updated": 0}


def test_a_rename_keeps_the_data(admin: APIClient) -> None:
    schema = create(admin).json()["schema"]
    record = admin.post(path("posts"), {"title": "x"}).json()
    renamed = admin.patch(f"{COLLECTIONS}/posts", {"name": "news", "schema": [{**schema[0], "name": "head"}]})
    assert renamed.status_code == 200
    assert admin.get(path("news", record["id"])).json()["head"] == "x"
    assert admin.get(path("posts")).status_code == 404
    assert admin.get(path("news", record["id"])).json()["collection"] == "news"


def test_a_lossy_change_needs_to_be_allowed(admin: APIClient) -> None:
    schema = create(admin).json()["schema"]
    for title in ("12", "abc"):
        admin.post(path("posts"), {"title": title})
    url, body = f"{COLLECTIONS}/posts", {"schema": [{**schema[0], "type": "integer"}]}
    with nothing_changes():
        refusal = admin.patch(url, body)
        assert (refusal.status_code, refusal.json()["error_code"]) == (409, "CONFLICT")
        assert "abc" in str(refusal.json()) and "12" not in refusal.json()["message"]
        assert admin.patch(f"{url}?allow_data_loss=maybe", body).status_code == 422
        assert admin.patch(f"{url}?allow_data_los=true", body).status_code == 400
    assert admin.patch(f"{url}?allow_data_loss=true", body).status_code == 200
    assert [item["title"] for item in admin.get(f"{path('posts')}?sort=created").json()["items"]] == [12, None]


def test_a_collection_that_others_refer_to_stays(admin: APIClient) -> None:
    create(admin, "teams")
    create(admin, "players", [{"name": "team", "type": "relation", "relation": {"collection_id": "teams"}}])
    with nothing_changes():
        refusal = admin.delete(f"{COLLECTIONS}/teams")
        assert (refusal.status_code, refusal.json()["references"]) == (409, ["players.team"])
        assert admin.delete(f"{COLLECTIONS}/records").status_code == 409
        assert admin.patch(f"{COLLECTIONS}/records", {"name": "others"}).status_code == 409
    answer = admin.delete(f"{COLLECTIONS}/players")
    assert (answer.status_code, answer.content) == (204, b"")
    assert admin.delete(f"{COLLECTIONS}/teams").status_code == 204
    assert admin.get(f"{COLLECTIONS}/teams").status_code == admin.get(path("teams")).status_code == 404


def test_a_collection_made_again_starts_closed_and_empty(admin: APIClient, callers: Callers) -> None:
    create(admin, **dict.fromkeys(RULES))
    admin.post(path("posts"), {"title": "x"})
    admin.delete(f"{COLLECTIONS}/posts")
    create(admin)
    assert callers["stranger"].get(path("posts")).status_code == 403
    assert admin.get(path("posts")).json()["total"] == 0


def test_a_rule_that_names_what_goes_holds_it(admin: APIClient) -> None:
    fields = [{"name": "title", "type": "text"}, {"name": "owner", "type": "text"}]
    schema = create(admin, schema=fields, list_rule="owner = @request.auth.id").json()["schema"]
    url = f"{COLLECTIONS}/posts"
    with nothing_changes():
        assert admin.patch(url, {"schema": schema[:1]}).status_code == 409
        assert admin.patch(url, {"schema": [schema[0], {**schema[1], "hidden": True}]}).status_code == 409
    renamed = admin.patch(url, {"schema": [schema[0], {**schema[1], "name": "keeper"}]}).json()
    assert renamed["list_rule"] == "keeper = @request.auth.id"
    assert admin.patch(url, {"schema": schema[:1], "list_rule": None}).status_code == 200


# -- refusals ------------------------------------------------------------------------------------
FIELD = {"name": "a", "type": "text"}
BAD: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "name"), ({"name": None}, 422, "name"), ({"name": 5}, 422, "name"), ({"name": ["a"]}, 422, "name"),
    ({"name": ""}, 422, "name"),
    ({"name": "A"}, 422, "name"), ({"name": "1a"}, 422, "name"), ({"name": "a-b"}, 422, "name"),
    ({"name": "a" * 64}, 422, "name"),
    ({"name": "a b"}, 422, "name"), ({"name": "é"}, 422, "name"), ({"name": "a\n"}, 422, "name"),
    ({"name": "a;drop"}, 422, "name"),
    ({"name": "records"}, 409, "name"), ({"name": "users"}, 409, "name"), ({"name": "export"}, 409, "name"),
    ({"name": "import"}, 409, "name"),
    ({"type": "table"}, 422, "type"), ({"type": 5}, 422, "type"), ({"type": ["base"]}, 422, "type"), ({"type": {}},
    422, "type"), ({"type": None}, 422, "type"),
    ({"schema": {}}, 422, "schema"), ({"schema": "x"}, 422, "schema"), ({"schema": [5]}, 422, "schema[0]"),
    ({"schema": [[]]}, 422, "schema[0]"),
    ({"schema": [{}]}, 422, "schema[0]"), ({"schema": [{"name": "a"}]}, 422, "schema.a"), ({"schema": [{"name": "a",
    "type": "nothing"}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": ["text"]}]}, 422, "schema.a"), ({"schema": [{"name": {}, "type": "text"}]},
    422, "schema[0]"),
    ({"schema": [{"name": "A", "type": "text"}]}, 422, "schema[0]"), ({"schema": [{"name": "id", "type": "text"}]},
    422, "schema.id"),
    ({"schema": [{"name": "expand", "type": "text"}]}, 422, "schema.expand"), ({"schema": [{"name": "created",
    "type": "text"}]}, 422, "schema.created"),
    ({"schema": [FIELD, FIELD]}, 422, "schema"), ({"schema": [{**FIELD, "id": "x/y"}]}, 422, "schema[0]"),
    ({"schema": [{**FIELD, "nothing": 1}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "hidden": "yes"}]}, 422, "schema.a"), ({"schema": [{**FIELD, "help": 5}]}, 422,
    "schema.a"),
    ({"schema": [{**FIELD, "validation": []}]}, 422, "schema.a"), ({"schema": [{**FIELD,
    "validation": {"nothing": 1}}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "validation": {"min": 1}}]}, 422, "schema.a"), ({"schema": [{**FIELD,
    "validation": {"min_length": -1}}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "validation": {"min_length": "x"}}]}, 422, "schema.a"), ({"schema": [{**FIELD,
    "validation": {"pattern": "("}}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "validation": {"pattern": "x" * 501}}]}, 422, "schema.a"), ({"schema": [{**FIELD,
    "validation": {"required": "yes"}}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "validation": {"min_length": 5, "max_length": 2}}]}, 422, "schema.a"),
    ({"schema": [{**FIELD, "validation": {"default": []}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "number", "validation": {"min": "x"}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "number", "validation": {"min": 5, "max": 1}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "number", "validation": {"default": "x"}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "json", "validation": {"unique": True}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "select"}]}, 422, "schema.a"), ({"schema": [{"name": "a", "type": "select",
    "select": {"values": []}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "select", "select": {"values": ["x", "x"]}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "select", "select": {"values": [1]}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "select", "select": []}]}, 422, "schema.a"), ({"schema": [{"name": "a",
    "type": "select", "select": {"values": ["x"], "max_select": 0}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "relation"}]}, 422, "schema.a"), ({"schema": [{"name": "a",
    "type": "relation", "relation": {"collection_id": "nothing"}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "relation", "relation": {"collection_id": 5}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "relation", "relation": {"collection_id": "records", "type": "x"}}]}, 422,
    "schema.a"),
    ({"schema": [{"name": "a", "type": "relation", "relation": {"collection_id": "records", "cascade_delete": 1}}]},
    422, "schema.a"),
    ({"schema": [{"name": "a", "type": "file", "file": {"max_size": -1}}]}, 422, "schema.a"),
    ({"schema": [{"name": "a", "type": "autodate", "autodate": {"on_create": False}}]}, 422, "schema.a"),
    ({"schema": [{"name": f"f{n}", "type": "text"} for n in range(201)]}, 422, "schema"),
    ({"list_rule": ""}, 422, "list_rule"), ({"list_rule": 5}, 422, "list_rule"), ({"list_rule": "nothing = 1"}, 422,
    "list_rule"), ({"view_rule": "a ="}, 422, "view_rule"),
    ({"create_rule": "x" * 4001}, 422, "create_rule"), ({"update_rule": "(" * 30}, 422, "update_rule"),
    ({"delete_rule": "@collection.nothing.x = 1"}, 422, "delete_rule"),
    ({"list_rule": ["a = 1"]}, 422, "list_rule"), ({"list_rule": "a = 'x\ud83d' && a = 1" if False else "a = 1 &&"},
    422, "list_rule"),
    ({"indexes": {}}, 422, "indexes"), ({"indexes": ["a"]}, 422, "indexes[0]"),
    ({"indexes": [{"fields": ["nothing"]}]}, 422, "indexes[0]"), ({"indexes": [{"fields": []}]}, 422, "indexes[0]"),
    ({"indexes": [{"fields": ["a", "a"]}]}, 422, "indexes[0]"), ({"indexes": [{"fields": ["a"], "unique": "x"}]},
    422, "indexes[0]"), ({"indexes": [{"fields": ["a"]}] * 31}, 422, "indexes"),
    ({"options": []}, 422, "options"), ({"options": {"nothing": 1}}, 422, "options"), ({"options": {"search": "a"}},
    422, "options"), ({"options": {"search": ["nothing"]}}, 422, "options"),
    ({"nothing": 1}, 422, "nothing"), ({"Name": "x"}, 422, "Name"), ({"schemas": []}, 422, "schemas"),
]  # fmt: skip


def test_a_bad_definition_is_refused_in_words_and_leaves_nothing(admin: APIClient) -> None:
    admin.raise_request_exception = False
    wrong, before = [], whole_state()
    for change, status, key in BAD:
        body = {"name": "mine", "schema": [FIELD], **change} if change else {}
        answer = admin.post(COLLECTIONS, body)
        if answer.status_code != status or key not in answer.json()["fields"]:
            wrong.append((str(change)[:100], answer.status_code, answer.json().get("fields")))
    assert not wrong, "\n".join(map(str, wrong))
    assert whole_state() == before


def test_a_bad_change_is_refused_and_leaves_nothing(admin: APIClient) -> None:
    create(admin, "mine", [FIELD])
    create(admin, "other", [FIELD])
    admin.raise_request_exception = False
    wrong, before = [], whole_state()
    for change, status, key in BAD[1:]:
        answer = admin.patch(f"{COLLECTIONS}/mine", change)
        if answer.status_code != status or key not in answer.json()["fields"]:
            wrong.append((str(change)[:100], answer.status_code, answer.json().get("fields")))
    assert not wrong, "\n".join(map(str, wrong))
    assert whole_state() == before
    with nothing_changes():
        assert admin.patch(f"{COLLECTIONS}/mine", {"name": "other"}).status_code == 409
        assert admin.patch(f"{COLLECTIONS}/mine", {"type": "auth"}).status_code == 422
        assert admin.patch(f"{COLLECTIONS}/mine", {"schema": [{**FIELD, "id": "fabcdefghij"}]}).status_code == 422
        assert admin.patch(f"{COLLECTIONS}/nothing", {"list_rule": None}).status_code == 404
        for raw in (b"null", b"[]", b"5", b"{", b"\xff", b'{"list_rule":"\\ud800"}', b'{"name":"a\\u0000"}'):
            assert admin.generic("PATCH", f"{COLLECTIONS}/mine", raw, "application/json").status_code == 400, raw
            assert admin.generic("POST", COLLECTIONS, raw, "application/json").status_code == 400, raw


def test_all_problems_of_a_definition_are_told_at_once(admin: APIClient) -> None:
    body = {
        "name": "A",
        "type": "x",
        "schema": [{"name": "B", "type": "text"}, {"name": "c", "type": "x"}],
        "indexes": {},
        "list_rule": "",
    }
    with nothing_changes():
        found = admin.post(COLLECTIONS, body).json()["fields"]
    assert {"name", "type", "schema[0]", "schema.c", "indexes", "list_rule"} <= set(found)


def test_parameters_of_the_list_of_collections(admin: APIClient) -> None:
    for name in ("a", "b", "c"):
        create(admin, name)
    page = admin.get(f"{COLLECTIONS}?per_page=2&page=2").json()
    assert [item["name"] for item in page["items"]] == ["c", "records"]
    assert (page["total"], page["total_pages"]) == (4, 2)
    for query, status in {
        "page=0": 422,
        "per_page=501": 422,
        "unknown=1": 400,
        "filter=x": 400,
        "page=1&page=2": 400,
        "page=1000000": 200,
    }.items():
        assert admin.get(f"{COLLECTIONS}?{query}").status_code == status, query
