"""What the server owns can't be set by a client, whichever way it tries."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from collections_app.tests.web import BATCH, COLLECTIONS, Callers, nothing_changes, path, whole_state

pytestmark = pytest.mark.engine

OPEN = dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule"))


def update_ways(client: APIClient, collection: str, record_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """The same update by every route: name → response."""
    url = path(collection, record_id)
    bulk = {"record_ids": [record_id], "data": data}
    found = {
        "PATCH": client.patch(url, data),
        "PUT": client.put(url, {"data": data}),
        "bulk": client.post(path(collection, "bulk-update"), bulk),
        **{
            f"batch {method}": client.post(
                BATCH, {"requests": [{"method": method, "collection": collection, "id": record_id, "data": data}]}
            )
            for method in ("PATCH", "PUT")
        },
    }
    if fits_a_form(data):
        found["form"] = client.patch(url, data, format="multipart")
    return found


def fits_a_form(data: dict[str, Any]) -> bool:
    """An empty input of a form says nothing, and there is no other type than text."""
    return all(isinstance(value, str) and value for value in data.values())


def create_ways(client: APIClient, collection: str, data: dict[str, Any]) -> dict[str, Any]:
    batch = {"method": "POST", "collection": collection, "data": data}
    form = {"form": client.post(path(collection), data, format="multipart")} if fits_a_form(data) else {}
    return {
        **form,
        "POST": client.post(path(collection), data),
        "POST data": client.post(path(collection), {"data": data}),
        "batch POST": client.post(BATCH, {"requests": [batch]}),
        "batch PUT": client.post(BATCH, {"requests": [{**batch, "method": "PUT", "id": "put"}]}),
    }


def refused(response: Any) -> bool:
    """Whether nothing was done: an error, or a bulk whose every record failed."""
    return response.status_code == 422 or (response.status_code == 200 and response.json().get("success") == 0)


@pytest.fixture
def post(make_collection: Any, records: Any) -> dict[str, Any]:
    make_collection(
        "posts", title="text", made="autodate",
        seen={"type": "autodate", "autodate": {"on_create": False, "on_update": True}}, **OPEN,
    )  # fmt: skip
    return records("posts").create(title="x")  # type: ignore[no-any-return]


def test_the_id_of_a_record_never_changes(post: dict[str, Any], callers: Callers) -> None:
    for name in ("stranger", "admin"):
        with nothing_changes():
            for value in ("other", "", None, 5):
                answers = update_ways(callers[name], "posts", post["id"], {"id": value})
                assert all(map(refused, answers.values())), (value, {k: r.status_code for k, r in answers.items()})
    same = update_ways(callers["stranger"], "posts", post["id"], {"id": post["id"], "title": "y"})
    assert {response.status_code for response in same.values()} == {200}


def test_what_records_tell_of_themselves_is_ignored_in_a_body(post: dict[str, Any], callers: Callers) -> None:
    """A client may send back what it got: these are no errors, and have no effect."""
    for name in ("stranger", "admin"):
        given = {"created": "2001-01-01T00:00:00Z", "updated": "2001-01-01T00:00:00Z", "collection": "other"}
        for way, response in update_ways(callers[name], "posts", post["id"], given).items():
            assert response.status_code == 200, way
        stored = callers["admin"].get(path("posts", post["id"])).json()
        assert (stored["created"], stored["collection"]) == (post["created"], "posts")
        assert stored["updated"] > post["updated"]
        for way, response in create_ways(callers[name], "posts", {**given, "title": "t"}).items():
            assert response.status_code in (200, 201), way
        for item in callers["admin"].get(path("posts")).json()["items"]:
            assert item["created"] >= post["created"] and item["collection"] == "posts"


def test_automatic_dates_are_set_by_the_server_alone(post: dict[str, Any], callers: Callers) -> None:
    with nothing_changes():
        for field in ("made", "seen"):
            for key in (field, f"{field}+", f"+{field}"):
                assert all(map(refused, create_ways(callers["admin"], "posts", {key: "2001-01-01"}).values())), key
                answers = update_ways(callers["admin"], "posts", post["id"], {key: "2001-01-01"})
                assert all(map(refused, answers.values())), key
    assert post["made"] == post["created"] and post["seen"] is None
    changed = callers["admin"].patch(path("posts", post["id"]), {"title": "y"}).json()
    assert changed["seen"] == changed["updated"] and changed["made"] == post["made"]


@pytest.fixture
def vendor(make_collection: Any, records: Any) -> str:
    make_collection("vendors", type="auth", nick="text", **OPEN)
    return str(records("vendors").create(email="v@example.com", password="long-enough-1", nick="v")["id"])


FORBIDDEN = [
    {"role": "editor"}, {"role": "admin"}, {"role": "user"}, {"role": ""}, {"role+": "x"}, {"+role": "x"}, {"verified": True},
    {"verified": "true"}, {"verified": False}, {"verified+": 1}, {"token_key": "x"}, {"token_key": ""}, {"token_key+": "x"},
]  # fmt: skip


@pytest.mark.parametrize("name", ["anonymous", "stranger"])
def test_role_verified_and_token_key_are_out_of_reach(vendor: str, callers: Callers, name: str) -> None:
    client = callers[name]
    with nothing_changes():
        for data in FORBIDDEN:
            answers = update_ways(client, "vendors", vendor, data)
            if name == "anonymous":
                assert answers.pop("bulk").status_code == 401
            assert all(map(refused, answers.values())), (data, {k: r.status_code for k, r in answers.items()})
            new = {"email": "n@example.com", "password": "long-enough-1", **data}
            assert all(map(refused, create_ways(client, "vendors", new).values())), data


def test_a_new_account_starts_as_an_unverified_user(vendor: str, callers: Callers) -> None:
    body = {"email": "new@example.com", "password": "long-enough-1"}
    made = callers["anonymous"].post(path("vendors"), body)
    assert made.status_code == 201
    assert (made.json()["role"], made.json()["verified"]) == ("user", False)
    assert set(made.json()) == {"id", "collection", "created", "updated", "email", "verified", "role", "nick"}


def test_not_even_an_admin_gives_staff_roles_there(vendor: str, callers: Callers) -> None:
    admin = callers["admin"]
    with nothing_changes():
        for role in ("admin", "superadmin", ["admin"], {"a": 1}, True):
            answers = update_ways(admin, "vendors", vendor, {"role": role})
            assert all(map(refused, answers.values())), (role, {k: r.status_code for k, r in answers.items()})
        assert all(map(refused, update_ways(admin, "vendors", vendor, {"token_key": "x"}).values()))
    assert admin.patch(path("vendors", vendor), {"role": "editor", "verified": True}).json()["role"] == "editor"


def test_a_changed_password_email_or_role_ends_older_tokens(vendor: str, callers: Callers) -> None:
    def token_key() -> str:
        table = next(name for name in whole_state() if name.startswith("c_"))
        return "".join(whole_state()[table])

    for data in ({"password": "another-one-1"}, {"email": "w@example.com"}, {"role": "editor"}):
        before = token_key()
        assert callers["admin"].patch(path("vendors", vendor), data).status_code == 200
        assert token_key() != before


def test_a_hash_is_a_password_like_any_other(vendor: str, callers: Callers) -> None:
    """Who has read a stored hash somewhere can't put it in place."""
    from django.contrib.auth.hashers import check_password, make_password

    from collections_app.records import rows
    from collections_app.schema import registry

    foreign = make_password("chosen-by-me-1")
    assert callers["admin"].patch(path("vendors", vendor), {"password": foreign}).status_code == 200
    stored = rows.select(registry.latest().get("vendors"), vendor)
    assert stored is not None
    assert stored["password"] != foreign
    assert not check_password("chosen-by-me-1", stored["password"])
    assert check_password(foreign, stored["password"])


def test_a_collection_owns_its_id_and_whether_it_is_built_in(post: dict[str, Any], callers: Callers) -> None:
    admin = callers["admin"]
    body = {"name": "mine", "id": "chosen", "system": True, "created": "2001-01-01", "schema": []}
    made = admin.post(COLLECTIONS, body).json()
    assert made["id"] != "chosen" and made["system"] is False and made["created"] > "2026"
    changed = admin.patch(f"{COLLECTIONS}/mine", {"id": "chosen", "system": True}).json()
    assert (changed["id"], changed["system"]) == (made["id"], False)
