"""A client's data as values of a record: checked as a whole, all problems at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.crypto import get_random_string

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.records.codec import Record, placeholders
from collections_app.records.modifiers import apply_modifier, split_key
from collections_app.schema import password_rules
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.fields import REQUIRED, InvalidValue
from collections_app.schema.snapshot import Snapshot
from core import ids
from core.error_adapter import NON_FIELD
from core.errors import ValidationFailed

IGNORED = frozenset({"created", "updated", "collection"})
ADMIN_SETS = frozenset({"role", "verified"})
STAFF_ROLES = frozenset({"admin", "superadmin"})
TAKEN_IDS = frozenset({"bulk-update", "bulk-delete", "export", "import"})
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TOKEN_KEY_LENGTH = 32
_MOST_IDS = 5000  # of one statement
# By the account itself: they ask for the current password, and for a proof of the new address.
FLOWS = {"password": "auth/change-password", "email": "auth/change-email"}
SERVER_SETS = "This field is set by the server."
OTHERS_MISSING = "Values are missing that only an admin may set."


def clean_new(
    collection: CollectionDef,
    data: Mapping[str, Any],
    *,
    admin: bool,
    moment: str,
    ours: Mapping[str, Any] | None = None,
) -> Record:
    """A whole new record; ``ours`` are values of the server's, whoever asks. Raises ValidationFailed."""
    record: Record = {"id": "", "collection": collection.name, "created": moment, "updated": moment}
    problems: dict[str, list[str]] = {}
    given = {**_clean_given(collection, data, None, admin=admin, problems=problems), **(ours or {})}
    for name, field, is_plain in _to_fill(collection):
        if name in given:
            record[name] = given[name]
        elif field.default is not None and name not in problems:
            record[name] = field.kind.clean(field, field.default) if not field.secret else field.default
        else:
            record[name] = field.kind.empty(field)
        if is_plain:
            continue
        if field.required and name not in problems:
            if field.value == "bool":
                absent = name not in given and field.default is None
            else:
                absent = _empty(field, record[name])
            if absent and field.hidden and not field.secret and not admin:
                problems[NON_FIELD] = [OTHERS_MISSING]
            elif absent:
                problems[name] = [REQUIRED]
        if field.type == "autodate" and field.options["on_create"]:
            record[name] = moment
    record["id"] = _clean_id(data.get("id"), problems)
    if collection.type == "auth":
        if data.get("id") and not admin:
            # Rules tell people apart by their ids: nobody may have that of an account elsewhere.
            problems["id"] = [SERVER_SETS]
        record["token_key"] = get_random_string(TOKEN_KEY_LENGTH)
    if problems:
        raise ValidationFailed(fields=problems)
    return record


def clean_changes(
    collection: CollectionDef, data: Mapping[str, Any], before: Record, *, admin: bool, moment: str
) -> Record:
    """The changed values of an existing record, what the server sets included. Raises ValidationFailed."""
    problems: dict[str, list[str]] = {}
    changes = _clean_given(collection, data, before, admin=admin, problems=problems)
    for name, value in changes.items():
        field = collection.by_name[name]
        if field.required and field.value != "bool" and name not in problems and _empty(field, value):
            problems[name] = [REQUIRED]
    if data.get("id", before["id"]) != before["id"]:
        problems["id"] = ["The id of a record can't be changed."]
    if problems:
        raise ValidationFailed(fields=problems)
    for field in collection.fields:
        if field.type == "autodate" and field.options["on_update"]:
            changes[field.name] = moment
    if collection.type == "auth":
        moved = {name for name in ("password", "email", "role") if name in changes and changes[name] != before[name]}
        if moved:
            # Every older token of this account ends here.
            changes["token_key"] = get_random_string(TOKEN_KEY_LENGTH)
    changes["updated"] = moment
    return changes


def _concealed(collection: CollectionDef, field: Field, *, admin: bool, stored: bool) -> bool:
    """Whether the field is as if it were not there, because writing it would tell what it holds.

    Who creates a record may fill its hidden fields, like a form that only admins
    read. Limits relative to what is ``stored``, and conflicts with other records,
    would tell more than that. Passwords are no secret but their values.
    """
    if admin or not field.hidden or field.secret:
        return False
    return stored or field.id in collection.unique_ids


def _empty(field: Field, value: Any) -> bool:
    return bool(field.kind.is_empty(value))


def _fillable(collection: CollectionDef) -> list[Field]:
    """The fields that are not the same in every collection."""
    found: list[Field] | None = collection.memo.get("fillable")
    if found is None:
        head = ("id", "collection", "created", "updated")
        found = collection.memo["fillable"] = [field for field in collection.fields if field.id not in head]
    return found


