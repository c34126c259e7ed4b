"""What a query would give, before it is anybody's view."""

from __future__ import annotations

from collections import Counter
from time import perf_counter
from typing import Any

from collections_app.records.codec import codec
from collections_app.schema import reading, registry
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import caching, definitions
from collections_app.sql_views.checking import ROW
from collections_app.sql_views.grammar import refusal
from core import database

MAX_ROWS = 100


def preview(text: Any, limit: int) -> dict[str, Any]:
    """``{columns, items, duration_ms}``: the fields of a view of this query, and its first ``limit`` rows.

    Raises ValidationFailed, which points at what is wrong, and BadRequest for what takes too long.
    """

    def unit(snapshot: Snapshot) -> dict[str, Any]:
        raw = {"name": "preview", "type": "view", "view_query": text}
        bare = reading.read(raw, collection_id="preview", resolve_target=lambda target: None)
        view = definitions.define(bare, snapshot)
        reader = codec(view, admin=True)
        checked = definitions.checked_of(view, snapshot)
        order = f' ORDER BY t."{ROW}"' if checked.numbered else ""
        started = perf_counter()
        with database.reading() as session:
            sql = f"SELECT {reader.columns} FROM {checked.sql} AS t{order} LIMIT {limit}"
            try:
                items = reader.records(caching.read(session, sql, ()))
            except caching.Unreadable as error:
                raise refusal(text, error.message) from error
        repeated = [record_id for record_id, times in Counter(item["id"] for item in items).items() if times > 1]
        if repeated:
            raise refusal(text, f"More than one row has the id {repeated[0][:80]!r}; ids are unique.")
        duration = round((perf_counter() - started) * 1000, 1)
        for item in items:
            del item["collection"]
        return {"columns": [_column(field) for field in view.own_fields], "items": items, "duration_ms": duration}

    return registry.with_schema(unit, reads=True)


def _column(field: Any) -> dict[str, Any]:
    """A field of the view without what only a stored one has."""
    entry = field.as_json()
    return {key: entry[key] for key in ("name", "type", field.kind.option_key) if key in entry}
