"""Folders that backups are made in, beside where they go: gone with the process that works there, however it ends.

A folder is held by a lock that its process loses when it dies; whoever comes next removes what nobody holds.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core import ids
from core.errors import DomainError, ServiceUnavailable

FOLDER = ".making"
SPARE = 16 * 1024 * 1024  # bytes that the disk keeps, for whoever else writes to it

logger = logging.getLogger("fastcms.backups")


class NoRoom(DomainError):
    status, code = 507, "INSUFFICIENT_STORAGE"
    default_message = "There is no room left on the disk."


@contextmanager
def folder(beside: Path) -> Iterator[Path]:
    """A folder of one's own in ``beside``, on the same disk.

    NoRoom where the disk runs full meanwhile, ServiceUnavailable where something may not be read or written.
    """
    with _room(beside):
        sweep(beside)
        path, handle = _made(beside / FOLDER)
        try:
            yield path
        finally:
            _remove(path, handle)


def sweep(beside: Path) -> None:
    """Remove what processes have left that died."""
    parent = beside / FOLDER
    for path in parent.iterdir() if parent.is_dir() else ():
        handle = _held(path)
        if handle is not None:
            logger.info("%s was left by a process that died, and is removed", path)
            _remove(path, handle)


def check_room(beside: Path, wanted: int) -> None:
    """NoRoom unless the disk has so many bytes, and some to spare."""
    free = shutil.disk_usage(beside).free
    if free < wanted + SPARE:
        place = beside.parent.parent if beside.parent.name == FOLDER else beside
        raise NoRoom(
            f"There is too little room on the disk: up to {wanted + SPARE:,} bytes are needed in {place}, "
            f"and {free:,} are free. Delete backups that are not needed, or make room."
        )


def place(path: Path, target: Path) -> None:
    """Give a finished file its name, when it is on the disk; who comes after sees all of it, or none."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.rename(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _made(parent: Path) -> tuple[Path, int]:
    while True:
        path = parent / ids.new_id()
        try:
            path.mkdir()
        except FileNotFoundError:
            parent.mkdir(parents=True, exist_ok=True)
            continue
        handle = _held(path)
        if handle is not None:
            return path, handle  # else a sweeper was quicker


def _remove(path: Path, handle: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(handle)
    with suppress(OSError):  # others work there
        path.parent.rmdir()


def _held(path: Path) -> int | None:
    """The lock on a folder, as an open handle; None where somebody else has it, or it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == path.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass  # it is another's
    os.close(handle)
    return None


@contextmanager
def _room(beside: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoRoom(f"The disk of {beside} is full; nothing of the backup is left there.") from fault
        if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ServiceUnavailable(f"{fault.filename or beside}: {fault.strerror}.") from fault
        raise
