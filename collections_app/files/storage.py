"""Where the bytes are: Django's default storage, and what we ask of one beyond Django.

``new(path, file)`` writes a whole file, or nothing; ``pieces(path, start, stop)`` reads a part
of one in constant memory; ``walk()`` names all that is there.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import IO, Any, Protocol, cast

from django.core.files.storage import FileSystemStorage, default_storage, storages

from core.errors import ServiceUnavailable
from core.parts import PIECE, Part

_INCOMING = ".incoming"
_PLAIN = re.compile(r"[0-9a-z]+(?:/[0-9a-z]+)*(?:\.[0-9a-z]+)?(?:/[0-9a-z]+\.[0-9a-z]+)?")
AWAY = "The storage of files does not answer, or is full. Please try again."

logger = logging.getLogger(__name__)


class Storage(Protocol):
    """All raise ServiceUnavailable where it does not answer, or is full."""

    def new(self, path: str, file: IO[bytes]) -> None:
        """Write a file that is there whole, or not at all, whatever happens meanwhile."""

    def pieces(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``; FileNotFoundError at once where there is no such file."""

    def size(self, path: str) -> int:
        """How many bytes a file has; FileNotFoundError where there is no such file."""

    def walk(self) -> Iterator[tuple[str, datetime]]:
        """All files with the time when they were written, what was begun and not finished too."""

    def tidy(self, before: datetime) -> None:
        """Delete what was begun before that moment, and never finished."""

    def remove(self, path: str) -> None:
        """Delete a file; one that is not there is no fault."""

    def remove_folder(self, path: str) -> None:
        """Delete all files under a path."""


def current() -> Storage:
    """The storage that ``STORAGES["default"]`` names."""
    return cast(Storage, default_storage)


def is_local() -> bool:
    """Whether files are opened here and now, and no other server is asked for them."""
    return isinstance(storages["default"], LocalStorage)


class LocalStorage(FileSystemStorage):
    """Files in a folder. One is written beside and moved to its place when it is on the disk."""

    def new(self, path: str, file: IO[bytes]) -> None:
        target, beside = Path(self.path(path)), Path(self.path(f"{_INCOMING}/{secrets.token_hex(16)}"))
        try:
            for folder in (target.parent, beside.parent):
                folder.mkdir(parents=True, exist_ok=True)
            with beside.open("xb") as written:
                file.seek(0)
                shutil.copyfileobj(file, written, PIECE)
                written.flush()
                os.fsync(written.fileno())
            beside.replace(target)
            _sync_folder(target.parent)
        except BaseException as fault:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            if isinstance(fault, OSError):
                raise away(fault) from fault
            raise

    def pieces(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        try:
            return Part(FileIO(self._place(path)), start, stop)
        except FileNotFoundError:
            raise
        except OSError as fault:
            raise away(fault) from fault

    def size(self, path: str) -> int:
        return os.stat(self._place(path)).st_size

    def _place(self, path: str) -> str:
        """Where the file is: quickly for the paths that are ours, and with all of Django's caution for others."""
        return f"{self.location}/{path}" if _PLAIN.fullmatch(path) else str(self.path(path))

    def walk(self) -> Iterator[tuple[str, datetime]]:
        return self._walk("")

    def _walk(self, under: str) -> Iterator[tuple[str, datetime]]:
        for folder, _, names in os.walk(Path(self.location, under)):
            for name in names:
                found = Path(folder, name)
                with suppress(FileNotFoundError):  # it went away while we looked
                    written = datetime.fromtimestamp(found.stat().st_mtime, UTC)
                    yield found.relative_to(self.location).as_posix(), written

    def tidy(self, before: datetime) -> None:
        for path, written in self._walk(_INCOMING):
            if written < before:
                with suppress(ServiceUnavailable):  # the log has it; the others go
                    self.remove(path)

    def remove(self, path: str) -> None:
        try:
            Path(self.path(path)).unlink(missing_ok=True)
        except OSError as fault:
            raise away(fault) from fault

    def remove_folder(self, path: str) -> None:
        try:
            shutil.rmtree(self.path(path), onerror=_unless_gone)
        except OSError as fault:
            raise away(fault) from fault


def away(fault: OSError) -> ServiceUnavailable:
    """What a client is told of a fault of the disk; the log has the rest."""
    logger.warning("the storage of files: %s", fault)
    return ServiceUnavailable(AWAY)


def _unless_gone(action: object, path: str, fault: Any) -> None:
    """Raise what came in the way of a removal, but that somebody else was quicker is none."""
    if not isinstance(fault[1], FileNotFoundError):
        raise fault[1]


def _sync_folder(folder: Path) -> None:
    """That the name is on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
