"""A process that sees the schema change all day long does not grow."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.principals import SYSTEM
from collections_app.schema import registry, service
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from collections_app.tests.threads import STRESS

pytestmark = pytest.mark.engine

CHANGES = {"sqlite": 300 * STRESS, "postgresql": 150 * STRESS}
WARM_UP = 100
GROWTH = 25 * 1024  # bytes a change
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of memory that this process holds right now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE


def alive(kind: type) -> int:
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
def test_hundreds_of_schema_changes_leave_no_trace_in_memory(make_collection: Any, records: Any) -> None:
    make_collection("boxes", label="text", list_rule="label != 'x'")
    make_collection("fixed", title="text", box={"type": "relation", "relation": {"collection_id": "boxes"}})
    make_collection("notes", title="text", list_rule="title != ''", view_rule="@request.auth.id != ''")
    records("notes").create(title="a")
    client, snapshots, definitions = APIClient(), [], []
    changes = CHANGES[connection.vendor]
    warm, there = 0, dict[type, int]()
    for number in range(changes + WARM_UP):
        if number == WARM_UP:
            gc.collect()
            warm, there = resident(), {kind: alive(kind) for kind in (Snapshot, CollectionDef, type)}
        name, other = ("title", "headline") if number % 2 == 0 else ("headline", "title")
        schema = service.as_json(registry.latest().get("notes"))["schema"]
        schema[0]["name"] = other
        extra = [] if number % 4 else [{"name": f"extra_{number}", "type": "integer"}]
        service.collection_update(
            actor=SYSTEM, name_or_id="notes", payload={"schema": schema[:1] + extra}, allow_data_loss=True
        )
        answer = client.get(f"/api/v1/collections/notes/records?filter={other}='a'&sort={other}")
        assert answer.json()["total"] == 1, name
        client.get("/api/v1/collections/fixed/records?expand=box&filter=box.label='b'")
        if number % 50 == 0:
            assert client.get("/api/schema").status_code == 200
        snapshots.append(weakref.ref(registry.latest()))
        definitions.append(weakref.ref(registry.latest().get("notes")))
    gc.collect()
    grown = resident() - warm
    assert grown < changes * GROWTH, f"{grown / 1024 / 1024:.1f} MB more than after {WARM_UP} changes"
    assert [ref() for ref in snapshots if ref() is not None] == [registry.latest()]
    assert [ref() for ref in definitions if ref() is not None] == [registry.latest().get("notes")]
    for kind, before in there.items():
        assert alive(kind) <= before + (50 if kind is type else 0), f"each change leaves a {kind.__name__}"
