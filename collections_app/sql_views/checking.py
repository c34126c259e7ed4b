"""Layer one: what a view's query says, and the SQL that runs in its place.

Each collection is replaced by a sub-select of the public columns that the query uses, so
no other column can be named, whatever else is tried; and ``*`` is only those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import sqlglot
from django.db import connection
from sqlglot import exp
from sqlglot.errors import ErrorLevel
from sqlglot.generator import Generator
from sqlglot.generators.postgres import PostgresGenerator
from sqlglot.generators.sqlite import SQLiteGenerator

from collections_app.dialects import quote
from collections_app.schema.definition import CollectionDef
from collections_app.schema.reading import NAME, NAME_HELP, TAKEN_BY_ENGINES
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import grammar
from collections_app.sql_views.columns import Column, Mention, Reader, Source, public_fields
from collections_app.sql_views.grammar import at, refusal
from core.errors import ValidationFailed

MAX_COLUMNS = 100
MAX_TEXT = 100_000  # characters of a text that a query makes: what is longer is cut off
ROW = "#"  # the column that keeps the order of a query; no field has such a name
_TOGETHER = 4  # texts that are put together before they are cut
MAX_JOINED = 50_000_000  # bytes of texts that one statement puts into string_agg() on PostgreSQL
_TAKEN = frozenset({"collection", "expand"}) | TAKEN_BY_ENGINES


@dataclass(frozen=True, slots=True)
class Checked:
    """A query that may run.

    ``sql`` is a FROM item without its alias: the columns by their names, ``id`` among
    them, and where ``numbered`` the :data:`ROW`. ``fleeting`` is whether its rows change with
    time. ``reads`` maps the tables to the columns that it may read.
    """

    sql: str
    columns: tuple[Column, ...]
    has_id: bool
    numbered: bool
    fleeting: bool
    sources: tuple[CollectionDef, ...]
    reads: Mapping[str, frozenset[str]]
    mentions: tuple[Mention, ...]
    used: frozenset[str]
    made: frozenset[str]  # names of its WITH, which no collection may have


def check(text: str, snapshot: Snapshot) -> Checked:
    """The query, understood and rewritten. Raises ValidationFailed, which points at what is wrong.

    Whatever goes wrong that nobody thought of is a refusal too.
    """
    root = grammar.parse(text, connection.vendor)
    try:
        return _check(text, root, snapshot)
    except ValidationFailed:
        raise
    except Exception as error:
        raise refusal(text, "This query can't be used in a view.") from error


def _check(text: str, root: exp.Query, snapshot: Snapshot) -> Checked:
    vendor = connection.vendor
    reader = Reader(text, snapshot)
    columns = reader.query(root)
    _check_names(text, columns)
    fleeting, ordered = grammar.is_fleeting(root, vendor), root.args.get("order") is not None
    for identifier in list(root.find_all(exp.Identifier)):
        if not identifier.args.get("quoted"):
            identifier.set("this", str(identifier.this).lower())
    for source in reader.sources:
        _replace(source)
    inner = _generate(root, vendor)
    has_id = any(column.name == "id" for column in columns)
    numbered = ordered or not has_id
    return Checked(
        sql=_outer(inner, columns, vendor, has_id=has_id, numbered=numbered),
        columns=tuple(columns),
        has_id=has_id,
        numbered=numbered,
        fleeting=fleeting,
        sources=tuple({s.collection.id: s.collection for s in reader.sources if s.collection is not None}.values()),
        reads=_reads(reader.sources),
        mentions=tuple(sorted(reader.mentions)),
        used=frozenset(reader.used),
        made=frozenset(reader.made),
    )


def _check_names(text: str, columns: Sequence[Column]) -> None:
    if not 1 <= len(columns) <= MAX_COLUMNS:
        raise refusal(text, f"A view has 1 to {MAX_COLUMNS} columns.")
    seen: set[str] = set()
    for position, column in enumerate(columns, 1):
        if not column.name:
            raise at(text, column.node, f"Column {position} needs a name: write AS and a name behind it.")
        if not NAME.fullmatch(column.name):
            raise at(text, column.node, f"{column.name[:80]!r} is not a valid name: {NAME_HELP}.")
        if column.name in _TAKEN:
            raise at(text, column.node, f"The name {column.name!r} is reserved; give the column another with AS.")
        if column.name in seen:
            raise at(text, column.node, f"There are two columns {column.name!r}; give one another name with AS.")
        seen.add(column.name)


def _columns_of(source: Source) -> list[str]:
    assert source.collection is not None
    return [name for name in public_fields(source.collection) if name in source.used] or ["id"]


def _replace(source: Source) -> None:
    """Put a sub-select of the columns in the place of a collection."""
    node, collection = source.node, source.collection
    assert isinstance(node, exp.Table) and collection is not None
    alias = node.args.get("alias")
    name = alias.this if alias is not None else node.this
    select = exp.Select(
        expressions=[exp.Column(this=exp.to_identifier(column, quoted=True)) for column in _columns_of(source)],
        from_=exp.From(this=exp.Table(this=exp.to_identifier(collection.table, quoted=True))),
    )
    node.replace(exp.Subquery(this=select, alias=exp.TableAlias(this=exp.to_identifier(str(name.this), quoted=True))))


def _reads(sources: Sequence[Source]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for source in sources:
        assert source.collection is not None
        table = source.collection.table
        found[table] = found.get(table, frozenset()) | frozenset(_columns_of(source))
    return found


def _bound(root: exp.Query) -> None:
    """Have PostgreSQL make no text of more than :data:`MAX_TEXT` characters: it has no limit of its own
    short of 1 GB, and keeps what lies between until the row is done."""
    texts = list(root.find_all(exp.DPipe, exp.Concat, exp.Upper, exp.Lower, exp.Trim, exp.GroupConcat))
    for node in reversed(texts):  # what is inside first
        if isinstance(node, exp.GroupConcat):
            _count_joined(node)
        elif isinstance(node, exp.DPipe):
            if not isinstance(node.parent, exp.DPipe):
                node.replace(_joined([_short(part.copy()) for part in node.flatten(unnest=False)]))
        elif isinstance(node, exp.Concat):
            node.set("expressions", [_short(part.copy()) for part in node.expressions])
            node.replace(_short(node.copy()))
        else:
            node.set("this", _short(node.this.copy()))


def _short(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Literal) and node.is_string:
        return node
    return exp.Left(this=exp.cast(node, exp.DType.TEXT, copy=False), expression=exp.Literal.number(MAX_TEXT))


def _joined(parts: list[exp.Expr]) -> exp.Expr:
    """``a || b || …``, cut after every few, and not as deep as it is long."""
    while len(parts) > 1:
        groups = [parts[start : start + _TOGETHER] for start in range(0, len(parts), _TOGETHER)]
        parts = [_short(reduce(lambda left, right: exp.DPipe(this=left, expression=right), group)) for group in groups]
    return parts[0]


def _count_joined(node: exp.GroupConcat) -> None:
    """Let it fail when the texts of the statement are too many; the sum is a setting of its transaction."""
    value = node.this
    while isinstance(value, (exp.Order, exp.Distinct)):
        value = value.this if isinstance(value, exp.Order) else value.expressions[0]
    before = "CAST(coalesce(nullif(current_setting('views.joined', true), ''), '0') AS bigint)"
    now = f"CAST({before} + coalesce(octet_length(value), 0) AS text)"
    condition = sqlglot.parse_one(
        f"CAST(CASE WHEN CAST(set_config('views.joined', {now}, true) AS bigint) <= {MAX_JOINED}"
        f" THEN 'true' ELSE 'more than {MAX_JOINED:,} bytes are joined' END AS boolean)",
        read="postgres",
    )
    for column in list(condition.find_all(exp.Column)):
        column.replace(exp.cast(value.copy(), exp.DType.TEXT))
    within = node.parent
    if isinstance(within, exp.Filter):
        within.expression.set("this", exp.and_(within.expression.this, condition))
    else:
        filtered = exp.Filter(expression=exp.Where(this=condition))
        node.replace(filtered)
        filtered.set("this", node)


class _PostgreSQL(PostgresGenerator):
    """Writes SQL without any percent sign, which is the driver's."""

    def literal_sql(self, expression: exp.Literal) -> str:
        text = super().literal_sql(expression)
        if not expression.is_string or "%" not in text:
            return text
        return "E" + text.replace("\\", "\\\\").replace("%", "\\x25")

    def mod_sql(self, expression: exp.Mod) -> str:
        return self.func("MOD", expression.this, expression.expression)


