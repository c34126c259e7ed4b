"""CPU of creates and updates that are committed together, each answer on disk.

python -m bench.writes
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from bench import common
from bench.common import Row

COUNT = common.scaled(100_000)
WRITES = max(64, common.scaled(1600))
CLIENTS = (1, 4, 16)
ROUNDS = 7
TARGETS = {("create", 16): 90.0, ("update", 16): 100.0}


def main() -> list[Row]:
    with common.start():
        from accounts.principals import SYSTEM, Principal
        from bench import shop
        from collections_app.records import operations
        from collections_app.records.group_commit import Writer
        from collections_app.records.operations import Call

        shop.define()
        shop.fill(shop.NAME, shop.products(COUNT))
        member = Principal(id="member", collection="users", role="user", verified=True)
        listed = operations.record_list(Call(member, query_string="per_page=500"), shop.NAME)
        ids = itertools.cycle(item["id"] for item in json.loads(listed.body)["items"])
        turn = itertools.count()
        fresh = shop.sent_product()

        def create() -> Any:
            return operations.record_create(Call(member, method="POST"), shop.NAME, fresh)

        def update() -> Any:
            number = next(turn)
            data = {"price": number % 200, "stock": number}
            return operations.record_update(Call(SYSTEM, method="PATCH"), shop.NAME, next(ids), data)

        writer = Writer()
        gc.collect()
        gc.freeze()
        try:
            return [
                row
                for name, unit in (("create", create), ("update", update))
                for clients in CLIENTS
                for row in _measured(name, writer, unit, clients)
            ]
        finally:
            writer.close()


def _measured(name: str, writer: Any, unit: Callable[[], Any], clients: int) -> list[Row]:
    """The best of some rounds, in which so many clients send the next as soon as they are answered."""
    waits: list[float] = []

    async def client() -> None:
        for _ in range(WRITES // clients):
            started = time.perf_counter()
            await writer.submit(unit)
            waits.append(time.perf_counter() - started)

    async def all_of_them() -> float:
        before = time.process_time()
        await asyncio.gather(*(client() for _ in range(clients)))
        return (time.process_time() - before) / (WRITES // clients * clients)

    cpu = min(asyncio.run(all_of_them()) for _ in range(ROUNDS))
    waits.sort()
    what = f"{name}, {clients} at once" if clients > 1 else f"{name}, one at a time"
    return [
        Row(f"{what}: CPU", cpu * 1e6, "µs", TARGETS.get((name, clients))),
        Row("  p99", waits[int(len(waits) * 0.99)] * 1000, "ms"),
    ]


if __name__ == "__main__":
    common.run(main)
