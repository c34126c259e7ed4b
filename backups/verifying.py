"""Whether a backup may be restored here: all that can be known of it before anything is touched.

First what the archive says of itself (names, sizes, how many, which engine, which migrations), without
reading a member. Then :func:`extract` writes the members to a folder of their own and compares each with
its checksum. Then :func:`check_database` looks at the database that came out.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import stat
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from backups import archive
from backups.archive import Archive, BadArchive

MAX_MEMBERS = 5_000_000
MAX_DEPTH, MAX_NAME = 8, 255  # folders under files/, and bytes of each name
# Databases with much that is empty are packed a hundredfold; deflate can do a thousandfold, which no data is.
MAX_RATIO, SMALL = 500, 64 * 1024 * 1024
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED, _PATCHED = 0x1, 0x20  # flags of members that we never write
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SQLITE = b"SQLite format 3\0"
_TRIGGER = re.compile(r"fts_[a-z0-9]+_(insert|update|delete)")  # those of search indexes, and no others


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive has, by what it says: the database, and files by their members ``files/…``."""

    database: Member
    files: tuple[Member, ...]
    metadata: Mapping[str, Any]

    @property
    def members(self) -> tuple[Member, ...]:
        return (self.database, *self.files)

    @property
    def size(self) -> int:
        return sum(member.size for member in self.members)


def contents(found: Archive, packed: int) -> Contents:
    """What the archive of ``packed`` bytes has, if all it says is in order; BadArchive where it is not."""
    _check_entries(found.members, packed)
    return described(found.metadata, {info.filename: info.file_size for info in found.members if not info.is_dir()})


def described(metadata: Mapping[str, Any], sizes: Mapping[str, int]) -> Contents:
    """What the metadata says, which has to be what is there; BadArchive where it is not, or not for us."""
    if metadata.get("version") != archive.VERSION:
        raise BadArchive("The archive has a form that this version does not know; a newer one may have written it.")
    engine = metadata.get("engine")
    if not isinstance(engine, str) or engine not in archive.DATABASES:
        raise BadArchive(f"The archive does not say which engine its database is of: {str(engine)[:40]!r}.")
    if engine != connection.vendor:
        raise BadArchive(
            f"The backup is of {engine}, and this installation runs on {connection.vendor}. Take the data over by "
            "export_records and import_records, or restore it where the engine is the same."
        )
    _check_migrations(metadata.get("migrations"))
    listed = metadata.get("files")
    if not isinstance(listed, dict):
        raise BadArchive("The archive does not say what is in it.")
    members = {name: _member(name, told) for name, told in listed.items()}
    present = {name: size for name, size in sizes.items() if name != archive.METADATA}
    for name in [*members, *present]:
        if members.get(name) is None or members[name].size != present.get(name):
            raise BadArchive(f"What the archive says is in it and what is there differ: {name[:100]!r}.")
    database = members.pop(archive.DATABASES[engine], None)
    if database is None:
        raise BadArchive(f"The archive has no {archive.DATABASES[engine]}.")
    folders: set[str] = set()
    for name in members:
        _check_path(name)
        folders.update(name[:at] for at, letter in enumerate(name) if letter == "/")
    for name in members:
        if name in folders:
            raise BadArchive(f"The archive has a file and a folder called {name[:100]!r}.")
    return Contents(database, tuple(members.values()), metadata)


def extract(found: Archive, wanted: Iterable[Member], folder: Path) -> None:
    """Write members under the folder, each compared with its checksum; BadArchive where one is another."""
    for member in wanted:
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            for piece in compared(found.pieces(member.name), member):
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())


