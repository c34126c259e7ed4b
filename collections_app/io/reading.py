"""Files as rows: CSV, JSON and Excel, read one row at a time, whatever wrote them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import IO, Any

from collections_app.io import csv_files, json_files, workbooks
from collections_app.io.headers import Check
from core.errors import BadRequest, DomainError

KINDS = ("csv", "json", "xlsx")
_CALLED = {"csv": "CSV", "json": "JSON", "xlsx": "Excel"}
_EACH = 1000  # rows

logger = logging.getLogger("fastcms.imports")

# The row's number in the file, where the header is row 1, and its cells by their column's name.
NumberedRow = tuple[int, Mapping[str, Any]]


def _nothing(names: list[str]) -> None:
    """Any columns will do."""


def at_once() -> None:
    """Nobody wants to know that it goes on."""


def rows(file: IO[bytes], kind: str, check: Check = _nothing) -> Generator[NumberedRow, None, None]:
    """The rows of a file; to be closed before the file is. ``check`` is called with the names of the columns
    before the first row, if it has a header.

    Raises BadRequest for what is no such file, ValidationFailed for a header that can't be one.
    """
    number = 0
    file.seek(0)
    try:
        for number, row in _READERS[kind](file, check):
            yield number, row
    except DomainError:
        raise
    except OSError as fault:
        if fault.errno is not None:
            raise  # of our disk
        raise _unreadable(kind, number) from fault
    except Exception as fault:  # whatever parsers raise about bytes of strangers
        logger.info("a file could not be read as %s: %r", kind, fault)
        raise _unreadable(kind, number) from fault


def _unreadable(kind: str, number: int) -> BadRequest:
    where = f"after row {number} it" if number else "it"
    return BadRequest(f"Invalid {_CALLED[kind]} format: {where} can't be read.")


def count(file: IO[bytes], kind: str, meanwhile: Callable[[], None] = at_once) -> int | None:
    """How many rows :func:`rows` would find; None where finding out takes as long as reading them.

    ``meanwhile`` is called now and then.
    """
    if kind == "xlsx":
        return None
    found = 0
    with closing(rows(file, kind)) as those:
        for _ in those:
            found += 1
            if not found % _EACH:
                meanwhile()
    return found


_READERS: dict[str, Callable[[IO[bytes], Check], Iterator[NumberedRow]]] = {
    "csv": csv_files.read,
    "json": json_files.read,
    "xlsx": workbooks.read,
}
