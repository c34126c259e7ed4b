"""Creating, changing and dropping collections: the one door, for API, admin and commands.

Every function takes and answers plain values, runs in its own transaction and
leaves nothing behind when it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from accounts.models import owned
from accounts.principals import Principal
from collections_app import events
from collections_app.files import uses
from collections_app.models import Collection
from collections_app.schema import permissions, reading, references, statistics
from collections_app.schema.change import SchemaChange, schema_change
from collections_app.schema.ddl import Tables
from collections_app.schema.definition import RULES, CollectionDef
from collections_app.schema.reading import Problems
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import definitions
from core import clock, ids
from core.errors import Conflict, MethodNotAllowed, ValidationFailed

# Names that other things answer to: the accounts, and words of the collections API itself.
TAKEN = frozenset({"users", "export", "import", "preview_view"})
KEYS = frozenset({"name", "type", "schema", *RULES, "indexes", "options", "view_query", "cache_ttl"})
READ_ONLY_KEYS = frozenset({"id", "system", "created", "updated"})
MAX_COLLECTIONS = 1000


def as_json(collection: CollectionDef) -> dict[str, Any]:
    """The collection as the API shows it to admins."""
    stored = collection.stored()
    if collection.type != "view":
        del stored["view_query"], stored["cache_ttl"]
    options = dict(stored["options"])
    if collection.search:
        options["search"] = collection.field_names(collection.search)
    return {
        "id": collection.id,
        **stored,
        "indexes": [
            {"fields": collection.field_names(index.fields), "unique": index.unique} for index in collection.indexes
        ],
        "options": options,
        "system": collection.system,
        "created": clock.isoformat(collection.created) if collection.created else None,
        "updated": clock.isoformat(collection.updated) if collection.updated else None,
    }


def collection_create(
    *,
    actor: Principal,
    payload: Mapping[str, Any],
    builtin_id: str | None = None,
    own_id: str | None = None,
    previous: CollectionDef | None = None,
) -> CollectionDef:
    """Make a collection: its table, rules, permissions.

    ``builtin_id`` makes one that is part of the product, under a fixed id; ``own_id`` one that has its id
    from elsewhere, and that nothing here ever had; the fields of a view have the ids of those of
    the ``previous`` one that are called the same. Raises ValidationFailed with all problems at once,
    Conflict for a taken name.
    """
    _check_keys(payload)
    with schema_change() as change:
        snapshot = change.snapshot
        _check_name(payload.get("name"), snapshot)
        if len(snapshot.by_id) >= MAX_COLLECTIONS:
            raise Conflict(f"There are {MAX_COLLECTIONS} collections already.")
        collection_id, system = builtin_id or own_id or ids.new_id(), builtin_id is not None
        own_name = payload.get("name")
        problems = Problems()
        collection = reading.read(
            _without_inferred(payload),
            collection_id=collection_id,
            resolve_target=lambda target: (
                collection_id if target in (own_name, collection_id) else _resolve(snapshot, target)
            ),
            system=system,
            problems=problems,
        )
        _refuse_used_ids(collection, snapshot, problems)
        _refuse_views(collection, snapshot, problems)
        problems.raise_if_any()
        if collection.type == "view":
            collection = definitions.define(collection, snapshot, previous=previous, sent=payload.get("schema"))
        moment = clock.now()
        # What somebody remembers of an earlier collection of this id had a lower one.
        revision = 1 if own_id is None else snapshot.version + 1
        collection = replace(collection, revision=revision, created=moment, updated=moment)
        after = _with(snapshot, collection)
        references.check_rules(collection, after, dict.fromkeys(RULES), problems)
        problems.raise_if_any()
        if collection.type != "view":
            _tables(change, after).create(collection)
        definitions.carried(collection, snapshot, after, {}, {})
        Collection.objects.create(
            id=collection.id, system=system, revision=revision, created=moment, updated=moment, **collection.stored()
        )
        permissions.sync(collection)
        _log(change, "collection.created", collection, actor, None)
    return collection


def collection_update(
    *,
    actor: Principal,
    name_or_id: str,
    payload: Mapping[str, Any],
    allow_data_loss: bool = False,
    takes_ids: bool = False,
) -> CollectionDef:
    """Change a collection; keys that are not in ``payload`` stay.

    ``takes_ids``: new fields may come with ids, from elsewhere.
    Raises ValidationFailed for a bad definition, Conflict where data or other
    rules stand in the way (``allow_data_loss`` overrides the former).
    """
    _check_keys(payload)
    with schema_change() as change:
        snapshot = change.snapshot
        old = snapshot.get(name_or_id)
        if "name" in payload and payload["name"] != old.name:
            if old.system:
                raise Conflict(f"{old.name!r} is built in and keeps its name.")
            _check_name(payload["name"], snapshot)
        if payload.get("type", old.type) != old.type:
            raise ValidationFailed(fields={"type": [f"A collection of type {old.type} stays one."]})
        problems = Problems()
        merged = {**old.stored(), **payload}
        new = reading.read(
            _without_inferred(merged),
            collection_id=old.id,
            resolve_target=lambda target: old.id if target == merged["name"] else _resolve(snapshot, target),
            previous=old,
            system=old.system,
            problems=problems,
            carried=frozenset({"indexes", "options"} - payload.keys()),
            takes_ids=takes_ids,
        )
        if takes_ids:
            _refuse_used_ids(new, snapshot, problems)
        _refuse_views(new, snapshot, problems)
        problems.raise_if_any()
        if new.type == "view":
            new = definitions.define(new, snapshot, previous=old, sent=payload.get("schema"))
        # A stored rule is kept as it is; a rule of null in the payload means everyone.
        names, gone = _renamed(old, new), _gone(old, new)
        new = replace(
            new,
            rules={
                key: new.rules[key] if key in payload else references.carried_over(old, key, snapshot, names, gone)
                for key in RULES
            },
            revision=old.revision + 1,
            created=old.created,
            updated=clock.now(),
        )
        others = _others(old, snapshot, names, gone)
        after = _with(snapshot, new, *others)
        views = definitions.carried(new, snapshot, after, names, gone)
        others = _replaced(others, views, snapshot)
        after = _with(after, *views)
        sent = {key: None for key in RULES if key in payload}
        references.check_rules(new, after, sent, problems)
        problems.raise_if_any()
        for collection in after.by_id.values():
            references.check_carried(collection, after, sent if collection.id == new.id else {})
        if new.type != "view":
            _tables(change, after, lossy=allow_data_loss).alter(old, new)
        definitions.verify_all(views, after)
        for collection in (new, *others):
            Collection.objects.filter(pk=collection.id).update(
                **collection.stored(), revision=collection.revision, updated=collection.updated
            )
        permissions.sync(new)
        file_fields = {field.id for field in new.file_fields}
        uses.forget(old.id, [field.id for field in old.file_fields if field.id not in file_fields])
        for field in new.file_fields:
            if not field.multiple and field.id in old.by_id and old.by_id[field.id].multiple:
                uses.forget_several(old.id, field.id)
        for collection in (new, *others):
            _log(change, "collection.updated", collection, actor, snapshot.by_id[collection.id])
        if new.type != "view":
            statistics.refresh_later(new)
    return new


def collection_delete(*, actor: Principal, name_or_id: str) -> None:
    """Drop a collection with its records; Conflict while others refer to it."""
    with schema_change() as change:
        snapshot = change.snapshot
        collection = snapshot.get(name_or_id)
        if collection.system:
            raise Conflict(f"{collection.name!r} is built in.")
        referrers = [f"{other.name}.{field.name}" for other, field in snapshot.referrers(collection.id)
                     if other.id != collection.id]  # fmt: skip
        if referrers:
            raise Conflict(
                f"{collection.name!r} is still referenced by {', '.join(sorted(referrers))}. "
                "Remove those fields first.",
                extra={"references": sorted(referrers)},
            )
        views = definitions.views_of(collection.id, snapshot)
        if views:
            raise Conflict(
                f"{collection.name!r} is read by {', '.join(views)}. Change or delete that first.",
                extra={"views": views},
            )
        gone = {collection.id: "deleted", **{field.id: "deleted" for field in collection.own_fields}}
        _others(collection, snapshot, {}, gone)
        if collection.type != "view":
            _tables(change, snapshot).drop(collection)
        Collection.objects.filter(pk=collection.id).delete()
        permissions.remove(collection)
        uses.forget(collection.id)
        if collection.type == "auth":
            owned.forget(collection.id)
        _log(change, "collection.deleted", collection, actor, collection)


def view_refresh(*, name_or_id: str) -> None:
    """Have all processes forget the rows that they keep of a view; ValidationFailed for what is none."""
    with schema_change() as change:
        view = change.snapshot.get(name_or_id)
        if view.type != "view":
            raise ValidationFailed(f"{view.name!r} is no view; nothing is kept of it.")
        # Its revision is part of the name of what is kept.
        Collection.objects.filter(pk=view.id).update(revision=view.revision + 1)


def _check_keys(payload: Mapping[str, Any]) -> None:
    unknown = sorted(set(payload) - KEYS - READ_ONLY_KEYS)
    if unknown:
        raise ValidationFailed(fields={key: ["Unknown key."] for key in unknown})


def _check_name(name: Any, snapshot: Snapshot) -> None:
    if isinstance(name, str) and (name in TAKEN or name in snapshot.by_name):
        raise Conflict(
            f"There already is a collection {name!r}." if name in snapshot.by_name else f"The name {name!r} is taken.",
            extra={"fields": {"name": ["This name is already in use."]}},
        )


def _without_inferred(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of a view without its fields, which come from its query."""
    return {**payload, "schema": []} if payload.get("type") == "view" else payload


