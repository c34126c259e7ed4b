"""The write path: validate → rule before → rule after → row and event in one transaction.

Every change of a record, whoever asks, goes through these functions. They work
inside a :func:`unit_of_work`, take a :class:`RuleEnv` that says who asks and
with what, and answer whole records; :func:`collections_app.records.codec.public`
makes of them what the caller may see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from accounts.models import owned
from collections_app.records import access, modifiers, read, rows, validate
from collections_app.records.codec import Record
from collections_app.records.unit_of_work import UnitOfWork
from collections_app.rules import RuleEnv
from collections_app.schema import statistics
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields.temporal import parse_moment
from collections_app.schema.service import require_writable
from collections_app.schema.snapshot import Snapshot
from core import clock
from core.errors import Conflict, DomainError, NotFound, PreconditionFailed

_BATCH = 500


def record_create(
    work: UnitOfWork,
    collection: CollectionDef,
    data: Mapping[str, Any],
    env: RuleEnv,
    *,
    ours: Mapping[str, Any] | None = None,
    checked_as: CollectionDef | None = None,
) -> Record:
    """Create one record; answers it whole. ``ours`` are values that the server sets, whoever asks.

    ``checked_as`` is the same collection with other checks (``io.lenient``). Raises
    Unauthorized or Forbidden (create rule), ValidationFailed, Conflict.
    """
    require_writable(collection)
    env = replace(env, body=modifiers.resolved(collection, data, None))
    decided = access.verdict(collection, "create", env, work.snapshot)
    if decided is False:
        raise access.refusal(env)
    record = validate.clean_new(
        checked_as or collection, data, admin=env.principal.is_admin, moment=work.moment, ours=ours
    )
    local = decided or _is_local(collection, "create", work.snapshot)
    if local and not (decided or access.allows(collection, "create", record, env, work.snapshot)):
        raise access.refusal(env)
    validate.check_targets(collection, record, work.snapshot, record["id"])
    rows.insert(collection, [record], admin=env.principal.is_admin)
    if not local and not access.allows(collection, "create", record, env, work.snapshot):
        raise access.refusal(env)
    work.created(collection, record)
    return record


def records_create(work: UnitOfWork, collection: CollectionDef, many: Iterable[Mapping[str, Any]], env: RuleEnv) -> int:
    """Create many records at once, all or none; answers how many.

    For callers who pass every rule (admins, the system): the statements are
    batched, nothing else is different.
    """
    require_writable(collection)
    if not env.principal.is_admin or not access.within_scope(collection, "create", env):
        raise access.refusal(env)
    count = 0
    batch: list[Record] = []
    for data in many:
        batch.append(validate.clean_new(collection, data, admin=True, moment=work.moment))
        if len(batch) >= _BATCH:
            count += _insert_batch(work, collection, batch)
            batch = []
    count += _insert_batch(work, collection, batch)
    statistics.loaded(collection, count)
    return count


def _insert_batch(work: UnitOfWork, collection: CollectionDef, batch: Sequence[Record]) -> int:
    if not batch:
        return 0
    own = {record["id"] for record in batch}
    for field in collection.fields:
        if field.target:
            values = {item for record in batch for item in related_ids(record[field.name])} - (
                own if field.target == collection.id else set()
            )
            if values:
                probe = {field.name: sorted(values)}
                validate.check_targets(collection, probe, work.snapshot, "")
    rows.insert(collection, batch)
    for record in batch:
        work.created(collection, record)
    return len(batch)


def related_ids(value: Any) -> list[str]:
    """The ids that a relation field's value names."""
    return value if isinstance(value, list) else [value] if value else []


def record_update(
    work: UnitOfWork,
    collection: CollectionDef,
    record_id: str,
    data: Mapping[str, Any],
    env: RuleEnv,
    *,
    if_match: str | None = None,
    checked_as: CollectionDef | None = None,
) -> Record:
    """Change the given fields of one record; answers it whole. ``checked_as`` as for :func:`record_create`.

    The update rule must hold before and after. Raises NotFound, Unauthorized,
    Forbidden, PreconditionFailed, ValidationFailed, Conflict.
    """
    before, env = _open(work, collection, record_id, "update", env, if_match, data)
    moment = _later_than(before["updated"], work)
    changes = validate.clean_changes(
        checked_as or collection, data, before, admin=env.principal.is_admin, moment=moment
    )
    if collection.target_fields:
        changed_targets = {name: value for name, value in changes.items() if value != before[name]}
        validate.check_targets(collection, changed_targets, work.snapshot, record_id)
    after = {**before, **changes}
    local = _is_local(collection, "update", work.snapshot)
    if local and not access.allows(collection, "update", after, env, work.snapshot):
        raise access.refusal(env)
    rows.update(collection, after, changes, admin=env.principal.is_admin)
    if not local and not access.allows(collection, "update", after, env, work.snapshot):
        raise access.refusal(env)
    work.updated(collection, after, before)
    return after


