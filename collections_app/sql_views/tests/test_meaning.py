"""A view answers what its SQL answers: many expressions, each by itself and in a view."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.schema import registry
from collections_app.sql_views import previewing
from core.errors import DomainError, ValidationFailed

pytestmark = pytest.mark.engine

BOTH = r"""
n % 7
-n % 7
n / 7
n / 7.0
(n + 1) * 2
n + 1 * 2
n - -3
- -n
abs(-f)
round(f)
ceil(f)
floor(f)
sign(-f)
sqrt(f)
upper(t)
lower(t)
length(t)
trim(t)
ltrim(t, 'T')
rtrim(t, '0')
substr(t, 2)
substr(t, 2, 2)
substring(t, 2)
t || '-' || n
t || NULL
'a%b' || t
'it''s'
'a\b'
'a\\b'
'%d'
'%Y'
coalesce(NULL, t)
nullif(n, 5)
CAST(n AS text)
CASE n WHEN 5 THEN 'five' ELSE 'no' END
CASE WHEN n > 3 THEN 'five' END
n IS NULL
NOT n IS NULL
n BETWEEN 1 AND 9
n IN (1, 5)
n <> 5
n != 5
b = true
b IS TRUE
NOT b
t LIKE '%e%'
t LIKE 'T!%' ESCAPE '!'
t LIKE 'T!e%' ESCAPE '!'
t NOT LIKE '%x%'
t > 'A'
t < 'a'
'a' < 'B'
1e3
0.1 + 0.2
a.n
row_number() OVER (ORDER BY n)
sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
lag(n, 1, 0) OVER (ORDER BY n)
(SELECT count(*) FROM things AS c)
(SELECT sum(c.n) FILTER (WHERE c.n > 1) FROM things AS c)
EXISTS (SELECT 1 FROM things AS c WHERE c.n > a.n)
current_date > dt
dt > '2025-01-01'
"""
SQLITE = r"""
strftime('%Y-%m', dt)
strftime('%s', dt)
strftime('%Y', dt, 'start of month', '+1 month')
strftime('%W', dt)
strftime('%f', dt)
strftime('%H:%M', dt)
strftime('%d.%m.%Y', dt)
date(dt)
date(dt, 'start of month')
date('2025-01-01', '+1 day')
datetime(dt, '+1 day')
time(dt)
julianday(dt)
unixepoch(dt)
instr(t, 'e')
trim(t, 'T')
substr(t, -2)
ifnull(NULL, t)
max(n, 3)
min(n, 3)
iif(n > 3, 'y', 'n')
t LIKE 't%'
n IS 5
n IS NOT 5
n == 5
n = '5'
CAST(f AS int)
CAST('12abc' AS int)
total(n) OVER ()
group_concat(t, '-') OVER ()
(SELECT group_concat(DISTINCT c.t) FROM things AS c)
date(dt) = '2025-01-15'
"""
POSTGRESQL = r"""
to_char(dt, 'YYYY-MM')
to_char(dt, 'YYYY-MM-DD')
to_char(dt, 'HH24:MI:SS.MS')
to_char(dt, 'DD.MM.YYYY')
to_char(dt, 'Mon DD')
to_char(dt, 'IYYY-IW')
to_char(dt, 'FMMonth')
to_char(dt, 'Day')
to_char(dt, 'TMDay')
to_char(dt, 'Q D')
to_char(dt, 'YYYY "year %Y"')
to_char(dt, '%')
to_char(n, '999.99')
to_char(dt, t)
date_trunc('week', dt)
date_trunc('month', dt)::date
extract(dow FROM dt)
extract(isodow FROM dt)
extract(week FROM dt)
extract(epoch FROM dt)
dt - interval '1 day'
dt + interval '1 month'
dt::date
now() > dt
n::int
f::numeric(10, 2)
round(f::numeric, 1)
t ILIKE 'T%'
substring(t from 2 for 2)
left(t, 2)
left(t, -1)
right(t, 2)
concat(t, '-', n, NULL)
strpos(t, 'e')
position('e' in t)
trim(both 'T' from t)
greatest(n, 3, 9)
least(n, 3)
n IS DISTINCT FROM 5
string_agg(t, '-') OVER ()
(SELECT string_agg(c.t, ',') FROM things AS c)
(SELECT string_agg(c.t, ',' ORDER BY c.t DESC) FROM things AS c)
(SELECT string_agg(DISTINCT c.t, ',' ORDER BY c.t) FROM things AS c)
"""


def _alike(value: Any) -> Any:
    """A number for whatever is one, else the text, of moments as PostgreSQL writes them."""
    try:
        return round(float(value), 9)
    except (TypeError, ValueError):
        return str(value).replace("+00:00", "+00")


def test_expressions_mean_in_a_view_what_they_mean_to_the_database(make_collection: Any, records: Any) -> None:
    make_collection("things", t="text", n="integer", f="number", b="bool", dt="datetime")
    records("things").create(t="Tea0", n=5, f=2.5, b=True, dt="2025-01-15T10:20:30Z")
    table = quote(registry.latest().get("things").table)
    own = SQLITE if connection.vendor == "sqlite" else POSTGRESQL
    nothing = [None] if connection.vendor == "postgresql" else []  # without parameters a % is just that
    differ = {}
    for expression in f"{BOTH}{own}".split("\n"):
        if expression:
            by_itself = f"SELECT {expression} AS res FROM {table} AS a".replace("FROM things", f"FROM {table}")
            wanted = dialects.current().execute(by_itself, *nothing).fetchone()[0]
            try:
                got = previewing.preview(f"SELECT {expression} AS res FROM things AS a", 1)["items"][0]["res"]
            except DomainError as error:
                got = error.message
            if _alike(got) != _alike(wanted):
                differ[expression] = (wanted, got)
    assert not differ


def test_what_one_engine_has_is_named_on_the_other(make_collection: Any) -> None:
    make_collection("things", t="text", n="integer", dt="datetime")
    of_the_other = {
        "sqlite": {"left(t, 2)": "substr", "right(t, 2)": "substr", "concat(t, n)": r"\|\|", "to_char(dt, 'YYYY')": "strftime",
                   "date_trunc('day', dt)": "date", "extract(year FROM dt)": "strftime"},
        "postgresql": {"total(n)": "sum", "strftime('%Y', dt)": "to_char", "julianday(dt)": "extract",
                       "unixepoch(dt)": "extract", "datetime(dt)": "date_trunc", "time(dt)": "to_char"},
    }[connection.vendor]  # fmt: skip
    for expression, instead in of_the_other.items():
        with pytest.raises(ValidationFailed, match=f"has no .* use {instead}") as refused:
            previewing.preview(f"SELECT {expression} AS res FROM things", 1)
        assert refused.value.extra["position"]["line"] == 1


def test_only_joined_texts_have_an_order(make_collection: Any) -> None:
    make_collection("things", t="text")
    for refused in ("max(t ORDER BY t)", "count(t ORDER BY t)"):
        with pytest.raises(ValidationFailed):
            previewing.preview(f"SELECT {refused} AS res FROM things", 1)