def _to_fill(collection: CollectionDef) -> list[tuple[str, Field, bool]]:
    """Names and fields of :func:`_fillable`, and whether that may simply be left empty."""
    found: list[tuple[str, Field, bool]] | None = collection.memo.get("to fill")
    if found is None:
        found = collection.memo["to fill"] = [
            (field.name, field, not field.required and field.type != "autodate") for field in _fillable(collection)
        ]
    return found


def _open_fields(collection: CollectionDef, *, admin: bool, stored: bool) -> dict[str, Field]:
    """The fields that this caller may simply set, by name: nearly always all that are sent."""
    key = ("open", admin, stored)
    found: dict[str, Field] | None = collection.memo.get(key)
    if found is None:
        found = collection.memo[key] = {
            field.name: field
            for field in _fillable(collection)
            if field.writable
            and not (field.system and field.name in ADMIN_SETS)
            and not _concealed(collection, field, admin=admin, stored=stored)
        }
    return found


def _clean_given(
    collection: CollectionDef,
    data: Mapping[str, Any],
    before: Record | None,
    *,
    admin: bool,
    problems: dict[str, list[str]],
) -> Record:
    by_name = collection.by_name
    simple = _open_fields(collection, admin=admin, stored=before is not None)
    values: Record = {}
    for key, raw in data.items():
        name, modifier = key, ""
        field = simple.get(key)
        if field is not None and not field.system:
            try:
                values[name] = _clean_value(field, raw, before)
            except InvalidValue as error:
                problems[name] = error.messages
            continue
        if field is None:
            field = by_name.get(key)
            if field is None:
                name, modifier = split_key(key)
                field = by_name.get(name)
            stored = before is not None or modifier != ""
            if field is None or _concealed(collection, field, admin=admin, stored=stored):
                problems[str(key)[:100]] = ["Unknown field."]
                continue
            if name in IGNORED or name == "id":
                continue
            if not field.writable:
                problems[name] = [SERVER_SETS]
                continue
            if field.system and name in ADMIN_SETS:
                if not admin:
                    problems[name] = ["Only an admin may set this."]
                    continue
                if name == "role" and isinstance(raw, str) and raw in STAFF_ROLES:
                    problems[name] = [f"The role {raw!r} belongs to staff accounts."]
                    continue
        try:
            if modifier:
                current = values.get(name, before[name] if before else field.kind.empty(field))
                raw = apply_modifier(field, modifier, current, raw)
            flow = FLOWS.get(name) if field.system and before is not None and not admin else None
            if flow and before is not None and (field.secret or _clean_value(field, raw, before) != before[name]):
                problems[name] = [f"Only an admin may change this here; change your own by {flow}."]
                continue
            if field.system and field.secret:
                password_rules.check_given(collection, raw, data if before is None else {**before, **data})
            values[name] = _clean_value(field, raw, before)
        except InvalidValue as error:
            problems[name] = error.messages
    return values


def _clean_value(field: Field, raw: Any, before: Record | None) -> Any:
    # An empty list is no value, but in JSON, where it is one like any other.
    if raw is None or raw == "" or (raw == [] and field.value != "json"):
        if raw == "" and field.kind.keeps_empty_text and not field.unique:
            return ""
        return field.kind.empty(field)
    if field.type == "file" and before is not None and raw == before[field.name]:
        return raw
    return field.kind.clean(field, raw)


def _clean_id(raw: Any, problems: dict[str, list[str]]) -> str:
    if raw is None or raw == "":
        return ids.new_id()
    if not isinstance(raw, str) or not _ID.fullmatch(raw):
        problems["id"] = ["Use 1 to 64 letters, digits, hyphens and underscores."]
        return ""
    if raw in TAKEN_IDS:
        problems["id"] = ["This word is part of the API's own paths."]
        return ""
    return raw


def check_targets(collection: CollectionDef, values: Mapping[str, Any], snapshot: Snapshot, own_id: str) -> None:
    """That every related record exists. Raises ValidationFailed naming the field."""
    problems: dict[str, list[str]] = {}
    for field in collection.target_fields:
        if not values.get(field.name):
            continue
        value = values[field.name]
        wanted = value if isinstance(value, list) else [value]
        missing = missing_targets(field, wanted, snapshot)
        if field.target == collection.id:
            missing = [item for item in missing if item != own_id]
        if missing:
            problems[field.name] = [f"The record {missing[0]!r} does not exist."]
    if problems:
        raise ValidationFailed(fields=problems)


def missing_targets(field: Field, wanted: Sequence[str], snapshot: Snapshot) -> list[str]:
    """Which of these ids no record has that the relation may name."""
    known: set[str] = set()
    table = quote(snapshot.by_id[field.target].table)
    for start in range(0, len(wanted), _MOST_IDS):
        some = wanted[start : start + _MOST_IDS]
        found = dialects.current().execute(f"SELECT id FROM {table} WHERE id IN ({placeholders(len(some))})", some)
        known.update(row[0] for row in found.fetchall())
    return [item for item in wanted if item not in known]