def record_upsert(
    work: UnitOfWork, collection: CollectionDef, record_id: str, data: Mapping[str, Any], env: RuleEnv
) -> tuple[Record, bool]:
    """Update the record of that id, or create it; answers it whole, and whether it is new."""
    if read.possible_id(record_id) and rows.select(collection, record_id) is not None:
        return record_update(work, collection, record_id, data, env), False
    return record_create(work, collection, {**data, "id": record_id}, env), True


def record_delete(
    work: UnitOfWork, collection: CollectionDef, record_id: str, env: RuleEnv, *, if_match: str | None = None
) -> None:
    """Delete one record, and do with those that refer to it what their relation says.

    Raises NotFound, Unauthorized, Forbidden, PreconditionFailed, and Conflict
    where a required relation still needs it.
    """
    record, _ = _open(work, collection, record_id, "delete", env, if_match)
    _delete(work, collection, record, set())


def _open(
    work: UnitOfWork,
    collection: CollectionDef,
    record_id: str,
    action: str,
    env: RuleEnv,
    if_match: str | None,
    data: Mapping[str, Any] | None = None,
) -> tuple[Record, RuleEnv]:
    """The record to be changed, if this caller may, and what rules are to know of the change.

    Else the refusal that tells no more than they may know.
    """
    require_writable(collection)
    snapshot = work.snapshot
    record = rows.select(collection, record_id) if read.possible_id(record_id) else None
    env = replace(env, before=record, body=None if data is None else modifiers.resolved(collection, data, record))
    if record is None or not access.allows(collection, action, record, env, snapshot):
        raise _refusal(collection, action, record, env, snapshot)
    if if_match is not None and not read.matches(if_match, read.version(collection, record)):
        raise PreconditionFailed()
    return record, env


def _refusal(
    collection: CollectionDef, action: str, record: Record | None, env: RuleEnv, snapshot: Snapshot
) -> DomainError:
    """No record could be theirs: no. They can see this one: no. Otherwise there is none."""
    constant = access.verdict(collection, action, env, snapshot) is False
    if constant and (env.principal.is_anonymous or access.verdict(collection, "view", env, snapshot) is False):
        return access.refusal(env)
    if record is not None and access.allows(collection, "view", record, env, snapshot):
        return access.refusal(env)
    return NotFound("Record not found")


def _is_local(collection: CollectionDef, action: str, snapshot: Snapshot) -> bool:
    rule = access.rule(collection, action, snapshot)
    return rule is None or rule.local


def _later_than(updated: str, work: UnitOfWork) -> str:
    """This change's moment, made later than the record's last one if a clock went back."""
    if work.moment[:19] > updated[:19]:
        return work.moment
    last = parse_moment(updated)
    if last is None or last < work.now:
        return work.moment
    return clock.isoformat(last + timedelta(microseconds=1))


def _delete(work: UnitOfWork, collection: CollectionDef, record: Record, under_way: set[str]) -> None:
    under_way.add(record["id"])
    for other, field in work.snapshot.referrers(collection.id):
        for other_id in rows.referring(other, field, record["id"]):
            if other_id in under_way:
                continue
            referring = rows.select(other, other_id)
            if referring is not None:
                _release(work, other, field, referring, record["id"], under_way)
    rows.delete(collection, record["id"])
    if collection.type == "auth":
        owned.forget(collection.id, record["id"])
    work.deleted(collection, record)


def _release(
    work: UnitOfWork, other: CollectionDef, field: Field, referring: Record, gone: str, under_way: set[str]
) -> None:
    """What becomes of a record whose related record goes: cascade, or without it, or a refusal."""
    rest = [item for item in related_ids(referring[field.name]) if item != gone]
    if not rest and field.options["cascade_delete"]:
        _delete(work, other, referring, under_way)
        return
    if not rest and field.required:
        if not work.principal.is_admin or not work.principal.reaches(other.id):
            # Who it is may be a record, or a field, that this caller may not see.
            raise Conflict("The record is still needed by another.")
        raise Conflict(
            f"The record is still needed: {other.name} {referring['id']!r} requires it as {field.name!r}.",
            extra={"references": [{"collection": other.name, "id": referring["id"], "field": field.name}]},
        )
    changes = {
        field.name: rest if field.multiple else None,
        "updated": _later_than(referring["updated"], work),
    }
    after = {**referring, **changes}
    rows.update(other, after, changes)
    work.updated(other, after, referring)
