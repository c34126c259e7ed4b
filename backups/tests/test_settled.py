"""What does not come back with a database that is put back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import api_keys, tokens
from accounts.models import ApiKey, Invite, SignIn, User
from backups.models import Backup
from backups.restoring import preparing
from collections_app import events
from collections_app.models import EventLogState, IdempotencyKey, Job
from collections_app.restored import LEAP, RESTORED, is_done
from collections_app.schema import registry
from core import clock, restored
from core.restored import Restoration

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]


def settle(present: dict[str, Any] | None = None, restore_id: str = "restore1") -> None:
    restored.settle(Restoration(restore_id, "users:somebody", present or {}))


def test_nobody_is_signed_in_any_more(superadmin: User) -> None:
    access = tokens.issue(superadmin).access
    client = APIClient(headers={"Authorization": f"Bearer {access}"})
    assert client.get("/api/v1/auth/me").status_code == 200
    settle()
    assert client.get("/api/v1/auth/me").status_code == 401
    assert not SignIn.objects.exists()


def test_keys_and_invitations_come_back_unless_they_were_taken_back_since(superadmin: User) -> None:
    kept, raw = api_keys.make(superadmin, name="kept", access="write")
    gone, _ = api_keys.make(superadmin, name="gone", access="write")
    invited = [Invite.objects.create(digest=name) for name in ("open", "used")]
    known = restored.present()
    known["accounts"]["api_keys"].remove(gone.digest)
    known["accounts"]["invites"].remove("used")
    settle(known)
    assert list(ApiKey.objects.filter(revoked=None)) == [kept]
    assert list(Invite.objects.all()) == invited[:1]
    assert APIClient(headers={"X-API-Key": raw}).get("/api/v1/auth/me").status_code == 200


def test_without_a_state_before_all_keys_come_back(superadmin: User) -> None:
    key, _ = api_keys.make(superadmin, name="kept", access="write")
    settle()
    assert list(ApiKey.objects.filter(revoked=None)) == [key]


def test_the_log_begins_anew_beyond_all_that_anybody_knows(make_collection: Any, records: Any) -> None:
    make_collection("notes", title="text")
    records("notes").create(title="one")
    known = restored.present()
    known["collections"]["last_event"] += 5000
    known["collections"]["epoch"] += 7
    before, epoch = events.settled_id(), registry.latest().version
    settle(known)
    first = events.settled_id()
    assert first == known["collections"]["last_event"] + LEAP
    assert [event.type for event in events.read(before)] == [RESTORED]
    assert not events.reaches_back_to(before) and not events.reaches_back_to(first - 1)
    assert events.reaches_back_to(first)
    assert registry.latest().version > epoch + 7
    assert is_done("restore1") and not is_done("restore2")
    records("notes").create(title="two")
    assert [event.id for event in events.read(first)] == [first + 1]
    settle(restore_id="restore2")
    assert EventLogState.objects.get().begins_after == events.settled_id() > first + 1


def test_a_revision_given_before_and_after_is_not_taken_for_the_same(make_collection: Any) -> None:
    make_collection("notes", title="text")
    before = registry.latest().get("notes")
    settle()
    after = registry.latest().get("notes")
    assert after.revision == before.revision and after is not before


def test_the_archives_that_there_are_keep_their_rows() -> None:
    now = clock.now()
    for name, origin in (("of_itself", "request"), ("later", "schedule")):
        Backup.objects.create(
            id=name,
            filename=f"{name}.zip",
            origin=origin,
            status="completed",
            created=now,
            finished=now,
            created_by="me",
        )
    before, known = list(Backup.objects.order_by("id").values()), json.loads(json.dumps(restored.present()))
    Backup.objects.filter(pk="later").delete()
    Backup.objects.filter(pk="of_itself").update(status="running", finished=None, lease_until=now)
    settle(known)
    assert list(Backup.objects.order_by("id").values()) == before
    settle()
    assert Backup.objects.count() == 2


def test_a_copy_that_lacks_a_table_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    preparing.check_tables()
    monkeypatch.setattr(User._meta, "db_table", "not_there")
    with pytest.raises(preparing.NotReady, match="lacks not_there"):
        preparing.check_tables()


def test_work_under_way_ends(make_collection: Any) -> None:
    now = clock.now()
    for state in (Job.State.QUEUED, Job.State.RUNNING, Job.State.DONE):
        Job.objects.create(id=state, kind="import", state=state, file=state, created=now, options={})
    for key, status in (("answered", 201), ("under-way", None)):
        IdempotencyKey.objects.create(
            caller="users:x", key=key, fingerprint="f", created=now, claimed_until=now, status=status
        )
    settle()
    assert {job.pk: job.state for job in Job.objects.all()} == {"queued": "failed", "running": "failed", "done": "done"}
    assert [key.key for key in IdempotencyKey.objects.all()] == ["answered"]
