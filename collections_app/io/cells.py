"""Values as the cells of a table, and back.

A cell that a spreadsheet would run as a formula begins with an apostrophe when it is
written, which is taken off when it is read (OWASP, CSV Injection). A text that looks
like such a cell already gets one more, so every text comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from collections_app.records.codec import Record
from collections_app.schema.definition import Field

_RISKY = frozenset("=+-@\t\r\n＝＋－＠'")
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")

Row = tuple[Any, ...]


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet runs."""
    return f"'{text}" if text[:1] in _RISKY and _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text that :func:`guarded` was given."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


# Signs that XML can't hold, and what looks like one that is written as below (ECMA-376, ST_Xstring).
_NO_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_WRITTEN = re.compile("_x([0-9A-Fa-f]{4})_")


def escaped(text: str) -> str:
    """The text as a workbook holds it."""
    return _NO_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", text)


def unescaped(text: str) -> str:
    """The text that :func:`escaped` was given."""
    return _WRITTEN.sub(_sign, text) if "_x" in text else text


def _sign(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code < 0xE000 else chr(code)  # half a sign is none


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _list(value: Any) -> str | None:
    return orjson.dumps(value).decode() if value else None


_NAMES = {"guarded": guarded, "risky": _RISKY, "json": _json, "list": _list}


def _expression(field: Field, value: str) -> str:
    """The cell of a value, as Python. None is an empty cell."""
    if field.multiple:
        return f"list({value})"
    if field.value == "bool":
        return f"None if (v := {value}) is None else 'true' if v else 'false'"
    if field.value in ("json", "geo"):
        return f"json({value})"
    if field.value == "text":
        return f"guarded(v) if (v := {value}) and v[0] in risky else v"
    return value  # numbers, moments and the like are made of signs that run nothing


def row_writer(fields: Sequence[Field]) -> Callable[[Sequence[Record]], list[Row]]:
    """A function from records to the cells of these fields, written for them (as ``codec`` does for reading)."""
    items = "".join(f"({_expression(field, f'r[{field.name!r}]')}), " for field in fields)
    source = f"lambda records: [({items}) for r in records]"
    write: Callable[[Sequence[Record]], list[Row]] = eval(source, dict(_NAMES))  # noqa: S307 - of our own making
    return write
