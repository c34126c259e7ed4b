"""A staged backup is put in place."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, connections

from backups import archive, storage, verifying, workshop
from backups.restoring import postgresql, sqlite, staging
from backups.restoring.staging import Staged
from backups.verifying import Contents
from collections_app import restored as collections
from collections_app.files import facts
from collections_app.files import storage as files
from collections_app.models import StoredFile
from core import restored
from core.errors import Conflict, DomainError, NotFound, ServiceUnavailable
from core.gate import closed
from core.restored import Restoration

INTERRUPTED = "The process that restored it at once died before it was done."
KEPT = "files.before_restore"  # under DATA_DIR, beside the files of which they were
_PIECE = 500

logger = logging.getLogger("fastcms.backups")


class Restoring(Protocol):
    """What an engine does. Until :meth:`swap` has committed, nobody can see any of it."""

    def load(self, folder: Path, found: Contents) -> None:
        """Make a copy of what was staged."""

    def prepare(self, restoration: Restoration) -> None:
        """Have the copy migrated and settled."""

    def keep(self) -> None:
        """Keep the state that is given up, where that is no part of the swap."""

    def swap(self, *, at_start: bool) -> None:
        """The commit."""

    def tidy(self) -> None:
        """What need not have been done before."""

    def give_up(self) -> None:
        """Remove the copy, which came to nothing."""


class Failed(DomainError):
    """The restore came to nothing, and all is as it was; the message says why."""

    status, code = 422, "VALIDATION_ERROR"


@dataclass(frozen=True, slots=True)
class Done:
    backup_filename: str
    safety_copy: str  # where the state before is kept
    files_added: int


def apply(*, at_start: bool = False) -> Done:
    """Put in place what is staged; goes on where another process died over it.

    NotFound where nothing is staged. Failed, and all as it was, where it can't be done; then it is not staged
    any more. ServiceUnavailable, Conflict where it can't be done now. ``at_start``: nobody serves.
    """
    with staging.alone(patiently=at_start):
        staged = staging.pending()
        if staged is None:
            raise NotFound(staging.NOTHING)
        added = 0
        if not _is_done(staged):
            if staged.at_once and at_start:
                staging.failed(staged, INTERRUPTED)
                raise Failed(f"The backup was not restored, and nothing was changed: {INTERRUPTED}")
            with workshop.folder(storage.folder()) as own:
                engine = _engine(own)
                with _failing(staged, engine):
                    added = _put_in_place(staged, engine, at_start=at_start)
        _finish(staged)
        kept = postgresql.safety_copy() if connection.vendor == "postgresql" else sqlite.safety_copy()
        logger.warning("%s is restored; the state before is kept in %s", staged.backup_filename, kept)
        return Done(staged.backup_filename, kept, added)


def now(path: Path, name: str, by: str) -> Done:
    """Verify a backup and put it in place at once; raises what :func:`staging.stage` and :func:`apply` do.

    Where it can't be done now, nothing is left staged.
    """
    staged = staging.stage(path, name, by, at_once=True)
    try:
        return apply()
    except BaseException:  # such as Ctrl-C
        with suppress(Conflict):  # somebody else is at it, and will come to its end
            if staging.pending() == staged and not _is_done(staged):
                staging.cancel()
        raise


def _engine(folder: Path) -> Restoring:
    return postgresql.Restoring(folder) if connection.vendor == "postgresql" else sqlite.Restoring(folder)


def _put_in_place(staged: Staged, engine: Restoring, *, at_start: bool) -> int:
    found = staging.described(staged)
    added = _add_files(staged, found)
    connections.close_all()
    with closed():
        engine.load(staged.folder, found)
        engine.prepare(Restoration(staged.id, staged.by, _present()))
        _forget_kept()
        engine.keep()
        added += _add_missing(staged, found)
        connections.close_all()
        engine.swap(at_start=at_start)
        engine.tidy()
    return added


def _is_done(staged: Staged) -> bool:
    """Whether somebody has died over it after the commit."""
    try:
        return collections.is_done(staged.id)
    except (DatabaseError, sqlite3.DatabaseError):
        return False  # there is no table of events yet, or what there is is no database


def _present() -> dict[str, object]:
    """What the new state has to know of the old one: nothing where there is none that could be read."""
    try:
        return restored.present()
    except (DatabaseError, sqlite3.DatabaseError) as fault:
        logger.warning("the state before can't be read, so all API keys of the backup are good: %s", fault)
        return {}
    finally:
        connections.close_all()


@contextmanager
def _failing(staged: Staged, engine: Restoring) -> Iterator[None]:
    """What keeps it from being done for good is written down; what passes leaves it staged."""
    try:
        yield
    except DomainError as fault:
        if fault.status in (Conflict.status, ServiceUnavailable.status):
            raise
        _fail(staged, engine, fault.message, fault)
    except (DatabaseError, sqlite3.Error, OSError) as fault:
        _fail(staged, engine, f"{fault}"[:400], fault)
    finally:
        connections.close_all()


def _fail(staged: Staged, engine: Restoring, why: str, fault: Exception) -> None:
    logger.error("%s was not restored, and nothing was changed: %s", staged.backup_filename, why)
    try:
        engine.give_up()
    except DatabaseError as another:
        logger.warning("what was prepared stays until the next restore: %s", another)
    staging.failed(staged, why)
    raise Failed(f"The backup was not restored, and nothing was changed: {why}") from fault


# --- files ---------------------------------------------------------------------------------------


def _add_files(staged: Staged, found: Contents) -> int:
    """Have the storage hold every file of the backup, byte for byte; answers how many it had not."""
    store, added = files.current(), 0
    for member in found.files:
        path = member.name.removeprefix(archive.FILES)
        try:
            for _ in verifying.compared(store.pieces(path, 0, member.size + 1), member):
                pass
        except (FileNotFoundError, archive.BadArchive):
            with (staged.folder / member.name).open("rb") as file:
                store.new(path, file)
            added += 1
    return added


def _add_missing(staged: Staged, found: Contents) -> int:
    """What the old state has removed meanwhile, which had no use for it."""
    store, added = files.current(), 0
    for member in found.files:
        path = member.name.removeprefix(archive.FILES)
        try:
            store.size(path)
        except FileNotFoundError:
            with (staged.folder / member.name).open("rb") as file:
                store.new(path, file)
            added += 1
    return added


def kept_files() -> Path:
    """Where files of the state before go that the restored one does not have."""
    return Path(settings.MEDIA_ROOT).with_name(KEPT)


def _forget_kept() -> None:
    """Those of an earlier restore go with the copy of the database that they belong to."""
    shutil.rmtree(kept_files(), ignore_errors=True)


def _finish(staged: Staged) -> None:
    """After the commit, as often as it takes: nothing of this changes what is restored."""
    try:
        _move_strays()
    except (OSError, DatabaseError, ServiceUnavailable) as fault:
        logger.warning("files that only the state before has stay among the others: %s", fault)
    staging.remove()


def _move_strays() -> None:
    """Files that only the state before had leave the folder of files; in a bucket they stay where they are."""
    try:
        default_storage.path("")
    except NotImplementedError:
        return
    store, batch = files.current(), []
    for path, _ in store.walk():
        if not path.startswith(("thumbs/", ".")):
            batch.append(path)
        if len(batch) >= _PIECE:
            _move(batch)
            batch = []
    _move(batch)


def _move(paths: list[str]) -> None:
    names = {path: path.rsplit("/", 1)[-1] for path in paths}
    known = set(StoredFile.objects.filter(name__in=names.values()).values_list("name", flat=True))
    for path, name in names.items():
        if name in known or path != facts.path_of(name):
            continue
        source = Path(default_storage.path(path))
        target = kept_files() / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
