"""Views: from a query to records."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from django.db import connection, transaction

from accounts.principals import ANONYMOUS, SYSTEM
from collections_app.io import exports
from collections_app.records import operations
from collections_app.records.operations import Call
from collections_app.schema import registry, service
from collections_app.sql_views import previewing
from collections_app.sql_views.tests.conftest import SALES
from collections_app.tests.fixtures import person
from core.errors import BadRequest, Conflict, DomainError, MethodNotAllowed, Unauthorized, ValidationFailed

pytestmark = pytest.mark.engine


def change(collection: str, /, **payload: Any) -> Any:
    return service.collection_update(actor=SYSTEM, name_or_id=collection, payload=payload)


def schema_of(name: str, **renamed: Any) -> list[dict[str, Any]]:
    """The fields of a collection as they are, some with changes."""
    fields = service.as_json(registry.latest().get(name))["schema"]
    return [{**field, **renamed.get(field["name"], {})} for field in fields]


def test_sales_per_product(shop: Any, make_collection: Any, records: Any) -> None:
    view = make_collection("sales", type="view", view_query=SALES)
    assert [(field.name, field.type) for field in view.own_fields] == [
        ("product", "text"), ("orders", "integer"), ("quantity", "integer"), ("total", "number"),
    ]  # fmt: skip
    assert records("sales").page() == {
        "items": [
            {"id": "1", "collection": "sales", "product": "Cake", "orders": 1, "quantity": 3, "total": 12},
            {"id": "2", "collection": "sales", "product": "Tea", "orders": 2, "quantity": 3, "total": 7.5},
        ],
        "page": 1, "per_page": 30, "total": 2, "total_pages": 1,
    }  # fmt: skip
    assert records("sales").get("2")["product"] == "Tea"
    assert records("sales").values("product", "sort=total") == ["Tea", "Cake"]
    assert records("sales").values("product", "filter=total>10") == ["Cake"]
    assert records("sales").values("product", "search=te") == ["Tea"]
    records("orders").create(product=shop["Tea"], quantity=10)
    assert records("sales").values("total") == [32.5, 12]


def test_pages_and_cursors_go_through_all_rows_in_the_order_of_the_query(make_collection: Any, records: Any) -> None:
    make_collection("numbers", n="integer")
    for n in range(25):
        records("numbers").create(n=n)
    make_collection("squares", type="view", view_query="SELECT n * n AS square FROM numbers ORDER BY n DESC")
    wanted = [n * n for n in reversed(range(25))]
    pages = [records("squares").page(f"per_page=10&page={page}") for page in (1, 2, 3)]
    assert [item["square"] for page in pages for item in page["items"]] == wanted
    assert [page["total"] for page in pages] == [25, 25, 25]
    found, cursor = [], ""
    while cursor is not None:
        page = records("squares").page(f"per_page=10&cursor={cursor}")
        found += [item["square"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert found == wanted
    assert records("squares").values("id", "sort=id&per_page=12")[-3:] == ["10", "11", "12"]


def test_columns_keep_the_types_of_their_fields(make_collection: Any, records: Any) -> None:
    make_collection("authors", name="text", list_rule=None, view_rule=None)
    make_collection(
        "posts", title="text", author={"type": "relation", "relation": {"collection_id": "authors"}}, day="date",
        price={"type": "decimal", "decimal": {"places": 2}}, active="bool", meta="json",
        tags={"type": "select", "select": {"values": ["a", "b"], "max_select": 2}},
    )  # fmt: skip
    ada = records("authors").create(name="Ada")["id"]
    values = {"title": "x", "author": ada, "day": "2025-01-02T00:00:00Z", "price": "9.99", "active": True,
              "meta": {"a": [1]}, "tags": ["a", "b"]}  # fmt: skip
    post = records("posts").create(**values)
    view = make_collection(
        "shown", type="view", view_query="SELECT id, created, title, author, day, price, active, meta, tags FROM posts"
    )
    assert {field.name: field.type for field in view.own_fields} == {
        "created": "datetime", "title": "text", "author": "relation", "day": "date", "price": "decimal",
        "active": "bool", "meta": "json", "tags": "select",
    }  # fmt: skip
    (row,) = records("shown").items("expand=author&filter=active=true")
    assert row == {"id": post["id"], "collection": "shown", "created": post["created"], **values,
                   "expand": {"author": row["expand"]["author"]}}  # fmt: skip
    assert row["expand"]["author"]["name"] == "Ada"
    make_collection(
        "sums", type="view",
        view_query="SELECT author, max(day) AS last, sum(price) AS total, avg(price) AS mean, count(*) > 1 AS many,"
        " min(title) AS first, p.id AS post FROM posts AS p GROUP BY author, p.id",
    )  # fmt: skip
    (row,) = records("sums").items("expand=post&filter=last>'2025-01-01'")
    assert row == {"id": "1", "collection": "sums", "author": ada, "last": values["day"], "total": "9.99", "mean": 9.99,
                   "many": False, "first": "x", "post": post["id"], "expand": row["expand"]}  # fmt: skip
    assert row["expand"]["post"]["title"] == "x"


@pytest.mark.parametrize(
    "expression",
    {
        "sqlite": ["abs(n)", "sum(n) OVER ()", "title LIKE pattern"],
        "postgresql": ["n * n", "1 / zero", "(SELECT title FROM things)", "CAST(title AS integer)", "date_trunc(title, created)"],
    }[connection.vendor],
)  # fmt: skip
def test_what_a_query_can_not_do_with_its_values_is_no_fault_of_ours(
    make_collection: Any, records: Any, expression: str
) -> None:
    make_collection("things", title="text", pattern="text", n="integer", zero="integer")
    make_collection("odd", type="view", view_query=f"SELECT title, {expression} AS x FROM things", cache_ttl=0)
    for _ in range(2):
        records("things").create(title="a", pattern="%" * 60_000, n=-(2**63), zero=0)
    for ask in (records("odd").page, lambda: records("odd").page("filter=x!=''"), lambda: records("odd").get("1")):
        with pytest.raises(BadRequest, match="This view can't be read: ") as refused:
            ask()
        assert len(refused.value.message) < 300
    with pytest.raises(ValidationFailed, match="This view can't be read: "):
        previewing.preview(registry.latest().get("odd").view_query, 10)


def test_every_record_of_a_view_has_an_id_of_its_own(make_collection: Any, records: Any) -> None:
    make_collection("things", title="text", n="integer")
    make_collection("seen", type="view", view_query="SELECT title AS id, n FROM things ORDER BY n")
    for n, title in enumerate(("a", None, "b")):
        records("things").create(title=title, n=n)
    assert records("seen").values("id") == ["a", "b"]
    assert records("seen").page()["total"] == 2
    make_collection("more", type="view", view_query="SELECT CAST(NULL AS text) AS id, n FROM things")
    assert records("more").items() == []
    query = registry.latest().get("seen").view_query
    assert [item["id"] for item in previewing.preview(query, 10)["items"]] == ["a", "b"]
    records("things").create(title="a", n=9)
    with pytest.raises(ValidationFailed, match="More than one row has the id 'a'"):
        previewing.preview(query, 10)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such limit")
def test_room_for_sorting_that_the_server_does_not_give_is_no_fault_of_ours(make_collection: Any, records: Any) -> None:
    make_collection("things", title="text", n="integer")
    for n in range(30):
        records("things").create(title=f"{n}" * 100, n=n)
    query = "SELECT a.title FROM things AS a, things AS b, things AS c ORDER BY a.n, c.title"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL temp_file_limit = '100kB'; SET LOCAL work_mem = '64kB'")
        with pytest.raises(ValidationFailed, match="what it sorts takes too much room"):
            previewing.preview(query, 10)
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    "end", ["LIMIT n", "LIMIT things.n", "OFFSET n", "LIMIT 1 OFFSET n", "LIMIT 1000000000000000000000"]
)
def test_how_many_rows_is_a_number(make_collection: Any, records: Any, end: str) -> None:
    make_collection("things", n="integer", title="text")
    records("things").create(n=1)
    with pytest.raises(ValidationFailed):
        previewing.preview(f"SELECT title FROM things {end}", 10)
    assert previewing.preview("SELECT title FROM things LIMIT (SELECT count(*) FROM things)", 10)["items"]


def test_a_view_is_for_admins_until_it_has_a_rule(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("sales", type="view", view_query=SALES)
    with pytest.raises(Unauthorized):
        records("sales", ANONYMOUS).page()
    change("sales", list_rule="product = @request.auth.id", view_rule="total > 10")
    assert records("sales", person("Tea")).values("product") == ["Tea"]
    assert records("sales", person("Cake")).values("product") == ["Cake"]
    assert records("sales", ANONYMOUS).get("1")["product"] == "Cake"
    with pytest.raises(DomainError):
        records("sales", ANONYMOUS).get("2")


def test_nobody_writes_a_view(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("sales", type="view", view_query=SALES, list_rule=None)
    before = records("sales").items()
    call = Call(SYSTEM, "POST")
    for attempt in (
        lambda: operations.bulk_update(call, "sales", {"record_ids": ["1"], "data": {"product": "x"}}),
        lambda: operations.bulk_delete(call, "sales", {"record_ids": ["1"]}),
        lambda: records("sales").create(product="x"),
        lambda: records("sales").update("1", {"product": "x"}),
        lambda: records("sales").delete("1"),
    ):
        with pytest.raises(MethodNotAllowed):
            attempt()
    assert records("sales").items() == before


@pytest.mark.parametrize(
    "payload",
    [
        {"view_query": None},
        {"view_query": "  "},
        {"cache_ttl": 86_401},
        {"cache_ttl": True},
        {"create_rule": None},
        {"indexes": [{"fields": ["product"]}]},
        {"options": {"search": ["product"]}},
        {"schema": [{"name": "product", "type": "number"}]},
    ],
)
def test_what_a_view_is_not(shop: Any, make_collection: Any, payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed):
        make_collection("sales", **{"type": "view", "view_query": SALES, **payload})
    assert "sales" not in registry.latest().by_name


def test_only_views_have_queries(make_collection: Any) -> None:
    with pytest.raises(ValidationFailed):
        make_collection("sales", title="text", view_query=SALES)
    with pytest.raises(ValidationFailed):
        make_collection("sales", title="text", cache_ttl=5)
    assert "sales" not in registry.latest().by_name


def test_what_was_shown_can_be_sent_back(shop: Any, make_collection: Any) -> None:
    view = service.as_json(make_collection("sales", type="view", view_query=SALES, cache_ttl=5))
    assert (view["view_query"], view["cache_ttl"], view["type"]) == (SALES, 5, "view")
    again = service.as_json(change("sales", **{key: view[key] for key in service.KEYS}))
    assert again["schema"] == view["schema"]


def test_renaming_what_a_view_reads_rewrites_it(shop: Any, make_collection: Any, records: Any) -> None:
    query = "SELECT title, products.price, (SELECT count(*) FROM orders WHERE orders.product = products.id) AS n FROM products"
    make_collection("stock", type="view", view_query=query + " ORDER BY title", list_rule="title != 'x'")
    ids = [field["id"] for field in schema_of("stock")]
    before = records("stock").items()
    change("products", schema=schema_of("products", title={"name": "order"}), name="goods")
    change("orders", schema=schema_of("orders", product={"name": "item"}))
    assert registry.latest().get("stock").view_query == (
        'SELECT "order" AS title, products.price, (SELECT count(*) FROM orders WHERE orders.item = products.id) AS n'
        " FROM goods AS products ORDER BY title"
    )
    assert records("stock").items() == before
    assert [field["id"] for field in schema_of("stock")] == ids


def test_what_a_view_needs_is_not_taken_away(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("sales", type="view", view_query=SALES)
    before = records("sales").items()
    without = [field for field in schema_of("products") if field["name"] != "price"]
    for attempt in (
        lambda: service.collection_update(
            actor=SYSTEM, name_or_id="products", payload={"schema": without}, allow_data_loss=True
        ),
        lambda: change("products", schema=schema_of("products", price={"hidden": True})),
        lambda: service.collection_delete(actor=SYSTEM, name_or_id="orders"),
    ):
        with pytest.raises(Conflict, match="sales"):
            attempt()
    assert records("sales").items() == before
    service.collection_delete(actor=SYSTEM, name_or_id="sales")
    service.collection_delete(actor=SYSTEM, name_or_id="orders")


def test_a_star_follows_the_fields(make_collection: Any, records: Any) -> None:
    make_collection("things", title="text", secret={"type": "text", "hidden": True})
    records("things").create(title="x", secret="y")
    make_collection("all_things", type="view", view_query="SELECT * FROM things")
    assert set(records("all_things").items()[0]) == {"id", "collection", "created", "updated", "title"}
    change("things", schema=[*schema_of("things"), {"name": "price", "type": "number"}])
    assert set(records("all_things").items()[0]) == {"id", "collection", "created", "updated", "title", "price"}
    change("things", schema=schema_of("things", price={"hidden": True}))
    assert set(records("all_things").items()[0]) == {"id", "collection", "created", "updated", "title"}


def test_comparisons_are_yes_or_no(make_collection: Any) -> None:
    make_collection("things", t="text")
    compared = {"like": "t LIKE 'a!%' ESCAPE '!'", "not_like": "NOT t LIKE '!%' ESCAPE '!'", "more": "t > 'a'"}
    columns = ", ".join(f"{comparison} AS {name}" for name, comparison in compared.items())
    view = make_collection("seen", type="view", view_query=f"SELECT {columns} FROM things")
    assert [field.type for field in view.own_fields] == ["bool", "bool", "bool"]


@pytest.mark.parametrize(
    "changed", [{"type": "integer"}, {"type": "markdown"}, {"type": "select", "select": {"values": ["7"]}}]
)
def test_what_a_view_names_keeps_its_type(make_collection: Any, records: Any, changed: dict[str, Any]) -> None:
    make_collection("things", n="text", other="text")
    records("things").create(n="7", other="x")
    make_collection("seen", type="view", view_query="SELECT other, max(n) AS most FROM things GROUP BY other")
    for lossy in (False, True):
        with pytest.raises(Conflict, match="'seen' reads 'n', which would be of type"):
            service.collection_update(
                actor=SYSTEM,
                name_or_id="things",
                payload={"schema": schema_of("things", n=changed)},
                allow_data_loss=lossy,
            )
    assert registry.latest().get("things").by_name["n"].type == "text"
    assert records("seen").values("most") == ["7"]


def test_a_field_becomes_one_of_several_values_only_where_no_view_names_it(make_collection: Any) -> None:
    make_collection("things", kind={"type": "select", "select": {"values": ["a", "b"]}})
    make_collection("seen", type="view", view_query="SELECT kind FROM things")
    several = schema_of("things", kind={"select": {"values": ["a", "b"], "max_select": 2}})
    with pytest.raises(Conflict, match="of type select with several values"):
        change("things", schema=several)
    service.collection_delete(actor=SYSTEM, name_or_id="seen")
    change("things", schema=several)


def test_a_star_takes_fields_of_any_type(make_collection: Any, records: Any) -> None:
    make_collection("things", n="text")
    records("things").create(n="7")
    make_collection("seen", type="view", view_query="SELECT t.* FROM things AS t")
    change("things", schema=schema_of("things", n={"type": "integer"}))
    assert registry.latest().get("seen").by_name["n"].type == "integer"
    assert records("seen").values("n") == [7]


def test_a_collection_can_not_take_the_name_of_a_query_inside_a_view(shop: Any, make_collection: Any) -> None:
    make_collection("few", type="view", view_query="WITH some AS (SELECT title FROM products) SELECT title FROM some")
    with pytest.raises(Conflict, match="few"):
        make_collection("some", title="text")
    assert "some" not in registry.latest().by_name


def test_nothing_points_to_a_view(shop: Any, make_collection: Any, records: Any) -> None:
    make_collection("sales", type="view", view_query=SALES, list_rule=None)
    with pytest.raises(ValidationFailed, match="Validation"):
        make_collection("notes", about={"type": "relation", "relation": {"collection_id": "sales"}})
    with pytest.raises(ValidationFailed):
        make_collection("notes", text="text", list_rule="@collection.sales.total > 3")
    with pytest.raises(ValidationFailed, match="is a view"):
        make_collection("more", type="view", view_query="SELECT product FROM sales")
    assert {"notes", "more"}.isdisjoint(registry.latest().by_name)
    with pytest.raises(DomainError):
        records("products").page("expand=sales_via_product")


@pytest.mark.parametrize("kind", ["csv", "json", "xlsx"])
def test_a_view_is_exported(shop: Any, make_collection: Any, kind: str) -> None:
    make_collection("sales", type="view", view_query=SALES)
    made = exports.export(Call(principal=SYSTEM, query_string="sort=total"), "sales", kind)
    written = b"".join(made.chunks)
    made.chunks.close()  # type: ignore[attr-defined]
    if kind == "csv":
        assert written == b"id,product,orders,quantity,total\r\n2,Tea,2,3,7.5\r\n1,Cake,1,3,12\r\n"
    elif kind == "json":
        assert [row["product"] for row in orjson.loads(written)] == ["Tea", "Cake"]
    assert written


def test_percent_signs_and_question_marks_are_only_text(make_collection: Any, records: Any) -> None:
    make_collection("things", n="integer", title="text")
    for n, title in ((7, "50% off?"), (8, "back\\slash % it's")):
        records("things").create(n=n, title=title)
    make_collection(
        "odd", type="view",
        view_query="SELECT n % 2 AS rest, title, \'?%s %(a)s \\ \' || title AS more FROM things WHERE title LIKE \'%0%\'"
        " OR title LIKE \'%it\'\'s\' ORDER BY n",
    )  # fmt: skip
    assert [(row["rest"], row["more"]) for row in records("odd").items("filter=rest>=0")] == [
        (1, "?%s %(a)s \\ 50% off?"), (0, "?%s %(a)s \\ back\\slash % it\'s")
    ]  # fmt: skip
