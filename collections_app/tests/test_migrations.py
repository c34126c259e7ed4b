"""What databases of earlier versions become."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from collections_app import dialects
from collections_app.schema import consistency, registry, search_index

pytestmark = pytest.mark.engine


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL keeps its own indexes")
def test_search_indexes_of_the_first_form_are_rebuilt_with_their_texts(make_collection: Any, records: Any) -> None:
    make_collection("notes", title={"type": "text"}, body={"type": "text"}, options={"search": ["title", "body"]})
    notes = records("notes")
    first = notes.create(title="Straße", body="one")
    second = notes.create(title="Allee", body=None)
    collection = registry.latest().get("notes")
    # As it was: one FTS5 table with the ids, the texts and their positions.
    execute, index = dialects.current().execute, search_index.table(collection)
    search_index.drop(collection)
    columns = ", ".join(collection.search)
    execute(f"CREATE VIRTUAL TABLE {index} USING fts5(id UNINDEXED, {columns}, tokenize='trigram case_sensitive 1')")
    for number, record in enumerate((first, second)):
        texts = [None if record[name] is None else dialects.fold(record[name]) for name in ("title", "body")]
        execute(f"INSERT INTO {index} (rowid, id, {columns}) VALUES (?, ?, ?, ?)", [-5 * number, record["id"], *texts])
    assert any("search index" in sentence for sentence in consistency.differences())

    migration = import_module("collections_app.migrations.0002_smaller_search_indexes")
    with connection.schema_editor() as editor:
        migration.rebuild(apps, editor)
        migration.rebuild(apps, editor)  # what has the new form is left alone

    assert consistency.differences() == []
    execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
    assert notes.values("id", "search=strass") == [first["id"]]
    notes.update(first["id"], {"title": "Weg"})
    notes.delete(second["id"])
    assert notes.items("search=strass") == notes.items("search=allee") == []
    assert notes.values("id", "search=weg") == [first["id"]]
