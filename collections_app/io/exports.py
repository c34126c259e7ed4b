"""Records out: what a caller may list, as CSV, JSON or Excel.

The whole list belongs to one state of the database, and is read and written in
pieces: a million records take no more memory than a thousand.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, Any

import orjson

from collections_app.io import cells
from collections_app.io.workbooks import EXCEL_CHARACTERS, EXCEL_ROWS
from collections_app.records import query, read
from collections_app.records.codec import Codec, Record, codec, visible_fields
from collections_app.records.operations import Call
from collections_app.records.selecting import check as check_selection
from collections_app.rules import RuleEnv
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import caching
from core import database
from core.errors import BadRequest, NotFound, ValidationFailed

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PARAMETERS = frozenset({"filter", "sort", "search", "fields", "limit"})
PIECE = 1000  # records
MAX_LIMIT = 10**9
_FILE_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """An answer that is streamed; ``chunks`` has to be closed."""

    filename: str
    media_type: str
    chunks: Iterator[bytes]


def export(call: Call, name: str, kind: str) -> Export:
    """All records of the collection that the caller may list, filtered and sorted, as ``csv``, ``json`` or ``xlsx``.

    Whatever is wrong is raised before the first byte: NotFound, Unauthorized, Forbidden, BadRequest, ValidationFailed.
    """
    if kind not in MEDIA_TYPES:
        raise NotFound(f"There is no export as {kind[:20]!r}; there are {', '.join(MEDIA_TYPES)}.")
    source = _Source(call, name, kind)
    try:
        chunks: Iterator[bytes]
        if kind == "xlsx":
            chunks = _FileChunks(_excel(source))
            source.close()
        else:
            chunks = _Chunks(source, _csv if kind == "csv" else _json)
    except BaseException:
        source.close()
        raise
    return Export(f"{source.collection.name}_export.{kind}", MEDIA_TYPES[kind], chunks)


class _Source:
    """The records of one list, read in pieces on a session of its own."""

    def __init__(self, call: Call, name: str, kind: str) -> None:
        self._session = database.new_session()
        try:
            self._session.begin()
            with self._session.at_work():
                registry.with_schema(lambda snapshot: self._prepare(call, name, kind, snapshot), reads=True)
        except BaseException:
            self._session.close()
            raise

    def _prepare(self, call: Call, name: str, kind: str, snapshot: Snapshot) -> None:
        self.collection = snapshot.get(name)
        wanted = call.wanted(self.collection, PARAMETERS)
        env = call.env(wanted)
        self.fields = _chosen(self.collection, kind, wanted, env, snapshot)
        self._reader: Codec = codec(self.collection, self.fields)
        self._sql, self._params = read.whole_list(self.collection, wanted, env, snapshot, self._reader.columns)
        limit = wanted.raw.get("limit", "")
        if limit:
            if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:12]) <= MAX_LIMIT):
                raise ValidationFailed(fields={"limit": [f"Must be a whole number from 1 to {MAX_LIMIT:,}."]})
            self._sql += f" LIMIT {int(limit)}"

    def pieces(self) -> Iterator[list[Record]]:
        # What a view has to do for its rows is not for us to know, and may be without an end.
        is_view = self.collection.type == "view"
        with caching.limited(self._session) if is_view else nullcontext():
            for rows in self._session.stream(self._sql, self._params, PIECE, patient=not is_view):
                with self._session.at_work():  # what lives in other tables is read beside
                    records = self._reader.records(rows)
                yield records

    def close(self) -> None:
        self._session.end()
        self._session.close()


def _chosen(
    collection: CollectionDef, kind: str, wanted: query.Query, env: RuleEnv, snapshot: Snapshot
) -> tuple[Field, ...]:
    """The fields of the file: of JSON as in every answer, of a table those that tell records apart."""
    readable = visible_fields(collection, admin=env.principal.is_admin)
    fields = readable if kind == "json" else tuple(field for field in readable if field.storage != "name")
    if wanted.fields is None:
        return fields
    if wanted.fields.excerpts or wanted.fields.expand:
        raise BadRequest("fields: an export has whole fields of the collection itself.")
    check_selection(wanted.fields, collection, {}, env, snapshot)
    if wanted.fields.everything:
        return fields
    # The id too: it is what a row can be found again by.
    return tuple(field for field in fields if field.name in wanted.fields.names or field.name == "id")


class _Chunks:
    """An iterator that lets go of its source when it is closed, whether it was begun or not."""

    def __init__(self, source: _Source, write: Any) -> None:
        self._source = source
        self._written: Iterator[bytes] = write(source)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._written)

    def close(self) -> None:
        self._written.close()  # type: ignore[attr-defined]
        self._source.close()


class _FileChunks:
    """A file, piece by piece; it is gone when this is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = self._file.read(_FILE_PIECE)
        if not piece:
            raise StopIteration
        return piece

    def close(self) -> None:
        self._file.close()


def _csv(source: _Source) -> Iterator[bytes]:
    """RFC 4180, in UTF-8."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    rows_of = cells.row_writer(source.fields)
    writer.writerow([field.name for field in source.fields])
    for records in source.pieces():
        writer.writerows(rows_of(records))
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _json(source: _Source) -> Iterator[bytes]:
    """A list of records, one a line."""
    begun = False
    for records in source.pieces():
        lines = b",\n".join(map(orjson.dumps, records))
        yield (b",\n" if begun else b"[\n") + lines
        begun = True
    yield b"\n]\n" if begun else b"[]\n"


def _excel(source: _Source) -> IO[bytes]:
    """A workbook of one sheet, as a file, for a zip begins at its end. ValidationFailed for what Excel can't hold."""
    from openpyxl import Workbook  # 15 MB, which few need
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet(source.collection.name[:31])
    sheet.append([field.name for field in source.fields])
    rows_of = cells.row_writer(source.fields)
    count = 1

    def cell(value: Any, record: Record) -> Any:
        if isinstance(value, float) and float(f"{value:.16g}") != value:
            value = repr(value)  # a number is written with 16 digits
        if not isinstance(value, str):
            return value
        if len(value) > EXCEL_CHARACTERS:
            raise ValidationFailed(
                f"A cell of Excel holds {EXCEL_CHARACTERS:,} characters; the record {record['id']!r} has more. "
                "Leave that field out with fields=, or take csv or json."
            )
        made = WriteOnlyCell(sheet, cells.escaped(value))
        made.data_type = "s"  # never a formula
        return made

    for records in source.pieces():
        count += len(records)
        if count > EXCEL_ROWS:
            raise ValidationFailed(
                f"A sheet of Excel holds {EXCEL_ROWS - 1:,} records. Narrow the list with filter= or limit=, "
                "or take csv or json."
            )
        for record, row in zip(records, rows_of(records), strict=True):
            sheet.append([cell(value, record) for value in row])
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is read while it is sent, and closed then
    book.save(file)
    file.seek(0)
    return file
