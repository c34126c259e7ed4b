"""Bytes to clients: who may have them, which part, and how a browser is to take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dc_field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from urllib.parse import quote

from django.utils.http import http_date

from accounts.principals import Principal
from collections_app import dialects
from collections_app.files import facts, storage, thumbs, tokens
from collections_app.files.uses import names_in
from collections_app.models import StoredFile
from collections_app.records import query, read
from collections_app.records.operations import Call
from collections_app.records.query import Query
from collections_app.rules import RuleEnv
from collections_app.schema import registry
from collections_app.schema.definition import Field
from collections_app.schema.registry import with_schema
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import BadRequest, DomainError, NotFound
from core.query_string import parse_query_string

PARAMETERS = frozenset({"thumb", "download", "token"})
MISSING = "There is no such file."
# What is stored is never a page of ours: no script, no frame, nothing from elsewhere.
POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
_SHOWN = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp", "text/plain"})
_PLAYED = ("audio/", "video/")
# Kinds that browsers run where they are let. SVG keeps its own: as a picture in a page it runs nothing.
_RUN = frozenset({"text/html", "application/xhtml+xml", "application/xml", "text/xml"})
_RANGE = re.compile(r"(?i:bytes)=([0-9]*)-([0-9]*)")


class RangeNotSatisfiable(DomainError):
    status, code = 416, "RANGE_NOT_SATISFIABLE"
    default_message = "The file has no such range."


@dataclass(frozen=True, slots=True)
class Found:
    """A file that the caller may have. ``is_open``: so may everybody, by the rule and the field."""

    row: StoredFile
    field: Field | None = None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides about bytes: ``method`` and conditional headers as they came."""

    method: str = "GET"
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None


@dataclass(frozen=True, slots=True)
class Bytes:
    """An answer; ``pieces`` is None where it has no body."""

    status: int
    headers: Mapping[str, str] = dc_field(default_factory=dict)
    pieces: Iterator[bytes] | None = None


class NotAtOnce(Exception):
    """What is asked for takes a thread that may wait: for a token, for another server, or for a thumb to be made."""


def file_get(call: Call, name: str, record_id: str, file_name: str, asked: Asked, *, at_once: bool = False) -> Bytes:
    """``GET`` and ``HEAD /files/{collection}/{record}/{name}``: a file of a record, a range of it, or a thumb.

    A file token in the query speaks for its caller, whoever else the request speaks for. Where
    ``at_once``, all that is done is to read the database and to open a file; NotAtOnce for what takes more.
    Raises NotFound, Unauthorized, Forbidden, BadRequest, RangeNotSatisfiable, ServiceUnavailable.
    """
    given = parse_query_string(call.query_string) if call.query_string else {}
    if given.get("token"):
        if at_once:
            raise NotAtOnce
        call.principal = tokens.principal(given["token"], registry.latest().get(name).id, record_id)
    found = find(call, name, record_id, file_name)
    return answer(found, asked, thumb=given.get("thumb", ""), download=flag(given, "download"), at_once=at_once)


def flag(given: Mapping[str, str], name: str) -> bool:
    """A parameter that is true or false; BadRequest otherwise."""
    problems: dict[str, list[str]] = {}
    found = query.flag(given, name, problems)
    if problems:
        raise BadRequest(f"{name}: true or false.")
    return found


def find(call: Call, name: str, record_id: str, file_name: str) -> Found:
    """The file of a record that the caller may view, in a field that they may read.

    Raises NotFound, Unauthorized, Forbidden, BadRequest.
    """

    def unit(snapshot: Snapshot) -> tuple[Found, RuleEnv]:
        collection = snapshot.get(name)
        env = call.env(call.wanted(collection, PARAMETERS))
        # With its own query: the words of this endpoint are not the record's.
        record, _ = read.get(collection, record_id, Query(), env, snapshot)
        for field in collection.file_fields:
            if field.name in record and file_name in names_in(record[field.name]):
                is_open = collection.view_rule is None and not field.options["protected"] and not field.hidden
                return Found(_row(file_name), field, is_open), env
        raise NotFound(MISSING)

    key = ("file", name, record_id, file_name, call.method, call.query_string, id(call.principal))
    with database.reading() as session:
        known: tuple[Principal, Found] | None = session.memo.get(key)
        if known is not None:
            return known[1]
        found, env = with_schema(unit, reads=True)
        if not env.fleeting:
            # With the principal, so that no other can come to have its id.
            session.remember(key, (call.principal, found), len(call.query_string) + 2000)
        return found


def _row(name: str) -> StoredFile:
    """The row of a kept file, below the ORM: the lane reads on the event loop."""
    dialect = dialects.current()
    sql = (
        f"SELECT id, original_name, size, mime, sha256, width, height, {dialect.raw('created')} FROM files"
        f" WHERE name = {dialect.placeholder} AND state = '{StoredFile.State.KEPT.value}'"
    )
    rows = dialect.rows(sql, [name], keyed=True)
    if not rows:
        raise NotFound(MISSING)
    file_id, original, size, mime, sha256, width, height, moment = rows[0]
    created = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment).replace(tzinfo=UTC)
    return StoredFile(
        id=file_id,
        name=name,
        original_name=original,
        size=size,
        mime=mime,
        sha256=sha256,
        width=width,
        height=height,
        state=StoredFile.State.KEPT,
        created=created,
    )


