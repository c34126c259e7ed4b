"""Who may have a file: whoever may view its record and read its field. A refusal changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from accounts import tokens as sign_in_tokens
from accounts.principals import SYSTEM
from collections_app.files import removal, tokens
from collections_app.files.tests.conftest import picture, upload
from collections_app.models import FileUse, StoredFile
from collections_app.records import write
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import registry

pytestmark = pytest.mark.engine
RECORDS = "/api/v1/collections/posts/records"
OWNED = "owner = @request.auth.id"


@pytest.fixture
def state(stored: Callable[[], list[str]]) -> Callable[[], Any]:
    """All that a refusal must leave as it is."""
    return lambda: (stored(), list(StoredFile.objects.values()), list(FileUse.objects.values()))


@pytest.fixture
def post(make_collection: Any, as_user: Any, owner: Any) -> dict[str, Any]:
    """A record of ``owner``'s, with a picture that others may not see and a hidden paper."""
    make_collection(
        "posts",
        owner="text",
        photo={"type": "file", "file": {"thumbs": ["10x10"]}},
        paper={"type": "file", "hidden": True},
        view_rule=OWNED,
        list_rule=OWNED,
        create_rule="@request.auth.id != ''",
        update_rule=OWNED,
        delete_rule=OWNED,
    )
    given = {"owner": str(owner.pk), "photo": upload(picture()), "paper": upload(b"secret")}
    made = as_user(owner).post(RECORDS, given, format="multipart")
    assert made.status_code == 201 and "paper" not in made.json()
    found: dict[str, Any] = made.json()
    return found


def url(post: dict[str, Any], name: str = "") -> str:
    return f"/api/v1/files/posts/{post['id']}/{name or post['photo']}"


def test_only_those_who_may_view_the_record_get_its_files_and_thumbs(
    post: dict[str, Any], as_user: Any, owner: Any, member: Any, admin: Any, anonymous: Any, state: Any
) -> None:
    before = state()
    for client, expected in ((as_user(member), 404), (anonymous, 401)):
        for query in ("", "?thumb=10x10", "?download=1"):
            assert client.get(url(post) + query).status_code == expected
            assert client.head(url(post) + query).status_code == expected
    assert state() == before
    for client in (as_user(owner), as_user(admin)):
        got = client.get(url(post))
        assert got.status_code == 200 and got["Cache-Control"] == "private, no-cache"
    assert as_user(owner).get(url(post) + "?thumb=10x10").status_code == 200


def test_a_hidden_field_s_files_are_for_admins(post: dict[str, Any], as_user: Any, owner: Any, admin: Any) -> None:
    paper = as_user(admin).get(f"{RECORDS}/{post['id']}").json()["paper"]
    assert as_user(owner).get(url(post, paper)).status_code == 404
    assert as_user(admin).get(url(post, paper)).content == b"secret"


def test_who_may_not_write_stores_nothing(
    post: dict[str, Any], as_user: Any, member: Any, anonymous: Any, state: Any
) -> None:
    before = state()
    one = f"{RECORDS}/{post['id']}"
    assert anonymous.post(RECORDS, {"photo": upload(b"x")}, format="multipart").status_code == 401
    assert anonymous.patch(one, {"photo": upload(b"x")}, format="multipart").status_code == 401
    assert as_user(member).patch(one, {"photo": upload(b"x")}, format="multipart").status_code == 404
    assert as_user(member).patch(one, {"photo": None}, format="json").status_code == 404
    assert as_user(member).delete(one).status_code == 404
    removal.remove_due()
    assert state() == before


def test_a_body_that_is_refused_stores_nothing(post: dict[str, Any], as_user: Any, owner: Any, state: Any) -> None:
    client, before = as_user(owner), state()
    for body in (
        {"photo": upload(picture()), "no_such": "x"},
        {"photo": [upload(b"a"), upload(b"b")]},
        {"paper": upload(b"hidden fields are not the owner's to change")},
        {"photo": upload(b"x" * 6_000_000)},
        {"photo": upload(picture()), "photo-": "x"},
    ):
        answer = client.patch(f"{RECORDS}/{post['id']}", body, format="multipart")
        assert answer.status_code in (400, 422), answer.content
    assert state() == before


def test_nobody_takes_another_record_s_file_by_its_name(
    post: dict[str, Any], as_user: Any, owner: Any, member: Any, admin: Any, state: Any
) -> None:
    before = state()
    for client in (as_user(member), as_user(owner), as_user(admin)):
        stolen = client.post(RECORDS, {"owner": "x", "photo": post["photo"]}, format="json")
        assert stolen.status_code == 422 and "media library" in stolen.json()["fields"]["photo"][0]
        unknown = client.post(RECORDS, {"photo": "a" * 24 + ".png"}, format="json")
        assert unknown.status_code == 422
        assert (
            unknown.json()["fields"]["photo"][0].replace("a" * 24, post["photo"][:24])
            == stolen.json()["fields"]["photo"][0]
        )
    assert state() == before


