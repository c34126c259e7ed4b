"""Rebuilding the snapshot of 100 collections, and memory over 1,000 schema changes, each seen by a request.

python -m bench.schema
"""

from __future__ import annotations

import gc

from bench import common
from bench.common import Row

COLLECTIONS = common.scaled(100)
CHANGES = common.scaled(1000)
WARM_UP = common.scaled(400)


def main() -> list[Row]:
    # Without SQLite's own page cache, which grows with the file, what grows is ours.
    with common.start(SQLITE_MMAP_MB="0", SQLITE_CACHE_MB="1"):
        from accounts.principals import SYSTEM
        from bench import shop
        from collections_app.records import operations
        from collections_app.records.operations import Call
        from collections_app.schema import registry, service

        for number in range(COLLECTIONS):
            shop.define(f"products_{number}")
        cold = common.cpu_ms(registry.load, 5)
        after_one_change = common.cpu_ms(lambda: registry.load(registry.latest()), 5)

        def change(number: int) -> None:
            """A field comes, or goes again; a request sees it, as it would in a server."""
            collection = service.as_json(registry.latest().get("products_0"))
            fields = [field for field in collection["schema"] if field["name"] != "extra"]
            if number % 2 == 0:
                fields.append({"name": "extra", "type": "text"})
            service.collection_update(
                actor=SYSTEM, name_or_id="products_0", payload={"schema": fields}, allow_data_loss=True
            )
            operations.record_list(Call(SYSTEM), "products_0")

        for number in range(WARM_UP):
            change(number)
        gc.collect()
        before, objects = common.rss_mb(), len(gc.get_objects())
        for number in range(CHANGES):
            change(number)
        gc.collect()
        growth, objects = common.rss_mb() - before, len(gc.get_objects()) - objects
        each = common.cpu_ms(lambda: (change(0), change(1)), 5) / 2
    return [
        Row(f"snapshot of {COLLECTIONS} collections, from nothing", cold, "ms", 200),
        Row("  the same when one of them changed", after_one_change, "ms"),
        Row("one schema change (a column comes or goes)", each, "ms"),
        Row(f"memory over {CHANGES:,} schema changes", growth, "MB more", 5),
        Row("  Python objects left behind by them", objects, "more", 1000),
    ]


if __name__ == "__main__":
    common.run(main)
