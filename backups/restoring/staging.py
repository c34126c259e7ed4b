"""A backup that waits to be put in place: unpacked in ``restore_staging``, with a marker that says what it is.

The folder is made elsewhere, marker and all, and gets its name as one step; it goes the same way. So it is
there, whole, or it is not.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.core.checks import CheckMessage, Warning

from backups import archive, storage, verifying, workshop
from backups.archive import BadArchive
from backups.restoring import postgresql
from backups.verifying import Contents
from core import clock, ids
from core.errors import Conflict, NotFound

FOLDER, MARKER, FAILED, LOCK = "restore_staging", ".restore_pending", ".restore_failed", ".restoring"
NOTHING = "No restore is staged."

logger = logging.getLogger("fastcms.backups")


@dataclass(frozen=True, slots=True)
class Staged:
    """A restore that is to be done. ``by`` is the principal's key, times are ISO 8601.

    One ``at_once`` is done by whoever staged it, or not at all: whoever saw it die goes on with what there is.
    """

    id: str
    backup_filename: str
    by: str
    staged: str
    backup_created: str = ""
    at_once: bool = False

    @property
    def folder(self) -> Path:
        return storage.folder() / FOLDER


@dataclass(frozen=True, slots=True)
class Failure:
    """The last restore, which came to nothing: what there was is what there is."""

    backup_filename: str
    error: str
    failed: str


Told = TypeVar("Told", Staged, Failure)


def stage(path: Path, name: str, by: str, password: str | None = None, *, at_once: bool = False) -> Staged:
    """Unpack the archive at ``path``, so that the next start of the server, or the caller, puts it in place.

    Whatever is wrong with it is said before anything is touched: BadArchive; NoRoom; Conflict while another
    restore is being staged or done. One that was staged before is given up.
    """
    with alone(), workshop.folder(storage.folder()) as own:
        found = unpack(path, own, password)
        staged = Staged(
            ids.new_id(), name, by, clock.isoformat(clock.now()), str(found.metadata.get("created", ""))[:40], at_once
        )
        made = own / "database"
        _write(made / MARKER, asdict(staged))
        _put_away(own)
        made.rename(staged.folder)
        _sync_folder()
        _forget_failure()
    logger.info("%s is %s by %s", name, "being restored" if at_once else "staged for restore", by)
    return staged


def unpack(path: Path, folder: Path, password: str | None = None) -> Contents:
    """Verify an archive, and unpack it into ``folder``/database; BadArchive, NoRoom."""
    with archive.reading(path, password) as opened:
        found = verifying.contents(opened, path.stat().st_size)
        # Once unpacked, and once more as the copy that is made ready to be put in place.
        workshop.check_room(folder, found.size + found.database.size)
        target = folder / "database"
        target.mkdir()
        verifying.extract(opened, found.members, target)
        _write(target / archive.METADATA, found.metadata)
    if found.metadata["engine"] == "sqlite":
        verifying.check_database(target / found.database.name)
    else:
        postgresql.check_dump(target / found.database.name)
        postgresql.check_surroundings()
    return found


def pending() -> Staged | None:
    """What waits to be put in place, or what somebody is at, or has died over."""
    return _read(f"{FOLDER}/{MARKER}", Staged)


def waiting() -> Staged | None:
    """What the next start puts in place."""
    found = pending()
    return None if found is None or found.at_once else found


def failure() -> Failure | None:
    """How the last restore failed, if it did."""
    return _read(FAILED, Failure)


def described(staged: Staged) -> Contents:
    """What was unpacked, every byte compared again; BadArchive."""
    try:
        metadata: dict[str, Any] = json.loads((staged.folder / archive.METADATA).read_bytes())
    except (OSError, ValueError) as fault:
        raise BadArchive(f"What was staged in {staged.folder} is not there any more.") from fault
    sizes = {
        path.relative_to(staged.folder).as_posix(): path.stat().st_size
        for path in staged.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != MARKER
    }
    found = verifying.described(metadata, sizes)
    verifying.check_extracted(staged.folder, found)
    return found


def cancel() -> Staged:
    """Give up what is staged; NotFound where nothing is, Conflict while it is being done."""
    with alone():
        found = pending()
        if found is None:
            raise NotFound(NOTHING)
        remove()
    return found


def remove() -> None:
    """What is staged is staged no more; whoever dies over it leaves what the next one sweeps."""
    with workshop.folder(storage.folder()) as own:
        _put_away(own)


def _put_away(own: Path) -> None:
    with suppress(FileNotFoundError):
        (storage.folder() / FOLDER).rename(own / "given up")
    _sync_folder()


def failed(staged: Staged, why: str) -> None:
    """The restore came to nothing, and is not tried again."""
    remove()  # first: it may be what has filled the disk
    failure = Failure(staged.backup_filename, why, clock.isoformat(clock.now()))
    try:
        with workshop.folder(storage.folder()) as own:
            _write(own / "failure", asdict(failure))
            workshop.place(own / "failure", storage.folder() / FAILED)
    except (OSError, workshop.NoRoom) as fault:
        logger.warning("why it came to nothing could not be written down: %s", fault)


def check(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """A system check: commands that only work on the data say that it is about to be replaced."""
    staged = waiting()
    if staged is None:
        return []
    told = f"{staged.backup_filename} is staged for restore: the next start of the server puts it in place."
    return [Warning(told, hint="What is changed until then will be kept aside only.", id="backups.W001")]


@contextmanager
def alone(*, patiently: bool = False) -> Iterator[None]:
    """One at a time stages, cancels or restores; Conflict for others, unless they wait.

    The lock ends with its process.
    """
    with (storage.folder() / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if patiently else fcntl.LOCK_NB))
        except BlockingIOError as fault:
            raise Conflict("A restore is being staged or done at the moment.") from fault
        yield


def _read(name: str, kind: type[Told]) -> Told | None:
    try:
        return kind(**json.loads((storage.folder() / name).read_bytes()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as fault:  # a server must start all the same
        logger.warning("%s can't be read, and counts for nothing: %s", name, fault)
        return None


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def _forget_failure() -> None:
    (storage.folder() / FAILED).unlink(missing_ok=True)
    _sync_folder()


def _sync_folder() -> None:
    handle = os.open(storage.folder(), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