def answer(found: Found, asked: Asked, *, thumb: str = "", download: bool = False, at_once: bool = False) -> Bytes:
    """The bytes, or that they are those that the client has.

    Raises BadRequest, NotFound, RangeNotSatisfiable, ServiceUnavailable; NotAtOnce as :func:`file_get`.
    """
    row = found.row
    if thumb:
        sizes = found.field.options["thumbs"] if found.field else []
        if thumb not in sizes:
            known = f"this field has {', '.join(sizes)}" if sizes else "this field has none"
            raise BadRequest(f"thumb: there is no size {thumb[:20]!r}; {known}.")
    etag = f'"{row.sha256[:32]}-{thumb}"' if thumb else f'"{row.sha256[:32]}"'
    headers = _headers(found, etag, download=download)
    if is_known(asked, etag, row.created):
        for name in ("Content-Type", "Content-Disposition"):
            del headers[name]
        return Bytes(304, headers)
    if at_once and not storage.is_local():
        raise NotAtOnce
    try:
        if thumb:
            small = thumbs.stored(row, thumb) if at_once else thumbs.thumb(row, thumb)
            if small is not None:
                return _small(found.row, small, headers, asked)
            if at_once:
                raise NotAtOnce
        path = facts.path_of(row.name)
        if asked.method == "HEAD":
            storage.current().size(path)  # or it is missing, as a GET would find
        return whole(asked, headers, row.size, etag, row.created, partial(storage.current().pieces, path))
    except FileNotFoundError as fault:
        raise NotFound(MISSING) from fault


def _small(row: StoredFile, small: tuple[bytes, str], headers: dict[str, str], asked: Asked) -> Bytes:
    content, mime = small
    headers |= {"Content-Type": mime, "Content-Length": str(len(content))}
    if mime != row.mime:  # then it has another extension too
        kind = headers["Content-Disposition"].partition(";")[0]
        name = f"{row.original_name.rpartition('.')[0] or row.original_name}.{mime.partition('/')[2]}"
        headers["Content-Disposition"] = disposition(kind, name)
    return Bytes(200, headers, None if asked.method == "HEAD" else iter((content,)))


def whole(
    asked: Asked,
    headers: dict[str, str],
    size: int,
    etag: str,
    modified: datetime,
    pieces: Callable[[int, int], Iterator[bytes]],
) -> Bytes:
    """All of something that has ``size`` bytes, or the range of it that is asked for; RangeNotSatisfiable."""
    headers["Accept-Ranges"] = "bytes"
    part = _part(asked, size, etag, modified)
    if part is not None and part[0] >= part[1]:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
    start, stop = part or (0, size)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Bytes(206 if part is not None else 200, headers, pieces(start, stop) if asked.method != "HEAD" else None)


def _headers(found: Found, etag: str, *, download: bool) -> dict[str, str]:
    row = found.row
    return dict(_headers_of(row.mime, row.original_name, row.created, etag, found.is_open, download))


@lru_cache(maxsize=1000)
def _headers_of(
    mime: str, original_name: str, created: datetime, etag: str, is_open: bool, download: bool
) -> Mapping[str, str]:
    inline = not download and (mime in _SHOWN or mime.startswith(_PLAYED))
    kind = "application/octet-stream" if mime in _RUN else mime
    return {
        "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "Content-Disposition": disposition("inline" if inline else "attachment", original_name),
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        # Pages of other sites show them too: whoever has no token gets none, and cookies stay at home (SameSite).
        "Cross-Origin-Resource-Policy": "cross-origin",
        # A name never means other bytes; but who may have them can change.
        "Cache-Control": "public, max-age=3600" if is_open else "private, no-cache",
        "ETag": etag,
        "Last-Modified": http_date(created.timestamp()),
        "Vary": "Authorization, Cookie",
    }


def disposition(kind: str, name: str) -> str:
    """RFC 6266: the name in ASCII, and where that is not all of it once more as it is."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    plain = re.sub(r'["\\%]', "_", plain)
    header = f'{kind}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def is_known(asked: Asked, etag: str, modified: datetime) -> bool:
    """Whether the client has it already, by what it says."""
    if asked.if_none_match is not None:
        return read.none_matches(asked.if_none_match, etag)
    since = _date(asked.if_modified_since)
    return since is not None and modified.replace(microsecond=0) <= since


def _part(asked: Asked, size: int, etag: str, modified: datetime) -> tuple[int, int] | None:
    """The one range that is asked for, as (start, stop); None for the whole, an empty one where there is none."""
    if asked.range is None or asked.method not in ("GET", "HEAD"):
        return None
    if asked.if_range is not None and asked.if_range.strip() != etag:
        since = _date(asked.if_range)
        if since is None or modified.replace(microsecond=0) != since:
            return None
    found = _RANGE.fullmatch(asked.range.strip())
    if found is None or not (found[1] or found[2]) or len(found[0]) > 60:
        return None  # several ranges, or another unit: whoever asks has to take the whole as well
    if not found[1]:
        length = min(int(found[2]), size)
        return size - length, size
    start = int(found[1])
    stop = min(int(found[2]) + 1, size) if found[2] else size
    if found[2] and int(found[2]) < start:
        return None
    return (start, stop) if start < size else (0, 0)


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
