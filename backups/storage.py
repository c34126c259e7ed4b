"""Where archives are when they are finished: a folder under DATA_DIR, or a bucket of S3."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages

from backups import workshop
from collections_app.files.storage import Storage

# What an archive may be called; whatever else is in the folder is none.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,120}\.zip(\.enc)?")


def current() -> Storage:
    """The storage that ``STORAGES["backups"]`` names."""
    return cast(Storage, storages["backups"])


def folder() -> Path:
    """Where archives are made, on this machine."""
    path = Path(settings.BACKUP_DIR)
    path.mkdir(parents=True, exist_ok=True)
    return path


def names() -> dict[str, datetime]:
    """All archives, with the time when they were written."""
    store = _django()
    if not isinstance(store, FileSystemStorage):
        return {path: written for path, written in current().walk() if NAME.fullmatch(path)}
    found = {}
    for entry in os.scandir(folder()):  # not what is below: others work there
        if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):  # it went away while we looked
                found[entry.name] = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
    return found


def size(name: str) -> int | None:
    """How many bytes one has; None where there is no such archive."""
    try:
        return current().size(name)
    except FileNotFoundError:
        return None


def put(path: Path, name: str) -> None:
    """Keep a finished file, of the same disk where the storage is a folder, under a name; wholly or not at all."""
    store = _django()
    if isinstance(store, FileSystemStorage):
        workshop.place(path, Path(store.path(name)))
        return
    with path.open("rb") as file:
        current().new(name, file)
    path.unlink()


def location(name: str) -> str:
    """Where one is, for people: a path from the project's root where it is below, else the whole; or an S3 URL."""
    store = _django()
    if not isinstance(store, FileSystemStorage):
        return f"s3://{store.bucket_name}/{name}"
    path = Path(store.path(name))
    root = Path(settings.BASE_DIR)
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


@contextmanager
def fetched(name: str) -> Iterator[Path]:
    """An archive as a file of this machine, for as long as the caller is at it. FileNotFoundError where it is gone."""
    store = _django()
    if isinstance(store, FileSystemStorage):
        yield Path(store.path(name))
        return
    wanted = current().size(name)
    with workshop.folder(folder()) as own:
        workshop.check_room(own, wanted)
        path = own / name
        with path.open("wb") as file:
            for piece in current().pieces(name, 0, wanted):
                file.write(piece)
        yield path


def _django() -> Any:
    return storages["backups"]
