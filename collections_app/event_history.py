"""What the event log knows about one record."""

from __future__ import annotations

from collections_app import dialects
from collections_app.events import Logged

_LAST = {
    "sqlite": "SELECT id, type, collection, collection_id, record_id, revision, +data, +previous, actor, +timestamp"
    " FROM events WHERE collection_id = ? AND record_id = ? ORDER BY id DESC LIMIT 1",
    "postgresql": "SELECT id, type, collection, collection_id, record_id, revision, data::text, previous::text, actor,"
    " timestamp FROM events WHERE collection_id = %s AND record_id = %s ORDER BY id DESC LIMIT 1",
}


def last_of(collection_id: str, record_id: str) -> Logged | None:
    """The last that happened to the record, as far as the log reaches back."""
    dialect = dialects.current()
    found = dialect.rows(_LAST[dialect.name], [collection_id, record_id])
    return Logged(found[0]) if found else None
