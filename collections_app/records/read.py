"""The read path: query → plan → rows → bytes. Every read goes through here, with its rule."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.records import access, expand, searching, selecting, sorting, totals
from collections_app.records.codec import Codec, Record, codec, public
from collections_app.records.query import Query
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import BadRequest, NotFound

MAX_ID = 64
_MAX_PLANS = 2000
_DEEP = 1000  # rows to skip: as many are soon skipped as counted
_MAX_KEPT = 4000  # characters: nobody repeats a longer statement


def list_page(collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot) -> dict[str, Any]:
    """One page of the records that the caller may list.

    ``{items, page, per_page, total, total_pages}``, or by cursor ``{items,
    per_page, next_cursor}``. Raises Unauthorized, Forbidden, BadRequest.
    """
    where, params = _where(collection, query, env, snapshot)
    plan = _plan(collection, query, where, env, snapshot)
    check(query, collection, env, snapshot)
    env.fleeting |= plan.order.random
    if query.cursor is not None:
        rows, next_cursor = _by_cursor(plan, where, params, query)
        items = _finish(plan.reader.records(rows), collection, query, env, snapshot)
        return {"items": items, "per_page": query.per_page, "next_cursor": next_cursor}
    rows = _page(plan, params, query)
    items = _finish(plan.reader.records(rows), collection, query, env, snapshot)
    total = -1 if query.skip_total else _total(plan.source, params, query, len(items))
    return {
        "items": items,
        "page": query.page,
        "per_page": query.per_page,
        "total": total,
        "total_pages": -1 if total < 0 else -(-total // query.per_page),
    }


@dataclass(frozen=True, slots=True)
class _Plan:
    """The statement of a list: all but its parameters."""

    reader: Codec
    order: sorting.Order
    source: str
    order_params: list[Any]
    page_sql: str
    from_end_sql: str  # the same in the opposite order; empty where there is none


def _plan(collection: CollectionDef, query: Query, where: Sequence[str], env: RuleEnv, snapshot: Snapshot) -> _Plan:
    """The plan of this question, made once for all who ask it with other values. Raises BadRequest."""
    admin = env.principal.is_admin
    plans: dict[Any, _Plan] = snapshot.memo.setdefault("plans", {})
    key = (collection.id, admin, query.sort, query.raw.get("fields"), query.raw.get("expand"), *where)
    known = plans.get(key)
    if known is not None:
        return known
    order = sorting.read(query.sort, collection, snapshot, env)
    chosen = None
    if query.fields is not None:
        needed = {name for name in query.expand if name in collection.by_name}
        chosen = selecting.columns(query.fields, collection, needed, admin=admin)
    reader = codec(collection, chosen, admin=admin)
    order_sql, order_params = order.sql()
    source = f"FROM {quote(collection.table)} AS t{_clause(where)}"
    mark = dialects.current().placeholder
    page, part = f"SELECT {reader.columns} {source} ORDER BY", f"LIMIT {mark} OFFSET {mark}"
    page_sql = f"{page} {order_sql} {part}"
    from_end_sql = "" if order.random else f"{page} {order.sql(opposite=True)[0]} {part}"
    made = _Plan(reader, order, source, order_params, page_sql, from_end_sql)
    if order.for_all and len(page_sql) <= _MAX_KEPT:
        if len(plans) >= _MAX_PLANS:
            plans.clear()
        plans[key] = made
    return made


def _page(plan: _Plan, params: Sequence[Any], query: Query) -> list[database.Row]:
    """The rows of a numbered page. Those of a deep one are counted off from whichever end is nearer."""
    rows = dialects.current().rows
    limit, offset = query.per_page, (query.page - 1) * query.per_page
    if offset >= _DEEP and plan.from_end_sql:
        total = totals.count_settled(plan.source, params)
        if total is not None and offset >= total:
            return []
        if total is not None and offset > total // 2:
            limit = min(limit, total - offset)
            found = rows(plan.from_end_sql, [*params, *plan.order_params, limit, total - offset - limit])
            return found[::-1]
    return rows(plan.page_sql, [*params, *plan.order_params, limit, offset])


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
    clause, params = ("", []) if allowed is None else (f" AND ({allowed[0]})", allowed[1])
    key = ("get", admin, clause)
    sql = collection.memo.get(key)
    if sql is None:
        sql = f"SELECT {reader.columns} FROM {quote(collection.table)} AS t WHERE t.id = {dialect.placeholder}{clause}"
        collection.memo[key] = sql
    rows = dialect.rows(sql, [record_id, *params], keyed=not clause) if possible_id(record_id) else []
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


def _clause(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""


def _total(source: str, params: Sequence[Any], query: Query, found: int) -> int:
    """The exact number of records, without asking where the page already tells."""
    if query.page == 1 and found < query.per_page:
        return found
    if 0 < found < query.per_page:
        return (query.page - 1) * query.per_page + found
    return totals.count(source, params)


def _by_cursor(
    plan: _Plan, where: Sequence[str], params: Sequence[Any], query: Query
) -> tuple[list[database.Row], str | None]:
    order, source = plan.order, plan.source
    if order.random:
        raise BadRequest("cursor: a random order can't be continued.")
    order_sql, order_params = order.sql()
    key_columns, key_params = order.columns()
    place: list[Any] = []
    if query.cursor:
        sql, place = order.after(query.cursor)
        source += f" AND {sql}" if where else f" WHERE {sql}"
    rows = dialects.current().rows(
        f"SELECT {plan.reader.columns}, {key_columns} {source}"
        f" ORDER BY {order_sql} LIMIT {dialects.current().placeholder}",
        [*key_params, *params, *place, *order_params, query.per_page + 1],
    )
    count = len(order.keys)
    next_cursor = order.cursor(list(rows[query.per_page - 1][-count:])) if len(rows) > query.per_page else None
    return [row[:-count] for row in rows[: query.per_page]], next_cursor


def _finish(
    records: list[Record], collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot
) -> list[Record]:
    if query.expand:
        expand.apply(records, query.expand, collection, env, snapshot)
    if query.fields is not None:
        selection = query.fields
        return [selecting.apply(record, selection) for record in records]
    return records
