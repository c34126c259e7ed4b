"""Schemas on the move: all collections as one document, what it would change elsewhere, and doing so.

A document names collections by name, so that it fits every installation; ids go with it, and
where they are known a renamed field or collection is the same one and keeps its data. What
has other ids is known by its name.

All of it is one transaction of ``service``'s changes. On the way from the old schema to the new
one there are states that make no sense (a rule that names a field which is still to come), so
the order is: rules that are in the way are closed, names are made free, collections are made
without what they can't refer to yet, then completed, then rules are put in place, and what is
to go goes last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from accounts.principals import Principal
from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.models import Event
from collections_app.schema import differences, reading, references, registry, service
from collections_app.schema.change import together
from collections_app.schema.definition import ADMINS_ONLY, RULES, CollectionDef
from collections_app.schema.reading import Problems
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import definitions
from core import ids
from core.errors import BadRequest, Conflict, DomainError, ValidationFailed

_ID = re.compile(r"[a-z0-9]{1,32}")
_ORDER = {"create": 0, "update": 1, "delete": 2}


@dataclass(frozen=True, slots=True)
class Step:
    """One collection that is to be created, updated or deleted."""

    action: str
    old: CollectionDef | None
    new: CollectionDef | None
    changes: Sequence[differences.Change]

    def as_json(self) -> dict[str, Any]:
        known = self.old or self.new
        assert known is not None
        return {
            "action": self.action,
            "collection": known.name,
            "id": known.id,
            "text": self._text(known),
            "changes": list(self.changes),
        }

    def _text(self, known: CollectionDef) -> str:
        if self.action == "create":
            names = ", ".join(field.name for field in known.own_fields)
            return f"Create the {known.type} collection {known.name}{f' with {names}' if names else ''}."
        if self.action == "delete":
            return f"Delete the collection {known.name} with all its records."
        return f"Update the collection {known.name}: {' '.join(change['text'] for change in self.changes)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a document would change. ``wanted`` are its collections by their ids here."""

    steps: Sequence[Step]
    wanted: Mapping[str, CollectionDef]
    before: Snapshot

    def of(self, action: str) -> list[Step]:
        return [step for step in self.steps if step.action == action]

    def as_json(self) -> list[dict[str, Any]]:
        return [step.as_json() for step in self.steps]


class _Undone(Exception):
    """It was only tried."""


def dump() -> dict[str, Any]:
    """``{"collections": […]}``, by name, the built-in one included."""
    snapshot = registry.latest()
    found = sorted(snapshot.by_id.values(), key=lambda collection: collection.name)
    return {"collections": [differences.portable(one, lambda other: snapshot.by_id[other].name) for one in found]}


def plan(document: Any, *, delete_missing: bool = False) -> Plan:
    """What the document would change here, without looking at the data.

    Raises BadRequest for what is no such document, ValidationFailed with all that is wrong in it, Conflict.
    """
    return _plan(document, registry.latest(), delete_missing)


