"""What the first document promises of collections, rules, records, bulk and search, word by word."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.principals import Principal
from collections_app.tests.web import COLLECTIONS, Callers, get, nothing_changes, path
from core.errors import DomainError

pytestmark = pytest.mark.engine

ADMIN_ONLY = "@request.auth.role = 'admin'"


@pytest.fixture
def admin(schema_db: None, callers: Callers) -> APIClient:
    return callers["admin"]


def define(admin: APIClient, **definition: Any) -> dict[str, Any]:
    answer = admin.post(COLLECTIONS, definition)
    assert answer.status_code == 201, answer.json()
    return answer.json()  # type: ignore[no-any-return]


# -- "Creating Collections" and "API Usage" -------------------------------------------------------
def test_products_of_the_first_example(admin: APIClient) -> None:
    made = define(admin, name="products", type="base", schema=[
        {"name": "title", "type": "text", "validation": {"required": True}},
        {"name": "price", "type": "number", "validation": {"required": True}},
    ])  # fmt: skip
    created = admin.post(path("products"), {"data": {"title": "Product Name", "price": 99.99}})
    assert (created.status_code, created.json()["price"]) == (201, 99.99)
    url = path("products", created.json()["id"])
    assert admin.get(url).json()["title"] == "Product Name"
    assert admin.patch(url, {"data": {"price": 89.99}}).json()["price"] == 89.99
    listed = admin.get(f"{path('products')}?page=1&per_page=20&sort=-created").json()
    assert [item["price"] for item in listed["items"]] == [89.99]
    assert admin.put(f"{COLLECTIONS}/{made['id']}", {"list_rule": None}).json()["list_rule"] is None
    assert admin.get(f"{COLLECTIONS}/{made['id']}").json()["name"] == "products"
    assert admin.delete(url).status_code == 204
    assert admin.delete(f"{COLLECTIONS}/{made['id']}").status_code == 204


# -- "Field Types" --------------------------------------------------------------------------------
def test_every_field_of_the_document_is_taken_as_it_stands(admin: APIClient) -> None:
    categories = define(admin, name="categories", schema=[{"name": "name", "type": "text"}])
    schema = [
        {"name": "title", "type": "text", "validation": {"required": True, "min_length": 3, "max_length": 100}},
        {"name": "price", "type": "number", "validation": {"required": True, "min": 0}},
        {"name": "published", "type": "bool", "validation": {"required": False}},
        {"name": "contact_email", "type": "email", "validation": {"required": True}},
        {"name": "website", "type": "url", "validation": {"required": False}},
        {"name": "publish_date", "type": "date", "validation": {"required": False}},
        {"name": "status", "type": "select", "select": {"values": ["draft", "published", "archived"],
        "max_select": 1},
         "validation": {"required": True}},
        {"name": "category", "type": "relation", "relation": {"collection_id": categories["id"],
        "type": "many-to-one",
         "cascade_delete": False, "display_fields": ["id", "name"]}, "validation": {"required": False}},
        {"name": "image", "type": "file", "file": {"max_files": 1, "max_size": 5242880, "mime_types":
         ["image/jpeg", "image/png", "image/gif"], "thumbs": ["100x100", "500x500"]},
         "validation": {"required": False}},
        {"name": "metadata", "type": "json", "validation": {"required": False}},
        {"name": "content", "type": "editor", "validation": {"required": False}},
    ]  # fmt: skip
    made = define(admin, name="everything", schema=schema)
    for sent, kept in zip(schema, made["schema"], strict=True):
        for key, value in sent.items():
            if isinstance(value, dict):
                assert value.items() <= kept[key].items()
            else:
                assert kept[key] == value
    category = admin.post(path("categories"), {"name": "c"}).json()["id"]
    good = {
        "title": "abc", "price": 0, "published": True, "contact_email": "a@b.co", "website": "https://a.co",
        "status": "draft",
        "publish_date": "2025-01-15T10:00:00", "category": category, "metadata": {"a": 1}, "content": "<p>x</p>",
    }  # fmt: skip
    record = admin.post(path("everything"), good).json()
    assert {**good, "publish_date": "2025-01-15T10:00:00Z"}.items() <= record.items()
    for bad, message in (
        ({"title": "ab"}, "Ensure this field has at least 3 characters."),
        ({"title": "x" * 101}, "Ensure this field has no more than 100 characters."),
        ({"price": -1}, "Ensure this value is greater than or equal to 0."),
        ({"contact_email": "x"}, "Enter a valid email address."),
        ({"status": "gone"}, '"gone" is not a valid choice.'),
        ({"status": None}, "This field is required."),
    ):
        refusal = admin.post(path("everything"), {**good, **bad})
        assert refusal.json()["fields"] == {next(iter(bad)): [message]}


# -- "Access Control Rules": common patterns ---------------------------------------------------------
PATTERNS: dict[str | None, dict[str, int]] = {
    None: {"anonymous": 3, "stranger": 3, "owner": 3, "admin": 3},
    "@request.auth.id != ''": {"anonymous": 401, "stranger": 3, "owner": 3, "admin": 3},
    ADMIN_ONLY: {"anonymous": 401, "stranger": 403, "owner": 403, "admin": 3},
    "@request.auth.id = @record.user_id": {"anonymous": 401, "stranger": 0, "owner": 2, "admin": 3},
    "@request.auth.id = @record.user_id || @request.auth.role = 'admin'": {
        "anonymous": 401, "stranger": 0, "owner": 2, "admin": 3,
    },
    "@request.auth.email = @record.email": {"anonymous": 401, "stranger": 0, "owner": 1, "admin": 3},
    "@request.auth.email != 'owner@example.com' && @request.auth.id != ''": {
        "anonymous": 401, "stranger": 3, "owner": 403, "admin": 3,
    },
}  # fmt: skip


def test_the_common_patterns_of_rules(admin: APIClient, callers: Callers) -> None:
    define(admin, name="notes", schema=[{"name": "user_id", "type": "text"}, {"name": "email", "type": "text"}])
    owner = callers.id("owner")
    for data in (
        {"user_id": owner, "email": "owner@example.com"},
        {"user_id": owner},
        {"user_id": callers.id("member")},
    ):
        admin.post(path("notes"), data)
    for rule, expected in PATTERNS.items():
        assert admin.patch(f"{COLLECTIONS}/notes", {"list_rule": rule}).status_code == 200
        for name, outcome in expected.items():
            answer = callers[name].get(path("notes"))
            assert (answer.json()["total"] if answer.status_code == 200 else answer.status_code) == outcome, (
                rule,
                name,
            )


def test_a_superadmin_is_an_admin_to_every_rule(admin: APIClient, superadmin: Any, as_user: Any) -> None:
    define(admin, name="notes", schema=[{"name": "text", "type": "text"}], list_rule=ADMIN_ONLY)
    client = as_user(superadmin)
    assert client.post(path("notes"), {"text": "x"}).status_code == 201
    assert client.get(path("notes")).json()["total"] == 1


def test_the_vendor_system(admin: APIClient, records: Any, callers: Callers) -> None:
    define(admin, name="vendors", type="auth")
    define(
        admin, name="products", type="base", schema=[
            {"name": "vendor_id", "type": "text", "validation": {"required": True}},
            {"name": "name", "type": "text", "validation": {"required": True}},
            {"name": "price", "type": "number", "validation": {"required": True}},
        ],
        list_rule="@request.auth.id = @record.vendor_id", view_rule="@request.auth.id = @record.vendor_id",
        create_rule="@request.auth.id != ''", update_rule="@request.auth.id = @record.vendor_id",
        delete_rule="@request.auth.id = @record.vendor_id || @request.auth.role = 'admin'",
    )  # fmt: skip
    vendors = {}
    for name in ("ann", "bob"):
        body = {"email": f"{name}@example.com", "password": "securepassword123"}
        account = callers["anonymous"].post(path("vendors"), body).json()
        principal = Principal(
            id=account["id"], collection="vendors", collection_id="v", email=account["email"], role="user"
        )
        vendors[name] = records("products", principal)
    ann, bob = vendors["ann"], vendors["bob"]
    product = ann.create(vendor_id=ann.principal.id, name="Lamp", price=5)
    assert [item["id"] for item in ann.items()] == [product["id"]]
    assert bob.items() == []
    for attempt in (
        lambda: bob.get(product["id"]), lambda: bob.update(product["id"], {"price": 1}),
        lambda: bob.delete(product["id"]),
        lambda: bob.update(product["id"], {"vendor_id": bob.principal.id}),
    ):  # fmt: skip
        with nothing_changes(), pytest.raises(DomainError) as refusal:
            attempt()
        assert refusal.value.status == 404
    with nothing_changes(), pytest.raises(DomainError) as refusal:
        ann.update(product["id"], {"vendor_id": bob.principal.id})
    assert refusal.value.status == 403
    assert ann.update(product["id"], {"price": 6})["price"] == 6
    assert callers["anonymous"].post(path("products"), {"vendor_id": "x", "name": "n", "price": 1}).status_code == 401
    assert admin.delete(path("products", product["id"])).status_code == 204


# -- "Bulk Operations" ------------------------------------------------------------------------------
@pytest.fixture
def posts(admin: APIClient, callers: Callers) -> dict[str, str]:
    """Ten posts: seven of the owner's, three of another's."""
    define(
        admin, name="posts", schema=[
            {"name": "title", "type": "text"}, {"name": "status", "type": "text"}, {"name": "priority",
            "type": "number"},
            {"name": "featured", "type": "bool"}, {"name": "user_id", "type": "text"},
            {"name": "body", "type": "editor"}, {"name": "mail", "type": "email"}, {"name": "site", "type": "url"},
            {"name": "kind", "type": "select", "select": {"values": ["FastCMS"]}}, {"name": "extra", "type": "json"},
        ],
        list_rule=None, view_rule=None, update_rule=None, delete_rule="@request.auth.id = @record.user_id",
    )  # fmt: skip
    owners = ["owner"] * 7 + ["member"] * 3
    return {
        f"p{n}": admin.post(path("posts"), {"title": f"p{n}", "user_id": callers.id(name)}).json()["id"]
        for n, name in enumerate(owners)
    }


def test_a_bulk_update_as_documented(posts: dict[str, str], callers: Callers) -> None:
    ids = [posts["p0"], posts["p1"], posts["p2"]]
    answer = callers["stranger"].post(
        path("posts", "bulk-update"),
        {"record_ids": ids, "data": {"status": "published", "priority": 1, "featured": True}},
    )
    assert (answer.status_code, answer.json()) == (200, {"success": 3, "failed": 0, "errors": None})
    found = get(callers["anonymous"], f"{path('posts')}?filter=status=published%26%26priority=1&&featured=true").json()
    assert {item["id"] for item in found["items"]} == set(ids)


def test_a_bulk_delete_takes_the_seven_that_are_mine_and_fails_for_three(
    posts: dict[str, str], callers: Callers
) -> None:
    answer = callers["owner"].post(path("posts", "bulk-delete"), {"record_ids": list(posts.values())}).json()
    assert (answer["success"], answer["failed"]) == (7, 3)
    assert answer["errors"] == [
        {"record_id": posts[name], "error": "Insufficient permissions"} for name in ("p7", "p8", "p9")
    ]
    gone = callers["member"].post(
        path("posts", "bulk-delete"), {"record_ids": [posts["p7"], posts["p8"], "record_id_3"]}
    )
    assert gone.json() == {
        "success": 2, "failed": 1, "errors": [{"record_id": "record_id_3", "error": "Record not found"}],
    }  # fmt: skip


# -- "Search Records" ---------------------------------------------------------------------------------
def test_search_as_documented(posts: dict[str, str], admin: APIClient) -> None:
    for title, data in {
        "in title FASTcms": {}, "a": {"body": "<p>about <b>fastcms</b></p>"}, "b": {"mail": "me@fastcms.io"},
        "c": {"site": "https://fastcms.io"}, "d": {"kind": "FastCMS"}, "e": {"extra": {"x": "fastcms"}}, "f": {},
    }.items():  # fmt: skip
        admin.post(path("posts"), {"title": title, "status": "published" if title in "ab" else "draft", **data})

    def titles(query: str) -> list[str]:
        return [item["title"] for item in get(admin, f"{path('posts')}?{query}").json()["items"]]

    assert titles("search=fastcms&sort=created") == ["in title FASTcms", "a", "b", "c"]
    assert titles("search=fastcms&sort=-created") == ["c", "b", "a", "in title FASTcms"]
    assert titles("search=fastcms&filter=status=published&sort=title") == ["a", "b"]
    assert titles("search=astcm&per_page=1&page=2&sort=created") == ["a"]
    assert titles("search=nowhere") == []


@pytest.mark.parametrize("indexed", [False, True])
def test_search_is_case_insensitive_partial_and_literal_for_all_alphabets(admin: APIClient, indexed: bool) -> None:
    options = {"search": ["title"]} if indexed else {}
    define(admin, name="texts", schema=[{"name": "title", "type": "text"}], options=options)
    texts = [
        "Straße 100%",
        "ΟΔΟΣ",
        "Москва",
        "a_b",
        "aXb",
        "C:\\path",
        "İstanbul",
        "日本語テキスト",
        "ＡＢＣ",
        'it\'s "quoted"',
        "x' OR '1'='1",
        "abcdefgh ijklmnop abc bcd cde",
        "the same letters sit in this long line, in another order: xyz",
        "xyz: in another order, the same letters sit in this long line",
    ]
    for text in texts:
        admin.post(path("texts"), {"title": text})
    from urllib.parse import quote

    for needle, found in {
        "straSSE": ["Straße 100%"], "100%": ["Straße 100%"], "%": ["Straße 100%"], "_": ["a_b"], "a_b": ["a_b"],
        "οδος": ["ΟΔΟΣ"], "οδο": ["ΟΔΟΣ"],
        "МОСК": ["Москва"], "c:\\P": ["C:\\path"], "\\": ["C:\\path"], "本語": ["日本語テキスト"], "語テキ": ["日本語テキスト"],
        "it's \"q": ["it's \"quoted\""],
        "' OR '": ["x' OR '1'='1"], "zzz": [], "AND": [], '"': ["it's \"quoted\""], "*": [], "a b": [], "NEAR(": [],
        "abcde": ["abcdefgh ijklmnop abc bcd cde"], "abcdcde": [],
        "LETTERS sit in this long line, in another order": [
            "the same letters sit in this long line, in another order: xyz",
        ],
    }.items():  # fmt: skip
        answer = get(admin, f"{path('texts')}?search={quote(needle)}&sort=created")
        assert answer.status_code == 200, needle
        assert [item["title"] for item in answer.json()["items"]] == found, needle
        contains = get(admin, f"{path('texts')}?filter={quote('title ~ ' + repr_of(needle))}&sort=created")
        assert [item["title"] for item in contains.json()["items"]] == found, needle


def repr_of(text: str) -> str:
    """The text as a literal of the rule language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# -- the built-in collection ----------------------------------------------------------------------------
def test_the_built_in_records_show_what_is_published(admin: APIClient, callers: Callers) -> None:
    made = {
        published: admin.post(path("records"), {"title": "t", "content": "# x", "is_published": published}).json()["id"]
        for published in (True, False)
    }
    assert [item["id"] for item in callers["anonymous"].get(path("records")).json()["items"]] == [made[True]]
    assert callers["anonymous"].get(path("records", made[False])).status_code == 404
    assert callers["anonymous"].get(path("records", made[True])).json()["content"] == "# x"
    with nothing_changes():
        assert callers["anonymous"].post(path("records"), {"title": "x"}).status_code == 401
        assert callers["stranger"].patch(path("records", made[True]), {"title": "x"}).status_code == 403
