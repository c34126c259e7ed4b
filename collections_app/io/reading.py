"""Files as rows: CSV, JSON and Excel, read one row at a time, whatever wrote them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Generator, Mapping
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from collections_app.io import cells
from core.errors import BadRequest, ValidationFailed
from core.json import loads

KINDS = ("csv", "json", "xlsx")
MAX_COLUMNS = 1000
MAX_CELL = 10_000_000  # characters
MAX_NESTS = 10_000_000  # lists and objects of a JSON file, records among them
MAX_UNZIPPED = 2 * 1024**3  # bytes of a workbook
_DELIMITERS = ",;\t|"
_PROBE = 64 * 1024

# The row's number in the file, where the header is row 1, and its cells by their column's name.
NumberedRow = tuple[int, Mapping[str, Any]]


Check = Callable[[list[str]], None]


def _nothing(names: list[str]) -> None:
    """Any columns will do."""


def rows(file: IO[bytes], kind: str, check: Check = _nothing) -> Generator[NumberedRow, None, None]:
    """The rows of a file. ``check`` is called with the names of the columns before the first row, if it has a header.

    Raises BadRequest for what is no such file, ValidationFailed for a header that can't be one.
    """
    return _READERS[kind](file, check)


def count(file: IO[bytes], kind: str) -> int | None:
    """How many rows :func:`rows` would find; None where finding out takes as long as reading them."""
    file.seek(0)
    return None if kind == "xlsx" else sum(1 for _ in rows(file, kind))


def _csv(file: IO[bytes], check: Check) -> Generator[NumberedRow, None, None]:
    """RFC 4180 and its relatives. Cells that stand empty are left out."""
    text = io.TextIOWrapper(file, encoding=_encoding(file), newline="")
    try:
        head = text.read(_PROBE)
        text.seek(0)
        csv.field_size_limit(MAX_CELL)
        reader = csv.reader(text, delimiter=_delimiter(head), strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise BadRequest("Invalid CSV format: the file is empty.")
            names = _header(header)
            check(names)
            for number, row in enumerate(reader, 2):
                if len(row) > len(names) and any(row[len(names) :]):
                    raise BadRequest(f"Invalid CSV format: row {number} has {len(row)} cells, the header {len(names)}.")
                found = {
                    name: cell if cell[0] != "'" else cells.unguarded(cell)
                    for name, cell in zip(names, row, strict=False)
                    if cell
                }
                if found:
                    yield number, found
        except csv.Error as fault:
            raise BadRequest(f"Invalid CSV format: line {reader.line_num}: {fault}.") from fault
        except UnicodeDecodeError as fault:
            raise BadRequest("Invalid CSV format: the text is neither UTF-8 nor UTF-16.") from fault
    finally:
        text.detach()


def _encoding(file: IO[bytes]) -> str:
    """By its byte order mark; UTF-8 where all of it is that, else the Latin-1 of Windows."""
    start = file.read(4)
    file.seek(0)
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    decoder = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        while decoder.read(_PROBE):
            pass
    except UnicodeDecodeError:
        return "cp1252" if _is_windows(file) else "latin-1"
    finally:
        decoder.detach()
        file.seek(0)
    return "utf-8"


def _is_windows(file: IO[bytes]) -> bool:
    """Whether the five bytes are absent that Windows-1252 has no signs for."""
    file.seek(0)
    while piece := file.read(_PROBE):
        if any(byte in piece for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")):
            return False
    return True


def _delimiter(head: str) -> str:
    """The one that stands most often in the header outside of quotes; a comma where none does."""
    line = "".join(head.split('"')[::2]).lstrip("\r\n").splitlines()
    first = line[0] if line else ""
    best = max(_DELIMITERS, key=first.count)
    return best if first.count(best) else ","


def _header(raw: list[Any]) -> list[str]:
    names = ["" if name is None else str(name).strip() for name in raw]
    while names and not names[-1]:
        names.pop()
    problems: dict[str, list[str]] = {}
    if not names:
        raise ValidationFailed(fields={"file": ["The first row must name the fields."]})
    if len(names) > MAX_COLUMNS:
        raise ValidationFailed(fields={"file": [f"At most {MAX_COLUMNS} columns."]})
    for number, name in enumerate(names, 1):
        if not name:
            problems["file"] = [f"Column {number} has no name."]
        elif names.count(name) > 1:
            problems[name[:100]] = ["This column stands more than once."]
    if problems:
        raise ValidationFailed(fields=problems)
    return names


def _json(file: IO[bytes], check: Check) -> Generator[NumberedRow, None, None]:
    """A list of records, or an object whose ``items`` are one; the first is row 1. One record a line will do too."""
    raw = file.read()
    start = raw.lstrip()[:1]
    if start == b"{" and b"\n{" in raw:
        parsed: Any = [loads(line) for line in raw.splitlines() if line.strip()]
    else:
        parsed = loads(raw, MAX_NESTS)
    if isinstance(parsed, dict):
        parsed = parsed.get("items", parsed.get("records"))
    if not isinstance(parsed, list):
        raise BadRequest("Invalid JSON format: expected a list of records.")
    for number, row in enumerate(parsed, 1):
        if not isinstance(row, dict):
            raise BadRequest(f"Invalid JSON format: row {number} is no object.")
        yield number, row


def _excel(file: IO[bytes], check: Check) -> Generator[NumberedRow, None, None]:
    """The first sheet of a workbook. Cells that stand empty are left out."""
    from openpyxl import load_workbook  # 15 MB, which few need

    try:
        with ZipFile(file) as archive:
            if sum(one.file_size for one in archive.infolist()) > MAX_UNZIPPED:
                raise BadRequest("Invalid Excel format: the workbook is too large.")
        file.seek(0)
        book = load_workbook(file, read_only=True, data_only=True)
    except (BadZipFile, KeyError, ValueError, OSError) as fault:
        raise BadRequest("Invalid Excel format: this is no .xlsx workbook.") from fault
    try:
        sheet = book.worksheets[0] if book.worksheets else None
        found = sheet.iter_rows(values_only=True) if sheet is not None else iter(())
        header = next(found, None)
        if header is None:
            raise BadRequest("Invalid Excel format: the first sheet is empty.")
        names = _header(list(header))
        check(names)
        for number, row in enumerate(found, 2):
            cut = zip(names, row, strict=False)
            given = {name: _excel_cell(value) for name, value in cut if value not in (None, "")}
            if given:
                yield number, given
    finally:
        book.close()


def _excel_cell(value: Any) -> Any:
    if isinstance(value, str):
        return cells.unguarded(cells.unescaped(value))
    if isinstance(value, (bool, int, float)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


_READERS: dict[str, Callable[[IO[bytes], Check], Generator[NumberedRow, None, None]]] = {
    "csv": _csv,
    "json": _json,
    "xlsx": _excel,
}
