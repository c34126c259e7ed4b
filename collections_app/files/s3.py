"""Files in S3, or in whatever speaks its protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import IO, Any

from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from collections_app.files.storage import AWAY
from core.errors import ServiceUnavailable
from core.parts import PIECE

logger = logging.getLogger(__name__)

_MISSING = ("404", "NoSuchKey", "NotFound")
# A bucket that does not answer must not hold up a thread for minutes.
_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})


class Storage(S3Storage):
    """django-storages' S3, and parts of objects without the whole."""

    def __init__(self, **given: Any) -> None:
        # Few servers but Amazon's have a host name for each bucket.
        style = Config(s3={"addressing_style": "path"}) if given.get("endpoint_url") else Config()
        super().__init__(client_config=_PATIENCE.merge(style), **given)

    def new(self, path: str, file: IO[bytes]) -> None:
        file.seek(0)
        with _answering():
            self.bucket.Object(path).upload_fileobj(_Kept(file), ExtraArgs={"ContentType": "application/octet-stream"})

    def pieces(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        wanted = {"Range": f"bytes={start}-{stop - 1}"} if stop > start else {}
        with _answering():
            try:
                found = self.bucket.Object(path).get(**wanted)
            except ClientError as fault:
                code = fault.response.get("Error", {}).get("Code")
                if code in _MISSING:
                    raise FileNotFoundError(path) from fault
                if code == "InvalidRange":  # it is shorter than that, or empty
                    return iter(())
                raise
        return _pieces(found["Body"]) if stop > start else iter(())

    def size(self, path: str) -> int:
        with _answering():
            return int(super().size(path))

    def walk(self) -> Iterator[tuple[str, datetime]]:
        with _answering():
            for found in self.bucket.objects.all():
                yield found.key, found.last_modified

    def tidy(self, before: datetime) -> None:
        with _answering():
            for begun in self.bucket.multipart_uploads.all():
                if begun.initiated < before:
                    begun.abort()

    def remove(self, path: str) -> None:
        with _answering():
            self.bucket.Object(path).delete()

    def remove_folder(self, path: str) -> None:
        with _answering():
            self.bucket.objects.filter(Prefix=f"{path}/").delete()


def _pieces(body: Any) -> Iterator[bytes]:
    """Closed with its iterator: who goes away early leaves no connection open."""
    with closing(body):
        yield from body.iter_chunks(PIECE)


@contextmanager
def _answering() -> Iterator[None]:
    """ServiceUnavailable where the bucket does not do as it is asked."""
    try:
        yield
    except (BotoCoreError, Boto3Error, ClientError) as fault:
        logger.warning("the storage of files: %s", fault)
        raise ServiceUnavailable(AWAY) from fault


class _Kept:
    """A file that stays open: boto3 closes what it has uploaded."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)
