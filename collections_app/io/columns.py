"""Columns of a file as fields of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson

from collections_app.io.options import Options
from collections_app.io.reading import NumberedRow
from collections_app.schema.definition import CollectionDef, Field
from core.errors import ValidationFailed

NO_FILES = "Files can't be imported. Leave the column out, or empty, and send them as multipart/form-data."
IGNORED = frozenset({"id", "created", "updated", "collection"})


class Columns:
    """Which fields the columns of one file mean, for one caller."""

    def __init__(self, collection: CollectionDef, chosen: Options, kind: str, *, admin: bool) -> None:
        self._collection, self._options, self._kind, self._admin = collection, chosen, kind, admin
        self.match = self._matched(chosen.match) if chosen.match else None
        self._fields: dict[str, str] = {}  # of the columns; empty where a column is not the caller's affair
        self._plain: dict[str, str] = {}  # of columns whose cells are values as they are

    def _matched(self, name: str) -> Field:
        found = self._collection.by_name.get(name)
        if found is None or found.secret or (found.hidden and not self._admin):
            raise ValidationFailed(fields={"match": [f"There is no field {name[:80]!r}."]})
        if found.id != "id" and found.id not in self._collection.unique_ids:
            raise ValidationFailed(fields={"match": [f"{name!r} must be id, or a unique field."]})
        return found

    def check(self, names: Sequence[str]) -> None:
        """That all columns are fields; ValidationFailed with all that are none."""
        problems: dict[str, list[str]] = {}
        for name in names:
            try:
                self._field_of(name)
            except ValidationFailed as error:
                problems |= error.fields
        if problems:
            raise ValidationFailed(fields=problems)

    def checked(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
        """The rows, of which the first says its columns where no header does; ValidationFailed."""
        those = iter(rows)
        for number, row in islice(those, 1):
            self.data(row)
            yield number, row
        yield from those

    def data(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row by the fields' names; ValidationFailed where a column is no field."""
        plain = self._plain
        try:
            return {plain[column]: value for column, value in row.items()}
        except KeyError:
            return dict(pair for column, value in row.items() for pair in self._pair(column, value))

    def _pair(self, column: str, value: Any) -> list[tuple[str, Any]]:
        """The field's name and the value of one cell; nothing where the column is not the caller's affair."""
        name = self._fields.get(column)
        if name is None:
            name = self._fields[column] = self._field_of(column)
        if not name:
            return []
        field = self._collection.by_name[name]
        if field.type == "file":
            if value not in (None, "", "[]", []):
                raise ValidationFailed(fields={column[:100]: [NO_FILES]})
            return []  # the files that a record has stay with it
        if field.value == "json" and self._kind != "json":
            return [(name, _parsed(value) if isinstance(value, str) else value)]
        self._plain[column] = name
        return [(name, value)]

    def _field_of(self, column: str) -> str:
        name = self._options.names.get(column, column)
        if name in IGNORED and not (self.match is not None and name == self.match.name):
            return ""
        field = self._collection.by_name.get(name)
        concealed = field is not None and not self._admin and field.hidden and field.id in self._collection.unique_ids
        if field is None or concealed:
            raise ValidationFailed(
                fields={column[:100]: ["There is no such field. Leave the column out, or say with map= what it is."]}
            )
        return name


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