def move(
    document: Any,
    *,
    actor: Principal,
    delete_missing: bool = False,
    allow_data_loss: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Make the schema that of the document, in one transaction; collections that it does not have stay, unless
    ``delete_missing``. A ``dry_run`` does it all and undoes it, so that it meets what is in the way.

    Raises what :func:`plan` and the changes of :mod:`service` raise, the plan in ``extra``.
    """
    found = _plan(document, registry.latest(), delete_missing)
    if not found.steps:
        return found
    try:
        with together():
            found = _plan(document, registry.load(registry.known()), delete_missing)
            try:
                _Move(found, actor, allow_data_loss).run()
            except DomainError as error:
                error.extra["plan"] = found.as_json()
                raise
            if dry_run:
                raise _Undone
    except _Undone:
        pass
    return found


# --- the document as definitions --------------------------------------------------------------


def _plan(document: Any, before: Snapshot, delete_missing: bool) -> Plan:
    entries = _entries(document)
    known = _matched(entries, before)
    missing = [one for one in before.by_id.values() if one not in known and not one.system]
    gone = {one.id for one in missing} if delete_missing else set()
    wanted = _definitions(entries, known, before, gone)
    kept = _kept(before, wanted, gone)
    wanted = _with_columns(wanted, Snapshot(before.version + 1, [*kept, *wanted.values()]))
    after = Snapshot(before.version + 1, [*kept, *wanted.values()])
    _check_rules(wanted, after)
    steps = []
    for old, new in zip(known, wanted.values(), strict=True):
        shown = differences.portable(new, lambda other: after.by_id[other].name)
        if old is None:
            steps.append(Step("create", None, new, differences.created(shown)))
        elif old.stored() != new.stored():
            # A target that is called otherwise is still the same one.
            names = {one.id: one.name for one in (*before.by_id.values(), *after.by_id.values())}
            earlier = differences.portable(old, names.__getitem__)
            steps.append(Step("update", old, new, differences.between(earlier, shown)))
    steps += [Step("delete", before.by_id[one], None, ()) for one in gone]
    steps.sort(key=lambda step: (_ORDER[step.action], (step.old or step.new).name))  # type: ignore[union-attr]
    return Plan(steps, wanted, before)


def _entries(document: Any) -> list[Mapping[str, Any]]:
    found = document.get("collections") if isinstance(document, Mapping) else None
    if not isinstance(found, list) or not isinstance(document, Mapping) or set(document) != {"collections"}:
        raise BadRequest('Expected a JSON object like {"collections": […]}.')
    if len(found) > service.MAX_COLLECTIONS:
        raise ValidationFailed(fields={"collections": [f"At most {service.MAX_COLLECTIONS} collections."]})
    problems = Problems()
    for position, entry in enumerate(found):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            problems.add(f"collections[{position}]", "Must be an object with name and schema.")
            continue
        for key in sorted(set(map(str, entry)) - service.KEYS - service.READ_ONLY_KEYS):
            problems.add(f"collections.{entry['name'][:63]}.{key[:63]}", "Unknown key.")
    problems.raise_if_any()
    for key in ("name", "id"):
        values = [entry[key] for entry in found if isinstance(entry.get(key), str)]
        for value in sorted({value for value in values if values.count(value) > 1}):
            problems.add("collections", f"More than one collection has the {key} {value[:63]!r}.")
    problems.raise_if_any()
    return found


def _matched(entries: Sequence[Mapping[str, Any]], before: Snapshot) -> list[CollectionDef | None]:
    """The collections that they are here: those of the same id, else of the same name."""
    found = [before.by_id.get(entry["id"]) if isinstance(entry.get("id"), str) else None for entry in entries]
    taken = {one.id for one in found if one is not None}
    for position, entry in enumerate(entries):
        named = before.by_name.get(entry["name"])
        if found[position] is None and named is not None and named.id not in taken:
            found[position] = named
    return found


def _kept(before: Snapshot, wanted: Mapping[str, CollectionDef], gone: set[str]) -> list[CollectionDef]:
    return [one for one in before.by_id.values() if one.id not in wanted and one.id not in gone]


def _definitions(
    entries: Sequence[Mapping[str, Any]],
    known: Sequence[CollectionDef | None],
    before: Snapshot,
    gone: set[str],
) -> dict[str, CollectionDef]:
    """The document's collections by the ids that they have here, or will have."""
    own_ids = [old.id if old else _id_for(entry.get("id"), before) for entry, old in zip(entries, known, strict=True)]
    here = dict(zip((entry["name"] for entry in entries), own_ids, strict=True))
    there = {entry["id"]: own for entry, own in zip(entries, own_ids, strict=True) if isinstance(entry.get("id"), str)}
    others = _kept(before, dict.fromkeys(own_ids), gone)  # type: ignore[arg-type]
    rest = {one.id: one.id for one in others} | {one.name: one.id for one in others}
    fields = _FieldIds(before)
    problems = Problems()
    found: dict[str, CollectionDef] = {}
    for entry, old, own_id in zip(entries, known, own_ids, strict=True):
        name, its = entry["name"], Problems()
        if old is not None and entry.get("type", old.type) != old.type:
            its.add("type", f"It is of type {old.type} here, and stays so.")
        if old is not None and old.system and name != old.name:
            its.add("name", f"{old.name!r} is built in and keeps its name.")
        if (old is None or old.name != name) and (name in service.TAKEN or name in {one.name for one in others}):
            its.add("name", "This name is already in use.")
        sent = {key: entry[key] for key in service.KEYS if key in entry}
        if "schema" in sent:
            sent["schema"] = fields.of(sent["schema"], old)
        found[own_id] = reading.read(
            {**(old.stored() if old else {}), **sent},
            collection_id=own_id,
            resolve_target=lambda target: here.get(target) or there.get(target) or rest.get(target),
            previous=old,
            system=old.system if old else False,
            problems=its,
            carried=frozenset({"indexes", "options"} - sent.keys()) if old else frozenset(),
            takes_ids=True,
        )
        for key, messages in its.found.items():
            for message in messages:
                problems.add(f"collections.{name[:63]}.{key}", message)
    problems.raise_if_any()
    return found


def _id_for(sent: Any, before: Snapshot) -> str:
    """The id that a new collection has elsewhere, if nothing here ever had it: the log still tells of those."""
    free = isinstance(sent, str) and _ID.fullmatch(sent) and sent not in before.by_id and sent not in before.by_name
    return sent if free and not Event.objects.filter(collection_id=sent).exists() else ids.new_id()


class _FieldIds:
    """Fields that are here already keep their ids, new ones those that they bring, if nobody has them."""

    def __init__(self, before: Snapshot) -> None:
        self._used = {field.id for one in before.by_id.values() for field in one.own_fields}

    def of(self, schema: Any, old: CollectionDef | None) -> Any:
        if not isinstance(schema, list):
            return schema
        here = {field.id: field.name for field in old.own_fields} if old else {}
        sent = {entry.get("id") for entry in schema if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)}
        by_name = {name: own for own, name in here.items() if own not in sent}
        return [self._one(entry, here, by_name) if isinstance(entry, Mapping) else entry for entry in schema]

    def _one(self, entry: Mapping[str, Any], here: Mapping[str, str], by_name: Mapping[str, str]) -> Mapping[str, Any]:
        own_id, name = entry.get("id"), entry.get("name")
        if own_id is None or (isinstance(own_id, str) and own_id in here):
            return entry
        if isinstance(name, str) and name in by_name:
            return {**entry, "id": by_name[name]}
        if isinstance(own_id, str) and own_id in self._used:
            return {key: value for key, value in entry.items() if key != "id"}
        if isinstance(own_id, str):
            self._used.add(own_id)
        return entry