def _replaced(
    others: Sequence[CollectionDef], views: Sequence[CollectionDef], snapshot: Snapshot
) -> list[CollectionDef]:
    """The collections to be stored anew: those views among them that have changed, in their last form."""
    changed = {view.id: view for view in views if view.revision != snapshot.by_id[view.id].revision}
    return [*(other for other in others if other.id not in changed), *changed.values()]


def _refuse_views(collection: CollectionDef, snapshot: Snapshot, problems: Problems) -> None:
    """A row of a view is no record that another could point to."""
    for field in collection.own_fields:
        target = snapshot.by_id.get(field.target)
        if target is not None and target.type == "view":
            problems.add(f"schema.{field.name}", f"relation: {target.name!r} is a view; point to a base collection.")


def _refuse_used_ids(collection: CollectionDef, snapshot: Snapshot, problems: Problems) -> None:
    """A definition that came with field ids (an export, say) must not claim those of another collection."""
    others = (other for other in snapshot.by_id.values() if other.id != collection.id)
    used = {field.id for other in others for field in other.own_fields}
    for field in collection.own_fields:
        if field.id in used:
            problems.add(f"schema.{field.name}", f"The id {field.id!r} belongs to a field of another collection.")


def require_writable(collection: CollectionDef) -> None:
    """Views are read-only: MethodNotAllowed."""
    if collection.type == "view":
        raise MethodNotAllowed(
            f"{collection.name!r} is a view and can't be written.", headers={"Allow": "GET, HEAD, OPTIONS"}
        )


