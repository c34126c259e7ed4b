"""Records per second through the write path, with their events: five typed columns, 100,000 records.

python -m bench.bulk
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from bench import common
from bench.common import Row

COUNT = common.scaled(100_000)
FIELDS = [
    {"name": "title", "type": "text", "validation": {"required": True}},
    {"name": "price", "type": "number"},
    {"name": "stock", "type": "integer"},
    {"name": "active", "type": "bool"},
    {"name": "released", "type": "date"},
]


def main() -> list[Row]:
    with common.start():
        from accounts.principals import SYSTEM
        from bench import shop
        from collections_app.models import Event
        from collections_app.schema import service

        service.collection_create(actor=SYSTEM, payload={"name": "things", "schema": FIELDS})
        records = list(things(COUNT))
        events = Event.objects.count()
        before = time.perf_counter()
        added = shop.fill("things", iter(records))
        seconds = time.perf_counter() - before
        if added != COUNT or Event.objects.count() - events != COUNT:
            raise RuntimeError(f"{added} records and {Event.objects.count() - events} events instead of {COUNT}")
    return [
        Row(
            "insert with events, five typed columns",
            COUNT / seconds,
            "records/s",
            10_000,
            more_is_better=True,
        )
    ]


def things(count: int) -> Iterator[dict[str, Any]]:
    from bench import shop

    chance = random.Random(1)
    for number in range(count):
        yield {
            "title": f"Thing {number}",
            "price": round(chance.uniform(1, 200), 2),
            "stock": chance.randrange(1000),
            "active": chance.random() < 0.5,
            "released": shop.some_day(chance),
        }


if __name__ == "__main__":
    common.run(main)
