"""A folder for the backups of each test, and one for its stored files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class Shelf:
    """The folder that backups go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def names(self) -> list[str]:
        """All that is there, but for the empty folder in which backups are made."""
        making = self.folder / ".making"
        left = sorted(path.name for path in making.iterdir()) if making.is_dir() else []
        assert left == [], "something is left of a backup"
        return sorted(path.name for path in self.folder.iterdir() if path != making)


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, settings: Any) -> Shelf:
    folder = tmp_path / "backups"
    folder.mkdir()
    settings.BACKUP_DIR = folder
    settings.MEDIA_ROOT = str(tmp_path / "files")
    here = {"BACKEND": "collections_app.files.storage.LocalStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "backups": here}
    return Shelf(folder)
