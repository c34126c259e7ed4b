"""Bringing the demo into the database, through the same doors as everybody.

It may be killed at any moment: collections come one by one, records in chunks,
each in its own transaction, and the next run does what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from accounts.principals import SYSTEM
from collections_app import dialects
from collections_app.demo.blueprint import Blueprint, all_collections
from collections_app.demo.content import Notes, Record
from collections_app.records import write
from collections_app.records.unit_of_work import UnitOfWork, unit_of_work
from collections_app.rules import RuleEnv
from collections_app.schema import registry, service
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core.errors import Conflict

CHUNK = 1000
Progress = Callable[[int], Any]


@dataclass(slots=True)
class Loaded:
    """What became of one collection. ``added`` and ``there`` count records."""

    blueprint: Blueprint
    collection: CollectionDef
    made: bool
    added: int
    there: int
    notes: Notes = field(default_factory=Notes)


@dataclass(slots=True)
class Plan:
    """One collection's part of a run: what it is, and which records it still lacks."""

    blueprint: Blueprint
    collection: CollectionDef | None
    missing: list[Record]
    there: int
    notes: Notes


def find(blueprint: Blueprint, snapshot: Snapshot) -> CollectionDef | None:
    """The demo's collection, whatever it is called by now.

    Raises Conflict if its name belongs to a collection that is not the demo's.
    """
    for collection in snapshot.by_id.values():
        if any(blueprint.field_id(field["name"]) in collection.by_id for field in blueprint.fields):
            return collection
    if blueprint.name in snapshot.by_name:
        raise Conflict(
            f"There already is a collection {blueprint.name!r}, and it is not the demo's."
            " Nothing was changed. Rename yours, or load the demo into a fresh DATA_DIR."
        )
    return None


def plan(sample: int | None = None) -> list[Plan]:
    """What a run would do; changes nothing.

    ``sample`` takes only that many records of each series of measurements.
    Raises Conflict like :func:`find`, SourceMissing without the data.
    """
    snapshot = registry.latest()
    blueprints = all_collections()
    found = [find(blueprint, snapshot) for blueprint in blueprints]
    plans = []
    for blueprint, collection in zip(blueprints, found, strict=True):
        notes = Notes()
        records = blueprint.records(notes) if blueprint.records else iter(())
        if sample is not None and blueprint.series:
            records = islice(records, sample)
        known = _record_ids(collection) if collection else set()
        missing = [record for record in records if record["id"] not in known]
        plans.append(Plan(blueprint, collection, missing, len(known), notes))
    return plans


def carry_out(plans: Sequence[Plan], progress: Progress) -> Iterator[Loaded]:
    """Make and fill what is missing; ``progress`` hears how many records each step added."""
    for item in plans:
        made = item.collection is None
        collection = _make(item.blueprint) if item.collection is None else item.collection
        for start in range(0, len(item.missing), CHUNK):
            progress(_insert(item.blueprint, collection.id, item.missing[start : start + CHUNK]))
        yield Loaded(item.blueprint, collection, made, len(item.missing), item.there, item.notes)


def remove() -> list[str]:
    """Drop the demo's collections with their records, and nothing else; answers their names.

    Raises Conflict where a collection that is not the demo's refers to one of them.
    """
    found = [find(blueprint, registry.latest()) for blueprint in all_collections()]
    collections = [collection for collection in reversed(found) if collection is not None]
    own = {collection.id for collection in collections}
    for collection in collections:
        strangers = [
            f"{other.name}.{relation.name}"
            for other, relation in registry.latest().referrers(collection.id)
            if other.id not in own
        ]
        if strangers:
            raise Conflict(f"{collection.name!r} is still referenced by {', '.join(strangers)}. Nothing was removed.")
    for collection in collections:
        service.collection_delete(actor=SYSTEM, name_or_id=collection.id)
    return [collection.name for collection in collections]


def _make(blueprint: Blueprint) -> CollectionDef:
    snapshot = registry.latest()
    payload = blueprint.payload()
    others = {other.name: find(other, snapshot) for other in all_collections()}
    for entry in payload["schema"]:
        target = others.get(entry.get("relation", {}).get("collection_id"))
        if target is not None:
            entry["relation"] = {**entry["relation"], "collection_id": target.id}
    return service.collection_create(actor=SYSTEM, payload=payload)


def _insert(blueprint: Blueprint, collection_id: str, records: Sequence[Record]) -> int:
    def unit(snapshot: Snapshot) -> int:
        collection = snapshot.by_id[collection_id]
        # Somebody may have renamed or dropped fields since; ids tell which is which.
        names = {
            entry["name"]: collection.by_id[blueprint.field_id(entry["name"])].name
            for entry in blueprint.fields
            if blueprint.field_id(entry["name"]) in collection.by_id
        } | {"id": "id"}
        data = ({names[name]: value for name, value in record.items() if name in names} for record in records)
        with unit_of_work(snapshot, SYSTEM) as work:
            return write.records_create(work, collection, data, _env(work))

    return registry.with_schema(unit)


def _env(work: UnitOfWork) -> RuleEnv:
    return RuleEnv(principal=SYSTEM, method="POST", now=work.now)


def _record_ids(collection: CollectionDef) -> set[str]:
    cursor = dialects.current().execute(f"SELECT id FROM {dialects.quote(collection.table)}")
    return {row[0] for row in cursor.fetchall()}
