"""A backup that somebody has copied over the database while no server ran, as disaster recovery by hand says.

Ours is always in WAL mode, and the database in an archive never is, so the header tells. What a killed server
has left beside the file (``-wal``, ``-shm``) belongs to the database that is gone: SQLite would write it into
the new one.
"""

from __future__ import annotations

import logging

from django.db import connection

from accounts.principals import SYSTEM
from backups import storage
from backups.restoring import sqlite
from core import ids, restored
from core.restored import Restoration

MARKER = ".copied_by_hand"  # from before the database is opened, which changes its header, until it is settled
_WRITE_VERSION, _READ_VERSION = 18, 19  # bytes of the header: 1 for a rollback journal, 2 for WAL

logger = logging.getLogger("fastcms.backups")


def look() -> None:
    """Before anybody opens the database, one process at a time."""
    if connection.vendor != "sqlite" or not is_copied():
        return
    database = sqlite.live()
    logger.warning("%s is a copy from a backup; what is left of the database before is removed", database)
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    (storage.folder() / MARKER).touch()


def is_copied() -> bool:
    try:
        with sqlite.live().open("rb") as file:
            header = file.read(_READ_VERSION + 1)
    except FileNotFoundError:
        return False
    return header[_WRITE_VERSION:] == b"\x01\x01"


def settle() -> None:
    """After the migrations: what does not come back with a backup."""
    marker = storage.folder() / MARKER
    if not marker.exists():
        return
    restored.settle(Restoration(ids.new_id(), SYSTEM.key))
    marker.unlink()
    logger.warning("the copied database is settled: everybody has to sign in again, and no webhook is sent again")