def compared(pieces: Iterable[bytes], member: Member) -> Iterator[bytes]:
    """The pieces as they come; BadArchive before there is more than the member has, or if they are others."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > member.size:
            raise BadArchive(f"{member.name[:100]!r} is longer than the archive says.")
        digest.update(piece)
        yield piece
    if size != member.size or digest.hexdigest() != member.sha256:
        raise BadArchive(f"{member.name[:100]!r} is not what was backed up: its checksum differs.")


def check_extracted(folder: Path, found: Contents) -> None:
    """The same for what was extracted a while ago; BadArchive where it has changed since, or is gone."""
    for member in found.members:
        try:
            with (folder / member.name).open("rb") as file:
                for _ in compared(iter(lambda file=file: file.read(archive.PIECE), b""), member):  # type: ignore[misc]
                    pass
        except FileNotFoundError as fault:
            raise BadArchive(f"{member.name[:100]!r} is gone from {folder}.") from fault


def check_database(path: Path) -> None:
    """An SQLite database that is whole, and has nothing in it that runs but what we put there.

    It is opened read-only, as bytes that nobody changes, and by the rules for databases of strangers
    (https://www.sqlite.org/security.html#untrusted_sqlite_database_files).
    """
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise BadArchive("Its database is no SQLite database.")
    try:
        with closing(_opened(path)) as raw:
            problems = [str(row[0]) for row in raw.execute("PRAGMA integrity_check(5)")]
            if problems != ["ok"]:
                raise BadArchive(f"Its database is damaged: {'; '.join(problems)[:300]}")
            if raw.execute("PRAGMA encoding").fetchone()[0] != "UTF-8":
                raise BadArchive("Its database is not in UTF-8, as ours are.")
            _check_schema(raw)
            applied: dict[str, list[str]] = {}
            for app, name in raw.execute("SELECT app, name FROM django_migrations ORDER BY id"):
                applied.setdefault(str(app), []).append(str(name))
    except sqlite3.Error as fault:
        raise BadArchive(f"Its database can't be read: {fault}.") from fault
    _check_migrations(applied)


def _opened(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    if sys.version_info >= (3, 12):
        raw.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    for pragma in ("trusted_schema = 0", "cell_size_check = 1", "mmap_size = 0", "query_only = 1"):
        raw.execute(f"PRAGMA {pragma}")
    return raw


def _check_schema(raw: sqlite3.Connection) -> None:
    for kind, name in raw.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view')"):
        if kind == "view" or not _TRIGGER.fullmatch(str(name)):
            raise BadArchive(f"Its database has a {kind} that is not ours: {str(name)[:100]!r}.")
    virtual = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%' AND sql NOT LIKE ?"
    foreign = raw.execute(virtual, ["%USING fts5(%"]).fetchone()
    if foreign is not None:
        raise BadArchive(f"Its database has a table that is not ours: {str(foreign[0])[:100]!r}.")


# --- what the zip says ---------------------------------------------------------------------------


def _check_entries(entries: list[zipfile.ZipInfo], packed: int) -> None:
    if len(entries) > MAX_MEMBERS:
        raise BadArchive(f"The archive has more than {MAX_MEMBERS:,} members.")
    seen: set[str] = set()
    for info in entries:
        name = info.filename
        if name in seen:
            raise BadArchive(f"The archive has two members called {name[:100]!r}.")
        seen.add(name)
        if "\0" in info.orig_filename or "\\" in name:
            raise BadArchive(f"The archive has a member with a name that is none: {info.orig_filename[:100]!r}.")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
            raise BadArchive(f"The archive has a member that is no file: {name[:100]!r}.")
        if info.compress_type not in _KINDS or info.flag_bits & (_ENCRYPTED | _PATCHED):
            raise BadArchive(f"The archive has a member that is packed in another way than ours: {name[:100]!r}.")
        if info.is_dir():
            if info.file_size or not f"{name}x".startswith(archive.FILES):
                raise BadArchive(f"The archive has a folder that is not ours: {name[:100]!r}.")
            _check_path(f"{name}x")
        elif info.file_size > SMALL and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise BadArchive(f"A member unpacks to more than {MAX_RATIO} times its size: {name[:100]!r}.")
    if sum(info.file_size for info in entries) > max(SMALL, MAX_RATIO * packed):
        raise BadArchive(f"The archive unpacks to more than {MAX_RATIO} times its size.")
    if sum(info.compress_size for info in entries) > packed:
        raise BadArchive("The members of the archive overlap.")


def _check_path(name: str) -> None:
    """Of a member that is a stored file: a path that leads nowhere but under ``files/``."""
    parts = name.split("/")
    if (
        parts[0] != archive.FILES.rstrip("/")
        or not 2 <= len(parts) <= MAX_DEPTH + 1
        or any(part in ("", ".", "..") or len(part.encode(errors="replace")) > MAX_NAME for part in parts)
        or parts[1].startswith(".")
        or not name.isprintable()
        or re.search(r'[\\:*?"<>|]', name)
    ):
        raise BadArchive(f"The archive has a member that belongs nowhere: {name[:100]!r}.")


def _member(name: str, told: Any) -> Member:
    size, digest = (told.get("size"), told.get("sha256")) if isinstance(told, dict) else (None, None)
    if type(size) is not int or size < 0 or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadArchive(f"The archive does not say what {name[:100]!r} is.")
    return Member(name, size, digest)


def _check_migrations(applied: Any) -> None:
    """Refuse what a newer version has made: we would not know what its tables mean."""
    if not isinstance(applied, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in applied.values()
    ):
        raise BadArchive("The archive does not say which migrations its database has.")
    loader = MigrationLoader(None)
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    known = {*loader.disk_migrations, *replaced}
    for app, names in applied.items():
        for name in names:
            if (app, name) not in known:
                raise BadArchive(
                    f"The backup was made by a newer version, or with other apps: this one does not know the "
                    f"migration {str(app)[:50]}.{str(name)[:80]}. Upgrade first, then restore."
                )
