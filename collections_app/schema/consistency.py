"""What differs between the definitions of the collections and the database's own catalogue.

A schema change commits both or neither, so on a healthy database there is
nothing to tell. Looking only reads; ``repairs.py`` completes what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from collections_app import dialects
from collections_app.dialects import quote
from collections_app.models import Collection, SchemaEpoch
from collections_app.schema import indexes, permissions, registry, repairs, search_index, tables
from collections_app.schema.definition import CollectionDef, Field
from collections_app.schema.snapshot import Snapshot
from core import catalogue
from core.catalogue import Column, Index, Key, Table
from core.consistency import Problem
from core.errors import DomainError

# Names that only the schema engine gives to tables, whole or on the way to another.
_OURS = re.compile(r"(c|new__c)_[0-9a-z]+|(rel|tmp|new__rel)_f[0-9a-z]+")
_SEARCH = re.compile(r"fts_[0-9a-z]+(?P<inner>_(data|idx|content|docsize|config|texts))?")
Repair = Callable[[], object]
_POSTGRESQL_NAMES = {"varchar": "character varying", "time": "time without time zone"}


def differences() -> list[str]:
    """One sentence for each thing that is not as the definitions say; empty if all is well."""
    return [problem.sentence for problem in check()]


def check() -> list[Problem]:
    """The same, with what can be done about it."""
    with _one_moment():
        broken = list(_broken())
        collections = (registry.read_definition(row) for row in Collection.objects.values() if row["id"] not in broken)
        snapshot = Snapshot(registry.read_version(), collections)
        return list(_differences(snapshot, catalogue.read(), broken))


def _broken() -> Iterator[str]:
    """The ids of collections whose definition can't be read."""
    for row in Collection.objects.values():
        try:
            registry.read_definition(row)
        except (DomainError, LookupError, TypeError, ValueError, AttributeError):
            yield row["id"]


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


def _differences(snapshot: Snapshot, found: Mapping[str, Table], broken: Sequence[str]) -> Iterator[Problem]:
    if not SchemaEpoch.objects.filter(pk=1).exists():
        yield Problem("The schema has no epoch.", repairs.begin_epoch)
    for collection_id in broken:
        yield Problem(
            f"The definition of the collection with the id {collection_id!r} can't be read. "
            "Restore a backup, or mend its row in 'collections'."
        )
    known: set[str] = set()
    for collection in snapshot.by_id.values():
        if collection.type == "view":
            continue
        known.update({collection.table, *(field.through for field in collection.through_fields)})
        repair = partial(repairs.complete, collection.id)
        if collection.table not in found:
            sentence = f"Collection {collection.name!r}: its table {collection.table!r} is missing."
            yield Problem(sentence, repair, "table", collection.table)
            continue
        yield from _of_collection(collection, found[collection.table], snapshot, found, repair)
    for name in sorted(found.keys() - known) if not broken else ():
        search = _SEARCH.fullmatch(name)
        if _OURS.fullmatch(name):
            yield Problem(f"The table {name!r} belongs to no collection. Restore its definition, or drop it.")
        elif search and not search["inner"] and not _is_searched(name, snapshot):
            yield Problem(f"The search index {name!r} belongs to no collection. It may be dropped.")
    for sentence in _permissions(snapshot):
        yield Problem(sentence, partial(repairs.permit, snapshot))


def _is_searched(name: str, snapshot: Snapshot) -> bool:
    return any(search_index.is_kept(c) and search_index.table(c) == name for c in snapshot.by_id.values())


def _of_collection(
    collection: CollectionDef, table: Table, snapshot: Snapshot, found: Mapping[str, Table], repair: Repair
) -> Iterator[Problem]:
    where = f"Collection {collection.name!r}:"
    targets = {c.id: c.table for c in snapshot.by_id.values()}
    for field in collection.fields:
        if field.target and field.target not in targets:
            yield Problem(
                f"{where} the collection that {field.name!r} points to is missing. "
                "Restore that collection, or remove the field."
            )
            return
    fields = {field.column: field for field in collection.stored_fields}
    yield from _columns(where, collection.table, table, _expected_columns(collection, targets), repair)
    keys = {Key(name, targets[field.target], "id") for name, field in fields.items() if field.target}
    yield from _keys(where, table, keys, repair)
    for sentence in _indexes(where, table, collection):
        yield Problem(sentence, repair)
    for field in collection.through_fields:
        yield from _through(where, collection, field, targets[field.target], found, repair)
    if search_index.is_kept(collection):
        for sentence in _search(where, collection, found):
            yield Problem(sentence, repair)


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


