"""A folder for the backups of each test, one for its stored files, and what is in an archive."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from backups import archive, postgres_tools


@dataclass(frozen=True)
class Opened:
    """What an archive has: its metadata, the names of its members, and rows of its database."""

    metadata: dict[str, Any]
    names: set[str]
    database: Path

    def rows(self, table: str) -> list[dict[str, Any]]:
        if self.metadata["engine"] == "sqlite":
            with closing(sqlite3.connect(self.database)) as raw:
                raw.row_factory = sqlite3.Row
                return [dict(row) for row in raw.execute(f'SELECT * FROM "{table}"')]
        command = [postgres_tools.tool("pg_restore"), "--data-only", f"--table={table}", "--file=-", str(self.database)]
        lines = iter(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
        head = next((line for line in lines if line.startswith("COPY ")), None)
        if head is None:
            return []
        columns = [name.strip(' "') for name in head[head.index("(") + 1 : head.index(")")].split(",")]
        found = []
        while (line := next(lines)) != "\\.":
            found.append(dict(zip(columns, line.split("\t"), strict=True)))
        return found

    @property
    def files(self) -> set[str]:
        """The members that are stored files."""
        return {name for name in self.names if name.startswith(archive.FILES)}


class Shelf:
    """The folder that backups go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def names(self) -> list[str]:
        """All that is there; nothing else may be."""
        return sorted(path.name for path in self.folder.iterdir())

    def opened(self, name: str) -> Opened:
        return opened(self.path(name), self.folder.parent / f"{name}.database")


def opened(path: Path, database: Path) -> Opened:
    """Read an archive, its database into a file."""
    with archive.reading(path) as found:
        member = archive.DATABASES[found.metadata["engine"]]
        database.write_bytes(b"".join(found.pieces(member)))
        return Opened(found.metadata, {one.filename for one in found.members}, database)


@pytest.fixture(autouse=True)
def programs_of_postgresql() -> None:
    """Without them there are no backups of PostgreSQL; what is said then has a test of its own."""
    if connection.vendor == "postgresql" and not list(postgres_tools._candidates("pg_dump")):
        pytest.skip("there is no pg_dump")


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, settings: Any) -> Shelf:
    """As another process has it whose DATA_DIR is ``tmp_path``."""
    folder = tmp_path / "backups"
    folder.mkdir()
    settings.BACKUP_DIR = folder
    settings.MEDIA_ROOT = str(tmp_path / "files")
    here = {"BACKEND": "collections_app.files.storage.LocalStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "backups": here}
    return Shelf(folder)
