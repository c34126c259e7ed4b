"""What is left of jobs goes: files when the job has ended, jobs a while later."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from collections_app.jobs import files
from collections_app.jobs.models import Job
from core import clock

KEPT = timedelta(days=30)  # after the end
FILE_AGE = timedelta(hours=1)  # younger ones may be of a request that is under way
_EVERY = timedelta(minutes=10)

_last: datetime | None = None


def sweep(*, now: datetime | None = None) -> None:
    """Delete jobs that ended long ago, and files that no unfinished job needs; does nothing if it just did."""
    global _last
    moment = now or clock.now()
    if now is None and _last is not None and _last + _EVERY > moment:
        return
    _last = moment
    Job.objects.filter(finished__lt=moment - KEPT).delete()
    if not files.folder().is_dir():
        return
    needed = set(Job.objects.filter(finished=None).values_list("file", flat=True))
    with os.scandir(files.folder()) as entries:
        for entry in entries:
            old = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC) < moment - FILE_AGE
            if old and entry.name not in needed and entry.is_file(follow_symlinks=False):
                files.drop(entry.name)