def _resolve(snapshot: Snapshot, name_or_id: str) -> str | None:
    found = snapshot.by_name.get(name_or_id) or snapshot.by_id.get(name_or_id)
    return found.id if found else None


def _with(snapshot: Snapshot, *changed: CollectionDef) -> Snapshot:
    return Snapshot(snapshot.version + 1, {**snapshot.by_id, **{c.id: c for c in changed}}.values())


def _tables(change: SchemaChange, snapshot: Snapshot, *, lossy: bool = False) -> Tables:
    return Tables(change.editor, {c.id: c.table for c in snapshot.by_id.values()}, lossy=lossy)


def _renamed(old: CollectionDef, new: CollectionDef) -> dict[str, str]:
    names = {field.id: field.name for field in new.own_fields if field.id in old.by_id}
    return {**{fid: name for fid, name in names.items() if old.by_id[fid].name != name}, **(
        {old.id: new.name} if old.name != new.name else {}
    )}  # fmt: skip


def _gone(old: CollectionDef, new: CollectionDef) -> dict[str, str]:
    gone = {field.id: "deleted" for field in old.own_fields if field.id not in new.by_id}
    hidden = {field.id: "hidden" for field in new.own_fields
              if field.hidden and field.id in old.by_id and not old.by_id[field.id].hidden}  # fmt: skip
    return {**hidden, **gone}


def _others(
    collection: CollectionDef, snapshot: Snapshot, names: Mapping[str, str], gone: Mapping[str, str]
) -> list[CollectionDef]:
    """The other collections whose rules have to be rewritten for this change."""
    if not names and not gone:
        return []
    rewritten = []
    for other in snapshot.by_id.values():
        if other.id == collection.id:
            continue
        rules = {key: references.carried_over(other, key, snapshot, names, gone) for key in RULES}
        if rules != dict(other.rules):
            rewritten.append(replace(other, rules=rules, revision=other.revision + 1, updated=clock.now()))
    return rewritten


def _log(
    change: SchemaChange, kind: str, collection: CollectionDef, actor: Principal, previous: CollectionDef | None
) -> None:
    deleted = kind == "collection.deleted"
    change.log(
        events.Change(
            type=kind,
            collection=collection.name,
            collection_id=collection.id,
            record_id="",
            revision=collection.revision,
            data=None if deleted else as_json(collection),
            previous=None if previous is None else as_json(previous),
        ),
        actor,
    )
