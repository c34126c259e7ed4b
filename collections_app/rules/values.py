"""What values mean in comparisons: kinds, emptiness, and the one table of operators.

Every comparison is two-valued. Empty is None or ``''``: two empties are equal,
an empty is in no order and contains nothing. ``!=`` and ``!~`` are the exact
negations of ``=`` and ``~``.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from collections_app.dialects import fold
from collections_app.schema.fields.temporal import parse_moment, parse_time_of_day

# Each negation and the operator that it negates.
NEGATIONS = {"!=": "=", "!~": "~"}
NUMERIC = frozenset({"number", "integer", "decimal"})


class Unfit(Exception):
    """A value that can't be of the kind that it is compared with."""


def family(kind: str) -> str:
    return "number" if kind in NUMERIC else kind


def is_empty(value: Any) -> bool:
    return value is None or value == ""


def canonical(kind: str, value: Any) -> Any:
    """A record's value of this kind as Python compares it; None for empty."""
    if is_empty(value):
        return None
    if kind == "datetime":
        return value[:-1]
    if kind == "decimal":
        return Decimal(value)
    return value


def coerce(kind: str, value: Any, *, written: str | None = None) -> Any:
    """A literal or dynamic value as one of ``kind`` in canonical form; Unfit where it is none.

    ``written`` is how a number literal stands in the source, for texts.
    """
    if is_empty(value):
        return None
    if kind == "text":
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            if not storable(value):
                raise Unfit("a text that can be stored")
            return value
        return written or _plain(value)
    if kind in NUMERIC:
        number = _number(written if written and not isinstance(value, str) else value)
        if kind == "number":
            return float(number)
        return _fifteen_digits(number) if kind == "decimal" else number
    if kind == "bool":
        known = {"true": True, "false": False, "1": True, "0": False}.get((written or str(value)).lower())
        if known is None:
            raise Unfit("true or false")
        return known
    if kind == "datetime":
        moment = value if isinstance(value, datetime) else parse_moment(value) if isinstance(value, str) else None
        if moment is None:
            raise Unfit("an ISO 8601 date")
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    if kind == "time":
        return _time(value)
    raise Unfit("a value")


def storable(text: str) -> bool:
    """Whether a database could hold it: no NUL, no half of a surrogate pair."""
    if text.isascii():
        return "\x00" not in text
    return not any(char == "\x00" or "\ud800" <= char <= "\udfff" for char in text)


def _fifteen_digits(value: int | float | Decimal) -> Decimal:
    """As exact as the stored decimals are, which SQLite compares as floats."""
    return Decimal(f"{float(value):.15g}")


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise Unfit("a number")
    if isinstance(value, (int, float, Decimal)):
        if (isinstance(value, int) and value.bit_length() > 1000) or not math.isfinite(value):
            raise Unfit("a number")
        return value
    if not isinstance(value, str) or len(value) > 64 or "_" in value:
        raise Unfit("a number")
    if len(value) < 19 and value.isascii() and value.isdigit():
        return int(value)
    try:
        exact = Decimal(value.strip())
    except InvalidOperation as error:
        raise Unfit("a number") from error
    if not exact.is_finite() or not math.isfinite(float(exact)):
        raise Unfit("a number")
    if exact == exact.to_integral_value() and abs(exact) < 2**63:
        return int(exact)
    return float(exact)


def _time(value: Any) -> str:
    moment = parse_time_of_day(value) if isinstance(value, str) else None
    if moment is None:
        raise Unfit("a time such as 10:30")
    return moment.isoformat()


def _plain(value: Any) -> str:
    if isinstance(value, (int, float)):
        return str(value)
    raise Unfit("a text")


def compare(op: str, left: Any, right: Any) -> bool:
    """The reference: what an operator means on two canonical values (None is empty)."""
    if op == "=":
        return bool(left == right)
    if op == "!=":
        return bool(left != right)
    if op == "!~":
        return not compare("~", left, right)
    if left is None or right is None:
        return False
    if op == "~":
        return fold(right) in fold(left)
    if op == "<":
        return bool(left < right)
    if op == "<=":
        return bool(left <= right)
    if op == ">":
        return bool(left > right)
    return bool(left >= right)


def macro(name: str, now: datetime) -> tuple[str, Any] | None:
    """(kind, value) of ``@now`` and its like at this moment, in UTC; None for an unknown name."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month, year = day.replace(day=1), day.replace(day=1, month=1)
    tick = timedelta(microseconds=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    moments = {
        "@now": now, "@today": day, "@todayStart": day, "@todayEnd": day + timedelta(days=1) - tick,
        "@yesterday": day - timedelta(days=1), "@tomorrow": day + timedelta(days=1),
        "@monthStart": month, "@monthEnd": next_month - tick,
        "@yearStart": year, "@yearEnd": year.replace(year=year.year + 1) - tick,
    }  # fmt: skip
    if name in moments:
        return "datetime", moments[name]
    numbers = {
        "@second": now.second, "@minute": now.minute, "@hour": now.hour, "@day": now.day, "@month": now.month,
        "@year": now.year, "@weekday": (now.weekday() + 1) % 7,
    }  # fmt: skip
    return ("number", numbers[name]) if name in numbers else None
