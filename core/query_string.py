"""The parameters of a URL. Unknown ones are errors, and so is one that stands twice."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import parse_qsl

from core.errors import BadRequest


def parse_query_string(raw: str) -> dict[str, str]:
    """A URL's query string as a dict. ``&&`` belongs to a filter, it does not separate parameters.

    Raises BadRequest for a parameter given twice and for bytes that are no UTF-8.
    """
    if len(raw) > 20_000:
        raise BadRequest("The query string is too long.")
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(raw.replace("&&", "%26%26"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("The query string can't be read.") from error
    for name, value in pairs:
        if name in found:
            raise BadRequest(f"The parameter {name[:50]!r} stands more than once.")
        if "\x00" in value:
            raise BadRequest(f"The parameter {name[:50]!r} contains a null character.")
        found[name] = value
    return found


def known_parameters(raw: str, allowed: Collection[str]) -> dict[str, str]:
    """The same, where only the ``allowed`` ones may stand; BadRequest names the first other."""
    found = parse_query_string(raw)
    unknown = sorted(set(found) - set(allowed))
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        raise BadRequest(f"Unknown query parameter {unknown[0][:50]!r}; known: {known}.")
    return found
