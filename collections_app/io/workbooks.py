"""Excel workbooks as rows: the first sheet, read as a stream.

A workbook is a zip of XML by strangers, of which a kilobyte may unpack to gigabytes or name a
billionth row. So nothing is believed that is not counted: parts, rows, columns, cells, texts,
depth and tags have limits each, and what is declared (entities, dimensions) is not asked for.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from collections_app.io import cells
from collections_app.io.headers import Check, header
from core.errors import BadRequest

# What a sheet and a cell hold (Microsoft's specification).
EXCEL_ROWS, EXCEL_COLUMNS, EXCEL_CHARACTERS = 1_048_576, 16_384, 32_767
MAX_SHEET = 1024**3  # bytes, unpacked
MAX_TEXTS_BYTES, MAX_TEXTS = 100 * 1024**2, 2_000_000  # of those that cells share
MAX_PART = 5 * 1024**2  # of all others
MAX_NAMED = 10_000  # sheets, styles and the like
MAX_DEPTH = 40
MAX_TAG = 1024**2  # bytes
MAX_BETWEEN = 32 * 1024**2  # bytes of a sheet in which no row ends
_PIECE = 64 * 1024

Start = Callable[[str, Mapping[str, str]], None]
End = Callable[[str], None]


def _wrong(sentence: str) -> BadRequest:
    return BadRequest(f"Invalid Excel format: {sentence}.")


def read(file: IO[bytes], check: Check) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of the first sheet by their number and columns' names. Cells that stand empty are left out."""
    try:
        archive = ZipFile(file)
    except (BadZipFile, ValueError, OSError) as fault:
        raise _wrong("this is no .xlsx workbook") from fault
    with archive:
        found = _Sheet(_Book(archive)).rows()
        names: list[str] = []
        for number, row in found:
            if not names:
                names = header([row.get(column) for column in range(max(row) + 1)])
                check(names)
                continue
            given = {names[column]: value for column, value in row.items() if column < len(names)}
            if given:
                yield number, given
        if not names:
            raise _wrong("the first sheet is empty")


