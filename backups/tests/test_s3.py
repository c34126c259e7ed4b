"""Backups to a bucket, and of files that are in one: a server that speaks S3 on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.management import call_command
from moto.server import ThreadedMotoServer

from backups import services, storage
from backups.models import Backup
from backups.tests.conftest import Shelf, opened
from collections_app.files import facts
from collections_app.files import storage as files
from collections_app.models import StoredFile
from core import clock, ids
from core.errors import ServiceUnavailable

pytestmark = pytest.mark.usefixtures("committed_db")

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
URL = "/api/v1/backups"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    for bucket in ("files", "backups"):
        boto3.client("s3", endpoint_url=url, **KEYS).create_bucket(Bucket=bucket)
    yield url
    server.stop()


def backend(endpoint: str, bucket: str) -> dict[str, Any]:
    options = {
        "bucket_name": bucket,
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "access_key": "key",
        "secret_key": "secret",
    }
    return {"BACKEND": "collections_app.files.s3.Storage", "OPTIONS": options}


@pytest.fixture
def bucket(endpoint: str, settings: Any, shelf: Shelf) -> Iterator[Any]:
    settings.STORAGES = {
        **settings.STORAGES,
        "default": backend(endpoint, "files"),
        "backups": backend(endpoint, "backups"),
    }
    found = storage._django().bucket
    yield found
    found.objects.all().delete()


def stored_file(content: bytes) -> str:
    name = facts.new_name("txt")
    files.current().new(facts.path_of(name), BytesIO(content))
    StoredFile.objects.create(
        id=ids.new_id(), name=name, original_name="a.txt", size=len(content), mime="text/plain", sha256="0" * 64,
        state=StoredFile.State.KEPT, created=clock.now(), since=clock.now(),
    )  # fmt: skip
    return name


def test_a_backup_goes_to_the_bucket_with_files_of_another(
    bucket: Any, shelf: Shelf, as_user: Any, admin: Any, tmp_path: Path
) -> None:
    name = stored_file(b"in a bucket" * 10_000)
    client = as_user(admin)
    made = client.post(URL).json()
    assert made["location"] == made["path"] == f"s3://backups/{made['filename']}"
    assert [one.key for one in bucket.objects.all()] == [made["filename"]] and shelf.names() == []
    whole = client.get(f"{URL}/{made['id']}/download").getvalue()
    assert len(whole) == made["size_bytes"]
    part = client.get(f"{URL}/{made['id']}/download", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.getvalue() == whole[100:200]
    with storage.fetched(made["filename"]) as path:
        found = opened(path, tmp_path / "database")
    assert found.files == {f"files/{facts.path_of(name)}"} and found.metadata["missing"] == []
    assert shelf.names() == []
    assert client.delete(f"{URL}/{made['id']}").json() == {"deleted": True}
    assert list(bucket.objects.all()) == []


def test_what_is_put_into_the_bucket_is_a_backup(bucket: Any, as_user: Any, admin: Any) -> None:
    made = services.create()
    bucket.Object("from-elsewhere.zip").copy_from(CopySource={"Bucket": "backups", "Key": made.filename})
    bucket.Object(made.filename).delete()
    listed = as_user(admin).get(URL).json()["items"]
    assert [one["filename"] for one in listed] == ["from-elsewhere.zip"]
    assert listed[0]["size_bytes"] == made.size_bytes and listed[0]["origin"] == "found"


def test_a_bucket_that_is_away_is_told_and_nothing_is_left(
    bucket: Any, shelf: Shelf, endpoint: str, settings: Any, as_user: Any, admin: Any
) -> None:
    client = as_user(admin)
    client.raise_request_exception = False
    made = services.create()
    here = settings.STORAGES
    settings.STORAGES = {**here, "backups": backend(endpoint, "no-such-bucket")}
    assert client.post(URL).status_code == 503 and client.get(URL).status_code == 503
    assert client.get(f"{URL}/{made.pk}/download").status_code == 503
    assert shelf.names() == [] and not Backup.objects.filter(status="running").exists()
    settings.STORAGES = {**here, "default": backend(endpoint, "no-such-bucket")}
    stored = StoredFile(id=ids.new_id(), name=facts.new_name("txt"), original_name="a", size=1, mime="text/plain")
    stored.sha256, stored.state, stored.created, stored.since = "0" * 64, "kept", clock.now(), clock.now()
    stored.save()
    with pytest.raises(ServiceUnavailable):
        services.create()
    assert shelf.names() == [] and [one.key for one in bucket.objects.all()] == [made.filename]


def test_the_command_keeps_some_there(bucket: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        call_command("backup", "--keep", "2")
    assert len(list(bucket.objects.all())) == 2 and "s3://backups/" in capsys.readouterr().out
