"""What differs between the definitions of the collections and the database's own catalogue.

A schema change commits both or neither, so on a healthy database there is
nothing to tell. Only reads; what to do about a difference is for others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.models import SchemaEpoch
from collections_app.schema import indexes, permissions, registry, search_index, tables
from core.catalogue import Column, Index, Key, Table
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core import catalogue

# Names that only the schema engine gives to tables, whole or on the way to another.
_OURS = re.compile(r"(c|new__c)_[0-9a-z]+|(rel|tmp|new__rel)_f[0-9a-z]+")
_SEARCH = re.compile(r"fts_[0-9a-z]+(?P<inner>_(data|idx|content|docsize|config|texts))?")
_POSTGRESQL_NAMES = {"varchar": "character varying", "time": "time without time zone"}


def differences() -> list[str]:
    """One sentence for each thing that is not as the definitions say; empty if all is well."""
    with _one_moment():
        return list(_differences(registry.load(), catalogue.read()))


@contextmanager
def _one_moment() -> Iterator[None]:
    """Everything read within is of the same moment; nobody has to wait for us."""
    execute = dialects.current().execute
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        execute("BEGIN")  # deferred: Django's own would take the one place for writers
        try:
            yield
        finally:
            execute("ROLLBACK")
    else:
        with transaction.atomic():
            execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield


def _differences(snapshot: Snapshot, found: Mapping[str, Table]) -> Iterator[str]:
    if not SchemaEpoch.objects.filter(pk=1).exists():
        yield "The schema has no epoch."
    known: set[str] = set()
    for collection in snapshot.by_id.values():
        if collection.type == "view":
            continue
        known.update({collection.table, *(field.through for field in collection.through_fields)})
        yield from _of_collection(collection, snapshot, found)
    for name in sorted(found.keys() - known):
        search = _SEARCH.fullmatch(name)
        if _OURS.fullmatch(name):
            yield f"The table {name!r} belongs to no collection."
        elif search and not search["inner"] and not _is_searched(name, snapshot):
            yield f"The search index {name!r} belongs to no collection."
    yield from _permissions(snapshot)


def _is_searched(name: str, snapshot: Snapshot) -> bool:
    return any(search_index.is_kept(c) and search_index.table(c) == name for c in snapshot.by_id.values())


def _of_collection(collection: CollectionDef, snapshot: Snapshot, found: Mapping[str, Table]) -> Iterator[str]:
    where = f"Collection {collection.name!r}:"
    table = found.get(collection.table)
    if table is None:
        yield f"{where} its table {collection.table!r} is missing."
        return
    targets = {c.id: c.table for c in snapshot.by_id.values()}
    for field in collection.fields:
        if field.target and field.target not in targets:
            yield f"{where} the collection that {field.name!r} points to is missing."
            return
    fields = {field.column: field for field in collection.stored_fields}
    yield from _columns(where, table, _expected_columns(collection, targets))
    keys = {Key(name, targets[field.target], "id") for name, field in fields.items() if field.target}
    yield from _keys(where, table, keys)
    yield from _indexes(where, table, collection)
    for field in collection.through_fields:
        yield from _through(where, collection, field, targets[field.target], found)
    if search_index.is_kept(collection):
        yield from _search(where, collection, found)


def _expected_columns(collection: CollectionDef, targets: Mapping[str, str]) -> dict[str, Column]:
    pairs = [(field, field.column) for field in collection.stored_fields]
    model = tables.record_model(collection.table, pairs, targets, connection.vendor)
    expected: dict[str, Column] = {}
    for model_field in model._meta.local_concrete_fields:
        parameters = model_field.db_parameters(connection)
        collation = str(parameters.get("collation") or "") if connection.vendor == "postgresql" else ""
        kind = _catalogue_name(str(parameters["type"]))
        expected[str(model_field.column)] = Column(kind, collation, model_field.primary_key)
    return expected


def _catalogue_name(declared: str) -> str:
    """A type as the catalogue calls it: ``varchar(64)`` is ``character varying(64)`` on PostgreSQL."""
    declared = declared.lower()
    if connection.vendor != "postgresql":
        return declared
    name, bracket, rest = declared.partition("(")
    return (_POSTGRESQL_NAMES.get(name, name) + bracket + rest).replace(", ", ",")


def _columns(where: str, table: Table, expected: Mapping[str, Column]) -> Iterator[str]:
    for name in sorted(expected.keys() - table.columns.keys()):
        yield f"{where} the column {name!r} is missing."
    for name in sorted(table.columns.keys() - expected.keys()):
        yield f"{where} the column {name!r} belongs to no field."
    for name in sorted(expected.keys() & table.columns.keys()):
        here, wanted = table.columns[name], expected[name]
        if here.type != wanted.type:
            yield f"{where} the column {name!r} is {here.type}, not {wanted.type}."
        if here.collation != wanted.collation:
            yield f"{where} the column {name!r} sorts by {here.collation!r}, not {wanted.collation!r}."
        if here.primary != wanted.primary:
            yield f"{where} the column {name!r} is {'' if here.primary else 'not '}the primary key."


def _keys(where: str, table: Table, expected: set[Key]) -> Iterator[str]:
    for key in sorted(expected - table.keys, key=str):
        yield f"{where} the foreign key of {key.column!r} to {key.table!r} is missing."
    for key in sorted(table.keys - expected, key=str):
        yield f"{where} the foreign key of {key.column!r} to {key.table!r} belongs to no field."


def _indexes(where: str, table: Table, collection: CollectionDef) -> Iterator[str]:
    wanted = indexes.wanted(collection, connection.vendor, trigrams=_has_trigrams())
    here = {name: index for name, index in table.indexes.items() if indexes.OWNED.fullmatch(name)}
    for name in sorted(wanted.keys() - here.keys()):
        covered = ", ".join(field.name for field in wanted[name].fields)
        yield f"{where} the index {name!r} on {covered} is missing."
    for name in sorted(here.keys() - wanted.keys()):
        yield f"{where} the index {name!r} belongs to no definition."
    for name in sorted(here.keys() & wanted.keys()):
        columns = ("",) if wanted[name].trigram else tuple(field.column for field in wanted[name].fields)
        if here[name] != Index(columns, wanted[name].unique, True):
            yield f"{where} the index {name!r} is not what its name says."


def _has_trigrams() -> bool:
    if connection.vendor != "postgresql":
        return False
    sql = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"
    return bool(dialects.current().execute(sql).fetchone()[0])


def _through(
    where: str, collection: CollectionDef, field: Field, target: str, found: Mapping[str, Table]
) -> Iterator[str]:
    table = found.get(field.through)
    if table is None:
        yield f"{where} the table {field.through!r} of {field.name!r} is missing."
        return
    where = f"{where} {field.name!r}:"
    for name in sorted({"id", "source_id", "target_id", "position"} ^ table.columns.keys()):
        yield f"{where} the column {name!r} is {'too much' if name in table.columns else 'missing'}."
    yield from _keys(where, table, {Key("source_id", collection.table, "id"), Key("target_id", target, "id")})
    for suffix, columns, unique in (
        ("source", ("source_id", "position"), False),
        ("target", ("target_id", "source_id"), True),
    ):
        index = table.indexes.get(f"rel_{field.id}_{suffix}")
        if index is None:
            yield f"{where} the index {f'rel_{field.id}_{suffix}'!r} is missing."
        elif index != Index(columns, unique, True):
            yield f"{where} the index {f'rel_{field.id}_{suffix}'!r} is not what its name says."


def _search(where: str, collection: CollectionDef, found: Mapping[str, Table]) -> Iterator[str]:
    name, searched = search_index.texts(collection), set(collection.search)
    for table, columns in ((search_index.table(collection), searched), (name, {"n", "id", *searched})):
        if table not in found:
            yield f"{where} its search index {table!r} is missing."
            return
        if set(found[table].columns) != columns:
            yield f"{where} its search index has other fields than the definition."
            return
    dialect = dialects.current()
    records = quote(collection.table)
    for here, there, what in (
        (records, name, "not in the search index"),
        (name, records, "in the search index only"),
    ):
        sql = f"SELECT count(*) FROM {here} WHERE id NOT IN (SELECT id FROM {there})"
        number = dialect.execute(sql).fetchone()[0]
        if number:
            yield f"{where} the ids of {number} records are {what}."


def _permissions(snapshot: Snapshot) -> Iterator[str]:
    expected = {
        f"{action}_c_{c.id}": f"Can {action} {c.name}"[:255]
        for c in snapshot.by_id.values()
        for action in permissions.ACTIONS
    }
    ours = {f"c_{collection_id}" for collection_id in snapshot.by_id}
    types = ContentType.objects.filter(app_label="collections_app", model__startswith="c_")
    for model in sorted(set(types.values_list("model", flat=True)) - ours):
        yield f"The content type {model!r} belongs to no collection."
    here = dict(Permission.objects.filter(content_type__in=types).values_list("codename", "name"))
    for codename in sorted(expected.keys() - here.keys()):
        yield f"The permission {codename!r} is missing."
    for codename in sorted(here.keys() - expected.keys()):
        yield f"The permission {codename!r} belongs to no collection."
    for codename in sorted(expected.keys() & here.keys()):
        if here[codename] != expected[codename]:
            yield f"The permission {codename!r} is called {here[codename]!r}, not {expected[codename]!r}."