class _Parts:
    """The parts of an archive as XML."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def parse(
        self, name: str, start: Start, end: End | None = None, text: Callable[[str], None] | None = None,
        *, most: int = MAX_PART,
    ) -> Iterator[int]:  # fmt: skip
        """Call these with the tags of a part, without their prefixes; stops after each piece of so many bytes."""
        if self._archive.getinfo(name).file_size > most:
            raise _wrong(f"{name[:100]} is too large")
        parser = expat.ParserCreate()
        parser.buffer_text = True
        depth = fed = 0

        def opened(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise _wrong(f"{name[:100]} is nested too deeply")
            start(tag.rpartition(":")[2], attributes)

        def closed(tag: str) -> None:
            nonlocal depth
            depth -= 1
            if end is not None:
                end(tag.rpartition(":")[2])

        def declares(*_: Any) -> None:
            raise _wrong(f"{name[:100]} has a document type")

        parser.StartElementHandler, parser.EndElementHandler = opened, closed
        parser.StartDoctypeDeclHandler = declares
        if text is not None:
            parser.CharacterDataHandler = text
        with self._archive.open(name) as part:
            while piece := part.read(_PIECE):
                fed += len(piece)
                parser.Parse(piece, False)
                if fed - parser.CurrentByteIndex > MAX_TAG:
                    raise _wrong(f"{name[:100]} has a tag without an end")
                yield len(piece)
            parser.Parse(b"", True)

    def tags(self, name: str, start: Start, end: End | None = None) -> None:
        for _ in self.parse(name, start, end):
            pass

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """What a part refers to, by id: the last word of its type, and the name of its part."""
        folder, own = posixpath.split(name)
        found: dict[str, tuple[str, str]] = {}

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            if tag == "Relationship" and attributes.get("TargetMode") != "External":
                _bounded(found)
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", "")))[1:]
                found[attributes.get("Id", "")] = (attributes.get("Type", "").rpartition("/")[2], target)

        relations = posixpath.join(folder, "_rels", f"{own}.rels")
        if relations in self:
            self.tags(relations, start)
        return found


def _bounded(found: Any) -> None:
    if len(found) >= MAX_NAMED:
        raise _wrong("the workbook is too large")


class _Book:
    """What cells rest on: the texts that they share, which styles are of dates, and where these begin."""

    def __init__(self, archive: ZipFile) -> None:
        self.parts = _Parts(archive)
        books = [target for kind, target in self.parts.related("").values() if kind == "officeDocument"]
        name = books[0] if books else "xl/workbook.xml"
        if name not in self.parts:
            raise _wrong("this is no .xlsx workbook")
        related = self.parts.related(name)
        sheets: list[str] = []
        self.since_1904 = False

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            if tag == "sheet":
                own_id = next((value for key, value in attributes.items() if key.rpartition(":")[2] == "id"), "")
                kind, target = related.get(own_id, ("", ""))
                if kind == "worksheet" and target in self.parts and not sheets:
                    sheets.append(target)
            elif tag == "workbookPr":
                self.since_1904 = attributes.get("date1904", "0") in ("1", "true")

        self.parts.tags(name, start)
        if not sheets:
            raise _wrong("the workbook has no sheet")
        self.sheet = sheets[0]
        named = {kind: target for kind, target in related.values() if target in self.parts}
        self._texts_in = named.get("sharedStrings")
        self._texts: list[str] | None = None
        self.is_date: list[bool] = []  # by style
        self.is_duration: list[bool] = []
        if "styles" in named:
            self._read_styles(named["styles"])

    def text(self, number: int) -> str:
        """One of the texts that cells share."""
        if self._texts is None:
            self._texts = self._read_texts(self._texts_in) if self._texts_in else []
        if not 0 <= number < len(self._texts):
            raise _wrong(f"there is no text {number}")
        return self._texts[number]

    def _read_texts(self, name: str) -> list[str]:
        found: list[str] = []
        pieces: list[str] = []
        taken, beside = False, 0  # how deep in what is only said of it (how it is pronounced)

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal taken, beside
            if tag == "si":
                if len(found) >= MAX_TEXTS:
                    raise _wrong(f"the workbook has more than {MAX_TEXTS:,} texts")
                pieces.clear()
            beside += tag == "rPh"
            taken = tag == "t" and not beside

        def end(tag: str) -> None:
            nonlocal taken, beside
            taken = False
            beside -= tag == "rPh"
            if tag == "si":
                found.append(_plain("".join(pieces)))

        def text(piece: str) -> None:
            if taken:
                pieces.append(piece)

        for _ in self.parts.parse(name, start, end, text, most=MAX_TEXTS_BYTES):
            pass
        return found

    def _read_styles(self, name: str) -> None:
        from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format, is_timedelta_format  # 15 MB, few need it

        formats: dict[int, str] = dict(BUILTIN_FORMATS)
        used: list[int] = []
        within = False

        def start(tag: str, attributes: Mapping[str, str]) -> None:
            nonlocal within
            if tag == "numFmt":
                _bounded(formats)
                formats[int(attributes.get("numFmtId", "0"))] = attributes.get("formatCode", "")[:1000]
            elif tag == "cellXfs":
                within = True
            elif tag == "xf" and within:
                if len(used) >= EXCEL_ROWS:
                    raise _wrong("the workbook has too many styles")
                used.append(int(attributes.get("numFmtId", "0")))

        def end(tag: str) -> None:
            nonlocal within
            within = within and tag != "cellXfs"

        self.parts.tags(name, start, end)
        dates = {number: bool(is_date_format(code)) for number, code in formats.items()}
        durations = {number: bool(is_timedelta_format(code)) for number, code in formats.items()}
        self.is_date = [dates.get(number, False) for number in used]
        self.is_duration = [durations.get(number, False) for number in used]


class _Sheet:
    """The rows of one sheet, as they come."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._ready: list[tuple[int, dict[int, Any]]] = []
        self._number, self._row = 0, dict[int, Any]()
        self._column, self._cells = -1, 0
        self._kind, self._style = "n", 0
        self._pieces: list[str] = []
        self._length = 0
        self._is_taken, self._beside = False, 0

    def rows(self) -> Iterator[tuple[int, dict[int, Any]]]:
        """The numbers of rows that hold anything, with the values of their cells by column from 0."""
        since = 0
        for size in self._book.parts.parse(
            self._book.sheet, self._start, self._end, self._text, most=MAX_SHEET
        ):  # fmt: skip
            since += size
            if self._ready:
                since = 0
                yield from self._ready
                self._ready = []
            elif since > MAX_BETWEEN:
                raise _wrong(f"after row {self._number} comes too much that is no row")
        yield from self._ready

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "c":
            self._begin_cell(attributes)
        elif tag in ("v", "t"):
            self._is_taken = not self._beside
        elif tag == "row":
            self._number = max(int(attributes.get("r") or 0), self._number + 1)
            if self._number > EXCEL_ROWS:
                raise _wrong(f"a sheet has at most {EXCEL_ROWS:,} rows")
            self._row, self._column, self._cells = {}, -1, 0
        elif tag == "rPh":
            self._beside += 1

    def _begin_cell(self, attributes: Mapping[str, str]) -> None:
        place = attributes.get("r")
        self._column = _column(place) if place else self._column + 1
        self._cells += 1
        if self._column >= EXCEL_COLUMNS or self._cells > EXCEL_COLUMNS:
            raise _wrong(f"row {self._number} has more than {EXCEL_COLUMNS:,} cells")
        self._kind = attributes.get("t", "n")
        self._style = int(attributes.get("s") or 0)
        self._length = 0
        if self._pieces:
            self._pieces = []

    def _text(self, piece: str) -> None:
        if self._is_taken:
            self._length += len(piece)
            # Signs outside of the first 65,536 count twice there, and some are written as seven.
            if self._length > EXCEL_CHARACTERS * 7:
                raise _wrong(f"row {self._number}: a cell has more than {EXCEL_CHARACTERS:,} characters")
            self._pieces.append(piece)

    def _end(self, tag: str) -> None:
        if tag in ("v", "t"):
            self._is_taken = False
        elif tag == "c":
            if self._pieces:
                value = self._value("".join(self._pieces))
                if value != "":
                    self._row[self._column] = value
        elif tag == "row":
            if self._row:
                self._ready.append((self._number, self._row))
        elif tag == "rPh":
            self._beside -= 1

    def _value(self, text: str) -> Any:
        kind = self._kind
        if kind == "s":
            return self._book.text(int(text))
        if kind == "n":
            number = float(text) if "." in text or "e" in text or "E" in text else int(text)
            is_date = self._book.is_date
            return self._moment(number) if 0 < self._style < len(is_date) and is_date[self._style] else number
        if kind == "b":
            if text not in ("0", "1"):
                raise _wrong(f"row {self._number}: {text[:20]!r} is neither true nor false")
            return text == "1"
        return _plain(text)

    def _moment(self, number: float) -> Any:
        from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH, from_excel

        epoch = MAC_EPOCH if self._book.since_1904 else WINDOWS_EPOCH
        try:
            found = from_excel(number, epoch, timedelta=self._book.is_duration[self._style])
        except (OverflowError, ValueError):
            return number  # a number that is no day
        return found.isoformat() if hasattr(found, "isoformat") else str(found)


def _plain(text: str) -> str:
    return cells.unguarded(cells.unescaped(text))


def _column(place: str) -> int:
    """Of a cell called ``AB12``, from 0."""
    found = 0
    for sign in place:
        if "A" <= sign <= "Z":
            found = found * 26 + ord(sign) - 64
            if found > EXCEL_COLUMNS:
                break
        else:
            break
    if not 1 <= found <= EXCEL_COLUMNS:
        raise _wrong(f"there is no cell {place[:20]!r}")
    return found - 1
