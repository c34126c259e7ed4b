"""Settings on both surfaces: one store, for admins, known keys held to what they are for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from rest_framework.test import APIClient

from settings_app import registry, values
from settings_app.models import CmsSetting
from settings_app.registry import Setting

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
SETTINGS, CMS = "/api/v1/settings", "/api/cms/settings"


@pytest.fixture
def client(admin, as_user):
    return as_user(admin)


@pytest.fixture
def size(monkeypatch):
    monkeypatch.setitem(registry.known, "size", Setting("size", "integer", 10, "shop", "How many"))


def rows() -> list[Any]:
    return list(CmsSetting.objects.order_by("key").values())


def test_declared_settings_are_listed_with_their_defaults(client):
    found = {entry["key"]: entry for entry in client.get(SETTINGS).json()}
    assert found["registration_mode"]["value"] == "OPEN" and found["registration_mode"]["category"] == "security"
    assert found["site_name"]["category"] == "general" and found["site_name"]["updated_by"] is None
    assert found["allow_registration"]["value"] is True and found["allow_registration"]["type"] == "boolean"
    assert set(found["site_name"]) == {
        "id", "key", "value", "category", "description", "type", "updated_at", "updated_by",
    }  # fmt: skip


def test_any_key_is_set_and_set_again_with_any_json(client, admin):
    body = {"key": "most_guests", "value": 100, "category": "limits", "description": "A minute"}
    made = client.post(SETTINGS, body)
    assert made.status_code == 200
    first = made.json()
    assert {name: first[name] for name in body} == body and first["type"] == "integer"
    assert first["updated_by"] == str(admin.pk) and first["updated_at"].endswith("Z")
    for value, kind in (
        (2.5, "number"),
        (True, "boolean"),
        ("x", "string"),
        ([1, {"a": None}], "json"),
        (None, "json"),
    ):
        again = client.post(SETTINGS, {"key": "most_guests", "value": value}).json()
        assert (again["value"], again["type"], again["id"]) == (value, kind, first["id"])
        assert (again["category"], again["description"]) == ("limits", "A minute")
    assert CmsSetting.objects.count() == 1
    assert client.post(SETTINGS, {"key": "plain", "value": 1}).json()["category"] == "custom"


def test_settings_of_a_category(client):
    client.post(SETTINGS, {"key": "post_box", "value": 587, "category": "letters"})
    assert [entry["key"] for entry in client.get(f"{SETTINGS}/letters").json()] == ["post_box"]
    assert "registration_mode" in [entry["key"] for entry in client.get(f"{SETTINGS}/security").json()]
    assert client.get(f"{SETTINGS}/nothing").json() == []


def test_deleting_forgets_a_key_and_gives_a_declared_one_its_default_back(client):
    client.post(SETTINGS, {"key": "registration_mode", "value": "CLOSED"})
    client.post(SETTINGS, {"key": "old_setting", "value": 1})
    for key in ("registration_mode", "old_setting"):
        assert client.delete(f"{SETTINGS}/{key}").json() == {"deleted": True}
        assert client.delete(f"{SETTINGS}/{key}").status_code == 404
    assert values.get("registration_mode") == "OPEN" and not rows()


@pytest.mark.parametrize(
    ("body", "bad"),
    [
        ({"key": "registration_mode", "value": "SOMETIMES"}, "value"),
        ({"key": "registration_mode", "value": None}, "value"),
        ({"key": "registration_mode", "value": ["OPEN"]}, "value"),
        ({"key": "allow_registration", "value": "false"}, "value"),
        ({"key": "allow_registration", "value": 0}, "value"),
        ({"key": "x"}, "value"),
        ({"value": 1}, "key"),
        ({"key": "", "value": 1}, "key"),
        ({"key": "1x", "value": 1}, "key"),
        ({"key": "a/b", "value": 1}, "key"),
        ({"key": "x" * 101, "value": 1}, "key"),
        ({"key": 5, "value": 1}, "key"),
        ({"key": "x", "value": "y" * 100_001}, "value"),
        ({"key": "x", "value": 1, "category": ""}, "category"),
        ({"key": "x", "value": 1, "category": "a b"}, "category"),
        ({"key": "x", "value": 1, "description": "d" * 1001}, "description"),
        ({"key": "x", "value": 1, "updated_by": "me"}, "updated_by"),
        ({"key": "x", "value": 1, "id": "1"}, "id"),
    ],
)
def test_a_bad_value_is_422_and_names_its_field(client, body, bad):
    answer = client.post(SETTINGS, body)
    assert answer.status_code == 422 and list(answer.json()["fields"]) == [bad], answer.json()
    assert not rows()


@pytest.mark.parametrize(("who", "status"), [("member", 403), ("anonymous", 401)])
def test_settings_are_for_admins_only(who, status, request, member, as_user, anonymous, client):
    client.post(SETTINGS, {"key": "secret_thing", "value": 1})
    before = rows()
    caller = anonymous if who == "anonymous" else as_user(member)
    for answer in (
        caller.get(SETTINGS),
        caller.get(f"{SETTINGS}/security"),
        caller.post(SETTINGS, {"key": "x", "value": 1}),
        caller.delete(f"{SETTINGS}/secret_thing"),
        caller.get(CMS),
        caller.get(f"{CMS}/secret_thing"),
        caller.get(f"{CMS}/no_such_thing"),
        caller.get(f"{CMS}/category/app"),
        caller.put(f"{CMS}/secret_thing", {"value": "2"}),
    ):
        assert answer.status_code == status
        if status == 403:
            on_cms = "/cms/" in answer.wsgi_request.path
            assert answer.json()["message"] == (
                "Admin access required" if on_cms else "Insufficient permissions. Admin role required."
            )
    assert rows() == before


@pytest.mark.parametrize("number", ["1e30", "-1e30", "1.7e308", "9223372036854775808.0", "18446744073709551616"])
@pytest.mark.parametrize("value", ["%s", '[1, {"a": [%s]}]'])
def test_a_number_that_no_database_gives_back_alike_is_refused(client, number, value):
    body = '{"key": "big", "value": %s}' % (value % number)
    answer = client.generic("POST", SETTINGS, body, content_type="application/json")
    assert answer.status_code == 422 and list(answer.json()["fields"]) == ["value"]
    assert not rows()
    assert client.get(SETTINGS).status_code == client.get(CMS).status_code == 200


@pytest.mark.parametrize("number", [9.2e18, -9.2e18, 2**63 - 1, -(2**63), 2**64 - 1, 1e-300, 0.1])
def test_a_number_that_is_kept_comes_back(client, number):
    assert client.post(SETTINGS, {"key": "big", "value": [number]}, format="json").status_code == 200
    found = {entry["key"]: entry for entry in client.get(SETTINGS).json()}
    assert found["big"]["value"] == [number]


def test_unknown_parameters_are_refused(client):
    for path in (SETTINGS, f"{SETTINGS}/app", CMS, f"{CMS}/site_name"):
        assert client.get(f"{path}?x=1").status_code == 400


def test_the_other_surface_has_the_same_store_as_text(client, size):
    client.post(SETTINGS, {"key": "feature", "value": True, "category": "shop"})
    client.post(SETTINGS, {"key": "object", "value": {"a": [1]}})
    answer = client.get(CMS).json()
    assert answer["success"] is True and answer["message"] == "CMS settings retrieved successfully"
    found = {entry["setting_key"]: entry for entry in answer["data"]}
    assert found["feature"]["setting_value"] == "true" and found["feature"]["setting_type"] == "boolean"
    assert found["object"]["setting_value"] == '{"a":[1]}' and found["size"]["setting_value"] == "10"
    assert {
        "setting_key",
        "setting_value",
        "setting_type",
        "description",
        "category",
        "updated_at",
        "updated_by",
    } <= set(found["size"])
    of_shop = client.get(f"{CMS}/category/shop").json()["data"]
    assert [entry["setting_key"] for entry in of_shop] == ["feature", "size"]


@pytest.mark.parametrize(
    ("key", "body", "value"),
    [
        ("site_name", {"value": "New Site Name", "type": "string"}, "New Site Name"),
        ("site_name", {"value": "a<script>x</script>b"}, "ab"),
        ("registration_mode", {"value": "INVITE_ONLY", "type": "string"}, "INVITE_ONLY"),
        ("allow_registration", {"value": "false", "type": "boolean"}, False),
        ("allow_registration", {"value": False}, False),
        ("size", {"value": "25"}, 25),
        ("size", {"value": 25, "type": "integer"}, 25),
        ("custom", {"value": "10"}, "10"),
        ("custom", {"value": "10", "type": "number"}, 10),
        ("custom", {"value": '{"a": 1}', "type": "json"}, {"a": 1}),
        ("custom", {"value": "true", "type": "boolean"}, True),
    ],
)
def test_a_text_becomes_what_its_type_says(client, size, key, body, value):
    answer = client.put(f"{CMS}/{key}", body)
    assert answer.status_code == 200 and answer.json()["message"] == "Setting updated successfully"
    [stored] = rows()
    assert (stored["key"], stored["value"]) == (key, value)
    assert client.get(f"{CMS}/{key}").json()["data"] == answer.json()["data"]
    kept = client.put(f"{CMS}/{key}", {"value": answer.json()["data"]["setting_value"]})
    assert kept.json()["data"]["setting_type"] == answer.json()["data"]["setting_type"]
    assert rows()[0]["value"] == value


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("site_name", {}),
        ("site_name", {"value": 5}),
        ("site_name", {"value": "x", "type": "boolean"}),
        ("size", {"value": "many"}),
        ("size", {"value": "1.5"}),
        ("size", {"value": "\ud800"}),
        ("allow_registration", {"value": "perhaps"}),
        ("registration_mode", {"value": "open"}),
        ("custom", {"value": "{", "type": "json"}),
        ("custom", {"value": "x", "type": "text"}),
        ("custom", {"value": "x", "key": "other"}),
        ("1bad", {"value": "x"}),
    ],
)  # fmt: skip
def test_a_bad_text_is_422(client, size, key, body):
    if body.get("value") == "\ud800":
        answer = client.generic("PUT", f"{CMS}/{key}", b'{"value": "\\ud800"}', content_type="application/json")
        assert answer.status_code == 400
    else:
        answer = client.put(f"{CMS}/{key}", body)
        assert answer.status_code == 422, answer.json()
    assert answer.json()["success"] is False and answer.json()["errors"] and not rows()


def test_an_unknown_key_is_404(client):
    answer = client.get(f"{CMS}/no_such_key")
    assert answer.status_code == 404 and answer.json()["message"] == "Setting not found"


@pytest.mark.usefixtures("committed_db")
def test_a_key_set_by_many_at_once_is_there_once(make_user, as_user):

    chief = as_user(make_user("chief", role="admin"))

    def set_it(number: int) -> Any:
        try:
            return chief.post(SETTINGS, {"key": "contested", "value": number})
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(set_it, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert CmsSetting.objects.count() == 1


@pytest.mark.parametrize("access", ["read", "write", "limited"])
def test_an_api_key_changes_settings_only_if_it_may_write_anything(access, admin, client):
    wanted = {"name": "k", "access": "read" if access == "read" else "write"}
    if access == "limited":
        wanted["collections"] = ["records"]
    made = client.post("/api/v1/auth/api-keys", wanted, format="json")
    assert made.status_code == 201, made.content
    program = APIClient(headers={"X-API-Key": made.json()["key"]})
    answers = [
        program.post(SETTINGS, {"key": "x", "value": 1}),
        program.patch(SETTINGS, {"x": 1}),
        program.put(f"{CMS}/x", {"value": "1"}),
        program.delete(f"{SETTINGS}/x"),
    ]
    assert {answer.status_code for answer in answers} == ({200} if access == "write" else {403})
    assert not rows()
    assert program.get(SETTINGS).status_code == (403 if access == "limited" else 200)


@pytest.mark.parametrize(
    "raw", ["NaN", "Infinity", "-Infinity", '"\\u0000"', '"\\ud800"', '{"a": "x\\u0000"}', "1e999"]
)
def test_what_is_no_json_is_refused(client, raw):
    for method, path, body in (
        ("POST", SETTINGS, f'{{"key": "x", "value": {raw}}}'),
        ("PATCH", SETTINGS, f'{{"x": {raw}}}'),
        ("PUT", f"{CMS}/x", f'{{"value": {raw}}}'),
    ):
        answer = client.generic(method, path, body, content_type="application/json")
        assert answer.status_code in (400, 422), (method, answer.content)
    for text in ("NaN", "Infinity", "1e999"):
        assert client.put(f"{CMS}/x", {"value": text, "type": "number"}).status_code == 422
    assert not rows()


@pytest.mark.parametrize("key", ["ключ", "clé", "a\u0301", "ａ", "a b", "a\nb", "a/b", "_a", "x" * 101, "a;--", "١"])
def test_a_key_is_plain_letters_digits_and_dashes(client, key):
    assert client.post(SETTINGS, {"key": key, "value": 1}).status_code == 422
    assert client.patch(SETTINGS, {key: 1}).status_code == 422
    if "/" not in key:
        assert client.put(f"{CMS}/{quote(key)}", {"value": "1"}).status_code == 422
    assert not rows()


def test_several_settings_are_set_together_or_none(client, admin, size):
    answer = client.patch(SETTINGS, {"size": 5, "site_name": "Shop", "mine": [1]})
    assert answer.status_code == 200
    assert [(entry["key"], entry["value"]) for entry in answer.json()] == [
        ("mine", [1]), ("site_name", "Shop"), ("size", 5),
    ]  # fmt: skip
    assert {entry["updated_by"] for entry in answer.json()} == {str(admin.pk)}
    before = rows()
    answer = client.patch(SETTINGS, {"size": "many", "site_name": "Other", "1x": 1, "enable_search": 1})
    assert answer.status_code == 422 and sorted(answer.json()["fields"]) == ["1x", "enable_search", "size"]
    for nothing in ({}, [], [{"size": 1}], "x", {f"k{n}": n for n in range(101)}):
        assert client.patch(SETTINGS, nothing, format="json").status_code in (400, 422), nothing
    assert rows() == before


def test_anybody_reads_what_is_public_and_nothing_else(client, anonymous, member, as_user):
    client.post(SETTINGS, {"key": "default_categories", "value": "a,b"})
    for name, value, message in (
        ("site-name", values.get("site_name"), "Site name retrieved successfully"),
        ("site-description", "", "Site description retrieved successfully"),
        ("default-categories", "a,b", "Default categories retrieved successfully"),
        ("enable-search", "true", "Enable search setting retrieved successfully"),
    ):
        for caller in (anonymous, as_user(member)):
            answer = caller.get(f"/api/cms/public/{name}").json()
            assert answer["success"] is True and answer["message"] == message
            assert answer["data"]["setting_value"] == value and "updated_by" not in answer["data"]
    for name in ("app-name", "smtp-host", "smtp-password", "site_name", "nothing", "maintenance-mode", "x%00"):
        answer = anonymous.get(f"/api/cms/public/{name}")
        assert answer.status_code == 404 and answer.json()["message"] == "Setting not found"
    client.post(SETTINGS, {"key": "open_secret", "value": 1, "category": "public"})
    assert anonymous.get("/api/cms/public/open-secret").status_code == 404


def test_a_value_has_to_be_sent(client):
    for body in ({}, {"value": None}, {"type": "string"}):
        answer = client.put(f"{CMS}/site_name", body)
        assert answer.status_code == 422 and answer.json()["errors"] == ["Setting value is required"]
    for value, kept in (("", ""), (False, False), (0, 0)):
        answer = client.put(f"{CMS}/mine", {"value": value, "type": registry.type_of(value)})
        assert answer.status_code == 200 and rows()[0]["value"] == kept


@pytest.mark.usefixtures("committed_db")
def test_two_who_set_several_in_another_order_both_get_there(make_user, as_user):
    chief = as_user(make_user("chief", role="admin"))
    keys = [f"key{number}" for number in range(10)]

    def set_them(order: list[str]) -> Any:
        try:
            return chief.patch(SETTINGS, dict.fromkeys(order, order[0]))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(set_them, [keys, keys[::-1]] * 4))
    assert {answer.status_code for answer in answers} == {200}
    assert len({row["value"] for row in rows()}) == 1 and len(rows()) == 10
