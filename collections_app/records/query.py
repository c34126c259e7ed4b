"""The query parameters of a list or a single record, checked before any work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dc_field
from functools import lru_cache
from typing import Any

from core.errors import BadRequest, ValidationFailed
from core.query_string import parse_query_string

LIST_PARAMETERS = frozenset(
    {"page", "per_page", "sort", "filter", "search", "fields", "expand", "skip_total", "cursor"}
)
SINGLE_PARAMETERS = frozenset({"fields", "expand"})
DEFAULT_PER_PAGE, MAX_PER_PAGE = 30, 500
MAX_PAGE = 1_000_000
MAX_SEARCH = 200
MAX_PATHS, MAX_DEPTH = 100, 6
_MAX_KEPT = 500  # longer query strings are not worth their memory: nobody repeats them
_EXCERPT = re.compile(r"(?P<name>[a-z_][a-z0-9_]*):excerpt\((?P<length>\d{1,5})(?:,\s*(?P<dots>true|false))?\)")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(slots=True)
class Selection:
    """A ``fields=`` choice: names at this level, ``expand`` as a whole among them, excerpts of
    texts, and what is chosen below ``expand``."""

    everything: bool = False
    names: set[str] = dc_field(default_factory=set)
    excerpts: dict[str, tuple[int, bool]] = dc_field(default_factory=dict)
    expand: dict[str, Selection] = dc_field(default_factory=dict)


Tree = dict[str, Any]


@dataclass(slots=True)
class Query:
    """Checked parameters, shared by all who ask the same. ``cursor`` is None for numbered pages,
    "" for the first by cursor. ``holding`` are JSON fields and texts, one of which has to be in their list."""

    page: int = 1
    per_page: int = DEFAULT_PER_PAGE
    sort: str = ""
    filter: str = ""
    search: str = ""
    fields: Selection | None = None
    expand: Tree = dc_field(default_factory=dict)
    skip_total: bool = False
    cursor: str | None = None
    holding: Mapping[str, Sequence[str]] = dc_field(default_factory=dict)
    raw: Mapping[str, str] = dc_field(default_factory=dict)


def parse(query_string: str, allowed: frozenset[str]) -> Query:
    """The checked parameters of a URL; raises what :func:`parse_query_string` and :func:`read` do."""
    if len(query_string) > _MAX_KEPT:
        return read(parse_query_string(query_string), allowed)
    return _kept(query_string, allowed)


@lru_cache(maxsize=2000)
def _kept(query_string: str, allowed: frozenset[str]) -> Query:
    return read(parse_query_string(query_string), allowed)


def read(raw: Mapping[str, str], allowed: frozenset[str] = LIST_PARAMETERS) -> Query:
    """Check the parameters. Unknown ones are BadRequest, numbers out of range ValidationFailed."""
    unknown = sorted(set(raw) - allowed)
    if unknown:
        raise BadRequest(f"Unknown query parameter {unknown[0][:50]!r}; known: {', '.join(sorted(allowed))}.")
    problems: dict[str, list[str]] = {}
    query = Query(
        page=_number(raw, "page", 1, MAX_PAGE, problems),
        per_page=_number(raw, "per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE, problems),
        sort=raw.get("sort", ""),
        filter=raw.get("filter", "").strip(),
        search=raw.get("search", ""),
        fields=_read_selection(raw["fields"]) if raw.get("fields") else None,
        expand=_read_expand(raw["expand"]) if raw.get("expand") else {},
        cursor=raw.get("cursor"),
        raw=raw,
    )
    query.skip_total = flag(raw, "skip_total", problems)
    if len(query.search) > MAX_SEARCH:
        problems["search"] = [f"Ensure this has no more than {MAX_SEARCH} characters."]
    if problems:
        raise ValidationFailed(fields=problems)
    if query.cursor is not None and "page" in raw:
        raise BadRequest("Use page or cursor, not both.")
    return query


def flag(raw: Mapping[str, str], name: str, problems: dict[str, list[str]]) -> bool:
    """A parameter that is true or false; false where it is not sent."""
    text = raw.get(name, "").lower()
    if text not in ("", "true", "false", "1", "0"):
        problems[name] = ["Must be true or false."]
    return text in ("true", "1")


def _number(raw: Mapping[str, str], name: str, default: int, highest: int, problems: dict[str, list[str]]) -> int:
    text = raw.get(name)
    if text is None or text == "":
        return default
    if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= highest:
        return int(text)
    hint = " Use cursor to go deeper." if name == "page" else ""
    problems[name] = [f"Must be a whole number from 1 to {highest:,}.{hint}"]
    return default


def _read_expand(text: str) -> Tree:
    tree: Tree = {}
    paths = [part.strip() for part in text.split(",") if part.strip()]
    if len(paths) > MAX_PATHS:
        raise BadRequest(f"expand: at most {MAX_PATHS} paths.")
    for path in paths:
        parts = path.split(".")
        if len(parts) > MAX_DEPTH:
            raise BadRequest(f"expand: {path[:80]!r} goes deeper than {MAX_DEPTH} levels.")
        level = tree
        for part in parts:
            if not _NAME.fullmatch(part):
                raise BadRequest(f"expand: {path[:80]!r} is not a path of relations.")
            level = level.setdefault(part, {})
    return tree


def _read_selection(text: str) -> Selection:
    selection = Selection()
    parts = _split(text)
    if len(parts) > MAX_PATHS * 2:
        raise BadRequest("fields: too many names.")
    for part in parts:
        level, rest = selection, part
        while rest.startswith("expand."):
            name, dot, rest = rest.removeprefix("expand.").partition(".")
            if not _NAME.fullmatch(name):
                raise BadRequest(f"fields: {part[:80]!r} can't be read.")
            level = level.expand.setdefault(name, Selection())
            if not dot:
                rest = "*"
        excerpt = _EXCERPT.fullmatch(rest)
        if rest == "*":
            level.everything = True
        elif excerpt:
            level.names.add(excerpt["name"])
            level.excerpts[excerpt["name"]] = (int(excerpt["length"]), excerpt["dots"] == "true")
        elif _NAME.fullmatch(rest):
            level.names.add(rest)
        else:
            raise BadRequest(f"fields: {part[:80]!r} can't be read.")
    return selection


def _split(text: str) -> list[str]:
    """At commas outside of parentheses."""
    return [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]
