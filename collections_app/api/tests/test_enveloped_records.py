"""``/api/records``: the built-in collection in the words of that surface, over the operations of all records."""

from __future__ import annotations

from typing import Any

import pytest

from collections_app.models import Event
from settings_app import services

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]
BODY = {
    "title": "New Record",
    "description": "Record description",
    "content": "    code first\n\nMarkdown content here\n",
    "tags": ["tag1", "tag2"],
    "categories": ["category1"],
    "is_published": True,
}
KEYS = [
    "id", "title", "description", "content", "user_id", "public_name", "tags", "categories", "is_published",
    "created_at", "updated_at",
]  # fmt: skip
CANONICAL = "/api/v1/collections/records/records"


def data_of(answer: Any, message: str, status: int = 200) -> Any:
    body = answer.json()
    assert answer.status_code == status, body
    assert body["success"] is True and body["message"] == message
    return body["data"]


@pytest.fixture
def boss(admin, as_user):
    admin.public_name = "Author Name"
    admin.save()
    return as_user(admin)


@pytest.fixture
def write(boss):
    def written(title: str, **more: Any) -> str:
        answer = boss.post("/api/records", {**BODY, "title": title, **more})
        assert answer.status_code == 201, answer.json()
        return answer.json()["data"]["id"]

    return written


def titles(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.json()
    data = answer.json()["data"]
    return [record["title"] for record in (data["data"] if isinstance(data, dict) else data)]


def test_a_record_is_written_with_its_author_and_is_the_same_as_on_the_other_surface(boss, admin, anonymous):
    data = data_of(boss.post("/api/records", BODY), "Record created successfully", 201)
    assert list(data) == KEYS and {name: data[name] for name in BODY} == BODY
    assert data["user_id"] == str(admin.pk) and data["public_name"] == "Author Name"
    assert data_of(anonymous.get(f"/api/records/{data['id']}"), "Record retrieved successfully") == data
    assert data_of(anonymous.get("/api/records"), "Records retrieved successfully") == [data]
    assert anonymous.get(f"{CANONICAL}/{data['id']}").json()["content"] == BODY["content"]
    assert Event.objects.filter(record_id=data["id"]).count() == 1


def test_only_what_is_published_is_seen_by_others_than_admins(write, boss, member, as_user, anonymous):
    hidden, shown = write("Draft", is_published=False), write("Out")
    for client in (anonymous, as_user(member)):
        assert titles(client.get("/api/records")) == ["Out"]
        answer = client.get(f"/api/records/{hidden}")
        assert (answer.status_code, answer.json()["message"]) == (404, "Record not found")
        assert client.get(f"/api/records/{shown}").status_code == 200
    assert titles(boss.get("/api/records")) == ["Out", "Draft"]
    assert anonymous.get("/api/records/nope").status_code == 404


def test_only_admins_write_and_the_role_is_looked_at_first(write, member, as_user, anonymous):
    kept = write("Kept")
    before = Event.objects.count()
    for client, status, words in (
        (as_user(member), 403, "Admin access required"),
        (anonymous, 401, "Authentication required. Please log in."),
    ):
        for method, path in (
            ("post", ""),
            ("put", f"/{kept}"),
            ("put", "/nope"),
            ("delete", f"/{kept}"),
            ("delete", "/nope"),
        ):
            answer = getattr(client, method)(f"/api/records{path}", BODY)
            assert (answer.status_code, answer.json()["message"]) == (status, words)
    assert Event.objects.count() == before


def test_put_changes_what_is_given(write, boss):
    record = write("Old")
    data = data_of(boss.put(f"/api/records/{record}", {"title": "New", "tags": ["x"]}), "Record updated successfully")
    assert (data["title"], data["tags"], data["categories"], data["is_published"]) == (
        "New",
        ["x"],
        ["category1"],
        True,
    )
    assert boss.put("/api/records/nope", {"title": "x"}).status_code == 404
    answer = boss.get(f"/api/records/{record}")
    changed = boss.put(f"/api/records/{record}", {"title": "Newer"}, HTTP_IF_MATCH=answer["ETag"])
    assert changed.status_code == 200
    stale = boss.put(f"/api/records/{record}", {"title": "Lost"}, HTTP_IF_MATCH=answer["ETag"])
    assert stale.status_code == 412 and boss.get(f"/api/records/{record}").json()["data"]["title"] == "Newer"


def test_a_post_with_a_key_that_is_sent_again_makes_one_record(boss, anonymous):
    first, again = (boss.post("/api/records", BODY, HTTP_IDEMPOTENCY_KEY="k-1") for _ in range(2))
    assert first.status_code == again.status_code == 201 and again["Idempotency-Replayed"] == "true"
    assert first.json()["data"] == again.json()["data"] and len(titles(anonymous.get("/api/records"))) == 1
    assert boss.post("/api/records", {**BODY, "title": "Other"}, HTTP_IDEMPOTENCY_KEY="k-1").status_code == 422


def test_delete_answers_nothing(write, boss, anonymous):
    record = write("Gone")
    answer = boss.delete(f"/api/records/{record}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert anonymous.get(f"/api/records/{record}").status_code == 404
    again = boss.delete(f"/api/records/{record}")
    assert (again.status_code, again.json()["message"]) == (404, "Record not found")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, ["Title is required.", "Content is required."]),
        ({"title": "x" * 501, "content": "x"}, ["Ensure this field has no more than 500 characters."]),
        ({"title": "", "content": ""}, ["Title may not be blank.", "Content may not be blank."]),
        ({**BODY, "tags": "tag1"}, ['Expected a list of items but got type "str".']),
        ({**BODY, "tags": [1]}, ["Not a valid string."]),
        ({**BODY, "is_published": "perhaps"}, ["Must be a valid boolean."]),
        ({**BODY, "user_id": "somebody"}, ["Unknown field: user_id"]),
    ],
)
def test_what_is_no_record_is_told_in_sentences(body, errors, boss):
    before = Event.objects.count()
    answer = boss.post("/api/records", body)
    assert answer.status_code == 422 and answer.json()["message"] == "Validation failed"
    assert answer.json()["errors"] == errors
    assert Event.objects.count() == before


