"""A picture's whole life, by HTTP."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from collections_app.files import removal
from collections_app.files.tests.conftest import picture, upload
from collections_app.models import FileUse, StoredFile

pytestmark = pytest.mark.engine
PHOTO = {"type": "file", "file": {"mime_types": ["image/*"], "max_size": 100_000, "thumbs": ["20x20", "0x10"]}}
PHOTOS = {"type": "file", "file": {"max_files": 3}}


def test_a_picture_is_stored_shown_made_smaller_replaced_and_removed(
    make_collection: Any, as_user: Any, admin: Any, anonymous: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("posts", title="text", photo=PHOTO, view_rule=None)
    client, records = as_user(admin), "/api/v1/collections/posts/records"
    first = picture()
    made = client.post(records, {"title": "One", "photo": upload(first)}, format="multipart")
    assert made.status_code == 201, made.content
    record, name = made.json(), made.json()["photo"]
    assert name.endswith(".png") and len(stored()) == 1

    url = f"/api/v1/files/posts/{record['id']}/{name}"
    got = anonymous.get(url, headers={"Accept": "image/avif,image/webp,*/*;q=0.8"})
    assert got.status_code == 200 and got.content == first
    assert got["Content-Type"] == "image/png" and got["X-Content-Type-Options"] == "nosniff"
    assert got["Content-Disposition"].startswith("inline; filename=") and "%C3%96l" in got["Content-Disposition"]
    assert "sandbox" in got["Content-Security-Policy"]

    part = anonymous.get(url, headers={"Range": "bytes=5-9"})
    assert part.status_code == 206 and part.content == first[5:10]
    assert part["Content-Range"] == f"bytes 5-9/{len(first)}"
    assert anonymous.get(url, headers={"If-None-Match": got["ETag"]}).status_code == 304

    thumb = anonymous.get(url + "?thumb=20x20")
    assert thumb.status_code == 200 and Image.open(BytesIO(thumb.content)).size == (20, 20)
    assert anonymous.get(url + "?thumb=21x21").status_code == 400
    assert len(stored()) == 2

    second = picture((50, 50), "JPEG")
    changed = client.patch(f"{records}/{record['id']}", {"photo": upload(second, "x.png")}, format="multipart")
    assert changed.status_code == 200 and changed.json()["photo"].endswith(".jpg")
    assert len(stored()) == 3  # the old ones go after the commit
    assert removal.remove_due() == 1 and len(stored()) == 1
    assert anonymous.get(url).status_code == 404

    kept = client.patch(f"{records}/{record['id']}", {"title": "Two"}, format="json")
    assert kept.json()["photo"] == changed.json()["photo"]
    assert client.delete(f"{records}/{record['id']}").status_code == 204
    removal.remove_due()
    assert not stored() and not StoredFile.objects.exists() and not FileUse.objects.exists()


def test_several_files_are_added_taken_out_and_cleared(
    make_collection: Any, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("albums", title="text", photos=PHOTOS)
    client, records = as_user(admin), "/api/v1/collections/albums/records"
    two = [upload(picture((9, 9))), upload(b"plain text", "notes.txt")]
    made = client.post(records, {"title": "A", "photos": two}, format="multipart").json()
    one = f"{records}/{made['id']}"
    assert [name.rpartition(".")[2] for name in made["photos"]] == ["png", "txt"]
    added = client.patch(one, {"photos+": upload(b"%PDF-1.7 x")}, format="multipart").json()
    assert added["photos"][:2] == made["photos"] and added["photos"][2].endswith(".pdf")
    too_many = client.patch(one, {"photos+": upload(b"more")}, format="multipart")
    assert too_many.status_code == 422 and too_many.json()["fields"] == {"photos": ["At most 3 files."]}
    assert len(stored()) == 3
    fewer = client.patch(one, {"photos-": added["photos"][0]}, format="json").json()
    assert fewer["photos"] == added["photos"][1:]
    mixed = client.patch(one, {"photos": [fewer["photos"][0], upload(b"new")]}, format="multipart").json()
    assert mixed["photos"][0] == fewer["photos"][0] and len(mixed["photos"]) == 2
    assert client.patch(one, {"photos": ""}, format="multipart").json()["photos"] == []
    removal.remove_due()
    assert not stored()


def test_a_collection_or_a_field_that_goes_takes_its_files_along(
    make_collection: Any, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("posts", photo=PHOTO, other=PHOTOS)
    client = as_user(admin)
    given = {"photo": upload(picture()), "other": [upload(b"a"), upload(b"b")]}
    assert client.post("/api/v1/collections/posts/records", given, format="multipart").status_code == 201
    schema = client.get("/api/v1/collections/posts").json()["schema"]
    rest = {"schema": [field for field in schema if field["name"] != "other"]}
    assert client.patch("/api/v1/collections/posts?allow_data_loss=true", rest, format="json").status_code == 200
    assert removal.remove_due() == 2 and len(stored()) == 1
    assert client.delete("/api/v1/collections/posts").status_code == 204
    assert removal.remove_due() == 1 and not stored()


def test_an_import_refuses_files_and_leaves_those_that_are_there(
    make_collection: Any, as_user: Any, admin: Any
) -> None:
    make_collection("posts", title={"type": "text", "validation": {"unique": True}}, photo=PHOTO)
    client, records = as_user(admin), "/api/v1/collections/posts/records"
    made = client.post(records, {"title": "A", "photo": upload(picture())}, format="multipart").json()
    rows = upload(f"title,photo\nB,{made['photo']}\n".encode(), "x.csv")
    refused = client.post(f"{records}/import/csv", {"file": rows}, format="multipart")
    assert refused.status_code == 422 and "Files can't be imported" in refused.json()["fields"]["photo"][0]
    assert client.get(records).json()["total"] == 1
    empty = upload(b"title,photo\nA,\n", "x.csv")
    assert client.post(f"{records}/import/csv?match=title", {"file": empty}, format="multipart").status_code == 201
    assert client.get(records).json()["items"][0]["photo"] == made["photo"]


def test_a_field_for_several_files_that_becomes_one_for_one_lets_go_of_them(
    make_collection: Any, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("albums", photos=PHOTOS)
    client, records = as_user(admin), "/api/v1/collections/albums/records"
    alone = client.post(records, {"photos": upload(b"a")}, format="multipart").json()
    both = client.post(records, {"photos": [upload(b"b"), upload(b"c")]}, format="multipart").json()
    schema = client.get("/api/v1/collections/albums").json()["schema"]
    single = {"schema": [{**schema[0], "file": {"max_files": 1}}]}
    assert client.patch("/api/v1/collections/albums", single, format="json").status_code == 409
    assert removal.remove_due() == 0
    assert client.patch("/api/v1/collections/albums?allow_data_loss=true", single, format="json").status_code == 200
    assert removal.remove_due() == 2 and len(stored()) == 1
    assert client.get(f"{records}/{alone['id']}").json()["photos"] == alone["photos"][0]
    assert client.get(f"{records}/{both['id']}").json()["photos"] is None


def test_accounts_of_auth_collections_have_pictures_too(
    make_collection: Any, as_user: Any, admin: Any, anonymous: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("people", type="auth", avatar=PHOTO)
    records = "/api/v1/collections/people/records"
    given = {"email": "ann@example.com", "password": "correct-horse-battery", "avatar": upload(picture())}
    made = as_user(admin).post(records, given, format="multipart")
    assert made.status_code == 201 and len(stored()) == 1
    sign_in = {"email": "ann@example.com", "password": "correct-horse-battery"}
    token = anonymous.post("/api/v1/collections/people/auth/login", sign_in, format="json").json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    url = f"/api/v1/files/people/{made.json()['id']}/{made.json()['avatar']}"
    assert anonymous.get(url).status_code == 401
    assert anonymous.get(url, headers=bearer).status_code == 200
    wanted = {"collection": "people", "record_id": made.json()["id"]}
    own = anonymous.post("/api/v1/files/token", wanted, format="json", headers=bearer).json()["token"]
    assert anonymous.get(f"{url}?token={own}&thumb=20x20").status_code == 200
    changed = anonymous.patch(
        f"{records}/{made.json()['id']}", {"avatar": upload(picture((9, 9)))}, format="multipart", headers=bearer
    )
    assert changed.status_code == 200
    assert removal.remove_due() == 1 and len(stored()) == 1


def test_bulk_and_batch_take_names_only_and_keep_step(
    make_collection: Any, as_user: Any, admin: Any, stored: Any
) -> None:
    make_collection("posts", title="text", photo=PHOTO)
    client, records = as_user(admin), "/api/v1/collections/posts/records"
    logo = client.post("/api/v1/files", {"file": upload(picture())}, format="multipart").json()
    one, two = (client.post(records, {"photo": upload(picture())}, format="multipart").json()["id"] for _ in range(2))
    bulk = {"record_ids": [one, two], "data": {"photo": logo["name"]}}
    assert client.post(f"{records}/bulk-update", bulk, format="json").json()["success"] == 2
    assert removal.remove_due() == 2 and len(stored()) == 1
    bad = {"requests": [
        {"method": "PATCH", "collection": "posts", "id": one, "data": {"photo": None}},
        {"method": "PATCH", "collection": "posts", "id": two, "data": {"photo": "x" * 24}},
    ]}  # fmt: skip
    assert client.post("/api/v1/batch", bad, format="json").status_code == 422
    assert FileUse.objects.count() == 2  # all of it was undone
    assert client.post(f"{records}/bulk-delete", {"record_ids": [one, two]}, format="json").json()["success"] == 2
    removal.remove_due()
    assert FileUse.objects.count() == 0 and len(stored()) == 1


def test_a_disk_that_is_full_or_does_not_let_go_is_503_and_what_is_gone_is_gone(
    make_collection: Any, as_user: Any, admin: Any, stored: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection("posts", photo=PHOTO)
    client, records = as_user(admin), "/api/v1/collections/posts/records"

    def full(*given: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("pathlib.Path.mkdir", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            for url, body in ((records, {"photo": upload(picture())}), ("/api/v1/files", {"file": upload(picture())})):
                refused = client.post(url, body, format="multipart")
                assert refused.status_code == 503 and refused["Retry-After"]
    with monkeypatch.context() as patch:  # where Django puts what is too large for memory
        patch.setattr("django.core.files.uploadhandler.TemporaryUploadedFile.__init__", full)
        large = {"photo": upload(picture() + b"x" * settings.FILE_UPLOAD_MAX_MEMORY_SIZE)}
        refused = client.post(records, large, format="multipart")
        assert refused.status_code == 503 and refused["Retry-After"]
    assert stored() == [] and not StoredFile.objects.exists()
    made = client.post(records, {"photo": upload(picture())}, format="multipart").json()
    assert client.get(f"/api/v1/files/posts/{made['id']}/{made['photo']}?thumb=20x20").status_code == 200
    client.delete(f"{records}/{made['id']}")
    kept, unlink = stored(), os.unlink

    def two_at_once(path: Any, *given: Any, **more: Any) -> None:
        unlink(path, *given, **more)
        unlink(path, *given, **more)  # which the other process has done meanwhile

    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", full)
        assert removal.remove_due() == 0 and stored() == kept
    with monkeypatch.context() as patch:
        patch.setattr("os.unlink", two_at_once)
        assert removal.remove_due() == 1 and stored() == [] and not StoredFile.objects.exists()


def test_the_forms_of_the_browsable_api_take_files(
    make_collection: Any, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    make_collection("posts", title="text", photo=PHOTO, papers=PHOTOS)
    client, records = as_user(admin), "/api/v1/collections/posts/records"
    page = client.get(records, headers={"Accept": "text/html"}).content.decode()
    assert 'type="file" name="photo">' in page and 'type="file" name="papers" multiple>' in page
    sent = {"title": "One", "photo": upload(picture()), "papers": [upload(b"1"), upload(b"2")]}
    made = client.post(records, sent, format="multipart", headers={"Accept": "text/html"})
    assert made.status_code == 201 and len(stored()) == 3
    record = client.get(records).json()["items"][0]
    page = client.get(f"{records}/{record['id']}", headers={"Accept": "text/html"}).content.decode()
    assert f"Now: {record['photo']}" in page and f"Now: {', '.join(record['papers'])}" in page
    empty = (  # as a browser sends a box that was left empty
        '--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nTwo\r\n'
        '--x\r\nContent-Disposition: form-data; name="photo"; filename=""\r\n'
        "Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
    )
    made = client.generic("POST", records, empty, content_type="multipart/form-data; boundary=x")
    assert made.status_code == 201 and made.json()["photo"] is None
    page = client.get("/api/v1/files", headers={"Accept": "text/html"}).content.decode()
    assert 'type="file" name="file">' in page
