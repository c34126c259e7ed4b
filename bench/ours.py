"""FastCMS as one of the systems compared; ``python -m bench.ours FOLDER ROWS`` fills its database.

The rows go through our write path, with their events, in a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import common, servers, stock
from bench.servers import Server
from bench.stock import Stock
from bench.systems import EMAIL, KNOWN_IDS, PASSWORD, System

NAME = "FastCMS"


def system(folder: Path, shelf: Stock, *, database: str = "", workers: int = 1) -> System:
    """What :func:`prepare` has filled, ready to be started. ``database`` is a PostgreSQL URL, or empty."""
    port = servers.free_port()
    command = [sys.executable, str(common.ROOT / "manage.py"), "serve", "--port", str(port), "--workers", str(workers)]
    facts = json.loads((folder / "bench.json").read_text())
    return System(
        name=NAME,
        short="our",
        server=Server(command, port, folder, "/health/", environment(folder, database)),
        shelf=shelf,
        login="/api/v1/auth/login",
        records="/api/v1/collections/{}/records",
        member=facts["member"],
        ids={int(number): record_id for number, record_id in facts["ids"].items()},
    )


def environment(folder: Path, database: str = "") -> dict[str, str]:
    """A fresh installation's settings, but for tokens that outlive the bench."""
    return common.environment(folder) | {"DATABASE_URL": database, "ACCESS_TOKEN_EXPIRE_MINUTES": "600"}


def prepare(folder: Path, rows: int, database: str = "") -> None:
    """Collections and records in a new database; what the bench must know of them in ``bench.json``."""
    subprocess.run(
        [sys.executable, "-m", "bench.ours", str(folder), str(rows)],
        cwd=common.ROOT,
        env={**os.environ, **environment(folder, database)},
        check=True,
    )


def _fill(folder: Path, rows: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from accounts.models import User
    from accounts.principals import SYSTEM
    from bench import shop
    from collections_app.schema import registry, service

    call_command("migrate", verbosity=0, interactive=False)
    User.objects.create_user("first@example.com", PASSWORD, username="first")
    member = str(User.objects.create_user(EMAIL, PASSWORD, username="member", verified=True).pk)
    shelf = Stock(rows)
    for name in (stock.PRODUCTS, stock.ARTICLES, stock.NOTES):
        service.collection_create(actor=SYSTEM, payload=definition(name))
        shop.fill(name, shelf.records(member))
    table = registry.latest().get(stock.PRODUCTS)
    known = random.Random(2).sample(range(rows), min(rows, KNOWN_IDS))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        cursor.execute(f'SELECT "{table.by_name["title"].column}", id FROM "{table.table}"')
        ids = dict(cursor.fetchall())
    facts = {"member": member, "ids": {number: ids[stock.title(number)] for number in known}}
    (folder / "bench.json").write_text(json.dumps(facts))


def definition(name: str) -> dict[str, Any]:
    rule = stock.OWN if name == stock.NOTES else stock.SIGNED_IN
    return {
        "name": name,
        "schema": [
            {"name": "title", "type": "text", "validation": {"required": True, "max_length": 200}},
            {"name": "body", "type": "text"},
            {"name": "price", "type": "number", "validation": {"min": 0}},
            {"name": "stock", "type": "integer"},
            {"name": "active", "type": "bool"},
            {"name": "category", "type": "select", "select": {"values": stock.CATEGORIES}},
            {"name": "released", "type": "date"},
            {"name": "cost", "type": "decimal", "hidden": True},
            {"name": "owner", "type": "text"},
        ],
        "indexes": [{"fields": list(fields)} for fields in stock.INDEXES],
        # All texts: one that is left out would be scanned.
        "options": {"search": ["title", "body", "owner"]} if name == stock.ARTICLES else {},
        **dict.fromkeys(("list_rule", "view_rule", "create_rule", "update_rule"), rule),
    }


if __name__ == "__main__":
    _fill(Path(sys.argv[1]), int(sys.argv[2]))