def test_a_file_token_is_for_one_record_and_ends_with_the_password(
    post: dict[str, Any], as_user: Any, owner: Any, member: Any, anonymous: Any
) -> None:
    wanted = {"collection": "posts", "record_id": post["id"]}
    assert anonymous.post("/api/v1/files/token", wanted, format="json").status_code == 401
    assert as_user(member).post("/api/v1/files/token", wanted, format="json").status_code == 404
    made = as_user(owner).post("/api/v1/files/token", wanted, format="json")
    assert made.status_code == 200 and made.json()["expires_in"] == 300
    token = made.json()["token"]
    for _ in range(2):
        assert anonymous.get(f"{url(post)}?token={token}").status_code == 200
    other = as_user(owner).post(RECORDS, {"owner": str(owner.pk), "photo": upload(b"x")}, format="multipart").json()
    assert anonymous.get(f"{url(other)}?token={token}").status_code == 401
    assert anonymous.get(f"{RECORDS}/{post['id']}", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    for bad in (token[:-2], "x", sign_in_tokens.issue(owner).access):
        assert anonymous.get(f"{url(post)}?token={bad}").status_code == 401
    owner.set_password("another-battery-staple")
    owner.save()
    assert anonymous.get(f"{url(post)}?token={token}").status_code == 401


def test_a_file_token_ends_with_its_sign_in_and_its_time(
    post: dict[str, Any], as_user: Any, owner: Any, anonymous: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_user(owner)
    wanted = {"collection": "posts", "record_id": post["id"]}
    token = client.post("/api/v1/files/token", wanted, format="json").json()["token"]
    monkeypatch.setattr(tokens, "SECONDS", -1)
    assert anonymous.get(f"{url(post)}?token={token}").status_code == 401
    monkeypatch.undo()
    assert anonymous.get(f"{url(post)}?token={token}").status_code == 200
    assert client.post("/api/v1/auth/logout").status_code in (200, 204)
    assert anonymous.get(f"{url(post)}?token={token}").status_code == 401


def test_the_media_library_is_for_admins_and_its_files_for_many_records(
    post: dict[str, Any], as_user: Any, owner: Any, admin: Any, anonymous: Any, stored: Any, state: Any
) -> None:
    before = state()
    for client, status in ((anonymous, 401), (as_user(owner), 403)):
        assert client.post("/api/v1/files", {"file": upload(b"x")}, format="multipart").status_code == status
        assert client.get("/api/v1/files").status_code == status
        assert client.delete("/api/v1/files/x").status_code == status
    assert state() == before
    boss = as_user(admin)
    entry = boss.post("/api/v1/files", {"file": upload(picture(), "logo.png")}, format="multipart").json()
    assert entry["mime_type"] == "image/png" and entry["uses"] == 0 and (entry["width"], entry["height"]) == (40, 30)
    content = boss.get(f"/api/v1/files/{entry['id']}/content")
    assert content.status_code == 200 and content.content == picture()
    first, second = (
        as_user(owner).post(RECORDS, {"owner": str(owner.pk), "photo": entry["name"]}, format="json").json()
        for _ in range(2)
    )
    assert as_user(owner).get(url(first)).content == picture()
    assert boss.get("/api/v1/files?search=LOGO").json()["items"][0]["uses"] == 2
    assert boss.delete(f"/api/v1/files/{entry['id']}").status_code == 409
    for one in (first, second):
        assert as_user(owner).delete(f"{RECORDS}/{one['id']}").status_code == 204
    removal.remove_due()
    assert boss.get(f"/api/v1/files/{entry['id']}").json()["uses"] == 0
    assert boss.delete(f"/api/v1/files/{entry['id']}").status_code == 204
    removal.remove_due()
    assert state() == before


def test_the_library_is_searched_in_all_alphabets(as_user: Any, admin: Any, schema_db: Any) -> None:
    client = as_user(admin)
    for name in ("Äpfel.png", "ΣΊΣΥΦΟΣ.png", "100%_a.png", "other.png"):
        assert client.post("/api/v1/files", {"file": upload(picture(), name)}, format="multipart").status_code == 201
    for text, expected in (("äpfel", 1), ("σίσυφος", 1), ("%", 1), ("_", 1), ("PNG", 4), ("'", 0), ("", 4)):
        found = client.get("/api/v1/files", {"search": text, "per_page": 2}).json()
        assert found["total"] == expected and len(found["items"]) == min(expected, 2), text


def test_a_repeated_upload_with_its_key_is_stored_once(
    post: dict[str, Any], as_user: Any, owner: Any, stored: Any
) -> None:
    before = len(stored())
    answers = [
        as_user(owner).post(
            RECORDS,
            {"owner": str(owner.pk), "photo": upload(b"once")},
            format="multipart",
            headers={"Idempotency-Key": "k"},
        )
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json() and len(stored()) == before + 1
    other = as_user(owner).post(
        RECORDS,
        {"owner": str(owner.pk), "photo": upload(b"twice")},
        format="multipart",
        headers={"Idempotency-Key": "k"},
    )
    assert other.status_code == 422 and len(stored()) == before + 1


@pytest.mark.skipif(connection.vendor == "sqlite", reason="who writes is alone there")
def test_who_takes_an_entry_waits_for_nobody_who_takes_it_too(
    post: dict[str, Any], as_user: Any, admin: Any, owner: Any
) -> None:
    boss = as_user(admin)
    entry = boss.post("/api/v1/files", {"file": upload(picture(), "logo.png")}, format="multipart").json()
    has_taken, may_end = threading.Event(), threading.Event()
    snapshot = registry.latest()

    def take() -> None:
        try:
            with unit_of_work(snapshot, SYSTEM) as work:
                write.record_create(work, snapshot.get("posts"), {"photo": entry["name"]}, RuleEnv(principal=SYSTEM))
                has_taken.set()
                may_end.wait(60)
        finally:
            has_taken.set()
            connections.close_all()

    other = threading.Thread(target=take)
    other.start()
    try:
        assert has_taken.wait(60)
        taken = boss.post(RECORDS, {"photo": entry["name"]}, format="json")
        assert taken.status_code == 201, taken.content
    finally:
        may_end.set()
        other.join(60)
    assert boss.get(f"/api/v1/files/{entry['id']}").json()["uses"] == 2
