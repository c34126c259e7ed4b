"""What the names of a checked query mean, and what its results are.

A scope is one SELECT with what it reads from; names are looked up in it, then in the
scopes around it. What is not found is refused here, so nothing but public columns of
collections, and what the query makes of them, ever reaches the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dc_field
from typing import Any, NamedTuple

from sqlglot import exp

from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import grammar
from collections_app.sql_views.grammar import at

MAX_PARTS = 10_000  # of the expressions of a query, each written out down to the fields of collections
_MAKES_TEXT = 10  # parts: PostgreSQL keeps all texts that are made for a row until the next one
_TEXTS = (exp.DPipe, exp.Concat, exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.Left, exp.Right, exp.ToChar,
          exp.GroupConcat)  # fmt: skip
_NUMBERS = frozenset({"integer", "number", "decimal"})
# Types of which two fields are alike only if their options are.
_OPTIONED = frozenset({"relation", "select", "decimal"})


class Kind(NamedTuple):
    """What a value is: a field type with its options. ``bare`` is whether it stands as a field stores it;
    then ``multiple`` says that it is a list."""

    type: str
    options: Mapping[str, Any] = {}
    bare: bool = False
    multiple: bool = False


TEXT, INTEGER, NUMBER, BOOL, NULL = Kind("text"), Kind("integer"), Kind("number"), Kind("bool"), Kind("")


class Column(NamedTuple):
    """A column of a result; ``name`` is empty where the query gives it none.

    ``parts`` is of how many parts it is made, if what it reads from other queries is written out,
    as planners do it.
    """

    name: str
    kind: Kind
    node: exp.Expr
    parts: int = 1


class Mention(NamedTuple):
    """Where the text names a collection or field: what stands there, and under which name the rest of
    the query, or the world, goes on to know it (empty where it has another name anyway)."""

    start: int
    end: int
    id: str
    known_as: str


@dataclass(slots=True)
class Source:
    """One item of a FROM: a collection (``node`` is its place in the tree), or rows made by a query."""

    columns: dict[str, Column]
    collection: CollectionDef | None = None
    node: exp.Expr | None = None
    used: set[str] = dc_field(default_factory=set)


@dataclass(slots=True)
class Scope:
    sources: dict[str, Source]
    outer: Scope | None = None
    results: dict[str, Column] = dc_field(default_factory=dict)


def public_fields(collection: CollectionDef) -> dict[str, Field]:
    """The columns that a query may read from a collection: what is not hidden, and stored beside the record."""
    found = collection.memo.get("columns for views")
    if found is None:
        found = collection.memo["columns for views"] = {
            field.name: field
            for field in collection.fields
            if not field.hidden and not field.secret and field.storage in ("column", "list")
        }
    return found


def _kind_of_field(collection: CollectionDef, field: Field) -> Kind:
    if field.id == "id":
        # Under another name it is a relation to the record.
        return Kind("relation", {"collection_id": collection.id, "type": "many-to-one"}, bare=True)
    if field.type == "file":
        return Kind("json", {}, True) if field.multiple else Kind("text", {}, True)
    if field.type == "autodate":
        return Kind("datetime", {}, True)
    options = {key: value for key, value in field.options.items() if value is not None}
    if field.target:
        options = {"collection_id": field.target, "type": "many-to-one"}
    return Kind(field.type, options, True, field.multiple)


class Reader:
    """Reads one query on one snapshot."""

    def __init__(self, text: str, snapshot: Snapshot) -> None:
        self.text = text
        self.snapshot = snapshot
        self.mentions: list[Mention] = []
        self.sources: list[Source] = []  # the collections that are read, once for each place
        self.used: set[str] = set()  # the ids of fields that are named
        self.made: set[str] = set()  # the names of queries in WITH
        self.parts = 0  # met so far, written out

    # -- queries --------------------------------------------------------------
    def query(
        self, node: exp.Expr, outer: Scope | None = None, made: Mapping[str, dict[str, Column]] | None = None
    ) -> list[Column]:
        """The columns of a query, whose names are all looked up. Raises ValidationFailed."""
        if isinstance(node, exp.Subquery):
            return self.query(node.this, outer, made)
        made = dict(made or {})
        with_ = node.args.get("with_")
        for cte in with_.expressions if with_ else ():
            name = self._alias(cte)
            if name in self.snapshot.by_name or name in made:
                raise at(self.text, cte.args["alias"], f"There already is something called {name!r}.")
            self.made.add(name)
            made[name] = self._named(self.query(cte.this, outer, made))
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, outer, made)
        if not isinstance(node, exp.Select):
            raise at(self.text, node, "Expected a SELECT.")
        return self._select(node, outer, made)

    def _set_operation(
        self, node: exp.SetOperation, outer: Scope | None, made: Mapping[str, dict[str, Column]]
    ) -> list[Column]:
        left, right = self.query(node.this, outer, made), self.query(node.expression, outer, made)
        if len(left) != len(right):
            raise at(self.text, node.expression, "Both sides need the same number of columns.")
        columns = [
            Column(one.name, unified([one.kind, other.kind]), one.node, one.parts + other.parts)
            for one, other in zip(left, right, strict=True)
        ]
        scope = Scope({}, None, self._named(columns))
        self._order(node, scope, made)
        return columns

    def _select(self, node: exp.Select, outer: Scope | None, made: Mapping[str, dict[str, Column]]) -> list[Column]:
        scope = Scope({}, outer)
        from_ = node.args.get("from_")
        items = ([from_] if from_ else []) + list(node.args.get("joins") or ())
        for item in items:
            self._add_source(item.this, scope, outer, made)
        for item in items:
            if item.args.get("on") is not None:
                self._visit(item.args["on"], scope, made)
        columns: list[Column] = []
        for projection in node.expressions:
            columns += self._projected(projection, scope, made)
        scope.results = self._named(columns)
        for part in ("where", "group", "having", "distinct"):
            if node.args.get(part) is not None:
                self._visit(node.args[part], scope, made)
        self._order(node, scope, made)
        return columns

    def _order(self, node: exp.Query, scope: Scope, made: Mapping[str, dict[str, Column]]) -> None:
        """ORDER BY, which knows the results first; LIMIT and OFFSET, which are the same for all rows."""
        if node.args.get("order") is not None:
            self._visit(node.args["order"], scope, made, results_first=True)
        for part in ("limit", "offset"):
            if node.args.get(part) is not None:
                self._visit(node.args[part], Scope({}), made)

    def _add_source(
        self, node: exp.Expr, scope: Scope, outer: Scope | None, made: Mapping[str, dict[str, Column]]
    ) -> None:
        if isinstance(node, exp.Table):
            name = _name(node.this)
            alias = self._alias(node) or name
            if name in made:
                source = Source(made[name])
            else:
                source = self._collection(node, name, alias)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, (exp.Select, exp.SetOperation)):
            alias = self._alias(node)
            if not alias:
                raise at(self.text, node, "A query in FROM needs a name: (SELECT …) AS name.")
            source = Source(self._named(self.query(node.this, outer, made)))
        else:
            raise at(self.text, node, "A view reads from collections, and from queries in parentheses.")
        if alias in scope.sources:
            raise at(self.text, node, f"{alias!r} stands twice here; give one another name with AS.")
        scope.sources[alias] = source

    def _collection(self, node: exp.Table, name: str, alias: str) -> Source:
        collection = self.snapshot.by_name.get(name)
        if collection is None:
            raise at(self.text, node, f"There is no collection {name[:63]!r}.")
        if collection.type == "view":
            raise at(self.text, node, f"{name!r} is a view; a view reads from other collections.")
        columns = {
            field.name: Column(field.name, _kind_of_field(collection, field), node)
            for field in public_fields(collection).values()
        }
        source = Source(columns, collection, node)
        self.sources.append(source)
        self._mention(node.this, collection.id, "" if node.args.get("alias") else name)
        return source

    def _projected(self, node: exp.Expr, scope: Scope, made: Mapping[str, dict[str, Column]]) -> list[Column]:
        if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
            wanted = list(scope.sources)
            if isinstance(node, exp.Column):
                wanted = [_name(node.args["table"])]
                if wanted[0] not in scope.sources:
                    raise at(self.text, node, f"There is no {wanted[0][:63]!r} here.")
            if not wanted:
                raise at(self.text, node, "There is nothing to take all columns of.")
            columns = []
            for alias in wanted:
                source = scope.sources[alias]
                source.used.update(source.columns)
                for column in source.columns.values():
                    self._count(node, column.parts)
                    columns.append(column._replace(node=node))
            return columns
        before = self.parts
        if isinstance(node, exp.Alias):
            name, kind = _name(node.args["alias"]), self._visit(node.this, scope, made)
        else:
            name = _name(node.this) if isinstance(node, exp.Column) else ""
            kind = self._visit(node, scope, made, known_as=name)
        return [Column(name, kind, node, self.parts - before)]

    def _alias(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        return "" if alias is None else _name(alias.this)

    def _named(self, columns: Sequence[Column]) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for column in columns:
            if column.name:
                found.setdefault(column.name, column)
        return found

    def _count(self, node: exp.Expr, parts: int) -> None:
        """Queries that double what they read are short, and have a planner work for hours, unstopped."""
        self.parts += parts
        if self.parts > MAX_PARTS:
            message = f"The expressions of the query are too long: more than {MAX_PARTS:,} parts with those they read."
            raise at(self.text, node, message)

    # -- values ---------------------------------------------------------------
    def _visit(
        self, node: Any, scope: Scope, made: Mapping[str, dict[str, Column]], *, results_first: bool = False,
        known_as: str = "",
    ) -> Kind:  # fmt: skip
        """Look up all names in an expression; answers what it is."""
        if isinstance(node, (exp.Select, exp.SetOperation, exp.Subquery)):
            columns = self.query(node, scope, made)
            return columns[0].kind._replace(bare=False) if len(columns) == 1 else TEXT
        if isinstance(node, exp.Column):
            return self._look_up(node, scope, results_first=results_first, known_as=known_as)
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            raise at(self.text, node, "* can't stand here.")
        self._count(node, _MAKES_TEXT if isinstance(node, _TEXTS) else 1)
        kinds: dict[str, list[Kind]] = {}
        for key, value in node.args.items():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, exp.Expr) and not isinstance(part, (exp.Identifier, exp.DataType)):
                    kinds.setdefault(key, []).append(self._visit(part, scope, made, results_first=results_first))
        return _kind(node, kinds)

    def _look_up(self, node: exp.Column, scope: Scope, *, results_first: bool, known_as: str) -> Kind:
        if isinstance(node.this, exp.Star):
            raise at(self.text, node, "* can't stand here.")
        name, table = _name(node.this), node.args.get("table")
        if table is None and results_first and name in scope.results:
            return self._result(node, scope.results[name])
        here: Scope | None = scope
        while here is not None:
            if table is not None:
                found = [here.sources[_name(table)]] if _name(table) in here.sources else []
                if found and name not in found[0].columns:
                    break
            else:
                found = [source for source in here.sources.values() if name in source.columns]
            if len(found) > 1:
                raise at(self.text, node, f"{name[:63]!r} is in more than one of these; say which: name.{name[:63]}.")
            if found:
                return self._found(node, name, found[0], known_as)
            if table is None and name in here.results:
                return self._result(node, here.results[name])
            here = here.outer
        raise at(self.text, node, f"There is no column {node.sql()[:128]!r}.")

    def _result(self, node: exp.Column, result: Column) -> Kind:
        self._count(node, result.parts)
        return result.kind

    def _found(self, node: exp.Column, name: str, source: Source, known_as: str) -> Kind:
        source.used.add(name)
        if source.collection is not None:
            field = source.collection.by_name[name]
            self.used.add(field.id)
            if not field.system:
                self._mention(node.this, field.id, known_as)
        return self._result(node, source.columns[name])

    def _mention(self, node: exp.Identifier, id: str, known_as: str) -> None:
        place = node.meta
        self.mentions.append(Mention(place.get("start", -1), place.get("end", -2) + 1, id, known_as))


def _name(node: exp.Identifier) -> str:
    """The name as both engines understand it; what is not in quotes has no capitals."""
    name = str(node.this)
    return name if node.args.get("quoted") else name.lower()


def unified(kinds: Sequence[Kind]) -> Kind:
    """What a value is that may be any of these."""
    known = [kind for kind in kinds if kind.type]
    if not known:
        return TEXT
    first = known[0]
    if all(kind == first for kind in known):
        return first
    types = {kind.type for kind in known}
    if types == {first.type} and first.type not in _OPTIONED and not any(kind.multiple for kind in known):
        return first._replace(bare=all(kind.bare for kind in known))
    return NUMBER if types <= _NUMBERS else TEXT


_SAME = (
    exp.Min,
    exp.Max,
    exp.Coalesce,
    exp.Nullif,
    exp.Greatest,
    exp.Least,
    exp.Lag,
    exp.Lead,
    exp.FirstValue,
    exp.LastValue,
)
_CONDITION = (*grammar.CONDITIONS, exp.Boolean)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Mod, exp.Neg, exp.Abs)
_COUNTS = (exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Length, exp.StrPosition)
_FLOATS = (exp.Avg, exp.Div, exp.Round, exp.Ceil, exp.Floor, exp.Sqrt, exp.Sign, exp.Extract)
_CASTS = {
    exp.DType.INT: INTEGER, exp.DType.BIGINT: INTEGER, exp.DType.SMALLINT: INTEGER, exp.DType.DOUBLE: NUMBER,
    exp.DType.FLOAT: NUMBER, exp.DType.DECIMAL: NUMBER, exp.DType.BOOLEAN: BOOL,
}  # fmt: skip


def _kind(node: exp.Expr, parts: Mapping[str, list[Kind]]) -> Kind:
    """The kind of an expression whose parts, by their keys, are of these kinds."""
    own = parts.get("this", [TEXT])[0]
    if isinstance(node, exp.Literal):
        return TEXT if node.is_string else INTEGER if node.is_int else NUMBER
    if isinstance(node, exp.Null):
        return NULL
    if isinstance(node, (exp.Paren, exp.Escape, exp.Filter, exp.Window, exp.Distinct, exp.Where)):
        return own
    if isinstance(node, exp.Case):
        values = [kind for key in ("ifs", "default") for kind in parts.get(key, ())]
        return unified([*values, *([] if "default" in parts else [NULL])])
    if isinstance(node, exp.If):
        return unified([*parts.get("true", ()), *parts.get("false", ())])
    if isinstance(node, _SAME):
        values = (
            [own] if isinstance(node, exp.Nullif) else [own, *parts.get("expressions", ()), *parts.get("default", ())]
        )
        found = unified(values)
        return TEXT if found.multiple or found.type in ("json", "geo_point") else found
    if isinstance(node, _CONDITION):
        return BOOL
    if isinstance(node, _COUNTS):
        return INTEGER
    if isinstance(node, _FLOATS):
        return NUMBER
    if isinstance(node, exp.Sum):
        return _sum(own)
    if isinstance(node, _ARITHMETIC):
        values = [own, *parts.get("expression", ())]
        if not all(kind.type in _NUMBERS for kind in values):
            return NUMBER if isinstance(node, (exp.Mul, exp.Neg, exp.Abs, exp.Mod)) else TEXT
        return INTEGER if all(kind.type == "integer" for kind in values) else NUMBER
    if isinstance(node, exp.Cast):
        return _CASTS.get(node.to.this, TEXT)
    if isinstance(node, exp.Anonymous):
        return NUMBER if node.this.lower() in ("total", "julianday", "unixepoch") else TEXT
    return TEXT


def _sum(own: Kind) -> Kind:
    if own.type == "decimal" and own.options.get("places") is not None:
        return Kind("decimal", own.options)
    return INTEGER if own.type in ("integer", "bool") else NUMBER
