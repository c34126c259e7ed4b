"""Backups are whole, one at a time, and leave nothing behind when they fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backups import archive, selectors, services
from backups.models import Backup
from backups.tests.conftest import Shelf
from core import clock, metrics

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]


def test_a_backup_is_one_file_and_a_row(shelf: Shelf) -> None:
    made = services.create("me", "why")
    row = Backup.objects.get()
    assert (row.status, row.percent, row.created_by, row.note) == ("completed", 100, "me", "why")
    assert row.filename == made.filename and shelf.names() == [made.filename]
    with archive.reading(shelf.path(made.filename)) as found:
        assert row.size_bytes == shelf.path(made.filename).stat().st_size and found.metadata["missing"] == []


def test_metrics_tell_how_many_there_are_and_how_old_the_newest_is(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (selectors.age(), selectors.counts()[("completed",)]) == ({}, 0)
    made = services.create()
    services.delete(services.create(), "me")
    later = clock.now() + timedelta(hours=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    told = metrics.text().decode()
    assert f"fastcms_last_backup_age_seconds {(later - made.created).total_seconds()}" in told
    for status, count in (("completed", 1), ("failed", 0), ("running", 0)):
        assert f'fastcms_backups{{status="{status}"}} {count}.0' in told
