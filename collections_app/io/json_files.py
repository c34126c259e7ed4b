"""JSON as rows: a list of records, an object that holds one, or one record a line.

The file is cut where its records end, and each is read by itself, as the body of a request is:
a hundred megabytes take the memory of one record.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import IO, Any

from collections_app.io.headers import Check
from core.errors import BadRequest
from core.json import loads

MAX_RECORD = 16 * 1024 * 1024  # bytes
_PIECE = 256 * 1024
_LISTS = ("items", "records")
# Up to the next bracket that is not within a text. Nothing of it is tried twice.
_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:"(?:[^"\\]++|\\.)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^\s,:"{}\[\]]++')
_BLANKS = b" \t\r\n"
_INVALID = "Invalid JSON format: {}."


def read(file: IO[bytes], check: Check) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records by their number; the first is row 1."""
    source = _Source(file)
    first = source.peek()
    if first not in (b"[", b"{"):
        raise BadRequest(_INVALID.format("expected a list of records"))
    begins = source.place if first == b"[" else _list_within(file)
    found = (
        _one_after_another(_Source(file)) if begins is None else _members(_Source(file, begins), alone=first == b"[")
    )
    for number, raw in enumerate(found, 1):
        try:
            row = loads(raw)
        except BadRequest as fault:
            # Where in the record that is would be taken for a place in the file.
            raise BadRequest(_INVALID.format(f"row {number}: {fault.message.partition(': line ')[0]}")) from fault
        if not isinstance(row, dict):
            raise BadRequest(_INVALID.format(f"row {number} is no object"))
        yield number, row


class _Source:
    """The bytes of a file from some place on, without a byte order mark. What is read of them is bounded."""

    def __init__(self, file: IO[bytes], begins: int = 0) -> None:
        self._file = file
        file.seek(0)
        if not begins and file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            begins = len(codecs.BOM_UTF8)
        file.seek(begins)
        self._raw, self._at, self._dropped = b"", 0, begins

    @property
    def place(self) -> int:
        """Where in the file that is."""
        return self._dropped + self._at

    def peek(self) -> bytes:
        """The next byte that is no blank, which stays; nothing at the end."""
        while True:
            found = self._raw[self._at : self._at + 1]
            if found and found not in _BLANKS:
                return found
            if found:
                self._at = len(self._raw) - len(self._raw[self._at :].lstrip(_BLANKS))
            elif not self._more(self._at):
                return b""

    def skip(self, expected: bytes) -> None:
        if self.peek() != expected:
            raise BadRequest(_INVALID.format(f"expected {expected.decode()!r}"))
        self._at += 1

    def token(self, pattern: re.Pattern[bytes]) -> bytes:
        """What stands next, after blanks, and fits."""
        self.peek()
        while True:
            found = pattern.match(self._raw, self._at)
            # At the end of what is at hand it may go on.
            if (found is None or found.end() == len(self._raw)) and self._more(self._at):
                continue
            if found is None:
                raise BadRequest(_INVALID.format("this is no JSON"))
            self._at = found.end()
            return found[0]

    def value(self, *, keep: bool = True) -> bytes:
        """The object or list that stands next, which is forgotten unless it is to ``keep``."""
        self.peek()
        start, depth = self._at, 0
        while True:
            found = _BRACKET.match(self._raw, self._at)
            if found is None:
                if not self._more(start if keep else self._at):
                    raise BadRequest(_INVALID.format("the file ends within a record"))
                start = 0
                continue
            self._at = found.end()
            depth += 1 if found[1] in b"[{" else -1
            if depth <= 0:
                return self._raw[start : self._at]

    def _more(self, keep: int) -> bool:
        """Read on, and forget what is before ``keep``; False at the end. BadRequest for what has no end."""
        left = self._raw[keep:]
        if len(left) > MAX_RECORD:
            raise BadRequest(_INVALID.format(f"a record has more than {MAX_RECORD // 1024**2} MB"))
        # As much as there is already, so that what is looked at again doubles each time.
        piece = self._file.read(max(_PIECE, len(left)))
        self._raw, self._at, self._dropped = left + piece, self._at - keep, self._dropped + keep
        return bool(piece)


def _members(source: _Source, *, alone: bool) -> Iterator[bytes]:
    """Of the list that begins here; ``alone`` where nothing may follow it."""
    source.skip(b"[")
    if source.peek() == b"]":
        source.skip(b"]")
    else:
        while True:
            yield source.value() if source.peek() in (b"{", b"[") else b"null"
            if source.peek() == b"]":
                source.skip(b"]")
                break
            source.skip(b",")
    if alone and source.peek():
        raise BadRequest(_INVALID.format("something follows the list"))


def _one_after_another(source: _Source) -> Iterator[bytes]:
    while source.peek():
        yield source.value() if source.peek() == b"{" else b"null"


def _list_within(file: IO[bytes]) -> int | None:
    """Where in a file that is one object the list of records begins; None where the object itself is a record,
    or the first of many."""
    source = _Source(file)
    begins, count = None, 0
    try:
        source.skip(b"{")
        while source.peek() == b'"':
            count += 1
            name = source.token(_TEXT)[1:-1].decode(errors="replace")
            source.skip(b":")
            following = source.peek()
            if following == b"[" and name in _LISTS and begins is None:
                begins = source.place
            if following in (b"{", b"["):
                source.value(keep=False)
            else:
                source.token(_TEXT if following == b'"' else _SCALAR)
            if source.peek() == b",":
                source.skip(b",")
        source.skip(b"}")
        is_all = not source.peek()
    except BadRequest:
        return None  # it will be told which record is wrong
    if is_all and not count:
        raise BadRequest(_INVALID.format("expected a list of records"))
    return begins if is_all else None
