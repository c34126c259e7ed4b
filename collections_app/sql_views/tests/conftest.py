"""A shop: what views read from, with things in it that nobody may read."""

from __future__ import annotations

from typing import Any

import pytest

SALES = """
SELECT p.title AS product, count(*) AS orders, sum(o.quantity) AS quantity, sum(o.quantity * p.price) AS total
FROM orders AS o JOIN products AS p ON p.id = o.product
GROUP BY p.title
ORDER BY total DESC
"""
SECRET = "do-not-tell-7731"


@pytest.fixture
def shop(make_collection: Any, records: Any) -> dict[str, str]:
    """Two products and three orders; answers the ids of the products by title."""
    products = make_collection(
        "products", title="text", price="number", cost={"type": "text", "hidden": True}, list_rule=None
    )
    make_collection(
        "orders", product={"type": "relation", "relation": {"collection_id": products.id}}, quantity="integer"
    )
    found = {}
    for title, price in (("Tea", 2.5), ("Cake", 4)):
        found[title] = records("products").create(title=title, price=price, cost=SECRET)["id"]
    for title, quantity in (("Tea", 2), ("Cake", 3), ("Tea", 1)):
        records("orders").create(product=found[title], quantity=quantity)
    return found
