"""One process changes the schema while another reads and writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.principals import SYSTEM
from collections_app.dialects import quote
from collections_app.models import Event
from collections_app.schema import consistency, registry, service
from collections_app.tests.other_process import OtherProcess, Outcome, other_process

pytestmark = pytest.mark.engine

CHANGES = 40


@pytest.fixture
def another(schema_db: None, tmp_path: Path) -> Iterator[OtherProcess]:
    with other_process(tmp_path) as process:
        yield process


def edit(name: str, change: Any) -> None:
    """Send the schema again with ``change`` made to it (a dict of entries by name)."""
    fields = {field["name"]: field for field in service.as_json(registry.latest().get(name))["schema"]}
    change(fields)
    service.collection_update(
        actor=SYSTEM, name_or_id=name, payload={"schema": list(fields.values())}, allow_data_loss=True
    )


def swap(one: str, two: str) -> Any:
    def change(fields: dict[str, Any]) -> None:
        fields[one]["name"], fields[two]["name"] = two, one

    return change


def test_a_change_is_seen_by_the_other_process_at_its_next_request(
    another: OtherProcess, make_collection: Any, records: Any
) -> None:
    for number in range(5):
        name = f"things_{number}"
        make_collection(name, title="text")
        assert "answer" in another.run("record_create", name=name, data={"title": "x"})
        edit(name, lambda fields: fields["title"].update(name="headline"))
        assert another.run("record_create", name=name, data={"title": "x"})["status"] == 422
        assert "answer" in another.run("record_create", name=name, data={"headline": "x"})
        assert "answer" in another.run("update", name_or_id=name, payload={"name": f"goods_{number}"})
        assert records(f"goods_{number}").values("headline") == ["x", "x"]
        service.collection_delete(actor=SYSTEM, name_or_id=f"goods_{number}")
        assert another.run("record_create", name=f"goods_{number}", data={})["status"] == 404


def test_reading_and_writing_go_on_while_another_process_changes_the_schema(
    another: OtherProcess, make_collection: Any, records: Any, tmp_path: Path
) -> None:
    make_collection(
        "pairs",
        left="text", right="text", name="text", body="text", notes={"type": "text", "hidden": True},
        list_rule=None, options={"search": ["left"]},
    )  # fmt: skip
    records("pairs").create(left="L0", right="R0", body="public", notes="private")
    schedule = [
        swap("left", "right"),
        swap("body", "notes"),
        lambda fields: fields["name"].update(name="title"),
        lambda fields: fields.update(extra={"name": "extra", "type": "integer"}),
        swap("left", "right"),
        swap("body", "notes"),
        lambda fields: fields["title"].update(name="name"),
        lambda fields: fields.pop("extra"),
    ]
    stop, outcome = tmp_path / "stop", Outcome()
    there = threading.Thread(target=lambda: outcome.update(another.run("churn", until=str(stop))))
    there.start()
    try:
        while Event.objects.filter(type="record.created").count() < 10 and there.is_alive():
            time.sleep(0.05)
        for number in range(CHANGES):
            edit("pairs", schedule[number % len(schedule)])
            time.sleep(0.02)
    finally:
        stop.touch()
        there.join(60)
    told = outcome["answer"]
    assert told["wrong"] == []
    assert told["reads"] > CHANGES and len(told["writes"]) > CHANGES / 2
    allowed = {
        "400 read_by_a_name_that_changes", "422 write_by_a_name_that_changes", "503 read_all", "503 read_as_nobody",
        "503 read_by_a_name_that_changes", "503 write_by_a_name_that_changes", "503 write",
    }  # fmt: skip
    assert set(told["errors"]) <= allowed
    assert sum(n for key, n in told["errors"].items() if key.startswith("503")) < CHANGES, told["errors"]
    stored = {record_id: values for record_id, *values in stored_by_id("pairs")}
    assert stored == replayed("pairs")
    assert {record_id for record_id, *_ in told["writes"]} <= stored.keys()
    assert consistency.differences() == []


def stored_by_id(name: str) -> list[list[Any]]:
    """The rows with their values in the order of the fields' ids."""
    collection = registry.latest().get(name)
    fields = sorted(collection.own_fields, key=lambda field: field.id)
    columns = ", ".join(["id", *(quote(field.column) for field in fields)])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {quote(collection.table)}")
        return [list(row) for row in cursor.fetchall()]


def replayed(name: str) -> dict[str, list[Any]]:
    """What the rows must be if each event happened on the schema that the log says was there."""
    collection = registry.latest().get(name)
    names: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for event in Event.objects.filter(collection_id=collection.id).order_by("id"):
        if event.type.startswith("collection."):
            names = {field["id"]: field["name"] for field in event.data["schema"]}
        else:
            rows[event.record_id] = {fid: event.data[name] for fid, name in names.items()}
    ids = sorted(field.id for field in collection.own_fields)
    return {record_id: [row[fid] for fid in ids] for record_id, row in rows.items()}
