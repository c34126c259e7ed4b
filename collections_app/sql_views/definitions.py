"""Collections whose records are the rows of a query: how they are defined, and carried through changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlglot.tokens import Tokenizer

from collections_app.dialects import quote
from collections_app.schema import fields as field_types
from collections_app.schema import reading
from collections_app.schema.definition import CollectionDef
from collections_app.schema.reading import Problems
from collections_app.schema.snapshot import Snapshot
from collections_app.sql_views import enforcing
from collections_app.sql_views.checking import Checked, check
from collections_app.sql_views.columns import Column
from collections_app.sql_views.grammar import refusal
from core import clock, database
from core.errors import Conflict, ValidationFailed

_WORDS = frozenset(word for keyword in Tokenizer.KEYWORDS for word in keyword.split())


def define(
    collection: CollectionDef, snapshot: Snapshot, *, previous: CollectionDef | None = None, sent: Any = None
) -> CollectionDef:
    """The view with the fields that its query gives it. Raises ValidationFailed.

    Fields keep the ids of the ``previous`` definition by their names. ``sent`` is the
    ``schema`` that a client sent along: it may say what is so, and nothing else.
    """
    defined = understood(collection, snapshot, previous)
    if sent:
        _check_sent(sent, defined)
    enforcing.verify(defined.view_query or "", defined.memo["view"])
    return defined


def understood(collection: CollectionDef, snapshot: Snapshot, previous: CollectionDef | None) -> CollectionDef:
    """The same on a snapshot that is still to come, so the database can't be asked. Raises ValidationFailed."""
    checked = check(collection.view_query or "", snapshot)
    defined = _with_fields(collection, checked, snapshot, previous)
    defined.memo["view"] = checked
    return defined


def verify_all(views: Iterable[CollectionDef], snapshot: Snapshot) -> None:
    """That the database takes the views as they are now, after its tables have changed. Raises Conflict."""
    for view in views:
        try:
            enforcing.verify(view.view_query or "", check(view.view_query or "", snapshot))
        except ValidationFailed as error:
            raise _senseless(view, error) from error


def _with_fields(
    collection: CollectionDef, checked: Checked, snapshot: Snapshot, previous: CollectionDef | None
) -> CollectionDef:
    problems = Problems()
    made = reading.read(
        {**collection.stored(), "schema": entries(checked.columns)},
        collection_id=collection.id,
        resolve_target=lambda target: target if target in snapshot.by_id else None,
        previous=previous,
        problems=problems,
    )
    for messages in problems.found.values():
        raise refusal(collection.view_query or "", messages[0])
    return replace(collection, fields=made.fields)


def entries(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """The fields of a view as a ``schema`` has them, without ids."""
    found = []
    for column in columns:
        if column.name == "id":
            continue
        entry: dict[str, Any] = {"name": column.name, "type": column.kind.type or "text"}
        key = field_types.get(entry["type"]).option_key
        if key and column.kind.options:
            entry[key] = dict(column.kind.options)
        found.append(entry)
    return found


def _check_sent(sent: Any, defined: CollectionDef) -> None:
    given = [
        (entry.get("name"), entry.get("type")) if isinstance(entry, Mapping) else None
        for entry in (sent if isinstance(sent, list) else [None])
    ]
    if given != [(field.name, field.type) for field in defined.own_fields]:
        raise ValidationFailed(fields={"schema": ["The fields of a view are those of its query; leave schema out."]})


def checked_of(collection: CollectionDef, snapshot: Snapshot) -> Checked:
    """The view's query as it runs on this snapshot; looked at again when something that it reads has changed.

    Raises OverBudget where there is no time for it, ValidationFailed where it makes no sense any more.
    """
    known: Checked | None = collection.memo.get("view")
    if known is not None and all(snapshot.by_id.get(source.id) is source for source in known.sources):
        return known
    with database.reading() as session:
        if session.budget is not None:
            raise database.OverBudget
        checked = check(collection.view_query or "", snapshot)
        if session.settled:
            enforcing.verify(collection.view_query or "", checked)
    collection.memo["view"] = checked
    return checked


def views_of(collection_id: str, snapshot: Snapshot) -> list[str]:
    """The names of the views that read from a collection."""
    views = [view for view in snapshot.by_id.values() if view.type == "view"]
    return sorted(view.name for view in views if any(s.id == collection_id for s in checked_of(view, snapshot).sources))


def carried(
    changed: CollectionDef, before: Snapshot, after: Snapshot, names: Mapping[str, str], gone: Mapping[str, str]
) -> list[CollectionDef]:
    """The views that read from a collection which changes, in its new names; those that are others
    for it have a new revision.

    ``names`` maps ids to new names, ``gone`` ids to what happened to them. Raises Conflict
    where a view would no longer make sense.
    """
    found = []
    for view in after.by_id.values():
        old = before.by_id.get(view.id)
        if view.type != "view" or view.id == changed.id or old is None:
            continue
        checked = checked_of(old, before)
        if changed.name in checked.made:
            raise Conflict(f"The view {view.name!r} calls a query of its WITH {changed.name!r}. Change the view first.")
        if not any(source.id == changed.id for source in checked.sources):
            continue
        text = _renamed(view, checked, before, names, {**_retyped(before.by_id.get(changed.id), changed), **gone})
        try:
            new = understood(replace(view, view_query=text), after, view)
        except ValidationFailed as error:
            raise _senseless(view, error) from error
        differs = new.stored() != old.stored()
        found.append(replace(new, revision=old.revision + 1, updated=clock.now()) if differs else new)
    return found


def _retyped(old: CollectionDef | None, new: CollectionDef) -> dict[str, str]:
    """What an expression means with other values only PostgreSQL would tell, so nobody is asked."""
    known = old.by_id if old is not None else {}
    return {
        field.id: f"of type {field.type}{' with several values' if field.multiple else ''}"
        for field in new.fields
        if field.id in known and (known[field.id].type, known[field.id].multiple) != (field.type, field.multiple)
    }


def _senseless(view: CollectionDef, error: ValidationFailed) -> Conflict:
    return Conflict(
        f"The view {view.name!r} would no longer make sense: {error.message} Change the view first.",
        extra={"views": [view.name]},
    )


def _renamed(
    view: CollectionDef, checked: Checked, before: Snapshot, names: Mapping[str, str], gone: Mapping[str, str]
) -> str:
    text = view.view_query or ""
    for field_id in sorted(checked.used & gone.keys()):
        name = next(source.by_id[field_id].name for source in checked.sources if field_id in source.by_id)
        raise Conflict(
            f"The view {view.name!r} reads {name!r}, which would be {gone[field_id]}. Change or delete the view first.",
            extra={"views": [view.name]},
        )
    for mention in reversed(_once(checked)):
        if mention.id in names:
            if mention.start < 0:
                raise Conflict(f"The view {view.name!r} can't be rewritten. Change or delete it first.")
            new = _word(names[mention.id]) + (f" AS {_word(mention.known_as)}" if mention.known_as else "")
            text = text[: mention.start] + new + text[mention.end :]
    return text


def _word(name: str) -> str:
    """A name as it stands in SQL: in quotes where it is a word of SQL itself."""
    return quote(name) if name.upper() in _WORDS else name


def _once(checked: Checked) -> Sequence[Any]:
    """Each place once: what stands in a WITH is looked at whenever that is used."""
    return sorted({mention.start: mention for mention in checked.mentions}.values())
