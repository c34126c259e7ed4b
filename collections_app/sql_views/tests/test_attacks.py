"""What a query must not be: tried on whichever engine there is, layer by layer."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app.dialects import quote
from collections_app.schema import registry, service
from collections_app.sql_views import checking, enforcing, previewing
from collections_app.sql_views.checking import check
from collections_app.sql_views.tests.conftest import SECRET
from core import database
from core.errors import BadRequest, ValidationFailed

pytestmark = pytest.mark.engine

ATTACKS = """
SELECT title FROM products; DROP TABLE collections
SELECT title FROM products; SELECT 1 AS x
SELECT title FROM products -- ; \\n; DELETE FROM events
/* */ DELETE FROM products
DELETE FROM products RETURNING title
UPDATE products SET title = 'x' RETURNING title
INSERT INTO products (id) VALUES ('x') RETURNING id
WITH gone AS (DELETE FROM products RETURNING *) SELECT title FROM gone
WITH made AS (INSERT INTO products (id) VALUES ('x') RETURNING id) SELECT id FROM made
SELECT title INTO stolen FROM products
SELECT title FROM products FOR UPDATE
CREATE TABLE x (y int)
CREATE VIEW x AS SELECT 1
DROP TABLE products
ALTER TABLE products ADD x int
TRUNCATE products
VACUUM
PRAGMA table_info(products)
ATTACH DATABASE '/tmp/x.db' AS x
DETACH DATABASE main
COPY products TO '/tmp/x'
COPY products FROM PROGRAM 'id'
DO $$ BEGIN END $$
SET ROLE postgres
SHOW ALL
EXPLAIN SELECT title FROM products
BEGIN
VALUES (1)
SELECT 1
SELECT
SELECT FROM products
not sql
SELECT title FROM products WHERE (((
SELECT 'x
SELECT name FROM sqlite_master
SELECT name AS x FROM sqlite_schema
SELECT name AS x FROM main.sqlite_master
SELECT title FROM main.products
SELECT title FROM public.products
SELECT title FROM products AS p, sqlite_master AS m
SELECT usename FROM pg_user
SELECT rolname FROM pg_catalog.pg_roles
SELECT rolpassword FROM pg_authid
SELECT relname FROM pg_class
SELECT table_name FROM information_schema.tables
SELECT query FROM pg_stat_activity
SELECT password FROM accounts_user
SELECT email FROM users
SELECT key_hash FROM api_keys
SELECT data FROM events
SELECT value FROM settings
SELECT session_key FROM django_session
SELECT version() AS x FROM products
SELECT sqlite_version() AS x FROM products
SELECT current_user AS x FROM products
SELECT session_user AS x FROM products
SELECT current_database() AS x FROM products
SELECT current_setting('data_directory') AS x FROM products
SELECT set_config('x', 'y', false) AS x FROM products
SELECT 'pg_authid'::regclass AS x FROM products
SELECT CAST('pg_authid' AS regclass) AS x FROM products
SELECT CAST(title AS regclass) AS x FROM products
SELECT title::regproc AS x FROM products
SELECT CAST(title AS nonsense) AS x FROM products
SELECT CAST(title AS char(1000000000)) AS x FROM products
SELECT pg_read_file('/etc/passwd') AS x FROM products
SELECT pg_ls_dir('/') AS x FROM products
SELECT lo_import('/etc/passwd') AS x FROM products
SELECT lo_get(1) AS x FROM products
SELECT dblink('x', 'y') AS x FROM products
SELECT x FROM dblink('x', 'y') AS t(x text)
SELECT query_to_xml('select 1', true, true, '') AS x FROM products
SELECT pg_sleep(10) AS x FROM products
SELECT pg_terminate_backend(1) AS x FROM products
SELECT nextval('events_id_seq') AS x FROM products
SELECT pg_advisory_lock(1) AS x FROM products
SELECT readfile('/etc/passwd') AS x FROM products
SELECT writefile('/tmp/x', 'y') AS x FROM products
SELECT load_extension('x') AS x FROM products
SELECT edit('x') AS x FROM products
SELECT fts3_tokenizer('x') AS x FROM products
SELECT cms_fold(title) AS x FROM products
SELECT name AS x FROM pragma_table_info('products')
SELECT name AS x FROM pragma_database_list
SELECT value AS x FROM json_each('[1]')
SELECT value AS x FROM generate_series(1, 1000000000)
SELECT x FROM generate_series(1, 10) AS x
SELECT unnest(ARRAY[1, 2]) AS x FROM products
SELECT x FROM products, LATERAL (SELECT 1 AS x) AS y
SELECT zeroblob(1000000000) AS x FROM products
SELECT randomblob(1000000000) AS x FROM products
SELECT hex(zeroblob(1000000000)) AS x FROM products
SELECT printf('%1000000000d', 1) AS x FROM products
SELECT format('%1000000000s', 'x') AS x FROM products
SELECT repeat('x', 1000000000) AS x FROM products
SELECT lpad('x', 1000000000) AS x FROM products
SELECT replace(title, 'a', title) AS x FROM products
SELECT x'00' AS x FROM products
SELECT random() AS x FROM products
SELECT cost FROM products
SELECT p.cost FROM products AS p
SELECT "cost" FROM products
SELECT p."cost" FROM products AS p
SELECT COST FROM products
SELECT title FROM products WHERE cost > 'a'
SELECT title FROM products ORDER BY cost
SELECT title FROM products GROUP BY title, cost
SELECT count(*) AS n FROM products GROUP BY cost
SELECT count(*) AS n FROM products HAVING max(cost) > 'a'
SELECT max(cost) AS x FROM products
SELECT (SELECT cost FROM products LIMIT 1) AS x FROM orders
SELECT x FROM (SELECT cost AS x FROM products) AS t
SELECT cost FROM (SELECT * FROM products) AS t
SELECT t.cost FROM (SELECT products.* FROM products) AS t
SELECT title FROM products AS p WHERE EXISTS (SELECT 1 FROM orders AS o WHERE p.cost = 'x')
SELECT o.id AS x FROM orders AS o JOIN products AS p ON p.cost = 'x'
SELECT title FROM products JOIN orders USING (id)
SELECT title FROM products NATURAL JOIN orders
SELECT sum(price) OVER (ORDER BY cost) AS x FROM products
SELECT sum(price) FILTER (WHERE cost = 'x') AS x FROM products
SELECT CASE WHEN cost = 'x' THEN 1 END AS x FROM products
SELECT title FROM products UNION SELECT cost FROM products
SELECT title FROM products EXCEPT SELECT cost FROM products
WITH t AS (SELECT cost FROM products) SELECT cost FROM t
WITH products AS (SELECT title FROM orders) SELECT title FROM products
WITH products (cost) AS (SELECT 1 AS x) SELECT cost FROM products
SELECT products FROM products
SELECT p FROM products AS p
SELECT row_to_json(p) AS x FROM products AS p
SELECT to_jsonb(p.*) AS x FROM products AS p
SELECT (p).cost FROM products AS p
SELECT (p.*)::text AS x FROM products AS p
SELECT CAST(p AS text) AS x FROM products AS p
SELECT p.to_json AS x FROM products AS p
SELECT count(p.*) AS x FROM products AS p
SELECT json_agg(p) AS x FROM products AS p
SELECT rowid FROM products
SELECT oid FROM products
SELECT _rowid_ FROM products
SELECT ctid FROM products
SELECT p.xmin AS x FROM products AS p
SELECT tableoid FROM products
SELECT password FROM customers
SELECT c.token_key AS x FROM customers AS c
SELECT * FROM customers WHERE password LIKE '%'
SELECT email FROM customers ORDER BY token_key
SELECT title FROM products WHERE title = ?
SELECT title FROM products WHERE title = :name
SELECT title FROM products WHERE title = $1
SELECT title FROM products WHERE title = @x
SELECT title FROM products WHERE title = %s
SELECT title FROM products LIMIT (SELECT count(cost) FROM products)
SELECT title FROM products TABLESAMPLE BERNOULLI (10)
SELECT title FROM products INDEXED BY x
SELECT title COLLATE "x" AS y FROM products
SELECT title AS "a;b" FROM products
SELECT title AS collection FROM products
SELECT title AS ctid FROM products
SELECT title, title FROM products
SELECT upper(title) FROM products
SELECT price + 1 FROM products
SELECT title FROM products AS a, products AS b
SELECT title FROM products AS a, products AS a
SELECT nothing FROM products
SELECT title FROM nothing
WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n
WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT x FROM n
WITH n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT x FROM n
""".strip().splitlines()

# A SELECT of constants reads nothing; it is no attack.
_HARMLESS = {"SELECT 1"}
BETWEEN = [attack.replace("\\n", "\n") for attack in ATTACKS if attack not in _HARMLESS]


@pytest.fixture
def house(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("customers", type="auth")
    records("customers").create(email="eve@example.com", password="correct-horse-battery")


@pytest.mark.usefixtures("house")
def test_every_attack_is_refused() -> None:
    before = set(connection.introspection.table_names())
    version = registry.latest().version
    through = []
    for attack in [
        *BETWEEN,
        "(" * 2000 + "1" + ")" * 2000,
        "SELECT " + "(" * 3000 + "1",
        "SELECT 1 AS x" * 5000,
        None,
        7,
    ]:
        try:
            previewing.preview(attack, 10)
        except ValidationFailed:
            continue
        through.append(attack)
    assert not through
    assert set(connection.introspection.table_names()) == before
    assert registry.latest().version == version


@pytest.mark.usefixtures("house")
def test_no_star_or_whole_row_shows_a_secret() -> None:
    for query in (
        "SELECT * FROM products",
        "SELECT p.* FROM products AS p",
        "SELECT c.* FROM customers AS c",
        "SELECT * FROM (SELECT * FROM products) AS t",
        "WITH t AS (SELECT * FROM customers) SELECT * FROM t",
        "SELECT title, 'cost' AS said FROM products",
        "SELECT t.* FROM products AS t UNION SELECT * FROM products",
    ):
        shown = repr(previewing.preview(query, 10))
        assert SECRET not in shown and "password" not in shown and "token_key" not in shown


@pytest.mark.usefixtures("house")
def test_the_database_refuses_by_itself_what_layer_one_would_let_through() -> None:
    """The rewritten SQL with one column more, as a fault of layer one would make it."""
    text = "SELECT title FROM products"
    checked = check(text, registry.latest())
    products, customers = (quote(registry.latest().get(name).table) for name in ("products", "customers"))
    enforcing.verify(text, checked)
    for inner in (
        f"SELECT cost AS title FROM {products}",
        f"SELECT title FROM {products} WHERE cost = 'x'",
        f"SELECT * FROM {products}",
        f"SELECT password AS title FROM {customers}",
        f"SELECT title FROM {products} UNION SELECT token_key FROM {customers}",
        "SELECT password AS title FROM accounts_user" if connection.vendor == "sqlite" else "SELECT email FROM users",
        *(
            [
                "SELECT name AS title FROM sqlite_master",
                "SELECT name AS title FROM pragma_table_info('events')",
                "SELECT load_extension('x') AS title",
                "SELECT zeroblob(10) AS title",
                "WITH RECURSIVE n(title) AS (SELECT 1 UNION ALL SELECT title + 1 FROM n) SELECT title FROM n",
            ]
            if connection.vendor == "sqlite"
            else ["SELECT rolpassword AS title FROM pg_authid", "SELECT pg_read_file('/etc/passwd') AS title"]
        ),
    ):
        broken = replace(checked, sql=f"({inner})")
        if connection.vendor == "postgresql" and "pg_read_file" in inner:
            broken = replace(checked, sql=f"({inner} FROM {products})")
        with pytest.raises(ValidationFailed):
            enforcing.verify(text, broken)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'view\\_%'")
            assert cursor.fetchone()[0] == 0


@pytest.mark.usefixtures("house")
def test_a_field_that_is_hidden_later_can_not_be_read(make_collection: Any, records: Any) -> None:
    make_collection("everything", type="view", view_query="SELECT * FROM products", list_rule=None)
    assert "price" in records("everything").items()[0]
    fields = service.as_json(registry.latest().get("products"))["schema"]
    hidden = [{**field, "hidden": True} if field["name"] == "price" else field for field in fields]
    service.collection_update(actor=SYSTEM, name_or_id="products", payload={"schema": hidden})
    assert "price" not in records("everything").items()[0]
    with pytest.raises(BadRequest):
        records("everything").page("filter=price>1")


@pytest.fixture
def little_time(settings: Any) -> Any:
    settings.QUERY_TIMEOUT_MS = 400
    database.close()
    yield
    database.close()


@pytest.mark.usefixtures("little_time")
@pytest.mark.parametrize(
    "query",
    [
        f"SELECT count(*) AS n FROM {', '.join(f'numbers AS t{n}' for n in range(8))}",
        f"SELECT DISTINCT {' || '.join(f't{n}.title' for n in range(8))} AS x FROM {', '.join(f'numbers AS t{n}' for n in range(8))}",
        f"SELECT max(t0.title) AS x FROM {', '.join(f'numbers AS t{n}' for n in range(8))} GROUP BY {', '.join(f't{n}.n' for n in range(8))}",
    ],
)
def test_joins_of_everything_with_everything_end_in_time(make_collection: Any, records: Any, query: str) -> None:
    make_collection("numbers", n="integer", title="text")
    for n in range(30):
        records("numbers").create(n=n, title=f"{n} " * 50)
    make_collection("product", type="view", view_query=query)
    for ask in (lambda: previewing.preview(query, 10), lambda: records("product").page()):
        started = monotonic()
        with pytest.raises(BadRequest, match="longer than"):
            ask()
        assert monotonic() - started < 60


def _times(operator: str, field: str, levels: int) -> str:
    """A query that puts a field together with itself, four to the power of ``levels`` times."""
    queries = [f"a0 AS (SELECT {field} AS v FROM texts)"]
    four = f" {operator} ".join("vvvv")
    queries += [f"a{n} AS (SELECT {four} AS v FROM a{n - 1})" for n in range(1, levels + 1)]
    return f"WITH {', '.join(queries)} SELECT v FROM a{levels}"


@pytest.mark.parametrize(
    "query",
    [
        _times("||", "body", 10),
        _times("+", "n", 10),
        _times("||", "body", 6) + " WHERE v > 'a' OR v < 'b'",
        "SELECT v FROM "
        + "(SELECT v || v || v || v AS v FROM " * 10
        + "(SELECT body AS v FROM texts) AS t"
        + ") AS t" * 10,
        f"WITH a0 AS (SELECT n AS v FROM texts){''.join(f', a{n} AS (SELECT CASE WHEN v > {n} THEN v ELSE -v END AS v FROM a{n - 1})' for n in range(1, 30))} SELECT * FROM a29",
    ],
)
def test_queries_that_double_what_they_read_are_refused_before_a_planner_sees_them(
    make_collection: Any, query: str
) -> None:
    make_collection("texts", body="text", n="integer")
    with pytest.raises(ValidationFailed, match="too long: more than 10,000 parts") as refused:
        previewing.preview(query, 10)
    assert refused.value.extra["position"]["line"] == 1


on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has a limit of its own")


@on_postgresql
def test_no_text_on_the_way_to_a_value_is_huge(make_collection: Any, records: Any) -> None:
    make_collection("texts", body="text", n="integer")
    records("texts").create(body="x" * 60_000, n=7)
    for expression, length in {
        "body || body": 100_000,
        "body || body || body || n": 100_000,
        "concat(body, body, n)": 100_000,
        "upper((body || body) || lower(body))": 100_000,
        "coalesce(body, 'x') || '-' || n": 60_002,
        "concat(n, body || body, concat(body, n))": 100_000,
        "body || NULL": None,
        "1 || body || NULL || 'x' || 2.50": None,
        "n || '-' || 1 || 2.50 || n || n || n || n": 11,
        " || ".join(["body"] * 500): 100_000,
    }.items():
        item = previewing.preview(f"SELECT length({expression}) AS n FROM texts", 1)["items"][0]
        assert (expression, item["n"]) == (expression, length)


@on_postgresql
@pytest.mark.parametrize("joined", ["string_agg(t, ',')", "string_agg(DISTINCT t, ',' ORDER BY t)",
                                    "string_agg(t, ',') FILTER (WHERE t <> 'x')", "string_agg(t, ',') OVER ()"])  # fmt: skip
def test_one_statement_joins_so_many_texts(
    make_collection: Any, records: Any, monkeypatch: pytest.MonkeyPatch, joined: str
) -> None:
    monkeypatch.setattr(checking, "MAX_JOINED", 3000)
    make_collection("texts", t="text")
    for n in range(3):
        records("texts").create(t=f"{n}" * 900)
    query = f"SELECT length({joined}) AS n FROM texts"
    for _ in range(2):  # each begins at nothing
        assert previewing.preview(query, 1)["items"][0]["n"] == 2702
    records("texts").create(t=None)
    assert previewing.preview(query, 1)["items"][0]["n"] == 2702
    for n in range(3):
        records("texts").create(t=f"more {n}" * 100)
    with pytest.raises(ValidationFailed, match="more than 3,000 bytes are joined"):
        previewing.preview(query, 1)


def test_texts_do_not_grow_without_bound(make_collection: Any, records: Any) -> None:
    make_collection("texts", body="text")
    records("texts").create(body="x" * 4000)
    tracemalloc.start()
    try:
        found = previewing.preview("SELECT body || body || body AS v FROM texts", 10)["items"][0]["v"]
        assert found == "x" * 12_000
        assert len(previewing.preview(_times("||", "body", 4), 10)["items"][0]["v"]) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
