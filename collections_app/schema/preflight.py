"""What stands in the way of a schema change: told with a count and examples."""

from __future__ import annotations

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema import field_values, indexes
from collections_app.schema.definition import CollectionDef, Field
from core.errors import Conflict

_EXAMPLES = 5


def _has_value(field: Field) -> str:
    name, dialect = quote(field.column), dialects.current()
    if field.value == "bool":
        return f"{name} = {dialect.true}"
    if field.storage == "list":
        return f"{name} IS NOT NULL AND {dialect.list_length(name)} > 0"
    if field.value == "text" and not field.target:
        return f"{name} IS NOT NULL AND {name} <> ''"
    return f"{name} IS NOT NULL"


def refuse_loss(collection: CollectionDef, field: Field) -> None:
    """Conflict if the field that is about to go has values."""
    dialect = dialects.current()
    if field.storage == "through":
        values = list(field_values.read_links(field))
        count, rows = len(values), values[:_EXAMPLES]
    else:
        has = _has_value(field)
        table = quote(collection.table)
        count = dialect.execute(f"SELECT count(*) FROM {table} WHERE {has}").fetchone()[0]
        column = dialect.raw(quote(field.column))
        sql = f"SELECT id, {column} FROM {table} WHERE {has} ORDER BY id LIMIT {_EXAMPLES}"
        load = field.kind.loader(field, dialect.name)
        rows = [(rid, load(raw) if load else raw) for rid, raw in dialect.execute(sql).fetchall()]
    if count:
        raise Conflict(
            f"Removing {field.name!r} would lose {count} value{'s' if count > 1 else ''}. "
            "Repeat with ?allow_data_loss=true to remove it anyway.",
            extra={"count": count, "examples": [
                {"id": record_id, "value": None if field.secret else value} for record_id, value in rows
            ]},
        )  # fmt: skip


def require_values(old: CollectionDef, new: CollectionDef) -> None:
    """Conflict if records lack what becomes required."""
    dialect = dialects.current()
    for field in new.own_fields:
        before = old.by_id.get(field.id)
        if not field.required or field.value == "bool" or (before is not None and before.required):
            continue
        table = quote(new.table)
        if field.storage == "through":
            missing = f"id NOT IN (SELECT source_id FROM {quote(field.through)})"
        else:
            missing = f"NOT ({_has_value(field)})"
        count = dialect.execute(f"SELECT count(*) FROM {table} WHERE {missing}").fetchone()[0]
        if count:
            sql = f"SELECT id FROM {table} WHERE {missing} ORDER BY id LIMIT {_EXAMPLES}"
            examples = [{"id": row[0], "value": None} for row in dialect.execute(sql).fetchall()]
            raise Conflict(
                f"{field.name!r} can't be required: {count} record{'s have' if count > 1 else ' has'} no value. "
                "Fill them first, or add the field with a default.",
                extra={"count": count, "examples": examples},
            )


def require_unique(new: CollectionDef) -> None:
    """Conflict if values repeat that are to be unique; nothing becomes NULL there."""
    dialect = dialects.current()
    here = indexes.existing(new.table, dialect.name)
    for name, index in indexes.wanted(new, dialect.name, trigrams=False).items():
        if not index.unique or name in here:
            continue
        columns = [quote(field.column) for field in index.fields]
        for field in index.fields:
            if len(columns) == 1 and field.value == "text" and not field.target:
                # Many records may have nothing in a unique field, so nothing is NULL there.
                dialect.execute(f"UPDATE {quote(new.table)} SET {columns[0]} = NULL WHERE {columns[0]} = ''")
        given = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        sql = (
            f"SELECT {', '.join(columns)}, count(*) FROM {quote(new.table)} WHERE {given}"
            f" GROUP BY {', '.join(columns)} HAVING count(*) > 1"
        )
        doubles = dialect.execute(sql).fetchall()
        if doubles:
            names = ", ".join(field.name for field in index.fields)
            raise Conflict(
                f"{names} can't be unique: {len(doubles)} value{'s stand' if len(doubles) > 1 else ' stands'} "
                "in more than one record.",
                extra={"count": len(doubles), "examples": [
                    {"value": row[0] if len(columns) == 1 else list(row[:-1]), "records": row[-1]}
                    for row in doubles[:_EXAMPLES]
                ]},
            )  # fmt: skip
