"""How long the rows of a view are kept, and for whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app import dialects
from collections_app.dialects import quote
from collections_app.io import exports
from collections_app.records.operations import Call
from collections_app.schema import registry, service
from collections_app.sql_views import caching
from collections_app.sql_views.tests.conftest import SALES
from collections_app.tests.fixtures import person
from core import database
from core.errors import BadRequest, ValidationFailed

pytestmark = pytest.mark.engine


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements with which views were read from the database."""
    seen: list[str] = []
    real = caching.read

    def read(session: Any, sql: str, params: Any) -> Any:
        seen.append(sql)
        return real(session, sql, params)

    monkeypatch.setattr(caching, "read", read)
    caching.empty()
    return seen


def test_rows_are_kept_until_a_source_changes(shop: Any, make_collection: Any, records: Any, looks: list[str]) -> None:
    make_collection("sales", type="view", view_query=SALES)
    make_collection("elsewhere", title="text")
    first = records("sales").page()
    for n in range(3):
        records("elsewhere").create(title=str(n))
        assert records("sales").page() == first
    assert len(looks) == 1
    records("orders").create(product=shop["Tea"], quantity=1)
    assert records("sales").page() != first
    assert len(looks) == 2


def test_nothing_is_kept_without_time_to_keep_it(
    shop: Any, make_collection: Any, records: Any, looks: list[str]
) -> None:
    make_collection("sales", type="view", view_query=SALES, cache_ttl=0)
    make_collection("elsewhere", title="text")
    for n in range(2):
        records("sales").page()
        records("elsewhere").create(title=str(n))
    assert len(looks) == 2


def test_callers_get_rows_of_their_own(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("sales", type="view", view_query=SALES, list_rule="product = @request.auth.id")
    for _ in range(2):
        assert records("sales", person("Tea")).values("product") == ["Tea"]
        assert records("sales", person("Cake")).values("product") == ["Cake"]
        assert records("sales").values("product") == ["Cake", "Tea"]


def test_a_rule_that_looks_elsewhere_is_followed(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("flags", name="text")
    make_collection("sales", type="view", view_query=SALES, list_rule="@collection.flags.name ?= product")
    assert records("sales", person("eve")).items() == []
    flag = records("flags").create(name="Tea")
    assert records("sales", person("eve")).values("product") == ["Tea"]
    records("flags").delete(flag["id"])
    assert records("sales", person("eve")).items() == []


def test_refresh_forgets_what_nobody_told_of(shop: Any, make_collection: Any, records: Any, looks: list[str]) -> None:
    make_collection("elsewhere", title="text")
    today = "CURRENT_DATE" if connection.vendor == "postgresql" else "date('now')"
    make_collection("titles", type="view", view_query=f"SELECT title, {today} AS today FROM products ORDER BY title")
    assert records("titles").values("title") == ["Cake", "Tea"]
    table = quote(registry.latest().get("products").table)
    dialects.current().execute(f"UPDATE {table} SET title = 'Scone' WHERE title = 'Cake'")  # no event
    records("elsewhere").create(title="x")
    assert records("titles").values("title") == ["Cake", "Tea"]
    service.view_refresh(name_or_id="titles")
    assert records("titles").values("title") == ["Scone", "Tea"]
    with pytest.raises(ValidationFailed):
        service.view_refresh(name_or_id="products")


def test_what_asks_for_the_time_is_asked_again(shop: Any, make_collection: Any, records: Any, looks: list[str]) -> None:
    make_collection("now", type="view", view_query="SELECT CURRENT_TIMESTAMP AS t FROM products", cache_ttl=0)
    records("now").page()
    records("now").page()
    assert len(looks) == 2


def test_an_export_ends_in_time(make_collection: Any, records: Any, settings: Any) -> None:
    make_collection("numbers", n="integer")
    for n in range(30):
        records("numbers").create(n=n)
    query = f"SELECT max(t0.n) AS n FROM {', '.join(f'numbers AS t{n}' for n in range(8))}"
    make_collection("product", type="view", view_query=query)
    settings.QUERY_TIMEOUT_MS = 300
    try:
        with pytest.raises(BadRequest):  # before the first byte
            exports.export(Call(principal=SYSTEM), "product", "csv")
    finally:
        database.close()