def _with_columns(wanted: Mapping[str, CollectionDef], after: Snapshot) -> dict[str, CollectionDef]:
    """The views with the fields that their queries give them, whatever the document says of these."""
    problems = Problems()
    found = dict(wanted)
    for one in wanted.values():
        if one.type == "view":
            try:
                found[one.id] = definitions.understood(one, after, one)
            except ValidationFailed as error:
                problems.add(f"collections.{one.name}.view_query", error.message)
    problems.raise_if_any()
    return found


def _check_rules(wanted: Mapping[str, CollectionDef], after: Snapshot) -> None:
    problems = Problems()
    for one in wanted.values():
        its = Problems()
        references.check_rules(one, after, dict.fromkeys(RULES), its)
        for key, messages in its.found.items():
            for message in messages:
                problems.add(f"collections.{one.name}.{key}", message)
    problems.raise_if_any()


# --- from here to there -----------------------------------------------------------------------


class _Move:
    """The plan as a row of changes, each by the service."""

    def __init__(self, plan: Plan, actor: Principal, allow_data_loss: bool) -> None:
        self._plan, self._actor, self._lossy = plan, actor, allow_data_loss
        self._created = [step.new for step in plan.of("create") if step.new is not None]
        self._updated = [(step.old, step.new) for step in plan.of("update") if step.old and step.new]
        self._doomed = [step.old for step in plan.of("delete") if step.old is not None]
        self._here: dict[str, CollectionDef] = dict(plan.before.by_id)

    def run(self) -> None:
        if not self._lossy:
            self._refuse_loss()
        self._close_rules()
        self._free_views()
        self._free_names()
        for new in _by_references(self._created, self._here):
            self._create(new)
        for _, new in self._updated:
            self._complete(new)
        for new in self._created:
            self._complete(new)
        self._make_views()
        for wanted in self._plan.wanted.values():
            self._set_rules(wanted)
        self._delete_doomed()

    # -- what is in the way ----------------------------------------------------------------------
    def _refuse_loss(self) -> None:
        full = {}
        for one in self._doomed:
            if one.type != "view":
                count = dialects.current().execute(f"SELECT count(*) FROM {quote(one.table)}").fetchone()[0]
                if count:
                    full[one.name] = count
        if full:
            told = ", ".join(f"{name} ({count:,})" for name, count in full.items())
            raise Conflict(
                f"Deleting what is missing would lose records: {told}. Repeat with ?allow_data_loss=true.",
                extra={"records": full},
            )

    def _close_rules(self) -> None:
        """Those that name something which goes or becomes something else: they come again at the end."""
        touched = {one.id for one in self._doomed}
        touched |= {field.id for one in self._doomed for field in one.own_fields}
        for old, new in self._updated:
            for field in old.own_fields:
                after = new.by_id.get(field.id)
                if after is None or {**after.as_json(), "name": ""} != {**field.as_json(), "name": ""}:
                    touched.add(field.id)
            if old.type == "view" and old.stored() != new.stored():
                touched |= {old.id, *(field.id for field in old.fields)}
        if not touched:
            return
        for one in (*self._doomed, *self._plan.wanted.values()):
            old_one = self._here.get(one.id)
            if old_one is None:
                continue
            closed = {
                key: ADMINS_ONLY
                for key, source in old_one.rules.items()
                if source is not None
                and any(
                    mention.id in touched for mention in rules.compile_rule(source, old_one, self._plan.before).mentions
                )
            }
            self._update(old_one, closed)

    def _free_names(self) -> None:
        """Every collection that stays has its name of the document, and no other has one of those."""
        taken = {one.name: one for one in self._here.values()}
        wanted = {one.name: one.id for one in self._plan.wanted.values()}
        renamed = [(old, new) for old, new in self._updated if old.name != new.name and old.type != "view"]
        for one in self._doomed:
            if one.name in wanted and one.id in self._here:
                self._update(one, {"name": f"moving_{one.id}"})
        waiting = [(old, new) for old, new in renamed if new.name in taken and taken[new.name] not in self._doomed]
        for old, _ in waiting:
            self._update(old, {"name": f"moving_{old.id}"})
        for pair in (*(pair for pair in renamed if pair not in waiting), *waiting):
            self._update(pair[0], {"name": pair[1].name})

    # -- one collection --------------------------------------------------------------------------
    def _create(self, new: CollectionDef) -> None:
        """Without relations to what is not there yet, and with closed rules."""
        if new.type == "view":
            return
        payload = {**new.stored(), **dict.fromkeys(RULES, ADMINS_ONLY)}
        there = {*self._here, new.id}
        early = [field for field in new.own_fields if not field.target or field.target in there]
        if len(early) < len(new.own_fields):
            payload |= {"schema": [field.as_json() for field in early], "indexes": [], "options": dict(new.options)}
        with _about(new):
            self._keep(service.collection_create(actor=self._actor, payload=payload, own_id=new.id))

    def _complete(self, new: CollectionDef) -> None:
        if new.type == "view":
            return
        now, then = self._here[new.id].stored(), new.stored()
        self._update(new, {key: then[key] for key in ("schema", "indexes", "options") if now[key] != then[key]})

    def _set_rules(self, wanted: CollectionDef) -> None:
        now = self._here[wanted.id].rules
        self._update(wanted, {key: rule for key, rule in wanted.rules.items() if now[key] != rule})

    def _update(self, one: CollectionDef, payload: Mapping[str, Any], *, lossy: bool = False) -> None:
        if not payload:
            return
        with _about(one):
            service.collection_update(
                actor=self._actor,
                name_or_id=one.id,
                payload=payload,
                allow_data_loss=lossy or self._lossy,
                takes_ids=True,
            )
        # Others too: their rules go along with new names.
        self._here = registry.load(registry.known()).by_id

    def _keep(self, made: CollectionDef) -> None:
        self._here = {**self._here, made.id: made}

    # -- views, which are made of the others -----------------------------------------------------
    def _free_views(self) -> None:
        for one in (*(old for old, _ in self._updated), *self._doomed):
            if one.type == "view":
                self._delete(one)

    def _make_views(self) -> None:
        for new in (*(new for _, new in self._updated), *self._created):
            if new.type != "view":
                continue
            with _about(new):
                payload = {**new.stored(), **dict.fromkeys(RULES, ADMINS_ONLY)}
                self._keep(service.collection_create(actor=self._actor, payload=payload, own_id=new.id, previous=new))

    # -- what goes -------------------------------------------------------------------------------
    def _delete_doomed(self) -> None:
        left = [one for one in self._doomed if one.id in self._here]
        doomed = {one.id for one in left}
        for one in left:
            rest = [field for field in one.own_fields if field.target not in doomed - {one.id}]
            if len(rest) < len(one.own_fields):
                self._update(one, {"schema": [field.as_json() for field in rest]}, lossy=True)
        for one in left:
            self._delete(one)

    def _delete(self, one: CollectionDef) -> None:
        with _about(one):
            service.collection_delete(actor=self._actor, name_or_id=one.id)
        self._here = {own_id: other for own_id, other in self._here.items() if own_id != one.id}


@contextmanager
def _about(one: CollectionDef) -> Iterator[None]:
    """A refusal says which collection it is about."""
    try:
        yield
    except DomainError as error:
        raise type(error)(
            f"{one.name}: {error.message}",
            fields={f"collections.{one.name}.{key}": messages for key, messages in error.fields.items()},
            headers=error.headers,
            extra={**error.extra, "collection": one.name},
        ) from error


def _by_references(new: Sequence[CollectionDef], here: Mapping[str, CollectionDef]) -> list[CollectionDef]:
    """Those first that the others refer to, as far as they do not go round in a circle."""
    there, left, found = set(here), list(new), []
    while left:
        ready = [one for one in left if {field.target for field in one.target_fields} <= there | {one.id}] or left[:1]
        found += ready
        there |= {one.id for one in ready}
        left = [one for one in left if one not in ready]
    return found
