"""The files of jobs, in ``DATA_DIR/jobs``, which all who run jobs share."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from django.conf import settings


def folder() -> Path:
    return Path(settings.DATA_DIR) / "jobs"


def path(name: str) -> Path:
    return folder() / name


def keep(name: str, source: IO[bytes]) -> None:
    """Copy it, so that it is there after a crash too."""
    folder().mkdir(parents=True, exist_ok=True)
    source.seek(0)
    with path(name).open("xb") as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
        target.flush()
        os.fsync(target.fileno())


def size() -> int:
    """Bytes of all of them."""
    if not folder().is_dir():
        return 0
    found = 0
    with os.scandir(folder()) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # its job has just ended
                found += entry.stat(follow_symlinks=False).st_size
    return found


def drop(name: str) -> None:
    path(name).unlink(missing_ok=True)
