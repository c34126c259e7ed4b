"""The SQL that a view may be written in: what is not named here is refused.

The text is parsed by sqlglot, whose version is pinned: a newer one may read the same
text differently.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError, TokenError
from sqlglot.helper import seq_get
from sqlglot.parsers.postgres import PostgresParser

from core.errors import ValidationFailed

# What it can't read it says in what it raises.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

MAX_CHARACTERS = 20_000
MAX_NODES = 3_000


class _PostgreSQL(Postgres):
    """Leaves the formats of to_char() as they are; sqlglot makes strftime's of them, and not all of them."""

    class Parser(PostgresParser):
        FUNCTIONS = {
            **PostgresParser.FUNCTIONS,
            "TO_CHAR": lambda args: exp.ToChar(this=seq_get(args, 0), format=seq_get(args, 1)),
        }


_DIALECTS: dict[str, str | type[Dialect]] = {"sqlite": "sqlite", "postgresql": _PostgreSQL}

# The keys that a part of a statement may have; what else it could have (INTO, locks, hints,
# laterals, samples, schema names) is another statement.
_PARTS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: frozenset(
        {"with_", "expressions", "distinct", "from_", "joins", "where", "group", "having", "order", "limit", "offset"}
    ),
    exp.Union: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Except: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Intersect: frozenset({"with_", "this", "expression", "distinct", "order", "limit", "offset"}),
    exp.Subquery: frozenset({"this", "alias"}),
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias"}),
    exp.TableAlias: frozenset({"this"}),
    exp.Table: frozenset({"this", "alias"}),
    exp.From: frozenset({"this"}),
    exp.Join: frozenset({"this", "on", "side", "kind"}),
    exp.Where: frozenset({"this"}),
    exp.Group: frozenset({"expressions"}),
    exp.Having: frozenset({"this"}),
    exp.Order: frozenset({"this", "expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression"}),
    exp.Offset: frozenset({"expression"}),
    exp.Distinct: frozenset({"expressions"}),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Star: frozenset(),
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side"}),
    exp.Cast: frozenset({"this", "to", "_type"}),
    exp.DataType: frozenset({"this", "expressions", "nested"}),
    exp.Interval: frozenset({"this", "unit"}),
    exp.Var: frozenset({"this"}),
}

CONDITIONS: tuple[type[exp.Expr], ...] = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Like, exp.ILike,
    exp.In, exp.Between, exp.Exists, exp.Not, exp.And, exp.Or,
)  # fmt: skip

_EXPRESSIONS: tuple[type[exp.Expr], ...] = (
    exp.Null, exp.Boolean, exp.Paren, exp.Case, exp.If, exp.Escape, exp.Filter, exp.DataTypeParam,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.DPipe,
    # Of many rows.
    exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.GroupConcat,
    exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue,
    # Of values. None makes a text that is much longer than what it is made from.
    exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least, exp.Abs, exp.Round, exp.Ceil, exp.Floor, exp.Sign, exp.Sqrt,
    exp.Upper, exp.Lower, exp.Trim, exp.Length, exp.Substring, exp.Left, exp.Right, exp.Concat, exp.StrPosition,
    # Of time.
    exp.CurrentTimestamp, exp.CurrentDate, exp.Date, exp.Datetime, exp.TimeToStr, exp.TsOrDsToTimestamp,
    exp.TsOrDsToDate, exp.DateTrunc, exp.TimestampTrunc, exp.Extract, exp.ToChar,
)  # fmt: skip

_ALLOWED = frozenset((*_PARTS, *CONDITIONS, *_EXPRESSIONS))

# Functions that only the other engine has, and what to use instead.
_INSTEAD = {
    "sqlite": {"left": "substr", "right": "substr", "concat": "||", "to_char": "strftime", "date_trunc": "date",
               "extract": "strftime"},
    "postgresql": {"total": "sum", "strftime": "to_char", "julianday": "extract", "unixepoch": "extract",
                   "datetime": "date_trunc", "time": "to_char"},
}  # fmt: skip

# Functions that sqlglot has no class for.
_BY_NAME = {
    "sqlite": frozenset({"total", "julianday", "unixepoch", "date", "datetime", "time", "strftime"}),
    "postgresql": frozenset[str](),
}

_TYPES = frozenset(
    {exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.INT, exp.DType.BIGINT, exp.DType.SMALLINT, exp.DType.DOUBLE,
     exp.DType.FLOAT, exp.DType.DECIMAL, exp.DType.BOOLEAN, exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ}
)  # fmt: skip
# What SQLite makes of these is not what they are called.
_NOT_ON_SQLITE = frozenset({exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ})

_CLOCK = (exp.CurrentTimestamp, exp.CurrentDate)
_UNIT = re.compile(r"[A-Za-z_ ]{1,30}")
_NOW = re.compile(r"(?i)\bnow\b")
_TIMES = (exp.Date, exp.Datetime, exp.TimeToStr, exp.TsOrDsToTimestamp, exp.TsOrDsToDate, exp.Anonymous)


def refusal(text: str, message: str, start: int | None = None, length: int = 0) -> ValidationFailed:
    """A refusal of the query that points at a place of it: line and column count from one."""
    extra: dict[str, Any] = {}
    if start is not None:
        before = text[:start]
        line, column = before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1
        word = text[start : start + length][:80]
        extra["position"] = {"line": line, "column": column, "word": word}
        message = f"Line {line}, column {column}{f', at {word!r}' if word else ''}: {message}"
    return ValidationFailed(message, fields={"view_query": [message]}, extra=extra)


