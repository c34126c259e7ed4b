"""The event log: every committed change is one row, written in the change's own transaction.

Writers call :func:`append` inside their transaction. Whoever wants to know
reads the table by increasing id and connects to :data:`appended`, which is only
a wake-up: a listener that missed it still finds the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db import transaction
from django.dispatch import Signal

from collections_app import dialects

# Sent after commit, without arguments: there are new rows in the log.
appended = Signal()


@dataclass(frozen=True, slots=True)
class Change:
    """One change to be logged. ``data`` and ``previous`` are whole records, hidden fields
    included: who may see what is decided when somebody reads the log."""

    type: str
    collection: str
    collection_id: str
    record_id: str
    data: Mapping[str, Any] | None
    previous: Mapping[str, Any] | None = None


def append(changes: Sequence[Change], actor: str, moment: datetime) -> None:
    """Write the changes to the log; must run inside the transaction that makes them."""
    if not changes:
        return
    dialect = dialects.current()
    mark = dialect.placeholder
    timestamp = dialect.moment(moment)
    dialect.executemany(
        "INSERT INTO events (type, collection, collection_id, record_id, data, previous, actor, timestamp)"
        f" VALUES ({', '.join([mark] * 8)})",
        [
            (
                change.type,
                change.collection,
                change.collection_id,
                change.record_id,
                _dump(change.data),
                _dump(change.previous),
                actor,
                timestamp,
            )
            for change in changes
        ],
    )
    # Robust: what is committed has succeeded, whatever a listener makes of it.
    transaction.on_commit(_wake, robust=True)


def _dump(record: Mapping[str, Any] | None) -> str | None:
    return None if record is None else orjson.dumps(record).decode()


def _wake() -> None:
    appended.send(sender=None)
