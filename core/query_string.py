"""The parameters of a URL. Unknown ones are errors, and so is one that stands twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from core.errors import BadRequest, ValidationFailed


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


SLICE = frozenset({"skip", "limit", "page", "per_page"})
DEFAULT_LENGTH, MAX_LENGTH, MAX_START = 100, 1000, 10_000_000


def slice_of(parameters: Mapping[str, str], default: int = DEFAULT_LENGTH) -> slice:
    """Which part of a bare list the parameters of :data:`SLICE` ask for: ``skip`` and ``limit``, or
    ``page`` and ``per_page``. BadRequest for both, ValidationFailed for a number out of range.
    """
    if {"skip", "limit"} & set(parameters) and {"page", "per_page"} & set(parameters):
        raise BadRequest("Use skip and limit, or page and per_page.")
    problems: dict[str, list[str]] = {}

    def number(name: str, otherwise: int, least: int, most: int) -> int:
        text = parameters.get(name)
        if text is None:
            return otherwise
        if text.isascii() and text.isdecimal() and len(text) < 12 and least <= int(text) <= most:
            return int(text)
        problems[name] = [f"Must be a whole number from {least} to {most}."]
        return otherwise

    length = number("limit", default, 1, MAX_LENGTH)
    length = number("per_page", length, 1, MAX_LENGTH)
    start = number("skip", 0, 0, MAX_START)
    start += (number("page", 1, 1, MAX_START) - 1) * length
    if problems:
        raise ValidationFailed(fields=problems)
    return slice(start, start + length)
