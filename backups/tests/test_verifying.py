"""What may not be restored is refused before anything is touched, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups import archive, verifying
from backups.archive import BadArchive
from backups.restoring import staging
from core.errors import DomainError

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="the archives here are of SQLite")

PICTURE = "files/ab/abcdef.png"
MIGRATIONS = [("collections_app", "0005_jobs"), ("accounts", "0001_initial")]


@pytest.fixture(scope="session")
def good_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "database.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT)")
        raw.execute("INSERT INTO django_migrations (app, name) VALUES ('collections_app', '0005_jobs')")
        raw.execute("CREATE TABLE ledger (amount INTEGER)")
        raw.executemany("INSERT INTO ledger VALUES (?)", [(n,) for n in range(2000)])
        raw.commit()
    return path.read_bytes()


class Draft:
    """An archive in the making, in which a test makes something wrong."""

    def __init__(self, database: bytes) -> None:
        self.members: list[tuple[zipfile.ZipInfo, bytes]] = []
        self.metadata: dict[str, Any] = {
            "version": 1, "app_version": "0.1.0", "name": "backup", "created": "2026-01-15T10:00:00Z",
            "engine": "sqlite", "migrations": {"collections_app": ["0005_jobs"]}, "files": {},
        }  # fmt: skip
        self.add("database.db", database)
        self.add(PICTURE, b"picture")

    def add(self, name: str, content: bytes, *, listed: bool = True, mode: int = stat.S_IFREG | 0o600) -> None:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = mode << 16
        self.members.append((info, content))
        if listed:
            digest = hashlib.sha256(content).hexdigest()
            self.metadata["files"][name] = {"size": len(content), "sha256": digest}

    def replace(self, name: str, content: bytes) -> None:
        self.members = [(info, content if info.filename == name else had) for info, had in self.members]
        self.metadata["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def write(self, path: Path) -> Path:
        with zipfile.ZipFile(path, "w") as out:
            for info, content in self.members:
                out.writestr(info, content)
            out.writestr("metadata.json", json.dumps(self.metadata))
        return path


def unpacked(path: Path, tmp_path: Path) -> verifying.Contents:
    folder = tmp_path / "own"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return staging.unpack(path, folder)


def test_a_good_one_is_unpacked_as_it_is(good_database: bytes, tmp_path: Path) -> None:
    found = unpacked(Draft(good_database).write(tmp_path / "a.zip"), tmp_path)
    assert [member.name for member in found.files] == [PICTURE]
    assert (tmp_path / "own" / "database" / "database.db").read_bytes() == good_database
    assert (tmp_path / "own" / "database" / PICTURE).read_bytes() == b"picture"


def _sql(*statements: str) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        with closing(sqlite3.connect(":memory:")) as raw:
            raw.deserialize(draft.members[0][1])
            for statement in statements:
                raw.execute(statement)
            raw.commit()
            draft.replace("database.db", raw.serialize())

    return change


def _add(name: str, **more: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.add(name, b"x", **more)


def _say(**what: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.metadata.update(what)


def _listed(**what: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.metadata["files"][PICTURE].update(what)


def _twice(draft: Draft) -> None:
    draft.add(PICTURE, b"picture")


def _backwards(draft: Draft) -> None:
    """A page of the database that is somewhere else."""
    whole = bytearray(draft.members[0][1])
    whole[8192:12288] = whole[12288:16384]
    draft.replace("database.db", bytes(whole))


WRONG: dict[str, tuple[Callable[[Draft], Any], str]] = {
    "absolute": (_add("/etc/passwd"), "belongs nowhere"),
    "out of the folder": (_add("files/../../app.db"), "belongs nowhere"),
    "out of the folder by a dot": (_add("files/./x"), "belongs nowhere"),
    "an empty part": (_add("files//x"), "belongs nowhere"),
    "backslash": (_add("files/..\\x"), "is none"),
    "drive": (_add("files/C:x"), "belongs nowhere"),
    "NUL": (_add("files/ab/x\0.png"), "is none|differ"),
    "hidden folder": (_add("files/.incoming/x"), "belongs nowhere"),
    "control character": (_add("files/ab/x\n"), "belongs nowhere"),
    "too deep": (_add("files/" + "a/" * 12 + "x"), "belongs nowhere"),
    "long name": (_add("files/" + "a" * 300), "belongs nowhere"),
    "a stranger at the top": (_add("secret_key"), "belongs nowhere"),
    "a second database": (_add("database.dump"), "belongs nowhere"),
    "unlisted": (_add("files/ab/more.png", listed=False), "differ"),
    "symbolic link": (_add("files/ab/link", mode=stat.S_IFLNK | 0o777), "no file"),
    "device": (_add("files/ab/null", mode=stat.S_IFCHR | 0o666), "no file"),
    "pipe": (_add("files/ab/pipe", mode=stat.S_IFIFO | 0o666), "no file"),
    "foreign folder": (_add("etc/", listed=False, mode=stat.S_IFDIR | 0o700), "folder"),
    "file and folder": (_add(f"{PICTURE}/x"), "a file and a folder"),
    "twice": (_twice, "two members"),
    "listed, not there": (lambda draft: draft.members.pop(), "differ"),
    "wrong checksum": (_listed(sha256="0" * 64), "checksum"),
    "wrong size": (_listed(size=8), "differ"),
    "no checksum": (_listed(sha256=None), "does not say"),
    "size that is none": (_listed(size=True), "does not say"),
    "no files": (_say(files=[]), "does not say"),
    "later form": (_say(version=2), "newer"),
    "no form": (_say(version=None), "newer"),
    "other engine": (_say(engine="postgresql"), "runs on sqlite"),
    "engine that is no text": (_say(engine=[]), "which engine"),
    "migration that is no text": (_say(migrations={"users": [["x"]]}), "which migrations"),
    "unknown engine": (_say(engine="oracle"), "which engine"),
    "newer version": (_say(migrations={"accounts": ["9999_future"]}), "newer version"),
    "app that is not here": (_say(migrations={"shop": ["0001_initial"]}), "newer version"),
    "no migrations": (_say(migrations=None), "which migrations"),
    "no database": (lambda draft: (draft.members.pop(0), draft.metadata["files"].pop("database.db")), "no database.db"),
    "no SQLite": (lambda draft: draft.replace("database.db", b"text" * 1000), "no SQLite"),
    "damaged": (_backwards, "damaged|can't be read"),
    "cut short": (lambda draft: draft.replace("database.db", draft.members[0][1][:9000]), "damaged|can't be read"),
    "newer inside": (_sql("INSERT INTO django_migrations (app, name) VALUES ('accounts', '9999_x')"), "newer version"),
    "no migrations inside": (_sql("DROP TABLE django_migrations"), "can't be read"),
    "view": (_sql("CREATE VIEW v AS SELECT 1"), "view"),
    "trigger": (_sql("CREATE TRIGGER t AFTER INSERT ON ledger BEGIN SELECT 1; END"), "trigger"),
    "virtual table": (_sql("CREATE VIRTUAL TABLE v USING fts4(x)"), "table that is not ours"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_in_words(what: str, good_database: bytes, tmp_path: Path) -> None:
    change, words = WRONG[what]
    draft = Draft(good_database)
    change(draft)
    path = draft.write(tmp_path / "a.zip")
    before = {one.name for one in tmp_path.iterdir()}
    with pytest.raises(BadArchive, match=words) as refused:
        unpacked(path, tmp_path)
    assert 400 <= refused.value.status < 500
    assert {one.name for one in tmp_path.iterdir()} == before | {"own"}, "nothing is written elsewhere"


def test_a_bomb_is_refused_by_what_it_says(
    good_database: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "SMALL", 100_000)
    draft = Draft(good_database)
    draft.add("files/ab/zeros", bytes(3_000_000))
    with pytest.raises(BadArchive, match="times its size"):
        unpacked(draft.write(tmp_path / "a.zip"), tmp_path)
    assert not list((tmp_path / "own" / "database").glob("*"))
    monkeypatch.setattr(verifying, "SMALL", 1_000_000)
    monkeypatch.setattr(verifying, "MAX_RATIO", 50)
    many = Draft(good_database)
    for n in range(8):
        many.add(f"files/ab/zeros{n}", bytes(900_000))
    with pytest.raises(BadArchive, match="The archive unpacks to more"):
        unpacked(many.write(tmp_path / "many.zip"), tmp_path)
    monkeypatch.setattr(verifying, "MAX_MEMBERS", 2)
    with pytest.raises(BadArchive, match="more than 2"):
        unpacked(Draft(good_database).write(tmp_path / "b.zip"), tmp_path)


def test_members_that_overlap_are_refused(good_database: bytes, tmp_path: Path) -> None:
    path = Draft(good_database).write(tmp_path / "a.zip")
    with archive.reading(path) as found, pytest.raises(BadArchive, match="overlap"):
        verifying.contents(found, 100)


def test_what_is_larger_than_the_disk_is_refused_before_it_is_read(
    good_database: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Draft(good_database).write(tmp_path / "a.zip")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DomainError, match="too little room") as refused:
        unpacked(path, tmp_path)
    assert refused.value.status == 507
    assert not list((tmp_path / "own").glob("*/*"))


def test_folders_that_a_packer_has_added_do_no_harm(good_database: bytes, tmp_path: Path) -> None:
    draft = Draft(good_database)
    for name in ("files/", "files/ab/"):
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFDIR | 0o700) << 16
        draft.members.append((info, b""))
    assert unpacked(draft.write(tmp_path / "a.zip"), tmp_path).files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, good_database: bytes) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("mutated")
    return folder, Draft(good_database).write(folder / "good.zip").read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bytes_an_archive_has_it_is_good_or_refused(whole: tuple[Path, bytes], data: Any) -> None:
    folder, good = whole
    changed = bytearray(good)
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "directory"]))
    if kind == "cut":
        del changed[data.draw(st.integers(0, len(good) - 1)) :]
    elif kind == "insert":
        at = data.draw(st.integers(0, len(good)))
        changed[at:at] = data.draw(st.binary(min_size=1, max_size=40))
    else:  # the directory at the end is where the zip says what it is
        first = len(good) - 400 if kind == "directory" else 0
        for _ in range(data.draw(st.integers(1, 8))):
            changed[data.draw(st.integers(first, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "changed.zip"
    path.write_bytes(changed)
    try:
        found = unpacked(path, folder)
    except BadArchive:
        found = None
    for member in found.members if found else ():
        content = (folder / "own" / "database" / member.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == member.sha256
    assert {one.name for one in folder.iterdir()} <= {"good.zip", "changed.zip", "own"}
