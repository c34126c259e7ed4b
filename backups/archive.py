"""The archive of a backup: a zip, encrypted as a whole where there is a password.

    database.db | database.dump    the database: SQLite's file, or pg_dump's custom format
    files/ab/abc….png              the stored files, under their paths in the storage
    metadata.json                  what is in it, and what made it; written last

``metadata.json`` is ``{"version": 1, "app_version", "name", "created", "engine": "sqlite" | "postgresql",
"migrations": {app: [names]}, "with_files": bool, "missing": [paths], "folder": path,
"files": {member: {"size", "sha256"}}}``:
``files`` are all other members, sizes in bytes; ``missing`` are files that the database named and that the
storage had lost, whole or in part; ``folder`` is that of
``manage.py backup --to``. A backup without files has none of them, which is no loss.

Whatever the size of the members, pieces of them are all that is in memory; of each there stays a line.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self, cast

from django.conf import settings

from backups.sealing import BadArchive, Sealing, Unsealed, is_sealed

VERSION = 1
METADATA = "metadata.json"
DATABASES = {"sqlite": "database.db", "postgresql": "database.dump"}  # members by engine
FILES = "files/"
PIECE = 1024 * 1024
MAX_METADATA = 256 * 1024 * 1024  # bytes, of more than a million files
_LEVEL = 1  # of deflate: four times as quick as the usual one, for a tenth more
_PRIVATE = 0o100600 << 16
# What zipfile raises for bytes that are no zip, or one that was changed.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError,
    OverflowError,
)  # fmt: skip

__all__ = ["Archive", "BadArchive", "Writer", "reading"]


class Writer:
    """Writes an archive to an open file, inside ``with``: :meth:`add` each member, then :meth:`finish`."""

    def __init__(self, out: IO[bytes], password: str, moment: tuple[int, int, int, int, int, int]) -> None:
        self._sealing = Sealing(out, password) if password else None
        self._zip = zipfile.ZipFile(cast(IO[bytes], self._sealing or out), "w")
        self._moment = moment  # of all members, UTC
        self._members: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._zip.fp = None  # what is not finished is left as it is, and not written to when it is collected

    def add(self, name: str, pieces: Iterable[bytes], *, stored: bool) -> int:
        """A member; answers its size. ``stored`` leaves it as it is, which is right for what has been compressed."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(self._info(name, stored), "w", force_zip64=True) as member:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                member.write(piece)
        self._members[name] = {"size": size, "sha256": digest.hexdigest()}
        return size

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the metadata, of which ``about`` is all but the members, and what a zip ends with."""
        metadata = {"version": VERSION, **about, "files": self._members}
        self._zip.writestr(self._info(METADATA, stored=False), json.dumps(metadata, ensure_ascii=False, indent=1))
        self._zip.close()
        if self._sealing is not None:
            self._sealing.finish()

    def _info(self, name: str, stored: bool) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, self._moment)
        info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        info._compresslevel = _LEVEL  # type: ignore[attr-defined] # Python has no public name for it before 3.13
        info.external_attr = _PRIVATE
        return info


class Archive:
    """An archive that is open for reading. All its methods raise BadArchive for what can't be read."""

    def __init__(self, zipped: zipfile.ZipFile) -> None:
        self._zip = zipped
        self.metadata = self._metadata()

    @property
    def members(self) -> list[zipfile.ZipInfo]:
        """All members, the metadata too, as the zip lists them: with whatever names and sizes it says."""
        return self._zip.infolist()

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member's content; never more than the zip says that it has."""
        with _readable(), self._zip.open(name) as member:
            while piece := member.read(PIECE):
                yield piece

    def _metadata(self) -> dict[str, Any]:
        with _readable():
            info = self._zip.getinfo(METADATA)
            if info.file_size > MAX_METADATA:
                raise BadArchive(f"Its {METADATA} is too large.")
            found = json.loads(self._zip.read(info))
        if not isinstance(found, dict):
            raise BadArchive(f"Its {METADATA} is no object.")
        return found


@contextmanager
def reading(path: Path, password: str | None = None) -> Iterator[Archive]:
    """Open an archive of this machine; ``password`` is BACKUP_PASSWORD unless given. BadArchive where it is none."""
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if is_sealed(file):
            wanted = settings.BACKUP_PASSWORD if password is None else password
            unsealed = io.BufferedReader(Unsealed(file, wanted), PIECE)
            file = stack.enter_context(unsealed)
        with _readable():
            zipped = stack.enter_context(zipfile.ZipFile(file))
        yield Archive(zipped)


@contextmanager
def _readable() -> Iterator[None]:
    """Whatever a zip can be wrong in, said as what it is."""
    try:
        yield
    except KeyError as fault:
        raise BadArchive(f"It has no {METADATA}." if METADATA in str(fault) else str(fault)) from fault
    except _DAMAGE as fault:
        raise BadArchive(f"The archive is damaged, or is none: {fault}") from fault
    except OSError as fault:
        if fault.errno != errno.EINVAL:  # a place before the beginning
            raise
        raise BadArchive("The archive is damaged, or is none.") from fault
