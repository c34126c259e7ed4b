"""The read path: query → plan → rows → bytes. Every read goes through here, with its rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
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
from collections_app.sql_views import caching
from core import database
from core.errors import BadRequest, NotFound

MAX_ID = 64
Rows = Callable[..., list[database.Row]]
Counts = Callable[[str, Sequence[Any]], int]
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
    counted = int(rows[0][-1]) if plan.counts and rows else None
    if plan.counts:
        rows = [row[:-1] for row in rows]
    items = _finish(plan.reader.records(rows), collection, query, env, snapshot)
    total = -1 if query.skip_total else counted if counted is not None else _total(plan, params, query, len(items))
    return {
        "items": items,
        "page": query.page,
        "per_page": query.per_page,
        "total": total,
        "total_pages": -1 if total < 0 else -(-total // query.per_page),
    }


def whole_list(
    collection: CollectionDef, query: Query, env: RuleEnv, snapshot: Snapshot, columns: str
) -> tuple[str, list[Any]]:
    """The statement of a list without pages, and its parameters. Raises as :func:`list_page` does."""
    where, params = _where(collection, query, env, snapshot)
    order_sql, order_params = sorting.read(query.sort, collection, snapshot, env).sql()
    source = f"FROM {_relation(collection, env, snapshot)[0]} AS t{_clause(where)}"
    return f"SELECT {columns} {source} ORDER BY {order_sql}", [*params, *order_params]


def _relation(collection: CollectionDef, env: RuleEnv, snapshot: Snapshot) -> tuple[str, Rows, Counts]:
    """What stands behind FROM for the records of a collection, and how they are read and counted from it."""
    if collection.type != "view":
        return quote(collection.table), dialects.current().rows, totals.count
    view = caching.view(collection, snapshot)
    env.fleeting |= view.fleeting
    return view.sql, view.rows, view.count


@dataclass(frozen=True, slots=True)
class _Plan:
    """The statement of a list: all but its parameters."""

    reader: Codec
    order: sorting.Order
    source: str
    order_params: list[Any]
    page_sql: str
    rows: Rows
    count: Counts
    counts: bool  # whether each row of a page ends with the total
    from_end_sql: str  # the same in the opposite order; empty where there is none


def _plan(collection: CollectionDef, query: Query, where: Sequence[str], env: RuleEnv, snapshot: Snapshot) -> _Plan:
    """The plan of this question, made once for all who ask it with other values. Raises BadRequest."""
    admin = env.principal.is_admin
    plans: dict[Any, _Plan] = snapshot.memo.setdefault("plans", {})
    counting = (query.skip_total, query.cursor is None) if collection.type == "view" else ()
    key = (collection.id, admin, query.sort, query.raw.get("fields"), query.raw.get("expand"), counting, *where)
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
    relation, rows, count = _relation(collection, env, snapshot)
    source = f"FROM {relation} AS t{_clause(where)}"
    mark = dialects.current().placeholder
    # Whoever makes the rows of a view can count them too, at once.
    counts = collection.type == "view" and not query.skip_total and query.cursor is None
    columns = f"{reader.columns}, count(*) OVER ()" if counts else reader.columns
    page, part = f"SELECT {columns} {source} ORDER BY", f"LIMIT {mark} OFFSET {mark}"
    page_sql = f"{page} {order_sql} {part}"
    from_end_sql = "" if order.random or collection.type == "view" else f"{page} {order.sql(opposite=True)[0]} {part}"
    made = _Plan(reader, order, source, order_params, page_sql, rows, count, counts, from_end_sql)
    if order.for_all and len(page_sql) <= _MAX_KEPT:
        if len(plans) >= _MAX_PLANS:
            plans.clear()
        plans[key] = made
    return made


def _page(plan: _Plan, params: Sequence[Any], query: Query) -> list[database.Row]:
    """The rows of a numbered page. Those of a deep one are counted off from whichever end is nearer."""
    rows = plan.rows
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
    clause, params = ("", []) if allowed is None else (f" AND ({allowed[0]})", allowed[1])
    relation, rows_of, _ = _relation(collection, env, snapshot)
    key = ("get", admin, clause, relation)
    sql = collection.memo.get(key)
    if sql is None:
        mark = dialects.current().placeholder
        sql = f"SELECT {reader.columns} FROM {relation} AS t WHERE t.id = {mark}{clause}"
        collection.memo[key] = sql
    keyed = not clause and collection.type != "view"
    rows = rows_of(sql, [record_id, *params], keyed=keyed) if possible_id(record_id) else []
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
    if collection.type == "view":  # whose rows do not say when they changed
        return hashlib.blake2b(orjson.dumps([collection.revision, record]), digest_size=10).hexdigest()
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
    for name, texts in query.holding.items():
        sql, values = searching.holding(collection, name, texts, admin=env.principal.is_admin)
        where.append(sql)
        params += values
    return where, params


def _clause(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""


def _total(plan: _Plan, params: Sequence[Any], query: Query, found: int) -> int:
    """The exact number of records, without asking where the page already tells."""
    if query.page == 1 and found < query.per_page:
        return found
    if 0 < found < query.per_page:
        return (query.page - 1) * query.per_page + found
    return plan.count(plan.source, params)


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
    rows = plan.rows(
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
