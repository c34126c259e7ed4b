"""After a restore there is the old state or the new one, whole, whoever died over it and whatever was wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from collections_app.tests.other_process import OtherProcess, other_process
from collections_app.tests.threads import STRESS

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HOUSE = "backups.tests.house"
ON_SQLITE = pytest.mark.skipif(connection.vendor != "sqlite", reason="about the files of SQLite")


class House:
    """An installation of its own, which can be put back to how it was built."""

    def __init__(self, folder: Path) -> None:
        self.data, self._template = folder / "data", folder / "template"
        self.data.mkdir()
        self.archive, self.then, self.now = "", {}, {}  # type: str, dict[str, Any], dict[str, Any]
        self._name = f"restored_{os.getpid()}"
        self.url = ""
        self._process: OtherProcess | None = None

    @contextmanager
    def built(self) -> Iterator[House]:
        config = connection.settings_dict
        if connection.vendor == "postgresql":
            self._sql(f"CREATE DATABASE {self._name}")
            login = f"{config['USER']}:{config['PASSWORD']}" if config["PASSWORD"] else config["USER"]
            self.url = f"postgres://{login}@{config['HOST']}:{config['PORT']}/{self._name}"
        try:
            with other_process(self.data, DATABASE_URL=self.url, ENV="development") as process:
                self._process = process
                told = self("build")
                self.archive, self.then, self.now = told["backup"], told["then"], told["now"]
                shutil.copytree(self.data, self._template)
                if self.url:
                    self._sql(f"CREATE DATABASE {self._name}_template TEMPLATE {self._name}")
                yield self
        finally:
            if self.url:
                for name in (self._name, f"{self._name}_template"):
                    self._sql(f"DROP DATABASE IF EXISTS {name} (FORCE)")

    def reset(self) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(self._template, self.data)
        if self.url:
            self._sql(f"DROP DATABASE {self._name} (FORCE)")
            self._sql(f"CREATE DATABASE {self._name} TEMPLATE {self._name}_template")

    def run(self, call: str, **arguments: Any) -> Any:
        assert self._process is not None
        return self._process.run(f"{HOUSE}.{call}", **arguments)

    def __call__(self, call: str, **arguments: Any) -> Any:
        told = self.run(call, **arguments)
        assert "answer" in told, told
        return told["answer"]

    def is_as(self, state: dict[str, Any], found: dict[str, Any]) -> bool:
        return all(found[key] == state[key] for key in state)

    def path(self, name: str) -> Path:
        return self.data / name

    def _sql(self, statement: str) -> None:
        config = connection.settings_dict
        with psycopg.connect(
            host=config["HOST"], port=config["PORT"], user=config["USER"], password=config["PASSWORD"] or None,
            dbname="postgres", autocommit=True,
        ) as raw:  # fmt: skip
            raw.execute(statement)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house")).built() as house:
        yield house


@pytest.fixture
def house(built: House) -> House:
    built.reset()
    return built


def sums_of_the_copy(house: House) -> list[int]:
    """The ledger in the safety copy."""
    with closing(sqlite3.connect(house.path("app.db.before_restore"))) as raw:
        table = raw.execute("SELECT id FROM collections WHERE name = 'ledger'").fetchone()[0]
        return sorted(row[0] for row in raw.execute(f"SELECT amount FROM c_{table}"))


def test_whoever_is_killed_leaves_the_old_state_or_the_new_one(house: House) -> None:
    whole = house("restore", archive=house.archive)
    found = house("start")
    assert house.is_as(house.then, found) and found["restores"] == 1
    commit, lines = whole["commit"], whole["lines"]
    points = {commit - 3, commit + 2} if STRESS == 1 else set()
    count = 1 if STRESS == 1 else max(20, STRESS)
    points |= {1 + lines * n // count for n in range(count)}
    for point in sorted(points):
        house.reset()
        assert house.run("restore", archive=house.archive, die_at=point).killed, point
        found = house("start")
        is_new = house.is_as(house.then, found)
        assert is_new or house.is_as(house.now, found), (point, found)
        assert found["restores"] == is_new and found["sign_ins"] == (not is_new), point
        assert is_new or point < commit, "what was committed is never undone"
        assert set(found["left"]) <= {".restoring", ".making", ".restore_failed"}, (point, found["left"])
        if is_new and connection.vendor == "sqlite":
            assert sums_of_the_copy(house) == house.now["amounts"], point
        assert house("start")["amounts"] == found["amounts"], "another start changes nothing"


def test_what_only_the_state_before_had_is_kept_aside(house: House) -> None:
    house("restore", archive=house.archive, now=False)
    assert house.is_as(house.now, house("state")), "staging changes nothing"
    found = house("start")
    assert house.is_as(house.then, found) and found["sign_ins"] == 0
    assert [Path(path).name for path in found["stored"]] == sorted(house.then["files"])
    kept = {path.name for path in house.path("files.before_restore").rglob("*") if path.is_file()}
    assert kept == set(house.now["files"]) - set(house.then["files"])
    if connection.vendor == "sqlite":
        assert sums_of_the_copy(house) == house.now["amounts"]


def test_one_at_once_that_is_interrupted_is_not_done_by_a_later_start(house: House) -> None:
    assert house.run("restore", archive=house.archive, die_in="_put_in_place").killed
    assert house.path("backups/restore_staging/.restore_pending").exists()
    found = house("start")
    assert house.is_as(house.now, found) and "died before it was done" in found["told"]
    assert "restore_staging" not in found["left"] and house("start")["told"] == ""
    house("restore", archive=house.archive, interrupt_in="_put_in_place")
    assert not house.path("backups/restore_staging").exists()
    assert house.is_as(house.now, house("start"))


@pytest.mark.parametrize("room", [2_000, 300_000])
def test_a_full_disk_changes_nothing(house: House, room: int) -> None:
    if connection.vendor == "postgresql" and room > 2_000:
        pytest.skip("the database is on the server's disk")
    told = house.run("restore", archive=house.archive, room=room)
    assert told.get("status") in (422, 503, 507), told
    found = house("start")
    assert house.is_as(house.now, found) and found["sign_ins"] == 1
    assert not [name for name in found["left"] if name not in (".restoring", ".making", ".restore_failed")]


def test_what_was_staged_and_is_damaged_by_now_is_not_restored(house: House) -> None:
    house("restore", archive=house.archive, now=False)
    database = next(house.path("backups/restore_staging").glob("database.*"))
    content = bytearray(database.read_bytes())
    content[len(content) // 2] ^= 1
    database.write_bytes(content)
    found = house("start")
    assert house.is_as(house.now, found) and "nothing was changed" in found["told"]
    assert house("start")["told"] == "", "it is not tried again"
    assert "checksum" in house.path("backups/.restore_failed").read_text()


@ON_SQLITE
def test_a_copy_by_hand_is_settled_and_never_meets_what_a_killed_server_has_left(house: House) -> None:
    assert house.run("leave_a_wal").killed
    assert house.path("app.db-wal").stat().st_size
    with zipfile.ZipFile(house.path("backups") / house.archive) as archive:
        house.path("app.db").write_bytes(archive.read("database.db"))
        for name in archive.namelist():
            if name.startswith("files/"):
                archive.extract(name, house.data)
    found = house("start")
    assert house.is_as(house.then, found)
    assert found["restores"] == 1 and found["sign_ins"] == 0
    assert house("start")["restores"] == 1, "once is enough"


@ON_SQLITE
def test_a_database_that_is_none_any_more_is_restored(house: House) -> None:
    house("restore", archive=house.archive, now=False)
    house.path("app.db").write_bytes(b"no database " * 1000)
    house.path("app.db-wal").unlink(missing_ok=True)
    found = house("start")
    assert house.is_as(house.then, found)
    assert house.path("app.db.before_restore").read_bytes() == b"no database " * 1000


@ON_SQLITE
def test_an_installation_that_has_nothing_yet_is_restored(house: House) -> None:
    house("restore", archive=house.archive, now=False)
    for path in [*house.data.glob("app*"), house.path("files")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert house.is_as(house.then, house("start"))
