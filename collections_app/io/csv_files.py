"""CSV as rows: RFC 4180 and its relatives, whatever wrote them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import IO

from collections_app.io import cells
from collections_app.io.headers import Check, header
from core.errors import BadRequest

MAX_CELL = 10_000_000  # characters
MAX_ROW = 20_000_000  # characters
_DELIMITERS = ",;\t|"
_PROBE = 64 * 1024


class _Lines:
    """The lines of a text. However many of them a row takes, they are bounded: ``begin`` is called with each row."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._left = text, MAX_ROW

    def begin(self) -> None:
        self._left = MAX_ROW

    def __iter__(self) -> Iterator[str]:
        readline = self._text.readline
        while line := readline(MAX_ROW):
            self._left -= len(line)
            if self._left <= 0:
                raise BadRequest(f"Invalid CSV format: a row has more than {MAX_ROW:,} characters.")
            yield line


def read(file: IO[bytes], check: Check) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by their number and columns' names. Cells that stand empty are left out."""
    text = io.TextIOWrapper(file, encoding=_encoding(file), newline="")
    try:
        head = text.read(_PROBE)
        text.seek(0)
        csv.field_size_limit(MAX_CELL)
        lines = _Lines(text)
        reader = csv.reader(lines, delimiter=_delimiter(head), strict=True)
        try:
            first = next(reader, None)
            if first is None:
                raise BadRequest("Invalid CSV format: the file is empty.")
            names = header(first)
            check(names)
            for number, row in enumerate(reader, 2):
                lines.begin()
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
        if not file.closed:
            text.detach()  # the file is not ours to close


def _encoding(file: IO[bytes]) -> str:
    """By its byte order mark, or where the NULs of UTF-16 stand; UTF-8 where all of it is that, else Windows' own."""
    start = file.read(_PROBE)
    file.seek(0)
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(start) > 1 and start[0] and not start[1] and start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if len(start) > 1 and start[1] and not start[0] and start[::2].count(0) > len(start) // 4:
        return "utf-16-be"
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
