"""The first row of a table, which names the columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.errors import ValidationFailed

MAX_COLUMNS = 1000

# Called with the names of the columns before the first row; raises what is wrong with them.
Check = Callable[[list[str]], None]


def header(raw: list[Any]) -> list[str]:
    """The names; ValidationFailed for what can't be some."""
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