def _generate(root: exp.Query, vendor: str) -> str:
    if vendor == "sqlite":
        maker: Generator = SQLiteGenerator(
            dialect="sqlite", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE
        )
    else:
        _bound(root)
        maker = _PostgreSQL(dialect="postgres", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    sql = maker.generate(root)
    if vendor != "sqlite" and "%" in sql:
        raise ValueError("a percent sign is left")
    return sql


def _outer(inner: str, columns: Sequence[Column], vendor: str, *, has_id: bool, numbered: bool) -> str:
    """The query with its columns as records have them."""
    chosen = []
    if numbered:
        chosen.append(f"row_number() OVER () AS {quote(ROW)}")
    if not has_id:
        chosen.append('CAST(row_number() OVER () AS text) AS "id"')
    chosen += [
        f"{_as_id(column, vendor) if column.name == 'id' else _as_stored(column, vendor)} AS {quote(column.name)}"
        for column in columns
    ]
    known = ' WHERE v."id" IS NOT NULL' if has_id else ""  # there is no record without
    return f"(SELECT {', '.join(chosen)} FROM ({inner}) AS v{known})"


def _as_stored(column: Column, vendor: str) -> str:
    """The value as a field of its type would be stored."""
    sql, kind = f"v.{quote(column.name)}", column.kind
    if kind.bare:
        return sql
    postgresql = vendor == "postgresql"
    if kind.type == "integer":
        return f"CAST({sql} AS bigint)"
    if kind.type == "number":
        return f"CAST({sql} AS {'double precision' if postgresql else 'REAL'})"
    if kind.type == "decimal":
        places = kind.options.get("places")
        return sql if postgresql or places is None else f"round({sql}, {int(places)})"
    if kind.type == "bool":
        return sql
    return _cut(sql, vendor) if kind.type in ("", "text") else sql


def _as_id(column: Column, vendor: str) -> str:
    """An id is a text; where a field is one already, an index helps to find it."""
    sql = f"v.{quote(column.name)}"
    return sql if column.kind.bare and column.kind.type in ("text", "relation") else _cut(sql, vendor)


def _cut(sql: str, vendor: str) -> str:
    cut = f"substr(CAST({sql} AS text), 1, {MAX_TEXT})"
    return f'{cut} COLLATE "C"' if vendor == "postgresql" else cut