def test_elements_that_run_are_taken_out_and_nothing_else(boss):
    body = {
        **BODY,
        "content": "a<script>alert(1)</script>b <b onclick=x>c</b><iframe src=x></iframe>",
        "tags": ["<object>x</object>y"],
    }
    data = data_of(boss.post("/api/records", body), "Record created successfully", 201)
    assert data["content"] == "ab <b onclick=x>c</b>" and data["tags"] == ["y"]


class TestPages:
    @pytest.fixture(autouse=True)
    def shelf(self, write):
        for number in range(12):
            write(f"r{number:02}", tags=["odd"] if number % 2 else ["even", "Größe, x"], categories=[f"c{number % 3}"])
        write("plain", tags=[], categories=[])

    def test_come_with_any_parameter(self, boss, anonymous):
        data = data_of(anonymous.get("/api/records?page=2"), "Records retrieved successfully")
        assert data["pagination"] == {"page": 2, "size": 10, "total": 13, "total_pages": 2}
        assert [record["title"] for record in data["data"]] == ["r02", "r01", "r00"]
        assert len(titles(anonymous.get("/api/records?size=5"))) == 5
        services.put("pagination_size", 3, by="")
        assert anonymous.get("/api/records?page=1").json()["data"]["pagination"]["size"] == 3

    def test_are_bounded_by_the_settings(self, anonymous):
        for query in ("size=51", "size=0", "page=0", "page=x", "size=5&page=-1", f"page={10**12}"):
            answer = anonymous.get(f"/api/records?{query}")
            assert answer.status_code == 422 and "must be a whole number" in answer.json()["errors"][0]
        services.put("pagination_max_size", 4, by="")
        assert anonymous.get("/api/records?size=5").status_code == 422
        assert len(titles(anonymous.get("/api/records?page=1"))) == 4
        unknown = anonymous.get("/api/records?sort=title")
        assert (unknown.status_code, unknown.json()["message"]) == (400, "Invalid request data")

    def test_of_some_tags_and_categories(self, anonymous):
        assert titles(anonymous.get("/api/records?tags=odd&size=50"))[-1] == "r01"
        assert anonymous.get("/api/records?tags=odd").json()["data"]["pagination"]["total"] == 6
        assert anonymous.get("/api/records?tags=odd,even").json()["data"]["pagination"]["total"] == 12
        assert titles(anonymous.get("/api/records?tags=odd&categories=c0")) == ["r09", "r03"]
        assert titles(anonymous.get("/api/records?tags=od")) == titles(anonymous.get("/api/records?tags=ODD")) == []
        assert anonymous.get("/api/records", {"tags": "'; DROP TABLE records --", "search": "%"}).status_code == 200

    def test_of_a_search(self, anonymous):
        assert titles(anonymous.get("/api/records?search=R1")) == ["r11", "r10"]
        services.put("enable_search", False, by="")
        refused = anonymous.get("/api/records?search=r1")
        assert refused.status_code == 400 and refused.json()["errors"] == ["Search is turned off"]

    def test_show_no_list_that_is_hidden(self, anonymous, boss):
        collection = boss.get("/api/v1/collections/records").json()
        for field in collection["schema"]:
            field["hidden"] = field["name"] == "tags"
        assert boss.patch("/api/v1/collections/records", {"schema": collection["schema"]}).status_code == 200
        assert anonymous.get("/api/records").json()["data"][1]["tags"] == []
        for wanted in ("odd", "nothing"):
            assert anonymous.get(f"/api/records?tags={wanted}").status_code == 400
        assert len(titles(boss.get("/api/records?tags=odd"))) == 6


def test_a_key_for_another_collection_reaches_no_record(write, boss, admin, anonymous, make_collection):
    write("Out")
    make_collection("other")
    made = boss.post("/api/v1/auth/api-keys", {"name": "k", "collections": ["other"]})
    assert made.status_code == 201, made.json()
    answer = anonymous.get("/api/records", HTTP_X_API_KEY=made.json()["key"])
    assert answer.status_code in (401, 403)
