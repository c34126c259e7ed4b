"""Rebuilding the snapshot of 100 collections, and memory over 1,000 schema changes.

python -m bench.schema
"""

from __future__ import annotations

import gc

from bench import common
from bench.common import Row

COLLECTIONS = 100
CHANGES = 1000
WARM_UP = 100


def main() -> list[Row]:
    with common.start():
        from accounts.principals import SYSTEM
        from bench import shop
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
            registry.latest().get("products_0")

        for number in range(WARM_UP):
            change(number)
        gc.collect()
        before = common.rss_mb()
        for number in range(CHANGES):
            change(number)
        gc.collect()
        growth = common.rss_mb() - before
        each = common.cpu_ms(lambda: (change(0), change(1)), 5) / 2
    return [
        Row(f"snapshot of {COLLECTIONS} collections, from nothing", cold, "ms", 200),
        Row("  the same when one of them changed", after_one_change, "ms"),
        Row("one schema change (a column comes or goes)", each, "ms"),
        Row(f"memory over {CHANGES:,} schema changes", growth, "MB more", 5),
    ]


if __name__ == "__main__":
    common.run(main)
