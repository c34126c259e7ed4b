"""``expand=``: related records inside their parents, under the rules of where they live."""

from __future__ import annotations

from collections.abc import Sequence

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records import access
from collections_app.records.codec import Codec, Record, codec, placeholders, read_links
from collections_app.records.query import Tree
from collections_app.rules import RuleEnv
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core.errors import BadRequest, DomainError

MAX_BACK = 1000
MAX_SHOWN = 50_000
_TOO_MANY = f"expand: this would show more than {MAX_SHOWN:,} records; ask for fewer per page, or less deep."
_CHUNK = 5000


def check(tree: Tree, collection: CollectionDef, env: RuleEnv, snapshot: Snapshot, prefix: str = "") -> None:
    """BadRequest for whatever the caller may not expand: the same words as for what is not there."""
    for name, below in tree.items():
        check(below, related(name, collection, env, snapshot, prefix), env, snapshot, f"{prefix}{name}.")


def related(name: str, collection: CollectionDef, env: RuleEnv, snapshot: Snapshot, prefix: str = "") -> CollectionDef:
    """The collection that a relation, or a back-relation, of this one leads to."""
    found = _resolve(name, collection, env, snapshot)
    if found is None:
        raise BadRequest(f"expand: there is no relation {(prefix + name)[:80]!r}.")
    return found[0]


def _resolve(
    name: str, collection: CollectionDef, env: RuleEnv, snapshot: Snapshot
) -> tuple[CollectionDef, Field, bool] | None:
    """(the other collection, the relation field, whether it points back at us)."""
    field = collection.by_name.get(name)
    if field is not None:
        if not field.target or not _readable(field, env):
            return None
        other, back = snapshot.by_id[field.target], False
    else:
        found = snapshot.back_relation(collection, name)
        if found is None or not _readable(found[1], env):
            return None
        (other, field), back = found, True
    if access.verdict(other, "list", env, snapshot) is False:
        return None
    return other, field, back


def _readable(field: Field, env: RuleEnv) -> bool:
    return not field.secret and (env.principal.is_admin or not field.hidden)


def apply(
    records: Sequence[Record], tree: Tree, collection: CollectionDef, env: RuleEnv, snapshot: Snapshot
) -> dict[str, int]:
    """Add ``expand`` to each record that has something to show. ``tree`` has been checked.

    Answers how many records each one shows, itself included: the same related
    record may stand in many places, and is written out in each. BadRequest where
    that comes to more than :data:`MAX_SHOWN`.
    """
    shows = {record["id"]: 1 for record in records}
    for name, below in tree.items():
        found = _resolve(name, collection, env, snapshot)
        assert found is not None
        other, field, back = found
        links = _back_links(records, other, field) if back else _links(records, field)
        wanted = list(dict.fromkeys(target for targets in links.values() for target in targets))
        if len(wanted) > MAX_SHOWN:
            raise BadRequest(_TOO_MANY)
        related = _fetch(wanted, other, env, snapshot)
        shown_below = apply(list(related.values()), below, other, env, snapshot)
        one = not back and not field.multiple
        for record in records:
            shown = [related[target] for target in links.get(record["id"], []) if target in related]
            if shown:
                record.setdefault("expand", {})[name] = shown[0] if one else shown
                shows[record["id"]] += sum(shown_below[item["id"]] for item in shown)
        if sum(shows.values()) - len(records) > MAX_SHOWN:
            raise BadRequest(_TOO_MANY)
    return shows


def _links(records: Sequence[Record], field: Field) -> dict[str, list[str]]:
    """Record id → related ids; from the record where it carries them."""
    if field.multiple:
        if field.name in records[0]:
            return {record["id"]: record[field.name] for record in records}
        return read_links(field, [record["id"] for record in records])
    return {record["id"]: [record[field.name]] for record in records if record[field.name]}


def _back_links(records: Sequence[Record], other: CollectionDef, field: Field) -> dict[str, list[str]]:
    dialect = dialects.current()
    links: dict[str, list[str]] = {}
    record_ids = [record["id"] for record in records]
    for start in range(0, len(record_ids), _CHUNK):
        chunk = record_ids[start : start + _CHUNK]
        marks = placeholders(len(chunk))
        if field.storage == "through":
            sql = (
                f"SELECT r.target_id, t.id FROM {quote(field.through)} AS r"
                f" JOIN {quote(other.table)} AS t ON t.id = r.source_id WHERE r.target_id IN ({marks})"
                " ORDER BY t.created DESC, t.id DESC"
            )
        else:
            column = f"t.{quote(field.column)}"
            sql = (
                f"SELECT {column}, t.id FROM {quote(other.table)} AS t WHERE {column} IN ({marks})"
                " ORDER BY t.created DESC, t.id DESC"
            )
        for ours, theirs in dialect.rows(sql, chunk):
            found = links.setdefault(ours, [])
            if len(found) < MAX_BACK:
                found.append(theirs)
    return links


def _fetch(record_ids: Sequence[str], collection: CollectionDef, env: RuleEnv, snapshot: Snapshot) -> dict[str, Record]:
    try:
        allowed = access.condition(collection, "view", env, snapshot)
    except DomainError:
        # May be listed but not viewed one by one: nothing to show here.
        return {}
    reader: Codec = codec(collection, admin=env.principal.is_admin)
    where, extra = ("", []) if allowed is None else (f" AND ({allowed[0]})", allowed[1])
    found: dict[str, Record] = {}
    for start in range(0, len(record_ids), _CHUNK):
        chunk = list(record_ids[start : start + _CHUNK])
        sql = (
            f"SELECT {reader.columns} FROM {quote(collection.table)} AS t"
            f" WHERE t.id IN ({placeholders(len(chunk))}){where}"
        )
        rows = dialects.current().rows(sql, [*chunk, *extra])
        found |= {record["id"]: record for record in reader.records(rows)}
    return found
