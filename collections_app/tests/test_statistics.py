"""The planner's statistics are there after a load and after a change, and lists take the right index."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection

from accounts.principals import SYSTEM, Principal
from collections_app import dialects
from collections_app.records import write
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import consistency, indexes, registry, service, statistics
from collections_app.schema.definition import CollectionDef
from collections_app.tests.conftest import Records, person
from core import database

pytestmark = pytest.mark.engine

OWNERS = 100


def load(name: str, count: int, start: int = 0) -> None:
    """Active are nine of ten, and each owner has one in a hundred."""
    snapshot = registry.latest()
    data = (
        {"active": n % 10 != 0, "price": n % 200, "owner": f"u{n % OWNERS}", "kind": f"k{n % 5}"}
        for n in range(start, start + count)
    )
    with unit_of_work(snapshot, SYSTEM) as work:
        write.records_create(work, snapshot.get(name), data, RuleEnv(principal=SYSTEM))


@pytest.fixture
def goods(make_collection: Callable[..., CollectionDef]) -> CollectionDef:
    return make_collection(
        "goods",
        active="bool",
        price="integer",
        owner="text",
        kind="text",
        indexes=[{"fields": ["active", "price"]}, {"fields": ["active"]}, {"fields": ["kind"]}],
        list_rule="@request.auth.id = owner",
    )


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """``plan("goods", "filter=…")``: how SQLite reads the page and its total, on the connection for reads."""
    if connection.vendor != "sqlite":
        pytest.skip("EXPLAIN QUERY PLAN is SQLite's")
    asked: list[tuple[str, Any]] = []
    dialect = type(dialects.current())
    rows = dialect.rows

    def remember(self: Any, sql: str, params: Any = (), **how: Any) -> Any:
        asked.append((sql, params))
        return rows(self, sql, params, **how)

    monkeypatch.setattr(dialect, "rows", remember)

    def of(name: str, query: str = "", principal: Principal = SYSTEM) -> list[str]:
        asked.clear()
        Records(name, principal).page(query)
        table = registry.latest().get(name).table
        with database.reading() as session:
            return [
                "; ".join(row[3] for row in session.rows(f"EXPLAIN QUERY PLAN {sql}", params))
                for sql, params in asked
                if f'"{table}"' in sql
            ]

    yield of
    database.close()


def index(name: str, *fields: str) -> str:
    """The name of the index that covers these fields."""
    wanted = indexes.wanted(registry.latest().get(name), "sqlite", trigrams=False)
    return next(found.name for found in wanted.values() if tuple(field.name for field in found.fields) == fields)


def analysed(table: str) -> bool:
    if connection.vendor == "postgresql":
        return bool(dialects.current().execute("SELECT 1 FROM pg_stats WHERE tablename = %s", [table]).fetchall())
    if "sqlite_stat1" not in connection.introspection.table_names():
        return False
    return bool(dialects.current().execute("SELECT 1 FROM sqlite_stat1 WHERE tbl = ?", [table]).fetchall())


def test_a_load_of_many_records_is_analysed_and_a_small_table_is_not(goods: CollectionDef) -> None:
    load("goods", statistics.MIN_ROWS - 1)
    assert not analysed(goods.table)
    load("goods", statistics.MIN_ROWS)
    assert analysed(goods.table)
    assert consistency.differences() == []


def test_a_table_is_analysed_again_when_it_has_doubled_and_not_before(
    goods: CollectionDef, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysed_at: list[int] = []
    analyse = statistics._analyse

    def counted(table: str) -> None:
        analysed_at.append(dialects.current().execute(f"SELECT count(*) FROM {table}").fetchone()[0])
        analyse(table)

    monkeypatch.setattr(statistics, "_analyse", counted)
    for number in range(9):
        load("goods", 1000, start=number * 1000)
    assert analysed_at[0] == 1000
    assert 3 <= len(analysed_at) <= 4


def test_nothing_is_analysed_when_the_load_is_rolled_back(goods: CollectionDef) -> None:
    def load_and_fail() -> None:
        with unit_of_work(registry.latest(), SYSTEM) as work:
            write.records_create(work, goods, ({"price": n} for n in range(2000)), RuleEnv(principal=SYSTEM))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load_and_fail()
    assert not analysed(goods.table)


def test_a_failure_to_analyse_is_logged_and_harms_nobody(
    goods: CollectionDef, records: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(table: str) -> None:
        raise DatabaseError("disk full")

    monkeypatch.setattr(statistics, "_analyse", full)
    with caplog.at_level(logging.ERROR):
        load("goods", 1000)
    assert records("goods").page()["total"] == 1000
    assert "disk full" in caplog.text


def test_a_new_index_is_known_to_the_planner_at_once(goods: CollectionDef, plan: Any) -> None:
    load("goods", 3000)
    plan("goods")  # a connection that knows the schema from before the change
    service.collection_update(
        actor=SYSTEM,
        name_or_id="goods",
        payload={"indexes": [{"fields": ["active", "price"]}, {"fields": ["kind", "price"]}]},
    )
    entries = dialects.current().execute("SELECT idx FROM sqlite_stat1 WHERE tbl = ?", [goods.table]).fetchall()
    assert index("goods", "kind", "price", "id") in {entry for (entry,) in entries}
    page, total = plan("goods", "filter=kind = 'k1' %26%26 price >= 100&sort=-price")
    assert index("goods", "kind", "price", "id") in page and "TEMP B-TREE FOR ORDER BY" not in page
    assert f"COVERING INDEX {index('goods', 'kind', 'price', 'id')}" in total


def test_a_filter_and_sort_on_a_pair_takes_the_pairs_index(goods: CollectionDef, plan: Any) -> None:
    for rows in (500, 3000):  # without statistics, and with
        load("goods", rows, start=rows)
        page, total = plan("goods", "filter=active = true %26%26 price >= 100&sort=-price")
        assert page.startswith(f"SEARCH t USING INDEX {index('goods', 'active', 'price', 'id')} (active=? AND price>?)")
        assert total.startswith(f"SEARCH t USING COVERING INDEX {index('goods', 'active', 'price', 'id')}")


def test_an_owner_reads_only_what_is_theirs_in_the_order_of_the_list(goods: CollectionDef, plan: Any) -> None:
    by_owner = index("goods", "owner", "created", "id")
    for rows in (500, 5000):
        load("goods", rows, start=rows)
        page, total = plan("goods", "per_page=2", person("u7"))
        assert page == f"SEARCH t USING INDEX {by_owner} (owner=?)"
        assert total == f"SEARCH t USING COVERING INDEX {by_owner} (owner=?)"
    page, _ = plan("goods", "per_page=2&filter=active = true", person("u7"))
    assert page == f"SEARCH t USING INDEX {by_owner} (owner=?)"  # not the nine of ten that are active


def test_what_equals_one_value_is_read_newest_first_from_the_index_of_that_field(
    goods: CollectionDef, plan: Any
) -> None:
    load("goods", 3000)
    page, _ = plan("goods", "per_page=2&filter=kind = 'k1'")
    assert page == f"SEARCH t USING INDEX {index('goods', 'kind', 'created', 'id')} (kind=?)"


def test_the_default_order_is_read_from_its_index(goods: CollectionDef, plan: Any) -> None:
    load("goods", 10)
    page, _ = plan("goods", "per_page=2")
    assert page == f"SCAN t USING INDEX {index('goods', 'created', 'id')}"


def test_a_start_analyses_what_has_grown_record_by_record(goods: CollectionDef) -> None:
    snapshot = registry.latest()
    for part in range(3):
        load("goods", 500, start=part * 500)
    assert not analysed(goods.table)
    statistics.refresh_all(snapshot)
    assert analysed(goods.table)
    assert not analysed(snapshot.get("records").table)
