"""HTML forms create and change records correctly, for every field type, in both encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from accounts.models import User
from collections_app.schema.definition import CollectionDef

RECORDS = "/api/v1/collections/things/records"
As = Callable[[User], APIClient]

# field → (what a form sends, what the record then holds)
VALUES: dict[str, tuple[Any, Any]] = {
    "body": ("<p>Hi</p><script>x</script>", "<p>Hi</p>"),
    "notes": ("# Hi\r\nthere", "# Hi\r\nthere"),
    "mail": ("a@example.com", "a@example.com"),
    "site": ("https://example.com/x?y=1", "https://example.com/x?y=1"),
    "slug": ("a-slug", "a-slug"),
    "price": ("9.5", 9.5),
    "stock": ("7", 7),
    "cost": ("19.9", "19.90"),
    "active": (["false", "true"], True),
    "state": ("used", "used"),
    "tags": (["", "a", "c, d"], ["a", "c, d"]),
    "day": ("2025-01-15", "2025-01-15T00:00:00Z"),
    "moment": ("2025-01-15T10:30", "2025-01-15T10:30:00Z"),
    "at": ("10:30", "10:30:00"),
    "meta": ('{"a": [1, null]}', {"a": [1, None]}),
    "place": ('{"lon": 13.4, "lat": 52.5}', {"lon": 13.4, "lat": 52.5}),
    "uid": ("6f1c1f5e-3c43-4b57-8a28-06ba2a2f3f3d", "6f1c1f5e-3c43-4b57-8a28-06ba2a2f3f3d"),
    "phone": ("+49 30 1234", "+49 30 1234"),
    "colour": ("#ff0000", "#ff0000"),
    "ip": ("::1", "::1"),
}
ENCODINGS = ["multipart", "application/x-www-form-urlencoded"]


def send(client: APIClient, method: str, url: str, data: dict[str, Any], encoding: str) -> Any:
    if encoding == "multipart":
        return getattr(client, method)(url, data, format="multipart")
    return getattr(client, method)(url, urlencode(data, doseq=True), content_type=encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("field", VALUES)
def test_a_form_creates_a_record_with_every_type(
    things: CollectionDef, anonymous: APIClient, field: str, encoding: str
) -> None:
    sent, stored = VALUES[field]
    answer = send(anonymous, "post", RECORDS, {"title": "x", field: sent}, encoding)
    assert answer.status_code == 201, answer.content
    assert answer.json()[field] == stored


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("field", VALUES)
def test_an_empty_box_empties_the_field(things: CollectionDef, anonymous: APIClient, field: str, encoding: str) -> None:
    sent, _ = VALUES[field]
    url = f"{RECORDS}/{send(anonymous, 'post', RECORDS, {'title': 'x', field: sent}, encoding).json()['id']}"
    empty = {"active": "false", "tags": [""]}.get(field, "")
    answer = send(anonymous, "put", url, {field: empty}, encoding)
    assert answer.status_code == 200, answer.content
    assert answer.json()[field] == {"active": False, "tags": []}.get(field)


def test_what_a_form_leaves_out_stays(things: CollectionDef, anonymous: APIClient) -> None:
    made = anonymous.post(RECORDS, {"title": "x", "tags": ["a"], "active": True, "price": 3}).json()
    answer = send(anonymous, "patch", f"{RECORDS}/{made['id']}", {"title": "y"}, "multipart")
    changed = answer.json()
    assert (changed["title"], changed["tags"], changed["active"], changed["price"]) == ("y", ["a"], True, 3)


@pytest.mark.parametrize("joint", ["\n", ", ", " ", "\r\n"])
def test_related_ids_may_stand_in_one_box(things: CollectionDef, anonymous: APIClient, joint: str) -> None:
    ids = [anonymous.post(RECORDS, {"title": str(n)}).json()["id"] for n in range(2)]
    answer = send(anonymous, "post", RECORDS, {"title": "x", "related": joint.join(ids)}, "multipart")
    assert answer.status_code == 201 and answer.json()["related"] == ids


def test_related_ids_may_be_repeated_or_json(things: CollectionDef, anonymous: APIClient) -> None:
    ids = [anonymous.post(RECORDS, {"title": str(n)}).json()["id"] for n in range(2)]
    for sent in (ids, f'["{ids[0]}", "{ids[1]}"]'):
        answer = send(anonymous, "post", RECORDS, {"title": "x", "related": sent}, "multipart")
        assert answer.status_code == 201 and answer.json()["related"] == ids


def test_modifiers_work_in_forms(things: CollectionDef, anonymous: APIClient) -> None:
    made = anonymous.post(RECORDS, {"title": "x", "stock": 5, "tags": ["a"]}).json()
    answer = send(anonymous, "patch", f"{RECORDS}/{made['id']}", {"stock+": "2", "tags+": "b"}, "multipart")
    assert answer.status_code == 200 and answer.json()["stock"] == 7 and answer.json()["tags"] == ["a", "b"]


def test_an_empty_password_box_keeps_the_password(make_collection: Any, admin: User, as_user: As) -> None:
    make_collection("people", type="auth", nick="text")
    client, url = as_user(admin), "/api/v1/collections/people/records"
    made = client.post(url, {"email": "eve@example.com", "password": "long-enough-words"}).json()
    answer = send(client, "put", f"{url}/{made['id']}", {"nick": "Eve", "password": ""}, "multipart")
    assert answer.status_code == 200 and answer.json()["nick"] == "Eve"


@pytest.mark.parametrize(
    ("form", "status", "field"),
    [
        ({"title": ""}, 422, "title"),
        ({"title": "x", "meta": "{"}, 422, "meta"),
        ({"title": "x", "price": "cheap"}, 422, "price"),
        ({"title": "x", "nope": "1"}, 422, "nope"),
        ({"title": ["x", "y"]}, 400, None),
        ({"title": "x", "related": "missing"}, 422, "related"),
    ],
)
def test_what_cannot_be_read_is_refused_by_field(
    things: CollectionDef, anonymous: APIClient, form: dict[str, Any], status: int, field: str | None
) -> None:
    answer = send(anonymous, "post", RECORDS, form, "multipart")
    assert answer.status_code == status
    assert list(answer.json()["fields"]) == ([field] if field else [])
    assert anonymous.get(RECORDS).json()["total"] == 0


def test_a_collection_by_form_is_closed_unless_a_rule_says_null(schema_db: None, admin: User, as_user: As) -> None:
    form = {
        "name": "posts",
        "type": "base",
        "schema": '[{"name": "title", "type": "text"}]',
        "list_rule": "null",
        "view_rule": "",
        "indexes": "[]",
        "options": "",
    }
    made = send(as_user(admin), "post", "/api/v1/collections", form, "multipart")
    assert made.status_code == 201, made.content
    assert made.json()["list_rule"] is None and "admin" in made.json()["view_rule"]
    changed = send(as_user(admin), "put", "/api/v1/collections/posts", {**form, "list_rule": ""}, "multipart")
    assert changed.status_code == 200 and changed.json()["list_rule"] is None


def test_bulk_and_batch_by_form(things: CollectionDef, admin: User, as_user: As) -> None:
    client = as_user(admin)
    batch = {"requests": '[{"method": "POST", "collection": "things", "data": {"title": "x"}}]'}
    made = send(client, "post", "/api/v1/batch", batch, "multipart")
    assert made.status_code == 200, made.content
    record_id = made.json()["results"][0]["record"]["id"]
    form = {"record_ids": f"{record_id}\nmissing", "data": '{"title": "y"}'}
    assert send(client, "post", f"{RECORDS}/bulk-update", form, "multipart").json()["success"] == 1
    assert client.get(f"{RECORDS}/{record_id}").json()["title"] == "y"
    gone = send(client, "post", f"{RECORDS}/bulk-delete", {"record_ids": record_id}, "multipart")
    assert gone.json() == {"success": 1, "failed": 0, "errors": None}


HOSTILE = [
    "\ufffd",
    "\u202e",
    "x" * 100_000,
    "[" * 5000,
    '{"a":' * 100 + "1" + "}" * 100,
    "NaN",
    "9" * 400,
    "-0",
    "1e999",
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_4xx_or_stored(things: CollectionDef, anonymous: APIClient, text: str, encoding: str) -> None:
    for field in (*VALUES, "related", "category", "pin", "photo", "stamp", "id", "stock+", "+tags", "price-"):
        answer = send(anonymous, "post", RECORDS, {"title": "x", field: text}, encoding)
        assert answer.status_code in (201, 400, 409, 422), (field, answer.content)


def test_a_file_where_a_text_belongs_is_422(
    things: CollectionDef, make_collection: Any, admin: User, as_user: As
) -> None:
    rule = "@request.body.title = 'x' && title ~ 'x'"
    make_collection("guarded", title="text", create_rule=rule, view_rule=None, list_rule=None)
    guarded = "/api/v1/collections/guarded/records"
    for url, field in [(RECORDS, name) for name in (*VALUES, "title", "related", "category")] + [(guarded, "title")]:
        form = {"title": "x", field: SimpleUploadedFile("a.txt", b"text")}
        answer = as_user(admin).post(url, form, format="multipart")
        assert answer.status_code == 422, (field, answer.content)
    stranger = APIClient().post(guarded, {"title": SimpleUploadedFile("a.txt", b"x")}, format="multipart")
    assert stranger.status_code in (401, 422)
    for path in ("/api/v1/collections", "/api/v1/batch", f"{RECORDS}/bulk-update"):
        form = {name: SimpleUploadedFile("a", b"[]") for name in ("name", "schema", "list_rule", "requests", "data")}
        assert as_user(admin).post(path, form, format="multipart").status_code == 422
