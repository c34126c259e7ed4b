"""A backup is of one instant, the files too, whatever is written and deleted while it is made."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from backups import leasing, making, services, snapshots
from backups.models import Backup
from backups.tests.conftest import Shelf
from collections_app.files import facts, removal, storage
from collections_app.models import StoredFile
from core import database

pytestmark = pytest.mark.engine

ACCOUNTS, EACH = 4, 100
MOST = 100  # backups until somebody has written


@pytest.fixture
def ledger(make_collection: Any, as_user: Any, admin: Any) -> tuple[str, list[str]]:
    """A collection of accounts with a balance and a picture; its table, and the ids of the accounts."""
    made = make_collection("ledger", balance="number", photo="file")
    client = as_user(admin)
    url = "/api/v1/collections/ledger/records"
    return f"c_{made.id}", [client.post(url, {"balance": EACH}, format="json").json()["id"] for _ in range(ACCOUNTS)]


def upload(client: Any, content: bytes = b"a picture") -> Any:
    file = SimpleUploadedFile("photo.txt", content, "text/plain")
    return client.post("/api/v1/collections/ledger/records", {"photo": file, "balance": 0}, format="multipart")


def in_threads(work: list[Callable[[int], None]], until: threading.Event) -> list[threading.Thread]:
    def repeat(one: Callable[[int], None]) -> None:
        turn = 0
        try:
            while not until.is_set():
                turn += 1
                one(turn)
        finally:
            database.close()

    threads = [threading.Thread(target=repeat, args=[one]) for one in work]
    for thread in threads:
        thread.start()
    return threads


def test_what_is_committed_between_two_steps_is_not_in_it(
    ledger: Any, as_user: Any, admin: Any, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, ids = ledger
    client, steps = as_user(admin), []
    monkeypatch.setattr(snapshots, "STEP", 20)
    monkeypatch.setattr(snapshots, "PIECE", 20_000)
    reach = leasing.Lease.reach

    def write(lease: leasing.Lease, share: float) -> None:
        if len(steps) < 8:
            made = client.patch(f"/api/v1/collections/ledger/records/{ids[0]}", {"balance": 7}, format="json")
            steps.append(made.status_code)
            upload(client)
        reach(lease, share)

    monkeypatch.setattr(leasing.Lease, "reach", write)
    found = shelf.opened(services.create().filename)
    assert steps == [200] * 8
    assert [float(row["balance"]) for row in found.rows(table)] == [EACH] * ACCOUNTS and found.files == set()


def test_backups_beside_writers_hold_a_ledger_that_sums_and_every_file(
    ledger: Any, as_user: Any, admin: Any, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, ids = ledger
    monkeypatch.setattr(snapshots, "STEP", 10)
    over, written = threading.Event(), {"transfers": 0, "files": 0}
    begun = threading.Barrier(4)

    def transfer(turn: int) -> None:
        giver, taker = ids[turn % ACCOUNTS], ids[(turn * 3 + 1) % ACCOUNTS]
        if giver == taker:
            return
        ask = [
            {"method": "PATCH", "collection": "ledger", "id": giver, "data": {"balance-": turn}},
            {"method": "PATCH", "collection": "ledger", "id": taker, "data": {"balance+": turn}},
        ]
        answer = as_user(admin).post("/api/v1/batch", {"requests": ask}, format="json")
        assert answer.status_code in (200, 503), answer.json()
        if turn == 1:
            begun.wait(60)
        written["transfers"] += answer.status_code == 200

    def come_and_go(turn: int) -> None:
        client = as_user(admin)
        made = upload(client, b"%d" % turn)
        assert made.status_code in (201, 503), made.json()
        if turn % 3 and made.status_code == 201:
            client.delete(f"/api/v1/collections/ledger/records/{made.json()['id']}")
        if turn == 1:
            begun.wait(60)
        written["files"] += 1

    def sweep(turn: int) -> None:
        removal.remove_due()
        if turn == 1:
            begun.wait(60)

    threads = in_threads([transfer, come_and_go, sweep], over)
    try:
        begun.wait(60)
        before = dict(written)
        made = [services.create() for _ in range(3)]
        while not all(written[what] > before[what] for what in written) and len(made) < MOST:
            made.append(services.create())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(made) < MOST, "nobody wrote meanwhile"
    for one in made:
        found = shelf.opened(one.filename)
        assert sum(float(row["balance"] or 0) for row in found.rows(table)) == ACCOUNTS * EACH
        kept = {row["name"] for row in found.rows("files") if row["state"] == "kept"}
        assert found.files == {f"files/{facts.path_of(name)}" for name in kept}
        assert found.metadata["missing"] == [] and one.missing == 0


def test_backups_beside_changes_of_the_schema_have_the_tables_that_they_say(
    ledger: Any, as_user: Any, admin: Any, shelf: Shelf
) -> None:
    table, _ = ledger
    url, over, done = "/api/v1/collections/ledger", threading.Event(), threading.Semaphore(0)
    schema = as_user(admin).get(url).json()["schema"]

    def change(turn: int) -> None:
        wanted = [*schema, {"name": f"extra{turn}", "type": "text"}] if turn % 2 else schema
        ask = {"schema": wanted}
        answer = as_user(admin).patch(f"{url}?allow_data_loss=true", ask, format="json")
        assert answer.status_code in (200, 503), answer.json()
        if answer.status_code == 200:
            done.release()

    threads = in_threads([change], over)
    try:
        made = []
        for _ in range(3):
            assert done.acquire(timeout=60)
            made.append(services.create())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for one in made:
        found = shelf.opened(one.filename)
        (told,) = [row for row in found.rows("collections") if row["name"] == "ledger"]
        named = {field["name"] for field in json.loads(told["schema"])}
        assert set(found.rows(table)[0]) - {"id", "created", "updated"} == named


def test_a_file_that_is_deleted_while_it_is_copied_stays_until_then(
    ledger: Any, as_user: Any, admin: Any, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = as_user(admin)
    made = [upload(client).json() for _ in range(3)]
    removed: list[int] = []

    def delete_then_add(*given: Any) -> Any:
        for one in made:
            client.delete(f"/api/v1/collections/ledger/records/{one['id']}")
        removed.append(removal.remove_due())
        return add(*given)

    add = making._add_files
    monkeypatch.setattr(making, "_add_files", delete_then_add)
    backup = services.create()
    assert removed == [0] and backup.missing == 0
    assert shelf.opened(backup.filename).files == {f"files/{facts.path_of(one['photo'])}" for one in made}
    assert removal.remove_due() == 3 and not StoredFile.objects.exists()


def test_files_that_the_storage_has_lost_are_told_and_stop_nothing(
    ledger: Any, as_user: Any, admin: Any, shelf: Shelf
) -> None:
    whole, lost, short = [upload(as_user(admin)).json()["photo"] for _ in range(3)]
    storage.current().remove(facts.path_of(lost))
    path = shelf.folder.parent / "files" / facts.path_of(short)
    path.write_bytes(b"a")
    backup = services.create()
    found = shelf.opened(backup.filename)
    assert sorted(found.metadata["missing"]) == sorted(facts.path_of(name) for name in (lost, short))
    assert backup.missing == 2 and f"files/{facts.path_of(whole)}" in found.files


def test_without_files_there_are_none(ledger: Any, as_user: Any, admin: Any, shelf: Shelf) -> None:
    upload(as_user(admin))
    found = shelf.opened(services.create(with_files=False).filename)
    assert found.files == set() and found.metadata["missing"] == [] and found.metadata["with_files"] is False


def test_a_backup_holds_no_sessions_and_no_second_database(ledger: Any, client: Any, shelf: Shelf) -> None:
    client.get("/admin/login/")
    session = client.session
    session["secret"] = "of somebody"
    session.save()
    found = shelf.opened(services.create().filename)
    assert [name for name in found.names if "ephemeral" in name or "-wal" in name] == []
    assert found.metadata["engine"] == "sqlite" or found.rows("django_session") == []


def test_deletes_go_on_when_a_backup_has_died(ledger: Any, as_user: Any, admin: Any) -> None:
    made = upload(as_user(admin)).json()
    dead = services.request("me")
    leasing.begin(dead)
    as_user(admin).delete(f"/api/v1/collections/ledger/records/{made['id']}")
    assert removal.remove_due() == 0
    Backup.objects.update(lease_until="2026-01-01T00:00:00Z")
    assert removal.remove_due() == 1
