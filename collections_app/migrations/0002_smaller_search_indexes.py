"""Search indexes on SQLite get the form of schema/search_index.py, from the texts that they hold already."""

from __future__ import annotations

import re
from typing import Any

from django.db import migrations


def rebuild(apps: Any, editor: Any) -> None:
    if editor.connection.vendor != "sqlite":
        return
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name LIKE 'fts\\_%' ESCAPE '\\'")
        for index, sql in cursor.fetchall():
            found = re.search(r"USING fts5\(id UNINDEXED((?:, \w+)+), tokenize", sql, re.IGNORECASE)
            if not found:
                continue
            fields = found[1].removeprefix(", ").split(", ")
            columns = ", ".join(fields)
            old, new = (", ".join(f"{row}.{field}" for field in fields) for row in ("old", "new"))
            enter = f"INSERT INTO {index} (rowid, {columns}) VALUES (new.n, {new});"
            leave = f"INSERT INTO {index} ({index}, rowid, {columns}) VALUES ('delete', old.n, {old});"
            cursor.execute(f"CREATE TABLE {index}_texts (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, {columns})")
            cursor.execute(f"INSERT INTO {index}_texts (id, {columns}) SELECT id, {columns} FROM {index}")
            cursor.execute(f"DROP TABLE {index}")
            cursor.execute(
                f"CREATE VIRTUAL TABLE {index} USING fts5({columns}, content='{index}_texts', content_rowid='n',"
                " columnsize=0, detail=none, tokenize='trigram case_sensitive 1')"
            )
            cursor.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
            cursor.execute(f"CREATE TRIGGER {index}_insert AFTER INSERT ON {index}_texts BEGIN {enter} END")
            cursor.execute(f"CREATE TRIGGER {index}_update AFTER UPDATE ON {index}_texts BEGIN {leave} {enter} END")
            cursor.execute(f"CREATE TRIGGER {index}_delete AFTER DELETE ON {index}_texts BEGIN {leave} END")


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0001_collections_events_and_keys")]
    operations = [migrations.RunPython(rebuild, migrations.RunPython.noop)]
