"""A view with a GROUP BY over 100,000 records: the first answer against the same SQL by itself, and what is kept.

python -m bench.views
"""

from __future__ import annotations

from typing import Any

from bench import common
from bench.common import Row

ROWS = common.scaled(100_000)
QUERY = "SELECT title, count(*) AS number, sum(quantity) AS total FROM sold GROUP BY title ORDER BY total DESC"


def main() -> list[Row]:
    with common.start():
        from accounts.principals import SYSTEM
        from bench import shop
        from collections_app import dialects
        from collections_app.records import operations
        from collections_app.records.operations import Call
        from collections_app.schema import registry, service
        from collections_app.sql_views import caching, previewing
        from core import database

        def define(**payload: Any) -> None:
            service.collection_create(actor=SYSTEM, payload=payload)

        define(name="sold", schema=[{"name": "title", "type": "text"}, {"name": "quantity", "type": "integer"}])
        define(name="other", schema=[{"name": "title", "type": "text"}])
        define(name="sales", type="view", view_query=QUERY, cache_ttl=3600)
        shop.fill("sold", ({"title": f"Thing {n % 1000}", "quantity": n % 7} for n in range(ROWS)))
        table = dialects.quote(registry.latest().get("sold").table)
        raw = f"{QUERY.replace('sold', table)} LIMIT 30"
        call = Call(SYSTEM)

        def alone() -> None:
            with database.reading() as session:
                session.rows(raw, ())

        def first() -> None:
            caching.empty()
            with database.reading() as session:
                session.forget()
                operations.record_list(call, "sales")

        def kept() -> None:
            with database.reading() as session:
                session.forget()
                operations.record_list(call, "sales")

        def again() -> None:
            operations.record_list(call, "sales")

        def check() -> None:
            previewing.preview("SELECT title FROM other", 10)

        alone()
        first()
        by_itself, answered = common.cpu_ms(alone, 10), common.cpu_ms(first, 10)
        first()
        return [
            Row(f"a GROUP BY over {ROWS:,} records, the SQL by itself", by_itself, "ms"),
            Row("  as a view: a page of 30 and the exact total", answered, "ms", by_itself * 1.2),
            Row("  its rows kept, after a write elsewhere", common.cpu_ms(kept, 500), "ms", 0.3),
            Row("  the same question again", common.cpu_ms(again, 500), "ms", 0.3),
            Row("checking a query in both layers, and its preview", common.cpu_ms(check, 20), "ms"),
        ]


if __name__ == "__main__":
    common.run(main)
