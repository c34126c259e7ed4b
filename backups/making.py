"""An archive of the present instant, as a file in a folder of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db.models import Sum

from backups import archive, snapshots, workshop
from backups.archive import Writer
from backups.snapshots import Changed, Snapshot
from collections_app.files import facts, storage
from collections_app.models import StoredFile
from core import clock
from core.version import VERSION

ATTEMPTS = 3  # of a dump that a change of the schema comes into
# Types that deflate makes smaller; pictures, sounds, films and documents of today are packed already.
_LOOSE = ("text/", "application/json", "application/xml", "image/svg+xml", "image/bmp", "image/tiff", "audio/x-wav")


class Progress(Protocol):
    """Who follows the work; both raise what is to end it."""

    def reach(self, share: float) -> None:
        """How much is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Made:
    path: Path
    size: int
    moment: datetime
    missing: int


def files_size() -> int:
    """How many bytes the files have that records and the library have now."""
    return int(StoredFile.objects.filter(state=StoredFile.State.KEPT).aggregate(all=Sum("size"))["all"] or 0)


def make(folder: Path, name: str, *, with_files: bool, progress: Progress, to: Path | None = None) -> Made:
    """Archive the database and the stored files as they are now; ``name`` is what the backup calls itself.

    ``to`` is the folder that it is for, if that is not the storage of backups; the archive says so.

    The bytes of files must stay meanwhile. Raises ServiceUnavailable, NoRoom, and what ``progress`` does.
    """
    database = snapshots.size()
    files = files_size() if with_files else 0
    workshop.check_room(folder, snapshots.room() + files)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            made = _made(folder, name, with_files, to, _Bytes(progress, database, files))
            progress.reach(1)  # a dump is smaller than the database was thought to be
            return made
        except Changed:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError


class _Bytes:
    """Progress by bytes: the database's, which are copied and then written, and the files'."""

    def __init__(self, progress: Progress, database: int, files: int) -> None:
        self._progress = progress
        self._copied, self._written = 0, 0
        self._all = max(1, database * 2 + files)

    def copied(self, size: int) -> None:
        self._copied = size
        self._tell()

    def follow(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._written += len(piece)
            self._tell()
            yield piece

    def _tell(self) -> None:
        self._progress.reach(min(1.0, (self._copied + self._written) / self._all))


def _made(folder: Path, name: str, with_files: bool, to: Path | None, done: _Bytes) -> Made:
    path = folder / "archive"
    with (
        snapshots.taken(folder, done.copied) as snapshot,
        path.open("wb") as out,
        Writer(out, settings.BACKUP_PASSWORD, snapshot.moment.timetuple()[:6]) as writer,
    ):
        moment = snapshot.moment
        writer.add(archive.DATABASES[snapshot.engine], done.follow(snapshot.pieces()), stored=snapshot.is_packed)
        missing = _add_files(writer, snapshot, done) if with_files else []
        writer.finish(
            {
                "app_version": VERSION,
                "name": name,
                "created": clock.isoformat(moment),
                "engine": snapshot.engine,
                "migrations": snapshot.migrations,
                "with_files": with_files,
                "missing": missing,
                "folder": str(to.resolve()) if to else "",
            }
        )
    return Made(path, path.stat().st_size, moment, len(missing))


def _add_files(writer: Writer, snapshot: Snapshot, done: _Bytes) -> list[str]:
    """Archive the bytes of the files; answers which the storage has lost, whole or in part."""
    store, lost = storage.current(), []
    for name, size, mime in snapshot.files():
        path = facts.path_of(name)
        try:
            pieces = store.pieces(path, 0, size)
        except FileNotFoundError:
            lost.append(path)
            continue
        if writer.add(archive.FILES + path, done.follow(pieces), stored=not mime.startswith(_LOOSE)) != size:
            lost.append(path)
    return lost
