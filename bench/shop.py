"""The collection that the record benches use: a shop's products."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

from accounts.principals import SYSTEM
from collections_app.records import write
from collections_app.records.unit_of_work import unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import registry, service
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot

NAME = "products"
SIGNED_IN = "@request.auth.id != ''"
CATEGORIES = ["books", "chairs", "desks", "lamps", "shelves"]
CHUNK = 5000


def define(name: str = NAME) -> CollectionDef:
    """Eight fields, an index for ``filter=active = true && price >= 100`` with ``sort=-price``."""
    return service.collection_create(
        actor=SYSTEM,
        payload={
            "name": name,
            "schema": [
                {"name": "title", "type": "text", "validation": {"required": True, "max_length": 200}},
                {"name": "description", "type": "text"},
                {"name": "price", "type": "number", "validation": {"min": 0}},
                {"name": "stock", "type": "integer"},
                {"name": "active", "type": "bool"},
                {"name": "category", "type": "select", "select": {"values": CATEGORIES}},
                {"name": "released", "type": "date"},
                {"name": "cost", "type": "decimal", "hidden": True},
            ],
            "indexes": [{"fields": ["active", "price"]}],
            "list_rule": SIGNED_IN,
            "view_rule": SIGNED_IN,
            "create_rule": SIGNED_IN,
        },
    )


def product(number: int, chance: random.Random) -> dict[str, Any]:
    return {
        "title": f"Product {number}",
        "description": "Made of oak, in one piece, by somebody who likes oak. " * 3,
        "price": round(chance.uniform(1, 200), 2),
        "stock": chance.randrange(1000),
        "active": chance.random() < 0.5,
        "category": chance.choice(CATEGORIES),
        "released": some_day(chance),
        "cost": f"{chance.uniform(1, 100):.2f}",
    }


def sent_product() -> dict[str, Any]:
    """A product as a member may send it: without the hidden cost."""
    return {name: value for name, value in next(products(1)).items() if name != "cost"}


def some_day(chance: random.Random) -> str:
    return f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"


def products(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    return (product(number, chance) for number in range(count))


def fill(name: str, records: Iterator[dict[str, Any]]) -> int:
    """Insert through the write path, in transactions of 5,000; answers how many."""
    total = 0
    while chunk := list(islice(records, CHUNK)):

        def unit(snapshot: Snapshot, chunk: list[dict[str, Any]] = chunk) -> int:
            with unit_of_work(snapshot, SYSTEM) as work:
                env = RuleEnv(principal=SYSTEM, method="POST", now=work.now)
                return write.records_create(work, snapshot.get(name), chunk, env)

        total += registry.with_schema(unit)
    return total
