"""Values of one field type as another's: kept whole, or refused.

The same path serves both engines: SQLite would keep ``'abc'`` in a numeric
column without a word, PostgreSQL would stop at the first bad row and not say
how many there are.
"""

from __future__ import annotations

from typing import Any

import orjson

from collections_app.schema.definition import Field
from collections_app.schema.fields import InvalidValue


def convert(old: Field, new: Field, value: Any) -> Any:
    """``value`` of the old field as the new one's; InvalidValue where something would be lost."""
    if old.kind.is_empty(value):
        return new.kind.empty(new)
    if old.secret != new.secret:
        raise InvalidValue("A password can't become or stem from another type.")
    if old.secret:
        return value
    if new.value == "json":
        return value
    if old.multiple and not new.multiple:
        if len(value) > 1:
            raise InvalidValue(f"{len(value)} values don't fit into one.")
        value = value[0]
    if old.type == "file" or new.type == "file":
        if old.type != new.type:
            raise InvalidValue("A file can't become or stem from another type.")
        return value if not new.multiple or isinstance(value, list) else [value]
    if new.value == "text" and not new.multiple and not isinstance(value, (str, list)):
        value = _as_text(value)
    converted = new.kind.clean(new, value)
    if new.type == "editor" and converted != value:
        raise InvalidValue("Cleaning this text as HTML would change it.")
    return converted


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return orjson.dumps(value).decode()