def _columns(
    where: str, name_of_table: str, table: Table, expected: Mapping[str, Column], repair: Repair
) -> Iterator[Problem]:
    for name in sorted(expected.keys() - table.columns.keys()):
        yield Problem(f"{where} the column {name!r} is missing.", repair, "column", f"{name_of_table}.{name}")
    for name in sorted(table.columns.keys() - expected.keys()):
        yield Problem(f"{where} the column {name!r} belongs to no field. Whoever added it may drop it.")
    for name in sorted(expected.keys() & table.columns.keys()):
        here, wanted = table.columns[name], expected[name]
        if here.type != wanted.type:
            yield Problem(f"{where} the column {name!r} is {here.type}, not {wanted.type}.")
        if here.collation != wanted.collation:
            yield Problem(f"{where} the column {name!r} sorts by {here.collation!r}, not {wanted.collation!r}.")
        if here.primary != wanted.primary:
            yield Problem(f"{where} the column {name!r} is {'' if here.primary else 'not '}the primary key.")


def _keys(where: str, table: Table, expected: set[Key], repair: Repair | None) -> Iterator[Problem]:
    for key in sorted(expected - table.keys, key=str):
        yield Problem(f"{where} the foreign key of {key.column!r} to {key.table!r} is missing.", repair)
    for key in sorted(table.keys - expected, key=str):
        yield Problem(f"{where} the foreign key of {key.column!r} to {key.table!r} belongs to no field.")


def _indexes(where: str, table: Table, collection: CollectionDef) -> Iterator[str]:
    wanted = indexes.wanted(collection, connection.vendor, trigrams=_has_trigrams())
    here = {name: index for name, index in table.indexes.items() if indexes.OWNED.fullmatch(name)}
    for name in sorted(wanted.keys() - here.keys()):
        covered = ", ".join(field.name for field in wanted[name].fields)
        yield f"{where} the index {name!r} on {covered} is missing."
    for name in sorted(here.keys() - wanted.keys()):
        yield f"{where} the index {name!r} belongs to no definition."
    for name in sorted(here.keys() & wanted.keys()):
        if here[name] != wanted[name].in_catalogue():
            yield f"{where} the index {name!r} is not what its name says."


def _has_trigrams() -> bool:
    if connection.vendor != "postgresql":
        return False
    sql = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"
    return bool(dialects.current().execute(sql).fetchone()[0])


def _through(
    where: str, collection: CollectionDef, field: Field, target: str, found: Mapping[str, Table], repair: Repair
) -> Iterator[Problem]:
    table = found.get(field.through)
    if table is None:
        yield Problem(
            f"{where} the table {field.through!r} of {field.name!r} is missing.", repair, "table", field.through
        )
        return
    where = f"{where} {field.name!r}:"
    for name in sorted({"id", "source_id", "target_id", "position"} ^ table.columns.keys()):
        yield Problem(f"{where} the column {name!r} is {'too much' if name in table.columns else 'missing'}.")
    yield from _keys(where, table, {Key("source_id", collection.table, "id"), Key("target_id", target, "id")}, None)
    for suffix, columns, unique in (
        ("source", ("source_id", "position"), False),
        ("target", ("target_id", "source_id"), True),
    ):
        index = table.indexes.get(f"rel_{field.id}_{suffix}")
        if index is None:
            yield Problem(f"{where} the index {f'rel_{field.id}_{suffix}'!r} is missing.", repair)
        elif index != Index(columns, unique, True):
            yield Problem(f"{where} the index {f'rel_{field.id}_{suffix}'!r} is not what its name says.")


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
            return
    triggers = {f"{search_index.table(collection)}_{what}" for what in ("insert", "update", "delete")}
    sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    if triggers - {row[0] for row in dialect.execute(sql, [name]).fetchall()}:
        yield f"{where} what keeps its search index is missing."
    elif number := search_index.count_stale(collection):
        yield f"{where} the texts of {number} records are others in the search index."


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
