"""The read path: query → plan → rows → bytes. Every read goes through here, with its rule."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.records import access, expand, searching, selecting, sorting, totals
from collections_app.records.codec import Record, codec, public
from collections_app.records.query import Query
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core.errors import BadRequest, NotFound

MAX_ID = 64


def list_page(collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot) -> dict[str, Any]:
    """One page of the records that the caller may list.

    ``{items, page, per_page, total, total_pages}``, or by cursor ``{items,
    per_page, next_cursor}``. Raises Unauthorized, Forbidden, BadRequest.
    """
    admin = env.principal.is_admin
    where, params = _where(collection, query, env, snapshot)
    order = sorting.read(query.sort, collection, snapshot, env)
    check(query, collection, env, snapshot)
    reader = codec(collection, admin=admin)
    if query.fields is not None:
        needed = {name for name in query.expand if name in collection.by_name}
        chosen = selecting.columns(query.fields, collection, needed, admin=admin)
        if chosen is not None:
            reader = codec(collection, chosen)
    dialect = dialects.current()
    table = f"{quote(collection.table)} AS t"
    order_sql, order_params = order.sql()
    mark = dialect.placeholder
    if query.cursor is not None:
        if order.random:
            raise BadRequest("cursor: a random order can't be continued.")
        rows, next_cursor = _by_cursor(reader.columns, table, where, params, order, query)
    else:
        sql = f"SELECT {reader.columns} FROM {table}{_clause(where)} ORDER BY {order_sql} LIMIT {mark} OFFSET {mark}"
        offset = (query.page - 1) * query.per_page
        rows = dialect.rows(sql, [*params, *order_params, query.per_page, offset])
    items = _finish(reader.records(rows), collection, query, env, snapshot)
    if query.cursor is not None:
        return {"items": items, "per_page": query.per_page, "next_cursor": next_cursor}
    total = -1
    if not query.skip_total:
        total = _total(table, where, params, query, len(items))
    return {
        "items": items,
        "page": query.page,
        "per_page": query.per_page,
        "total": total,
        "total_pages": -1 if total < 0 else -(-total // query.per_page),
    }


def get(
    collection: CollectionDef, record_id: str, query: Query, env: RuleEnv, snapshot: Snapshot
) -> tuple[Record, str]:
    """One record that the caller may view, and its version.

    Raises NotFound, Unauthorized or Forbidden.
    """
    admin = env.principal.is_admin
    allowed = access.condition(collection, "view", env, snapshot)
    check(query, collection, env, snapshot)
    reader = codec(collection, admin=admin)
    dialect = dialects.current()
    sql = f"SELECT {reader.columns} FROM {quote(collection.table)} AS t WHERE t.id = {dialect.placeholder}"
    params: list[Any] = [record_id]
    if allowed is not None:
        sql += f" AND ({allowed[0]})"
        params += allowed[1]
    rows = [] if not possible_id(record_id) else dialect.rows(sql, params)
    if not rows:
        raise NotFound("Record not found")
    records = reader.records(rows)
    state = version(collection, records[0])
    return _finish(records, collection, query, env, snapshot)[0], state


def check(query: Query, collection: CollectionDef, env: RuleEnv, snapshot: Snapshot) -> None:
    """BadRequest where ``expand=`` or ``fields=`` names what the caller may not read."""
    expand.check(query.expand, collection, env, snapshot)
    if query.fields is not None:
        selecting.check(query.fields, collection, query.expand, env, snapshot)


def as_written(
    collection: CollectionDef, record: Record, query: Query, env: RuleEnv, snapshot: Snapshot, *, created: bool
) -> Record:
    """A record that the caller has just written, as they may see it and want it.

    Who creates a record gets it without its hidden fields, whatever the view rule.
    Who changes one that they may not view learns that it is done, and nothing
    else: else an empty change would be a way to read. Raises BadRequest for a bad
    ``expand`` or ``fields``.
    """
    if not created and not access.allows(collection, "view", record, env, snapshot):
        return {"id": record["id"], "collection": collection.name}
    check(query, collection, env, snapshot)
    return _finish([public(collection, record, admin=env.principal.is_admin)], collection, query, env, snapshot)[0]


def possible_id(record_id: str) -> bool:
    """Whether the database may be asked for it at all."""
    return 0 < len(record_id) <= MAX_ID and "\x00" not in record_id


def etag(version: str, body: bytes, query: Query) -> str:
    """The strong validator of a single record.

    The part before the dash changes with the record and its schema only: that is
    what If-Match is held against. A narrower or wider view of the record adds a
    digest of its bytes.
    """
    if query.fields is None and not query.expand:
        return f'"{version}"'
    return f'"{version}-{hashlib.blake2b(body, digest_size=6).hexdigest()}"'


def matches(header: str, version: str) -> bool:
    """Whether an If-Match header names this version."""
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]
    return "*" in tags or any(tag.partition("-")[0] == version for tag in tags)


def none_matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match header says that the client has this already."""
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def version(collection: CollectionDef, record: Record) -> str:
    """Names the state of a record: it changes exactly when the record's content does."""
    seed = f"{collection.id}/{collection.revision}/{record['id']}/{record['updated']}"
    return hashlib.blake2b(seed.encode(), digest_size=10).hexdigest()


def dump(answer: Any) -> bytes:
    """An answer's bytes."""
    return orjson.dumps(answer)


def _where(collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    params: list[Any] = []
    allowed = access.condition(collection, "list", env, snapshot)
    if allowed is not None:
        where.append(f"({allowed[0]})")
        params += allowed[1]
    if query.filter:
        condition = rules.compile_filter(query.filter, collection, snapshot, env.principal)
        sql, values = condition.sql(env, "t")
        where.append(f"({sql})")
        params += values
    if query.search:
        sql, values = searching.condition(collection, query.search, admin=env.principal.is_admin)
        where.append(sql)
        params += values
    return where, params


def _clause(where: list[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""


def _total(table: str, where: list[str], params: list[Any], query: Query, found: int) -> int:
    """The exact number of records, without asking where the page already tells."""
    if query.page == 1 and found < query.per_page:
        return found
    if 0 < found < query.per_page:
        return (query.page - 1) * query.per_page + found
    return totals.count(f"FROM {table}{_clause(where)}", params)


def _by_cursor(
    columns: str, table: str, where: list[str], params: list[Any], order: sorting.Order, query: Query
) -> tuple[list[Any], str | None]:
    where, params = list(where), list(params)
    if query.cursor:
        sql, values = order.after(query.cursor)
        where.append(sql)
        params += values
    key_columns, key_params = order.columns()
    order_sql, order_params = order.sql()
    sql = (
        f"SELECT {columns}, {key_columns} FROM {table}{_clause(where)}"
        f" ORDER BY {order_sql} LIMIT {dialects.current().placeholder}"
    )
    everything = [*key_params, *params, *order_params, query.per_page + 1]
    rows = dialects.current().rows(sql, everything)
    more = len(rows) > query.per_page
    rows = rows[: query.per_page]
    count = len(order.keys)
    next_cursor = order.cursor(list(rows[-1][-count:])) if more else None
    return [row[:-count] for row in rows], next_cursor


def _finish(
    records: list[Record], collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot
) -> list[Record]:
    if query.expand:
        expand.apply(records, query.expand, collection, env, snapshot)
    if query.fields is not None:
        selection = query.fields
        return [selecting.apply(record, selection) for record in records]
    return records
