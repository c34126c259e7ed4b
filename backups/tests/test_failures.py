"""Whatever happens to a backup, nothing half-made is left, and the next one can be made."""

from __future__ import annotations

import errno
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import QuerySet

from backups import leasing, making, postgres_tools, services, snapshots, storage, workshop
from backups.leasing import Lease, Lost
from backups.models import Backup
from backups.tests.conftest import Shelf
from backups.workshop import NoRoom
from collections_app.files import facts
from collections_app.files import storage as files
from collections_app.models import StoredFile
from collections_app.schema.change import ADVISORY_LOCK
from collections_app.tests.other_process import other_process
from core import background, clock, ids
from core.errors import Conflict, ServiceUnavailable

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]


def stored_file(content: bytes) -> StoredFile:
    """A file that something has, of bytes that deflate can't make fewer."""
    name = facts.new_name("jpg")
    files.current().new(facts.path_of(name), BytesIO(content))
    return StoredFile.objects.create(
        id=ids.new_id(),
        name=name,
        original_name="a.jpg",
        size=len(content),
        mime="image/jpeg",
        sha256="0" * 64,
        state=StoredFile.State.KEPT,
        created=clock.now(),
        since=clock.now(),
    )


def lease_is_over() -> None:
    Backup.objects.filter(status="running").update(lease_until=clock.now() - timedelta(seconds=1))


def test_a_process_that_is_killed_leaves_no_part_of_a_backup(shelf: Shelf, tmp_path: Path) -> None:
    stored_file(b"x" * 3_000_000)
    with other_process(tmp_path) as other:
        for die, number in (("step", 1), ("step", 3), ("step", 5), ("before", 1)):
            assert other.run("backups.tests.deaths.backup", die=die, number=number).killed, (die, number)
            (dead,) = Backup.objects.filter(status="running")
            assert [name for name in shelf.names() if name != ".making"] == []
            with pytest.raises(Conflict):
                services.create()
            lease_is_over()
            services.tidy()
            dead.refresh_from_db()
            assert (dead.status, dead.error) == ("failed", leasing.INTERRUPTED)
            assert shelf.names() == []
        assert other.run("backups.tests.deaths.backup", die="after").killed
        (dead,) = Backup.objects.filter(status="running")
        assert shelf.opened(dead.filename).metadata["name"] == dead.name
        lease_is_over()
        services.tidy()
        dead.refresh_from_db()
        assert dead.status == "completed" and dead.size_bytes == shelf.path(dead.filename).stat().st_size
    assert services.create().status == "completed"


def test_a_disk_that_runs_full_is_told_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    stored_file(bytes(range(256)) * 100_000)
    with other_process(tmp_path) as other:
        told = other.run("backups.tests.deaths.backup_with_little_room", most=20_000_000)  # enough for the database
        assert told["status"] == 507 and "is full" in told["message"], told
        assert shelf.names() == [] and Backup.objects.get().status == "failed"
        assert other.run("backups.tests.deaths.backup_with_little_room", most=2**40)["answer"] in shelf.names()


def test_room_is_looked_for_before_anything_is_written(
    shelf: Shelf, as_user: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_file(b"x" * 1000)

    class Usage:
        free = snapshots.room() + workshop.SPARE

    monkeypatch.setattr(workshop.shutil, "disk_usage", lambda path: Usage)
    monkeypatch.setattr(making, "_made", lambda *given: pytest.fail("it was begun"))
    refused = as_user(admin).post("/api/v1/backups")
    assert refused.status_code == 507 and "too little room" in refused.json()["message"]
    assert refused.json()["error_code"] == "INSUFFICIENT_STORAGE"
    assert shelf.names() == [] and Backup.objects.get().error == refused.json()["message"]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NoRoom, "is full"),
        (OSError(errno.EIO, "Input/output error"), ServiceUnavailable, "log tells why"),
        (RuntimeError("whatever it is"), ServiceUnavailable, "log tells why"),
    ],
)
def test_what_goes_wrong_on_the_way_is_told_and_leaves_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, fault: Exception, kind: type[Exception], words: str
) -> None:
    def fail(*given: Any) -> None:
        raise fault

    monkeypatch.setattr(making, "_add_files", fail)
    with pytest.raises(kind, match=words):
        services.create()
    row = Backup.objects.get()
    assert row.status == "failed" and words in row.error and shelf.names() == []