def at(text: str, node: exp.Expr, message: str) -> ValidationFailed:
    """The same, at a node: where it, or the first of its parts that is known to stand somewhere, stands."""
    places = [part.meta for part in node.walk() if "start" in part.meta]
    if not places:
        return refusal(text, message)
    first = min(places, key=lambda meta: int(meta["start"]))
    return refusal(text, message, first["start"], first["end"] - first["start"] + 1)


def parse(text: Any, vendor: str) -> exp.Query:
    """The one SELECT that the text is, with nothing in it but what is allowed. Raises ValidationFailed.

    Whatever goes wrong on the way that nobody thought of is a refusal too.
    """
    if not isinstance(text, str) or not text.strip():
        raise refusal("", "A view is a SELECT statement.")
    if len(text) > MAX_CHARACTERS:
        raise refusal("", f"A view's query has at most {MAX_CHARACTERS:,} characters.")
    if "\x00" in text:
        raise refusal("", "Null characters are not allowed.")
    try:
        return _parse(text, vendor)
    except ValidationFailed:
        raise
    except ParseError as error:
        raise _syntax_error(text, error) from error
    except TokenError as error:
        raise refusal(text, "This can't be read as SQL: a quote or comment is not closed.") from error
    except Exception as error:
        raise refusal(text, "This can't be read as SQL.") from error


def _syntax_error(text: str, error: ParseError) -> ValidationFailed:
    told = error.errors[0] if error.errors else {}
    word, line, end = str(told.get("highlight") or ""), int(told.get("line") or 0), int(told.get("col") or 0)
    if not line:
        return refusal(text, "This can't be read as SQL.")
    start = sum(len(one) + 1 for one in text.split("\n")[: line - 1]) + max(end - len(word), 0)
    return refusal(text, "This can't be read as SQL.", start, len(word))


def _parse(text: str, vendor: str) -> exp.Query:
    statements = sqlglot.parse(text, read=_DIALECTS[vendor])
    found = [statement for statement in statements if statement is not None and type(statement) is not exp.Semicolon]
    if len(found) > 1:
        raise at(text, found[1], "A view is one statement.")
    if not found:
        raise refusal(text, "A view is a SELECT statement.")
    root = found[0]
    if not isinstance(root, (exp.Select, exp.SetOperation)):
        raise at(text, root, "A view is a SELECT statement.")
    for count, node in enumerate(root.walk(), 1):
        if count > MAX_NODES:
            raise refusal(text, "This query is too long.")
        _check(text, node, vendor)
    return root


def _check(text: str, node: Any, vendor: str) -> None:
    kind = type(node)
    function = _name_of(node) if isinstance(node, exp.Func) else ""
    instead = _INSTEAD[vendor].get(function)
    if instead:
        raise at(text, node, f"The database has no {function}; use {instead}.")
    if kind is exp.Anonymous and function in _BY_NAME[vendor]:
        return
    if kind not in _ALLOWED:
        what = f"The function {function}" if function else kind.__name__.upper()
        raise at(text, node, f"{what} can't be used in a view.")
    keys = _PARTS.get(kind)
    if keys is not None:
        for key, value in node.args.items():
            if key not in keys and value not in (None, False, []):
                word = key.strip("_").replace("_", " ").upper()
                raise at(text, node, f"{word} can't be used in a view's {kind.__name__.upper()}.")
    if kind is exp.DataType:
        if not isinstance(node.this, exp.DType) or node.this not in _TYPES:
            raise at(text, node.parent or node, "A value can't be cast to this type in a view.")
        if vendor == "sqlite" and node.this in _NOT_ON_SQLITE:
            raise at(text, node.parent or node, "SQLite has no such type; use date() or datetime().")
    elif kind is exp.Order and node.this is not None and type(node.parent) is not exp.GroupConcat:
        raise at(text, node, "The values of this function have no order.")
    elif kind is exp.Table and type(node.this) is not exp.Identifier:
        raise at(text, node, "A view reads from collections only.")
    elif kind is exp.Var and not _UNIT.fullmatch(str(node.this)):
        raise at(text, node, "This can't be used in a view.")
    elif kind is exp.Join and (node.args.get("kind") or "").upper() not in ("", "INNER", "CROSS", "OUTER"):
        raise at(text, node, "This kind of join can't be used in a view.")


def _name_of(node: exp.Func) -> str:
    name = node.this if type(node) is exp.Anonymous else node.sql_names()[0]
    return str(name).lower()[:40]


def is_fleeting(root: exp.Query, vendor: str) -> bool:
    """Whether the query asks for the time, so that its rows change by themselves."""
    for node in root.walk():
        if isinstance(node, _CLOCK) or (isinstance(node, exp.Anonymous) and node.this.lower() == "now"):
            return True
        if vendor == "sqlite" and isinstance(node, _TIMES):
            literals = [part for part in node.find_all(exp.Literal) if part.is_string]
            if not any(node.find_all(exp.Column)) or any(_NOW.search(part.this) for part in literals):
                return True
    return vendor == "postgresql" and any(
        part.is_string and _NOW.search(part.this) for part in root.find_all(exp.Literal)
    )
