"""Columns of a file as fields of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from collections_app.io.options import Options
from collections_app.io.reading import NumberedRow
from collections_app.schema.definition import CollectionDef, Field
from core.errors import BadRequest, ValidationFailed
from core.json import loads

NO_FILES = "Files can't be imported. Leave the column out, or empty, and send them as multipart/form-data."
IGNORED = frozenset({"id", "created", "updated", "collection"})


class InvalidCell(Exception):
    """What stands in one cell is no value; ``field`` and a ``sentence`` for whoever sent it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field, self.sentence = field, sentence


class Columns:
    """Which fields the columns of one file mean, for one caller."""

    def __init__(self, collection: CollectionDef, chosen: Options, kind: str, *, admin: bool) -> None:
        self._collection, self._options, self._kind, self._admin = collection, chosen, kind, admin
        self.match = self._matched(chosen.match) if chosen.match else None
        self._fields: dict[str, str] = {}  # of the columns; empty where a column is not the caller's affair
        self._meant: dict[str, str] = {}  # the column of each field
        self._plain: dict[str, str] = {}  # of columns whose cells are values as they are

    def _matched(self, name: str) -> Field:
        found = self._collection.by_name.get(name)
        if found is None or found.secret or (found.hidden and not self._admin):
            raise ValidationFailed(fields={"match": [f"There is no field {name[:80]!r}."]})
        if found.id != "id" and found.id not in self._collection.unique_ids:
            raise ValidationFailed(fields={"match": [f"{name!r} must be id, or a unique field."]})
        return found

    def check(self, names: Sequence[str]) -> None:
        """That these are all columns, and fields; ValidationFailed with all that is wrong."""
        problems: dict[str, list[str]] = {}
        for name in names:
            try:
                self._name_of(name)
            except ValidationFailed as error:
                problems |= error.fields
        absent = [column for column in self._options.names if column not in names]
        if absent:
            problems["map"] = [f"The file has no column {absent[0][:80]!r}."]
        if not problems:
            self.check_key()
        if problems:
            raise ValidationFailed(fields=problems)

    def check_key(self) -> None:
        """That some column tells which records the rows are about, where they are to be told; ValidationFailed."""
        if self.match is not None and self.match.name not in self._meant:
            raise ValidationFailed(fields={"match": [f"The file has no column for {self.match.name!r}."]})

    def checked(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
        """The rows, which say their columns where no header does; ValidationFailed."""
        known = self._fields
        for number, row in rows:
            if not row.keys() <= known.keys():
                for column in row:
                    self._name_of(column)
            yield number, row

    def data(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row by the fields' names; ValidationFailed where a column is no field, InvalidCell."""
        plain = self._plain
        try:
            return {plain[column]: value for column, value in row.items()}
        except KeyError:
            return dict(pair for column, value in row.items() for pair in self._pair(column, value))

    def _pair(self, column: str, value: Any) -> list[tuple[str, Any]]:
        """The field's name and the value of one cell; nothing where the column is not the caller's affair."""
        name = self._name_of(column)
        if not name:
            return []
        field = self._collection.by_name[name]
        if field.type == "file":
            if value not in (None, "", "[]", []):
                raise ValidationFailed(fields={column[:100]: [NO_FILES]})
            return []  # the files that a record has stay with it
        if field.value == "json" and self._kind != "json":
            return [(name, _parsed(name, value) if isinstance(value, str) else value)]
        self._plain[column] = name
        return [(name, value)]

    def _name_of(self, column: str) -> str:
        name = self._fields.get(column)
        if name is None:
            name = self._field_of(column)
            other = self._meant.setdefault(name, column) if name else column
            if other != column:
                raise ValidationFailed(
                    fields={column[:100]: [f"This column and {other[:80]!r} both mean the field {name!r}."]}
                )
            self._fields[column] = name
        return name

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
        return "" if field.kind.read_only else name  # the server sets that, as it does what is ignored


def _parsed(name: str, text: str) -> Any:
    """A cell of a JSON field: JSON, or else the text itself, unless it was to be JSON."""
    try:
        return loads(text.encode())
    except BadRequest:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise InvalidCell(name, "Value must be valid JSON.") from None
        return text
