"""What people send, and what is stored, as definitions: checked, with every problem at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from collections_app.schema import fields as field_types
from collections_app.schema import password_rules
from collections_app.schema.definition import (
    ADMINS_ONLY,
    AUTH_FIELDS,
    COLLECTION_FIELD,
    DATE_FIELDS,
    ID_FIELD,
    INDEX_BYTES,
    MAX_FIELDS,
    MAX_INDEXES,
    RULES,
    THE_ACCOUNT_ITSELF,
    TYPES,
    CollectionDef,
    Index,
    owner_names,
)
from collections_app.schema.fields import Field, FieldType, InvalidOptions, InvalidValue
from core import ids
from core.errors import ValidationFailed

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
NAME_HELP = "use 1 to 63 lowercase letters, digits and underscores, starting with a letter"
DEFAULT_CACHE_TTL, MAX_CACHE_TTL = 60, 86_400  # seconds
OURS = frozenset({"id", "collection", "created", "updated", "expand"})
OURS_IN_AUTH = frozenset({"email", "password", "verified", "role", "token_key"})
# PostgreSQL gives every table columns of these names; SQLite follows so that a schema fits both.
TAKEN_BY_ENGINES = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})
_COMMON_VALIDATION = frozenset({"required", "unique", "default"})
_ALL_VALIDATION = _COMMON_VALIDATION | {"min", "max", "min_length", "max_length", "pattern", "max_size"}


class Problems:
    """Collects messages per key of the payload, to tell all of them at once."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def add(self, key: str, message: str) -> None:
        self.found.setdefault(key, []).append(message)

    def raise_if_any(self) -> None:
        if self.found:
            raise ValidationFailed(fields=self.found)


def read(
    raw: Mapping[str, Any],
    *,
    collection_id: str,
    resolve_target: Callable[[str], str | None],
    previous: CollectionDef | None = None,
    system: bool = False,
    problems: Problems | None = None,
    carried: frozenset[str] = frozenset(),
    takes_ids: bool = False,
) -> CollectionDef:
    """Check a whole collection payload (name, type, schema, rules, indexes, options).

    ``resolve_target`` maps the name or id of a collection to its id. Fields
    without an id take that of the previous field of the same name, else a new
    one. ``indexes`` and ``options`` that are ``carried`` over from before, not
    sent, lose what no longer fits. ``takes_ids``: fields may have ids that the previous
    definition does not know. Raises ValidationFailed with all problems,
    unless ``problems`` collects them for the caller.
    """
    found = problems if problems is not None else Problems()
    name, type_name = raw.get("name"), raw.get("type", "base")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        found.add("name", f"Not a valid collection name: {NAME_HELP}.")
    if type_name not in TYPES:
        found.add("type", f"Must be one of {', '.join(TYPES)}.")
        type_name = "base"
    indexes_raw = [] if raw.get("indexes") is None else raw["indexes"]
    rules = _read_rules(raw, type_name, found)
    indexed = {**dict.fromkeys(owner_names(rules), INDEX_BYTES), **_indexed(indexes_raw)}
    own = _read_fields(raw.get("schema"), type_name, previous, resolve_target, indexed, found, takes_ids)
    fields = (ID_FIELD, COLLECTION_FIELD, *(AUTH_FIELDS if type_name == "auth" else ()), *own)
    if type_name != "view":
        fields += DATE_FIELDS
    by_name = {field.name: field for field in fields}
    options = {} if raw.get("options") is None else raw["options"]
    search: tuple[str, ...] = ()
    if not isinstance(options, Mapping):
        found.add("options", "Must be an object.")
    else:
        options = dict(options)
        search = _read_search(options.pop("search", None), by_name, Problems() if "options" in carried else found)
        if type_name == "auth" and "password" in options:
            options["password"] = password_rules.read(options["password"], found)
        for key in options.keys() - ({"password"} if type_name == "auth" else set()):
            found.add("options", f"Unknown option {key!r}; known: search{', password' * (type_name == 'auth')}.")
    _check_view_keys(raw, type_name, found)
    definition = CollectionDef(
        id=collection_id,
        name=str(name),
        type=type_name,
        table=str(name) if system else f"c_{collection_id}",
        fields=fields,
        rules=rules,
        indexes=_read_indexes(indexes_raw, by_name, Problems() if "indexes" in carried else found),
        search=search,
        options=options if isinstance(options, Mapping) else {},
        view_query=raw.get("view_query"),
        cache_ttl=_cache_ttl(raw, type_name),
        system=system,
        revision=raw.get("revision", 1),
        created=raw.get("created"),
        updated=raw.get("updated"),
    )
    if problems is None:
        found.raise_if_any()
    return definition


