"""The files of jobs, in ``DATA_DIR/jobs``, which all who run jobs share."""

from __future__ import annotations

import os
import shutil
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


def drop(name: str) -> None:
    path(name).unlink(missing_ok=True)
