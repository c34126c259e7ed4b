"""Backups are whole, one at a time, and leave nothing behind when they fail."""

from __future__ import annotations

import pytest

from backups import archive, services
from backups.models import Backup
from backups.tests.conftest import Shelf

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]


def test_a_backup_is_one_file_and_a_row(shelf: Shelf) -> None:
    made = services.create("me", "why")
    row = Backup.objects.get()
    assert (row.status, row.percent, row.created_by, row.note) == ("completed", 100, "me", "why")
    assert row.filename == made.filename and shelf.names() == [made.filename]
    with archive.reading(shelf.path(made.filename)) as found:
        assert row.size_bytes == shelf.path(made.filename).stat().st_size and found.metadata["missing"] == []