def _cache_ttl(raw: Mapping[str, Any], type_name: str) -> int | None:
    given = raw.get("cache_ttl")
    return DEFAULT_CACHE_TTL if type_name == "view" and given is None else given


def _check_view_keys(raw: Mapping[str, Any], type_name: str, problems: Problems) -> None:
    """What only views have, and what they have not."""
    if type_name != "view":
        for key in ("view_query", "cache_ttl"):
            if raw.get(key) is not None:
                problems.add(key, "Only a view has this.")
        return
    ttl = raw.get("cache_ttl")
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 <= ttl <= MAX_CACHE_TTL):
        problems.add("cache_ttl", f"Must be a whole number of seconds from 0 to {MAX_CACHE_TTL:,}.")
    if not isinstance(raw.get("view_query"), str) or not raw["view_query"].strip():
        problems.add("view_query", "A view needs a SELECT statement.")
    for key in ("create_rule", "update_rule", "delete_rule"):
        if raw.get(key, ADMINS_ONLY) != ADMINS_ONLY:
            problems.add(key, "A view can't be written; leave this rule out.")
    for key in ("indexes", "options"):
        if raw.get(key):
            problems.add(key, "A view has none.")


def _indexed(indexes: Any) -> dict[str, int]:
    """Field name or id → how many bytes an indexed text may have."""
    limits: dict[str, int] = {}
    for entry in indexes if isinstance(indexes, list) else []:
        names = entry.get("fields") if isinstance(entry, Mapping) else None
        if not isinstance(names, list):
            continue
        for name in names:
            if isinstance(name, str):
                limits[name] = min(limits.get(name, INDEX_BYTES), INDEX_BYTES // len(names))
    return limits


def _read_rules(raw: Mapping[str, Any], type_name: str, problems: Problems) -> dict[str, str | None]:
    omitted: dict[str, str | None] = dict.fromkeys(RULES, ADMINS_ONLY)
    if type_name == "auth":
        omitted |= dict.fromkeys(("list_rule", "view_rule", "update_rule"), THE_ACCOUNT_ITSELF)
        omitted["create_rule"] = None
    rules: dict[str, str | None] = {}
    for key in RULES:
        rule = raw.get(key, omitted[key])
        if rule is not None and (not isinstance(rule, str) or not rule.strip()):
            problems.add(key, "A rule is an expression, or null for everyone.")
            rule = ADMINS_ONLY
        rules[key] = rule
    return rules


def _read_fields(
    raw: Any,
    type_name: str,
    previous: CollectionDef | None,
    resolve_target: Callable[[str], str | None],
    indexed: Mapping[str, int],
    problems: Problems,
    takes_ids: bool,
) -> list[Field]:
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        problems.add("schema", "Must be a list of fields.")
        return []
    if len(raw) > MAX_FIELDS:
        problems.add("schema", f"A collection has at most {MAX_FIELDS} fields.")
        return []
    before = {field.name: field.id for field in previous.own_fields} if previous else {}
    known_ids = {field.id for field in previous.own_fields} if previous and not takes_ids else None
    named_ids = {str(entry.get("id")) for entry in raw if isinstance(entry, Mapping)}
    fields: list[Field] = []
    for position, entry in enumerate(raw):
        where = f"schema[{position}]"
        if not isinstance(entry, Mapping):
            problems.add(where, "Must be an object with name and type.")
            continue
        own_id = entry.get("id")
        if own_id is None:
            inherited = before.get(str(entry.get("name")))
            own_id = inherited if inherited and inherited not in named_ids else ids.new_field_id()
        elif not isinstance(own_id, str) or not re.fullmatch(r"f[a-z0-9]{2,19}", own_id):
            problems.add(where, "id must be the id of an existing field; leave it out for a new one.")
            continue
        elif known_ids is not None and own_id not in known_ids:
            problems.add(where, f"There is no field with the id {own_id!r}; leave it out for a new one.")
            continue
        field = _read_field(entry, own_id, where, type_name, resolve_target, indexed, problems)
        if field is not None:
            fields.append(field)
    for key, what in (("name", "name"), ("id", "id")):
        values = [getattr(field, key) for field in fields]
        for value in sorted({value for value in values if values.count(value) > 1}):
            problems.add("schema", f"More than one field has the {what} {value!r}.")
    return fields


def _read_field(
    entry: Mapping[str, Any],
    field_id: str,
    where: str,
    type_name: str,
    resolve_target: Callable[[str], str | None],
    indexed: Mapping[str, int],
    problems: Problems,
) -> Field | None:
    name = entry.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.add(where, f"Not a valid field name: {NAME_HELP}.")
        return None
    where = f"schema.{name}"
    reserved = OURS | TAKEN_BY_ENGINES | (OURS_IN_AUTH if type_name == "auth" else frozenset())
    if type_name == "view":
        reserved -= {"created", "updated"}  # columns like others
    if name in reserved:
        problems.add(where, f"The name {name!r} is reserved.")
    try:
        kind = field_types.get(str(entry.get("type")))
    except KeyError:
        problems.add(where, f"Unknown type {entry.get('type')!r}; known: {', '.join(field_types.names())}.")
        return None
    known_keys = {"id", "name", "type", "validation", "hidden", "help", "system", kind.option_key}
    other_keys = {field_types.get(other).option_key for other in field_types.names()}
    for key in sorted(set(entry) - known_keys):
        # Builders send an empty object of every type; only one with content is a mistake.
        if key not in other_keys or entry[key]:
            problems.add(where, f"Unknown key {key!r}.")
    count = sum(len(messages) for messages in problems.found.values())
    validation = _read_validation(entry.get("validation"), kind, where, problems)
    raw_options = (entry.get(kind.option_key) if kind.option_key else None) or {}
    options: dict[str, Any] = {}
    if not isinstance(raw_options, Mapping):
        problems.add(where, f"{kind.option_key} must be an object.")
    else:
        try:
            options = kind.options({key: value for key, value in raw_options.items() if value is not None})
        except InvalidOptions as error:
            for message in error.messages:
                problems.add(where, f"{kind.option_key}: {message}" if kind.option_key else message)
    hidden, text = entry.get("hidden", False), entry.get("help") or ""
    if not isinstance(hidden, bool):
        problems.add(where, "hidden must be true or false.")
    if not isinstance(text, str) or len(text) > 2000:
        problems.add(where, "help must be a text of at most 2,000 characters.")
    if sum(len(messages) for messages in problems.found.values()) > count:
        return None
    target = kind.target(options)
    if target:
        resolved = resolve_target(target)
        if resolved is None:
            problems.add(where, f"relation: there is no collection {target!r}.")
            return None
        target = options["collection_id"] = resolved
    unique = bool(validation.pop("unique", False)) or options.get("type") == "one-to-one"
    if unique and (not kind.can_be_unique or kind.multiple(options)):
        problems.add(where, f"A field of type {kind.name} can't be unique.")
    required, default = bool(validation.pop("required", False)), validation.pop("default", None)
    limit = min((indexed[key] for key in (name, field_id) if key in indexed), default=INDEX_BYTES if unique else 0)
    field = Field(
        id=field_id, name=name, type=kind.name, kind=kind, value=kind.value, multiple=kind.multiple(options),
        storage=kind.storage(options), through=f"rel_{field_id}" if kind.storage(options) == "through" else "",
        target=target, hidden=hidden or kind.secret, secret=kind.secret, required=required, unique=unique,
        options=options, validation=validation, help=text, index_bytes=limit, default=default,
    )  # fmt: skip
    if default is not None:
        try:
            kind.clean(field, default)
        except InvalidValue as error:
            problems.add(where, f"default: {' '.join(error.messages)}")
    return field


def _read_validation(raw: Any, kind: FieldType, where: str, problems: Problems) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        problems.add(where, "validation must be an object.")
        return {}
    validation = {key: value for key, value in raw.items() if value is not None}
    for key in sorted(set(validation) - _COMMON_VALIDATION - kind.validation_keys):
        if key in ("min", "max") and "min_length" in kind.validation_keys:
            problems.add(where, f"validation: a {kind.name} field has {key}_length, not {key}.")
        elif key in _ALL_VALIDATION:
            problems.add(where, f"validation: {key} means nothing for a {kind.name} field.")
        else:
            problems.add(where, f"validation: unknown key {key!r}.")
    for key in ("required", "unique"):
        if not isinstance(validation.get(key, False), bool):
            problems.add(where, f"validation: {key} must be true or false.")
    try:
        kind.check_validation(validation)
    except InvalidOptions as error:
        for message in error.messages:
            problems.add(where, f"validation: {message}")
    return validation


def _find(name: Any, by_name: Mapping[str, Field]) -> Field | None:
    if not isinstance(name, str):
        return None
    return by_name.get(name) or next((field for field in by_name.values() if field.id == name), None)


def _read_indexes(raw: Any, by_name: Mapping[str, Field], problems: Problems) -> tuple[Index, ...]:
    if not isinstance(raw, list) or len(raw) > MAX_INDEXES:
        problems.add("indexes", f"Must be a list of at most {MAX_INDEXES} indexes.")
        return ()
    indexes = []
    for position, entry in enumerate(raw):
        where = f"indexes[{position}]"
        names = entry.get("fields") if isinstance(entry, Mapping) else None
        if not isinstance(names, list) or not 1 <= len(names) <= 8 or set(entry) - {"fields", "unique"}:
            problems.add(where, 'Must look like {"fields": ["price", "active"], "unique": false}, with 1 to 8 fields.')
            continue
        unique = entry.get("unique", False)
        fields = [_find(name, by_name) for name in names]
        wrong = []
        for name, field in zip(names, fields, strict=True):
            if field is None:
                wrong.append(f"There is no field {name!r}.")
            elif not field.kind.can_be_indexed or field.storage != "column" or field.secret:
                wrong.append(f"A field like {field.name!r} can't be indexed.")
        if not isinstance(unique, bool):
            wrong.append("unique must be true or false.")
        if len(set(map(str, names))) != len(names):
            wrong.append("A field stands in an index once.")
        for message in wrong:
            problems.add(where, message)
        if not wrong:
            indexes.append(Index(tuple(field.id for field in fields if field is not None), unique))
    return tuple(dict.fromkeys(indexes))


def _read_search(raw: Any, by_name: Mapping[str, Field], problems: Problems) -> tuple[str, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        problems.add("options", "search must be a list of field names.")
        return ()
    found = []
    for name in raw:
        field = _find(name, by_name)
        if field is None or not field.searchable:
            problems.add("options", f"search: {name!r} is not a text field of this collection.")
        else:
            found.append(field.id)
    return tuple(dict.fromkeys(found))
