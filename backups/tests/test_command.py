"""``manage.py backup``: where to, how many stay, and exit codes."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from backups import services
from backups.models import Backup
from backups.tests.conftest import Shelf, opened
from core import clock

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("committed_db")]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("backup", *arguments, stdout=out, stderr=out)
    return out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_says_where_the_backup_is(shelf: Shelf) -> None:
    told = run("--note", "by hand")
    (name,) = shelf.names()
    assert told.startswith(f"{shelf.path(name)} (") and told.endswith(" bytes)\n")
    row = Backup.objects.get()
    assert (row.origin, row.created_by, row.note, row.with_files) == ("command", "backup", "by hand", True)
    assert run("--verbosity", "0", "--no-files") == "" and not Backup.objects.first().with_files


def test_a_terminal_sees_how_far_it_is(shelf: Shelf) -> None:
    out = Terminal()
    call_command("backup", stdout=out)
    assert "\r" in out.getvalue() and " % " in out.getvalue()


def test_another_folder_gets_it_and_no_row_stays(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "backup_of_mine.zip").write_bytes(b"not ours")
    (elsewhere / "backup_20200101_000000.zip").write_bytes(b"no archive")
    brought = services.create()
    shutil.move(shelf.path(brought.filename), elsewhere / "backup_20200101_000001.zip")
    Backup.objects.all().delete()
    moment = clock.now()
    monkeypatch.setattr(clock, "now", lambda: moment)
    for _ in range(3):
        told = run("--to", str(elsewhere), "--keep", "2")
    names = sorted(path.name for path in elsewhere.iterdir())
    stem = f"backup_{moment:%Y%m%d_%H%M%S}"
    stays, names = names[:2], names[2:]
    assert stays == ["backup_20200101_000000.zip", "backup_20200101_000001.zip"], "they are somebody's"
    assert names == [f"{stem}_2.zip", f"{stem}_3.zip", "backup_of_mine.zip"] and "1 older deleted, 2 kept." in told
    assert opened(elsewhere / names[0], tmp_path / "database").metadata["with_files"] is True
    assert shelf.names() == [] and not Backup.objects.exists()


def test_only_what_the_command_has_made_is_deleted(shelf: Shelf) -> None:
    mine = services.create("me").filename
    for _ in range(3):
        run("--keep", "1")
    assert len(shelf.names()) == 2 and mine in shelf.names()


def test_what_can_not_be_done_is_told(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no folder"):
        run("--to", str(tmp_path / "nowhere"))
    for wrong in ("0", "-1", "many"):
        with pytest.raises(CommandError, match="keep"):
            run("--keep", wrong)
    services.request("me")
    with pytest.raises(CommandError, match="Another backup is being made"):
        run()
    assert shelf.names() == []


def test_files_that_are_lost_are_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    made = services.create()
    made.missing = 2
    monkeypatch.setattr(services, "create", lambda *given, **more: made)
    told = io.StringIO()
    call_command("backup", stdout=io.StringIO(), stderr=told)
    assert "2 files are not in it" in told.getvalue()


def test_a_folder_that_can_not_be_written_is_told(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *given: Any, **more: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CommandError, match=f"{tmp_path}.*: Permission denied"):
        run("--to", str(tmp_path))
    monkeypatch.undo()
    assert Backup.objects.get().status == "failed"
