"""Records out: what a caller may list, as CSV, JSON or Excel.

The whole list belongs to one state of the database, and is read and written in
pieces: a million records take no more memory than a thousand.
"""

from __future__ import annotations

import csv
import io
import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, Any, ClassVar
from weakref import WeakSet

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
from core.errors import BadRequest, NotFound, ServiceUnavailable, ValidationFailed

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
PARAMETERS = frozenset({"filter", "sort", "search", "fields", "limit"})
PIECE = 1000  # records
MAX_LIMIT = 10**9
MAX_EXACT = 10**15  # numbers of Excel have 15 digits
AT_ONCE, AT_ONCE_OF_ONE = 6, 3  # exports under way, and of one caller
AT_ONCE_OF_EXCEL = 2  # which are made before the first byte
_FILE_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """An answer that is streamed; ``chunks`` has to be closed."""

    filename: str
    media_type: str
    chunks: _Chunks


def export(call: Call, name: str, kind: str) -> Export:
    """All records of the collection that the caller may list, filtered and sorted, as ``csv``, ``json`` or ``xlsx``.

    Whatever is wrong is raised before the first byte: NotFound, Unauthorized, Forbidden, BadRequest, ValidationFailed,
    ServiceUnavailable where too many are under way.
    """
    if kind not in MEDIA_TYPES:
        raise NotFound(f"There is no export as {kind[:20]!r}; there are {', '.join(MEDIA_TYPES)}.")
    turn = _Turn(call.principal.key if call.principal.is_authenticated else call.caller, kind)
    source = None
    try:
        source = _Source(call, name, kind)
        if kind == "xlsx":
            file = _excel(source)
            source.close()
            chunks = _Chunks(_pieces_of(file), file, turn)
        else:
            chunks = _Chunks((_csv if kind == "csv" else _json)(source), source, turn)
            chunks.begin()
    except BaseException:
        if source is not None:
            source.close()
        turn.close()
        raise
    return Export(f"{source.collection.name}_export.{kind}", MEDIA_TYPES[kind], chunks)


class _Turn:
    """One of the exports that may be under way in this process, from its first question to its last byte.

    Each holds a connection, a transaction and a thread for as long as its reader likes. ServiceUnavailable
    where there are too many.
    """

    _lock = threading.Lock()
    _under_way: ClassVar[WeakSet[_Turn]] = WeakSet()  # what nobody holds any more is over too

    def __init__(self, caller: str, kind: str) -> None:
        self._caller, self._kind = caller, kind
        with self._lock:
            others = set(self._under_way)
            if (
                len(others) >= AT_ONCE
                or sum(other._caller == caller for other in others) >= AT_ONCE_OF_ONE
                or (kind == "xlsx" and sum(other._kind == kind for other in others) >= AT_ONCE_OF_EXCEL)
            ):
                raise ServiceUnavailable("Too many exports are under way. Please try again later.", retry_after=10)
            self._under_way.add(self)

    def close(self) -> None:
        with self._lock:
            self._under_way.discard(self)


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
    """An iterator that lets go of what it reads from when it is closed, whether it was begun or not."""

    def __init__(self, written: Generator[bytes, None, None], *held: _Source | _Turn | IO[bytes]) -> None:
        self._written, self._held = written, held
        self._first: bytes | None = None

    def begin(self) -> None:
        """Make the first one: what is wrong with the list is found out now."""
        self._first = next(self._written)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._written) if first is None else first

    def close(self) -> None:
        self._written.close()
        for one in self._held:
            one.close()


def _pieces_of(file: IO[bytes]) -> Generator[bytes, None, None]:
    while piece := file.read(_FILE_PIECE):
        yield piece


def _csv(source: _Source) -> Generator[bytes, None, None]:
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


def _json(source: _Source) -> Generator[bytes, None, None]:
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
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MAX_EXACT:
            value = str(value)
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

    try:
        for records in source.pieces():
            count += len(records)
            if count > EXCEL_ROWS:
                raise ValidationFailed(
                    f"A sheet of Excel holds {EXCEL_ROWS - 1:,} records. Narrow the list with filter= or limit=, "
                    "or take csv or json."
                )
            for record, row in zip(records, rows_of(records), strict=True):
                sheet.append([cell(value, record) for value in row])
    except BaseException:
        sheet.close()
        sheet._writer.cleanup()  # its file, which saving would have taken away
        raise
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is read while it is sent, and closed then
    book.save(file)
    file.seek(0)
    return file