def test_who_was_held_up_for_too_long_gives_nothing_a_name(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = services._finish

    def late(*given: Any) -> None:
        lease_is_over()
        services.create("somebody else")
        finish(*given)

    def once(*given: Any) -> None:
        monkeypatch.setattr(services, "_finish", finish)
        late(*given)

    monkeypatch.setattr(services, "_finish", once)
    with pytest.raises(Lost):
        services.create("held up")
    mine, theirs = Backup.objects.get(created_by="held up"), Backup.objects.get(created_by="somebody else")
    assert mine.status == "failed" and theirs.status == "completed" and shelf.names() == [theirs.filename]


def test_a_lease_is_renewed_while_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "RENEWED", 0.01)
    backup = services.request("me")
    assert leasing.begin(backup) and not leasing.begin(backup)
    Backup.objects.update(lease_until=clock.now() + timedelta(seconds=10))
    lease = Lease(backup, yields=False)
    lease.reach(0.5)
    before = Backup.objects.get().lease_until
    with leasing.held(lease):
        for _ in range(1000):
            row = Backup.objects.get()
            if row.lease_until != before:
                break
            time.sleep(0.01)
    assert row.lease_until > before and row.percent == 50
    Backup.objects.update(lease_until=clock.now() - timedelta(seconds=1))
    with pytest.raises(Lost):
        lease.renew()
    with pytest.raises(Lost):
        lease.reach(0.6)


def test_what_nobody_begins_fails_after_a_while() -> None:
    asked = services.request("me")
    lease_is_over()
    leasing.settle()
    asked.refresh_from_db()
    assert (asked.status, asked.error) == ("failed", leasing.NOBODY)


