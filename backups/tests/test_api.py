"""Backups over the API: shapes, parts of downloads, uploads, and who may do nothing of it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from backups import archive, leasing, services
from backups.models import Backup
from backups.tests.conftest import Shelf
from core import clock

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]

URL = "/api/v1/backups"


@pytest.fixture
def client(as_user: Any, admin: Any) -> APIClient:
    return as_user(admin)


@pytest.fixture
def chief(as_user: Any, superadmin: Any) -> APIClient:
    return as_user(superadmin)


def test_a_backup_is_made_listed_read_and_deleted(client: APIClient, admin: Any, shelf: Shelf) -> None:
    answer = client.post(URL, {"note": "before the move"}, format="json")
    made = answer.json()
    assert answer.status_code == 200, made
    assert made["filename"].startswith("backup_") and made["filename"] == f"{made['name']}.zip"
    assert (made["status"], made["percent"], made["note"], made["created_by"]) == (
        "completed",
        100,
        "before the move",
        str(admin.pk),
    )
    assert made["size_bytes"] == shelf.path(made["filename"]).stat().st_size
    assert made["size_mb"] == round(made["size_bytes"] / 1024 / 1024, 2)
    assert made["path"] == made["location"] == str(shelf.path(made["filename"]))
    listed = client.get(URL).json()
    assert listed == {"items": [made], "total": 1, "limit": 50, "offset": 0}
    for which in (made["id"], made["filename"]):
        assert client.get(f"{URL}/{which}").json() == made
    assert client.delete(f"{URL}/{made['filename']}").json() == {"deleted": True}
    assert shelf.names() == [] and client.get(URL).json()["total"] == 0
    assert client.get(f"{URL}/{made['id']}").status_code == 404
    (gone,) = client.get(f"{URL}?deleted=true").json()["items"]
    assert gone["id"] == made["id"] and gone["deleted"] and gone["deleted_by"] == str(admin.pk)


def test_lists_go_by_limit_and_offset(client: APIClient) -> None:
    names = [services.create().filename for _ in range(3)]
    page = client.get(f"{URL}?limit=1&offset=1").json()
    assert [one["filename"] for one in page["items"]] == [names[1]] and page["total"] == 3
    assert len(set(names)) == 3
    for wrong in ("limit=0", "limit=101", "limit=x", "offset=-1"):
        assert client.get(f"{URL}?{wrong}").status_code == 422
    for method, query, status in (
        ("get", "page=1", 400),
        ("get", "background=true", 400),
        ("post", "limit=1", 400),
        ("put", "background=true", 405),
    ):
        assert getattr(client, method)(f"{URL}?{query}").status_code == status, (method, query)


def test_a_download_is_the_archive_and_can_be_taken_up_again(client: APIClient, shelf: Shelf) -> None:
    made = services.create()
    content = shelf.path(made.filename).read_bytes()
    url = f"{URL}/{made.pk}/download"
    whole = client.get(url)
    assert whole.status_code == 200 and whole.getvalue() == content
    assert whole["Content-Type"] == "application/zip" and whole["Accept-Ranges"] == "bytes"
    assert whole["Content-Disposition"] == f'attachment; filename="{made.filename}"'
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    rest = client.get(url, headers={"Range": "bytes=1000-", "If-Range": whole["ETag"]})
    assert rest.status_code == 206 and content[:1000] + rest.getvalue() == content
    assert rest["Content-Range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    other = client.get(url, headers={"Range": "bytes=1000-", "If-Range": '"another"'})
    assert other.status_code == 200 and other.getvalue() == content
    assert client.get(url, headers={"If-None-Match": whole["ETag"]}).status_code == 304
    beyond = client.get(url, headers={"Range": f"bytes={len(content)}-"})
    assert beyond.status_code == 416 and beyond["Content-Range"] == f"bytes */{len(content)}"
    assert client.head(url)["Content-Length"] == str(len(content))
    assert client.get(f"{url}?part=1").status_code == 400


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+23:59", "9999-12-31T00:00:00Z"])
def test_an_uploaded_archive_is_of_no_moment_that_can_not_be(
    chief: APIClient, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    made = services.create()
    real = services._verified
    monkeypatch.setattr(services, "_verified", lambda *given: {**real(*given), "created": told})
    content = shelf.path(made.filename).read_bytes()
    sent = chief.post(f"{URL}/upload", {"file": SimpleUploadedFile("odd.zip", content)}, format="multipart")
    assert sent.status_code == 201 and sent.json()["status"] == "completed"
    assert made.created < Backup.objects.get(filename="odd.zip").created <= clock.now()


def test_what_is_uploaded_is_checked_and_can_be_fetched_again(chief: APIClient, superadmin: Any, shelf: Shelf) -> None:
    made = services.create()
    content = shelf.path(made.filename).read_bytes()

    def send(name: str, sent: bytes) -> Any:
        return chief.post(f"{URL}/upload", {"file": SimpleUploadedFile(name, sent)}, format="multipart")

    taken = send("from-there.zip", content)
    assert taken.status_code == 201, taken.json()
    row = taken.json()
    assert (row["filename"], row["origin"], row["created_by"]) == ("from-there.zip", "upload", str(superadmin.pk))
    assert row["created"] == chief.get(f"{URL}/{made.pk}").json()["created"]
    assert shelf.path("from-there.zip").read_bytes() == content
    assert send("from-there.zip", content).json()["filename"] == "from-there_2.zip"
    assert send("../../evil.zip", content).json()["filename"] == "evil.zip"
    before = shelf.names()
    for broken in (b"", b"no zip", content[:-30], content.replace(b"database.d", b"datebase.d")):
        refused = send("broken.zip", broken)
        assert refused.status_code == 422, refused.json()
    assert chief.post(f"{URL}/upload", {"other": "1"}, format="multipart").status_code == 422
    assert chief.post(f"{URL}/upload", {}, format="json").status_code == 422
    assert shelf.names() == before and Backup.objects.count() == len(before)


def test_the_background_makes_what_was_asked_for(client: APIClient, shelf: Shelf) -> None:
    asked = client.post(f"{URL}?background=true")
    assert asked.status_code == 202 and asked.json()["status"] == "running"
    assert client.get(f"{URL}/{asked.json()['id']}").json()["percent"] == 0 and shelf.names() == []
    assert client.post(URL).status_code == 409 and client.post(f"{URL}?background=true").status_code == 409
    assert client.delete(f"{URL}/{asked.json()['id']}").status_code == 409
    assert client.get(f"{URL}/{asked.json()['id']}/download").status_code == 404
    services.make_waiting()
    made = client.get(f"{URL}/{asked.json()['id']}").json()
    assert (made["status"], made["percent"]) == ("completed", 100) and shelf.names() == [made["filename"]]


def test_one_at_a_time_is_said_in_words(client: APIClient, shelf: Shelf) -> None:
    running = services.request("me")
    leasing.begin(running)
    refused = client.post(URL)
    assert refused.status_code == 409 and "Another backup is being made since" in refused.json()["message"]
    assert Backup.objects.count() == 1 and shelf.names() == []


@pytest.mark.parametrize(
    "which", ["nothing", "..", ".making", "%2e%2e%2fapp.db", "..%2f..%2fsecret_key", "a%00b", "x" * 300, "backup.zip"]
)
def test_tricks_with_paths_are_404(client: APIClient, which: str, shelf: Shelf) -> None:
    (shelf.folder.parent / "secret_key").write_text("secret")
    for url in (f"{URL}/{which}", f"{URL}/{which}/download"):
        assert client.get(url).status_code == 404, url
    assert client.delete(f"{URL}/{which}").status_code == 404
    assert (shelf.folder.parent / "secret_key").exists()


def test_what_is_no_archive_in_the_folder_is_no_backup(client: APIClient, shelf: Shelf) -> None:
    for name in ("notes.txt", ".hidden.zip", "a b.zip", "restore.zip.tmp"):
        shelf.path(name).write_bytes(b"x")
    assert client.get(URL).json()["total"] == 0


def test_nobody_but_admins_learns_or_changes_anything(
    client: APIClient, as_user: Any, member: Any, anonymous: APIClient, shelf: Shelf
) -> None:
    made = services.create()
    asks = [("get", URL), ("post", URL), ("post", f"{URL}/upload")]
    for which in (made.pk, "nothing"):
        asks += [("get", f"{URL}/{which}"), ("get", f"{URL}/{which}/download"), ("delete", f"{URL}/{which}")]
    for caller, status in ((anonymous, 401), (as_user(member), 403)):
        for method, url in asks:
            assert getattr(caller, method)(url).status_code == status, (method, url)
    archive_of_ours = SimpleUploadedFile("mine.zip", shelf.path(made.filename).read_bytes())
    assert client.post(f"{URL}/upload", {"file": archive_of_ours}, format="multipart").status_code == 403
    assert shelf.names() == [made.filename] and Backup.objects.filter(deleted=None).count() == 1


def test_api_keys_make_and_list_but_never_fetch(admin: Any, as_user: Any, shelf: Shelf) -> None:
    def key(access: str) -> APIClient:
        made = as_user(admin).post("/api/v1/auth/api-keys", {"name": access, "access": access}, format="json")
        caller = APIClient()
        caller.credentials(HTTP_X_API_KEY=made.json()["key"])
        return caller

    writer, reader = key("write"), key("read")
    made = writer.post(URL)
    assert made.status_code == 200 and reader.get(URL).json()["total"] == 1
    assert reader.post(URL).status_code == 403 and reader.delete(f"{URL}/{made.json()['id']}").status_code == 403
    for caller in (writer, reader):
        assert caller.get(f"{URL}/{made.json()['id']}/download").status_code == 403
        assert caller.post(f"{URL}/upload").status_code == 403
    assert shelf.names() == [made.json()["filename"]]


def test_a_browser_sees_the_list(client: APIClient) -> None:
    services.create()
    page = client.get(URL, headers={"Accept": "text/html"})
    assert page.status_code == 200 and page["Content-Type"].startswith("text/html")


def test_the_document_has_them(client: APIClient) -> None:
    paths = client.get("/api/schema").json()["paths"]
    assert {f"{URL}", f"{URL}/upload", f"{URL}/{{backup_id}}", f"{URL}/{{backup_id}}/download"} <= paths.keys()
    assert {"200", "202"} <= paths[URL]["post"]["responses"].keys()


def test_an_encrypted_backup_is_called_so(client: APIClient, chief: APIClient, settings: Any, shelf: Shelf) -> None:
    settings.BACKUP_PASSWORD = "correct horse"
    made = client.post(URL).json()
    assert made["filename"] == f"{made['name']}.zip.enc" and made["encrypted"]
    fetched = client.get(f"{URL}/{made['id']}/download")
    assert fetched["Content-Type"] == "application/octet-stream"
    with archive.reading(shelf.path(made["filename"])) as found:
        assert found.metadata["name"] == made["name"]
    again = chief.post(f"{URL}/upload", {"file": SimpleUploadedFile("x.zip", fetched.getvalue())}, format="multipart")
    assert again.json()["filename"] == "x.zip.enc"
    settings.BACKUP_PASSWORD = "another"
    refused = chief.post(f"{URL}/upload", {"file": SimpleUploadedFile("y.zip", fetched.getvalue())}, format="multipart")
    assert refused.status_code == 422 and "BACKUP_PASSWORD" in refused.json()["message"]
