"""Backups by the clock, and how many of them stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backups import leasing, schedule, services, snapshots, tasks
from backups.models import Backup
from backups.tests.conftest import Shelf
from core import clock
from core.errors import ServiceUnavailable
from settings_app.models import CmsSetting

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]

SETTINGS = "/api/v1/settings"


class Watch:
    """The product's clock, which stands where the test puts it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 15, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(clock, "now", made.now)
    return made


def set_to(text: str, keep: int = 7) -> None:
    for key, value in ((schedule.SCHEDULE, text), (schedule.KEEP, keep)):
        CmsSetting.objects.update_or_create(
            key=key, defaults={"value": value, "category": "backups", "updated_at": clock.now()}
        )


def made() -> list[str]:
    return list(Backup.objects.filter(deleted=None).order_by("created").values_list("filename", flat=True))


def test_nothing_is_made_unless_it_is_set(watch: Watch, shelf: Shelf) -> None:
    tasks.make()
    watch.forward(days=400)
    tasks.make()
    set_to("")
    watch.forward(days=400)
    tasks.make()
    assert made() == [] and shelf.names() == []


def test_each_time_of_the_schedule_makes_one(watch: Watch, shelf: Shelf) -> None:
    set_to("0 2 * * *")
    tasks.make()
    watch.forward(hours=13, minutes=59)
    tasks.make()
    assert made() == []
    watch.forward(minutes=1, seconds=5)
    for _ in range(3):
        tasks.make()
        watch.forward(seconds=30)
    assert made() == ["backup_20260116_020005.zip"] == shelf.names()
    row = Backup.objects.get()
    assert (row.origin, row.created_by, row.status) == ("schedule", "schedule", "completed")
    watch.forward(days=1)
    tasks.make()
    assert len(made()) == 2


def test_times_that_were_missed_make_one_together(watch: Watch) -> None:
    set_to("0 * * * *")
    watch.forward(days=3)
    tasks.make()
    tasks.make()
    assert len(made()) == 1
    watch.forward(hours=1)
    tasks.make()
    assert len(made()) == 2


def test_a_schedule_that_is_changed_counts_from_then_on(watch: Watch) -> None:
    set_to("0 2 * * *")
    watch.forward(days=1)
    set_to("30 * * * *")
    tasks.make()
    assert made() == []
    watch.forward(minutes=31)
    tasks.make()
    assert len(made()) == 1


def test_two_processes_that_find_it_due_make_one(watch: Watch, shelf: Shelf) -> None:
    set_to("0 * * * *")
    watch.forward(hours=2)
    since = schedule._last()
    assert since is not None
    assert services.create_scheduled("schedule", since) is not None
    assert services.create_scheduled("schedule", since) is None
    assert len(made()) == 1 == Backup.objects.count() and len(shelf.names()) == 1


def test_while_another_backup_is_made_it_waits_for_its_turn(watch: Watch) -> None:
    set_to("0 * * * *")
    watch.forward(hours=2)
    other = services.request("me")
    leasing.begin(other)
    tasks.make()
    assert Backup.objects.count() == 1
    leasing.give_back(other)
    tasks.make()
    assert Backup.objects.filter(status="completed").count() == 2


def test_one_that_failed_is_told_and_comes_again_at_the_next_time(
    watch: Watch, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: Any) -> None:
        raise ServiceUnavailable("the moon is full")

    set_to("0 * * * *")
    watch.forward(hours=2)
    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "taken", fail)
        tasks.make()
        tasks.make()
    (failed,) = Backup.objects.all()
    assert failed.status == "failed" and failed.error == "the moon is full" and "the moon is full" in caplog.text
    watch.forward(hours=1)
    tasks.make()
    assert Backup.objects.filter(status="completed").count() == 1 and len(shelf.names()) == 1


def test_the_newest_of_the_schedule_stay_and_all_that_others_made(watch: Watch, shelf: Shelf) -> None:
    mine = services.create("me").filename
    set_to("0 * * * *", keep=2)
    for _ in range(4):
        watch.forward(hours=1)
        tasks.make()
    stay = ["backup_20260115_150000.zip", "backup_20260115_160000.zip"]
    assert shelf.names() == [mine, *stay] == made()
    assert {row.deleted_by for row in Backup.objects.exclude(deleted=None)} == {"schedule"}
    set_to("0 * * * *", keep=0)
    watch.forward(hours=1)
    tasks.make()
    assert len(shelf.names()) == 4


def test_the_setting_takes_what_a_crontab_takes(as_user: Any, admin: Any) -> None:
    client = as_user(admin)
    for text in ("0 2 * * *", "*/5 * * * 1-5", "0  0 1,15 * sun", ""):
        answer = client.post(SETTINGS, {"key": schedule.SCHEDULE, "value": text}, format="json")
        assert answer.status_code == 200, answer.json()
    for text in (
        "daily",
        "61 * * * *",
        "0 2 * *",
        "* * * * * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "x" * 500,
        "１ * * * *x",
    ):
        answer = client.post(SETTINGS, {"key": schedule.SCHEDULE, "value": text}, format="json")
        assert answer.status_code == 422, (text, answer.json())
    for count in (-1, "7", 1.5):
        answer = client.post(SETTINGS, {"key": schedule.KEEP, "value": count}, format="json")
        assert answer.status_code == 422, count
    assert [one["value"] for one in client.get(f"{SETTINGS}/backups").json()] == [7, ""]


def test_what_was_deleted_long_ago_is_forgotten(watch: Watch) -> None:
    services.delete(services.create(), "me")
    watch.forward(days=89)
    services.tidy()
    assert Backup.objects.count() == 1
    watch.forward(days=2)
    services.tidy()
    assert Backup.objects.count() == 0
