"""Files of records in and out: rows per second, memory of a long export, and a bulk update of 100 ids.

python -m bench.io

Five typed columns through validation, a create rule and the event log, beside PocketBase's batch API
with the same columns and rule.
"""

from __future__ import annotations

import io
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import bulk, common, pocketbase, servers
from bench.common import Row

ROWS = common.scaled(100_000)
LONG = common.scaled(1_000_000)  # records of the export whose memory is looked at
THEIRS = common.scaled(20_000)
BATCH = 1000
RULE = "@request.auth.id != '' && price >= 0"


def main() -> list[Row]:
    with common.start():
        records = list(bulk.things(ROWS))
        ours = _ours(records)
    return [*ours[:1], _theirs(records[:THEIRS]), *ours[1:]]


def _ours(records: list[dict[str, Any]]) -> list[Row]:
    from accounts.principals import SYSTEM, Principal
    from bench import shop
    from collections_app.io import exports, imports
    from collections_app.io.options import Options
    from collections_app.models import Event
    from collections_app.records import operations
    from collections_app.records.operations import Call
    from collections_app.schema import service

    service.collection_create(
        actor=SYSTEM, payload={"name": "things", "schema": bulk.FIELDS, "list_rule": None, "create_rule": RULE}
    )
    member = Principal(id="m1", collection="users", email="m@example.com", role="user", verified=True)
    raw = _csv(records)
    events = Event.objects.count()
    began = time.perf_counter()
    report = imports.run(Call(principal=member, method="POST"), "things", "csv", io.BytesIO(raw), Options())
    imported = time.perf_counter() - began
    if report.imported != ROWS or Event.objects.count() - events != ROWS:
        raise RuntimeError(f"{report.imported} rows instead of {ROWS}: {report.errors[:3]}")

    ids = [record["id"] for record in _page(member)]
    body = {"record_ids": ids, "data": {"stock": 7}}
    call = Call(principal=SYSTEM, method="POST", path="things")
    bulk_ms = common.cpu_ms(lambda: operations.bulk_update(call, "things", body), 5)

    shop.fill("things", bulk.things(LONG - ROWS))
    speeds = {}
    grown = 0.0
    for kind in ("csv", "json"):
        made = exports.export(Call(principal=member), "things", kind)
        next(made.chunks)
        before = common.rss_mb()
        size, began = 0, time.perf_counter()
        for chunk in made.chunks:
            size += len(chunk)
            grown = max(grown, common.rss_mb() - before)
        speeds[kind] = (LONG - exports.PIECE) / (time.perf_counter() - began)
        made.chunks.close()
    return [
        Row(f"import of {ROWS:,} rows of CSV", ROWS / imported, "rows/s", 25_000, more_is_better=True),
        Row(f"export of {LONG:,} records as CSV", speeds["csv"], "rows/s", 100_000, more_is_better=True),
        Row("  as JSON", speeds["json"], "rows/s", 100_000, more_is_better=True),
        Row("  what memory grows by meanwhile", grown, "MB", 30),
        Row("bulk update of 100 ids, CPU", bulk_ms, "ms", 8),
    ]


def _page(member: Any) -> list[dict[str, Any]]:
    from collections_app.records import operations
    from collections_app.records.operations import Call

    answer = operations.record_list(Call(principal=member, query_string="per_page=100"), "things")
    found: list[dict[str, Any]] = json.loads(answer.body)["items"]
    return found


def _csv(records: list[dict[str, Any]]) -> bytes:
    names = list(records[0])
    lines = [",".join(names), *(",".join(_cell(record[name]) for name in names) for record in records)]
    return ("\r\n".join(lines) + "\r\n").encode()


def _cell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _theirs(records: list[dict[str, Any]]) -> Row:
    """PocketBase's way to write many: batches over HTTP, each one transaction."""
    with tempfile.TemporaryDirectory(prefix="fastcms-bench-") as name:
        server, root, member = pocketbase.empty(Path(name))
        try:
            servers.ask(
                server.port, "PATCH", "/api/settings",
                {"batch": {"enabled": True, "maxRequests": BATCH, "timeout": 60}}, root,
            )  # fmt: skip
            servers.ask(server.port, "POST", "/api/collections", _DEFINITION, root)
            url = "/api/collections/things/records"
            random.Random(1).shuffle(records)
            began = time.perf_counter()
            for start in range(0, len(records), BATCH):
                requests = [{"method": "POST", "url": url, "body": one} for one in records[start : start + BATCH]]
                servers.ask(server.port, "POST", "/api/batch", {"requests": requests}, member)
            seconds = time.perf_counter() - began
        finally:
            server.stop()
    return Row(f"  PocketBase's batch API, {BATCH:,} at a time", len(records) / seconds, "rows/s")


_DEFINITION = {
    "name": "things",
    "type": "base",
    "fields": [
        {"name": "title", "type": "text", "required": True},
        {"name": "price", "type": "number"},
        {"name": "stock", "type": "number", "onlyInt": True},
        {"name": "active", "type": "bool"},
        {"name": "released", "type": "date"},
        {"name": "created", "type": "autodate", "onCreate": True},
        {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
    ],
    "listRule": "",
    "createRule": RULE.replace("'", '"'),
}


if __name__ == "__main__":
    common.run(main)
