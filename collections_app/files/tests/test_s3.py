"""The same in a bucket: a server that speaks S3 on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import boto3
import pytest
from django.core.files.storage import default_storage
from moto.server import ThreadedMotoServer
from PIL import Image

from collections_app.files import removal, storage, sweeping
from collections_app.files.tests.conftest import picture, upload
from collections_app.models import StoredFile
from core.errors import ServiceUnavailable

BUCKET = "pictures"
KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, **KEYS).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture
def stored(endpoint: str, settings: Any) -> Iterator[Callable[[], list[str]]]:
    options = {
        "bucket_name": BUCKET,
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "access_key": "key",
        "secret_key": "secret",
    }
    backend = {"BACKEND": "collections_app.files.s3.Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    yield lambda: sorted(path for path, _ in storage.current().walk())
    default_storage.bucket.objects.all().delete()


@pytest.fixture
def photos(make_collection: Any) -> str:
    make_collection("photos", photo={"type": "file", "file": {"thumbs": ["20x20"], "max_size": 30_000_000}})
    return "/api/v1/collections/photos/records"


def test_a_picture_lives_and_goes_in_a_bucket(
    photos: str, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    client = as_user(admin)
    made = client.post(photos, {"photo": upload(picture())}, format="multipart").json()
    url = f"/api/v1/files/photos/{made['id']}/{made['photo']}"
    assert client.get(url).content == picture()
    assert client.get(url, headers={"Range": "bytes=3-7"}).content == picture()[3:8]
    assert Image.open(BytesIO(client.get(f"{url}?thumb=20x20").content)).size == (20, 20)
    assert len(stored()) == 2
    refused = client.patch(f"{photos}/{made['id']}", {"photo": upload(b"x"), "nothing": "1"}, format="multipart")
    assert refused.status_code == 422 and len(stored()) == 2
    assert client.delete(f"{photos}/{made['id']}").status_code == 204
    assert removal.remove_due() == 1 and stored() == []


def test_a_large_file_goes_up_in_parts_and_comes_back_in_pieces(
    photos: str, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    client, content = as_user(admin), bytes(range(256)) * 80_000
    made = client.post(photos, {"photo": upload(content)}, format="multipart").json()
    got = client.get(f"/api/v1/files/photos/{made['id']}/{made['photo']}")
    assert got.streaming and got.getvalue() == content


def test_what_the_bucket_has_lost_is_not_found_and_told_by_the_sweep(
    photos: str, as_user: Any, admin: Any, stored: Callable[[], list[str]]
) -> None:
    client = as_user(admin)
    made = client.post(photos, {"photo": upload(picture())}, format="multipart").json()
    default_storage.bucket.objects.all().delete()
    url = f"/api/v1/files/photos/{made['id']}/{made['photo']}"
    assert client.get(url).status_code == 404 and client.get(f"{url}?thumb=20x20").status_code == 404
    assert sweeping.sweep().without_bytes == [made["photo"]]


def test_a_bucket_that_is_away_keeps_nothing_and_loses_nothing(
    photos: str, as_user: Any, admin: Any, stored: Callable[[], list[str]], settings: Any
) -> None:
    client = as_user(admin)
    client.raise_request_exception = False
    made = client.post(photos, {"photo": upload(picture())}, format="multipart").json()
    away = {**settings.STORAGES["default"]["OPTIONS"], "bucket_name": "no-such-bucket"}
    here = settings.STORAGES
    settings.STORAGES = {**here, "default": {**here["default"], "OPTIONS": away}}
    assert client.post(photos, {"photo": upload(b"new")}, format="multipart").status_code == 503
    assert client.delete(f"{photos}/{made['id']}").status_code == 204
    with pytest.raises(ServiceUnavailable):
        removal.remove_due()
    settings.STORAGES = here
    assert removal.remove_due() == 2 and stored() == [] and not StoredFile.objects.exists()