def test_a_server_that_stops_leaves_the_backup_to_the_next(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = services.request("me")
    monkeypatch.setattr(background.worker, "is_ending", True)
    services.make_waiting()
    asked.refresh_from_db()
    assert asked.status == "running" and asked.begun is None and shelf.names() == []
    monkeypatch.setattr(background.worker, "is_ending", False)
    services.make_waiting()
    asked.refresh_from_db()
    assert asked.status == "completed" and shelf.names() == [asked.filename]


def test_a_request_is_not_what_a_server_stops_for_later(
    shelf: Shelf, as_user: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background.worker, "is_ending", True)
    refused = as_user(admin).post("/api/v1/backups")
    assert refused.status_code == 503 and "stopping" in refused.json()["message"]
    assert Backup.objects.get().status == "failed" and shelf.names() == []


def test_an_archive_that_somebody_put_there_is_a_backup_and_one_that_is_gone_is_none(shelf: Shelf) -> None:
    made = services.create()
    shelf.path(made.filename).rename(shelf.path("backup_20250115_100000.zip"))
    services.tidy_rows()
    (row,) = Backup.objects.filter(deleted=None)
    assert (row.filename, row.origin, row.size_bytes) == ("backup_20250115_100000.zip", "found", made.size_bytes)
    assert clock.isoformat(row.created) == "2025-01-15T10:00:00Z"
    made.refresh_from_db()
    assert made.deleted is not None and made.deleted_by == ""
    services.tidy_rows()
    assert Backup.objects.count() == 2


def test_one_whose_row_could_not_be_finished_is_found_by_its_archive(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = storage.put

    def then_lose_the_database(*given: Any) -> None:
        put(*given)
        patched.setattr(QuerySet, "update", lost)

    def lost(*given: Any, **more: Any) -> int:
        raise OperationalError("database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", then_lose_the_database)
        with pytest.raises(ServiceUnavailable):
            services.create("me")
    row = Backup.objects.get()
    assert row.status == "running" and shelf.names() == [row.filename]
    lease_is_over()
    services.tidy_rows()
    row.refresh_from_db()
    assert (row.status, row.created_by) == ("completed", "me") and row.size_bytes > 0


def test_links_and_folders_are_no_backups(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    shelf.path("link.zip").symlink_to(tmp_path / "secret")
    shelf.path("folder.zip").mkdir()
    services.tidy_rows()
    assert not Backup.objects.exists()


def test_a_name_that_is_taken_gets_a_number(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = clock.now()
    monkeypatch.setattr(services, "_new", lambda *given: make(moment))
    names = [services.create().filename for _ in range(3)]
    stem = f"backup_{moment:%Y%m%d_%H%M%S}"
    assert names == [f"{stem}.zip", f"{stem}_2.zip", f"{stem}_3.zip"] and shelf.names() == sorted(names)


def make(moment: Any) -> Backup:
    return Backup(filename=f"backup_{moment:%Y%m%d_%H%M%S}.zip", origin="safety", created=moment)


def test_a_damaged_database_is_told_and_not_backed_up(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL looks after its own pages")
    copy = snapshots._copy

    def damaged(path: Path, report: Any) -> Any:
        moment = copy(path, report)
        with closing(sqlite3.connect(path)) as raw:
            root = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'users'").fetchone()[0]
            size = raw.execute("PRAGMA page_size").fetchone()[0]
        with path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * 100)
        return moment

    monkeypatch.setattr(snapshots, "_copy", damaged)
    with pytest.raises(ServiceUnavailable, match="damaged"):
        services.create()
    assert shelf.names() == []


def test_a_full_disk_is_what_it_is_also_to_sqlite(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite")

    def cramped(path: Path) -> sqlite3.Connection:
        raw = opened(path)
        if path.parent.parent.name == workshop.FOLDER:
            raw.execute("PRAGMA max_page_count = 20")
        return raw

    opened = snapshots._opened
    monkeypatch.setattr(snapshots, "_opened", cramped)
    with pytest.raises(NoRoom):
        services.create()
    assert shelf.names() == []


def test_missing_and_old_programs_of_postgresql_are_told(
    shelf: Shelf, as_user: Any, admin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("about PostgreSQL")
    monkeypatch.setattr(postgres_tools, "_INSTALLED", tmp_path / "nowhere")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for path in ("", "?background=true"):
        refused = as_user(admin).post(f"/api/v1/backups{path}")
        assert refused.status_code == 503 and "There is no pg_dump" in refused.json()["message"]
    old = tmp_path / "bin/pg_dump"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o700)
    refused = as_user(admin).post("/api/v1/backups")
    assert refused.status_code == 503 and "pg_dump 9 is older than the server" in refused.json()["message"]
    assert shelf.names() == []


def test_a_dump_that_fails_is_tried_again_and_then_told(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("about PostgreSQL")
    real, count = postgres_tools.tool("pg_dump"), tmp_path / "count"
    script = tmp_path / "pg_dump"
    script.write_text(
        f'#!/bin/sh\necho x >> {count}\n[ $(wc -l < {count}) -gt $FAILURES ] && exec {real} "$@"\n'
        "echo 'pg_dump: error: could not open relation' >&2\nexit 1\n"
    )
    script.chmod(0o700)
    monkeypatch.setattr(postgres_tools, "tool", lambda name: str(script))
    monkeypatch.setenv("FAILURES", "2")
    assert services.create().filename in shelf.names() and len(count.read_text().split()) == 3
    monkeypatch.setenv("FAILURES", "9")
    with pytest.raises(ServiceUnavailable, match="could not open relation"):
        services.create()
    assert len(shelf.names()) == 1 and Backup.objects.filter(status="failed").count() == 1


def test_a_schema_that_is_being_changed_is_waited_for(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("about PostgreSQL")
    other = connection.copy()
    other.ensure_connection()
    try:
        other.connection.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        monkeypatch.setattr(snapshots, "_LOCK_WAIT", "50ms")
        with pytest.raises(ServiceUnavailable, match="schema is being changed"):
            services.create()
    finally:
        other.close()
    monkeypatch.setattr(snapshots, "_LOCK_WAIT", "30s")
    assert services.create().filename in shelf.names()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '30s'")  # connections that were closed may end a little later
        cursor.execute("SELECT pg_advisory_lock(%s), pg_advisory_unlock(%s)", [ADVISORY_LOCK, ADVISORY_LOCK])
        cursor.execute("RESET lock_timeout")


def test_deleting_what_is_gone_already_is_no_fault(shelf: Shelf) -> None:
    made = services.create()
    storage.current().remove(made.filename)
    services.delete(made, "me")
    assert Backup.objects.get().deleted_by == "me"
