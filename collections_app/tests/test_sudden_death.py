"""``kill -9`` anywhere in a change: afterwards there is the old or the new, and never a mix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from accounts.principals import SYSTEM
from collections_app.dialects import quote
from collections_app.models import Collection, Event, SchemaEpoch
from collections_app.schema import consistency, registry, service
from collections_app.tests.other_process import OtherProcess, other_process
from collections_app.tests.threads import STRESS
from core import catalogue

pytestmark = pytest.mark.engine


@pytest.fixture
def another(schema_db: None, tmp_path: Path) -> Iterator[OtherProcess]:
    with other_process(tmp_path) as process:
        yield process


def everything() -> dict[str, Any]:
    """The whole of what a schema change may touch: definitions, catalogue, rows, permissions, log, epoch."""
    tables = catalogue.read()
    rows = {}
    with connection.cursor() as cursor:
        for name in tables:
            if name.startswith(("c_", "rel_", "fts_", "tmp_")) or name == "records":
                cursor.execute(f"SELECT * FROM {quote(name)}")
                rows[name] = sorted(map(repr, cursor.fetchall()))
    return {
        "definitions": list(Collection.objects.order_by("id").values()),
        "epoch": SchemaEpoch.objects.get().version,
        "events": Event.objects.count(),
        "types": sorted(ContentType.objects.values_list("model", flat=True)),
        "permissions": sorted(Permission.objects.values_list("codename", "name")),
        "tables": tables,
        "rows": rows,
    }


def things(make_collection: Any, records: Any) -> None:
    make_collection("boxes", label="text")
    box = records("boxes").create(label="big")["id"]
    to_boxes = {"type": "relation", "relation": {"collection_id": "boxes"}}
    to_many = {"type": "relation", "relation": {"collection_id": "boxes", "type": "many-to-many"}}
    make_collection(
        "things",
        title="text", price="number", one="integer", two="integer", cost="decimal", code="text", note="text",
        box=to_boxes, owner=to_boxes, boxes=to_many, crates=to_many,
        options={"search": ["title"]}, indexes=[{"fields": ["price", "one"]}],
    )  # fmt: skip
    for number in range(3):
        records("things").create(
            title=f"thing {number}", price=number + 0.5, one=number, two=10 * number, cost="9.90",
            code=f"c{number}", box=box, owner=box, boxes=[box], crates=[box],
        )  # fmt: skip
    make_collection("shelves", place="text", thing={"type": "relation", "relation": {"collection_id": "things"}})


def a_change_of_everything() -> dict[str, Any]:
    """Drops, conversions, a swap, foreign keys, links, unique and search, and the collection's name."""
    schema = {field["name"]: field for field in service.as_json(registry.latest().get("things"))["schema"]}
    to_boxes = {"type": "relation", "relation": {"collection_id": "boxes"}}
    to_many = {"type": "relation", "relation": {"collection_id": "boxes", "type": "many-to-many"}}
    del schema["cost"], schema["owner"], schema["crates"]
    schema["price"] = {"id": schema["price"]["id"], "name": "price", "type": "text"}
    schema["one"]["name"], schema["two"]["name"] = "two", "one"
    schema["box"] = {"id": schema["box"]["id"], "name": "box", **to_many}
    schema["boxes"] = {"id": schema["boxes"]["id"], "name": "boxes", **to_boxes}
    schema["code"]["validation"]["unique"] = True
    added = [
        {"name": "extra", **to_boxes},
        {"name": "links", **to_many},
        {"name": "state", "type": "text", "validation": {"default": "new"}},
    ]
    return {
        "name_or_id": "things",
        "payload": {
            "name": "goods",
            "schema": [*schema.values(), *added],
            "indexes": [{"fields": ["state", "title"]}],
            "options": {"search": ["title", "note"]},
        },
        "allow_data_loss": True,
    }


def die_everywhere(another: OtherProcess, seed: int, what: str, call: str, **arguments: Any) -> int:
    """Runs the change again and again, each time living longer; answers how much it did before it lived on.

    There are a few steps, and it dies before each; of the many statements before every
    third, beginning with another one each day, and before each with TEST_STRESS.
    """
    old = everything()
    stride = 3 if what == "statement" and STRESS == 1 else 1
    number = 1 + seed % stride
    while True:
        outcome = another.run(call, die_before=(what, number), **arguments)
        now = everything()
        if not outcome.killed:
            break
        if now["epoch"] != old["epoch"]:
            # It had committed, and died on what it still read afterwards.
            outcome["answer"] = None
            break
        assert now == old, f"died before {what} {number}"
        number += stride
    assert "answer" in outcome, outcome
    assert now["epoch"] == old["epoch"] + 1
    assert consistency.differences() == []
    return number - 1


@pytest.mark.parametrize("what", ["step", "statement"])
def test_a_change_that_dies_anywhere_leaves_the_old_schema_or_the_new(
    another: OtherProcess, make_collection: Any, records: Any, what: str, seed: int
) -> None:
    things(make_collection, records)
    died = die_everywhere(another, seed, what, "update", **a_change_of_everything())
    assert died > (25 if what == "step" else 100)
    goods = records("goods").items("sort=title&expand=boxes")
    assert [(r["price"], r["one"], r["two"], r["state"]) for r in goods] == [
        ("0.5", 0, 0, "new"), ("1.5", 10, 1, "new"), ("2.5", 20, 2, "new"),
    ]  # fmt: skip
    assert goods[0]["expand"]["boxes"]["label"] == "big" and goods[0]["box"] == [goods[0]["boxes"]]
    assert records("goods").page("search=thing")["total"] == 3
    service.collection_update(actor=SYSTEM, name_or_id="goods", payload={"name": "things"})
    assert consistency.differences() == []


def test_making_a_collection_and_dropping_it_may_die_anywhere(
    another: OtherProcess, make_collection: Any, records: Any, seed: int
) -> None:
    things(make_collection, records)
    schema = service.as_json(registry.latest().get("things"))["schema"]
    for field in schema:
        del field["id"]
    payload = {"name": "copies", "schema": schema, "options": {"search": ["title"]}}
    assert die_everywhere(another, seed, "statement", "create", payload=payload) > 20
    records("copies").create(title="a copy")
    assert die_everywhere(another, seed, "statement", "delete", name_or_id="copies") > 10
    make_collection("copies", title="text")
    assert consistency.differences() == []
