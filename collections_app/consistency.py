"""Whether collections, records and files fit together, beyond what their tables look like."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import InvalidOperation
from functools import partial
from typing import Any

from django.db import connection

from collections_app import dialects, rules
from collections_app.dialects import quote
from collections_app.files import sweeping
from collections_app.jobs import files as job_files
from collections_app.models import Event, EventLogState, FileUse, Job
from collections_app.schema import registry
from collections_app.schema.definition import RULES, CollectionDef, Field
from collections_app.sql_views import definitions
from core import catalogue
from core.consistency import Problem
from core.errors import DomainError

_EXAMPLES = 5
_PIECE = 1000
# What SQLite stores in columns of these types; it would take anything.
_STORED_AS = {
    "integer": {"integer"}, "bigint": {"integer"}, "bool": {"integer"}, "real": {"real", "integer"}, "text": {"text"},
}  # fmt: skip
_MOMENTS = {"date", "datetime", "time"}  # the names of types, and of functions that are NULL for no such text


def check_rules() -> Iterator[Problem]:
    """Rules and queries that name what is not there."""
    snapshot = registry.load()
    for collection in snapshot.by_id.values():
        for key in RULES:
            source = collection.rules[key]
            try:
                if source is not None:
                    rules.compile_rule(source, collection, snapshot)
            except DomainError as error:
                yield Problem(f"Collection {collection.name!r}: {key}: {error.message} Write the rule anew.")
        if collection.type == "view":
            try:
                definitions.checked_of(collection, snapshot)
            except DomainError as error:
                yield Problem(f"Collection {collection.name!r}: its query: {error.message} Write the query anew.")


def check_values() -> Iterator[Problem]:
    """Values that are none of their field's type, as only somebody else can have written."""
    tables = catalogue.read()
    for collection in registry.load().by_id.values():
        columns = tables[collection.table].columns if collection.table in tables else {}
        for field in collection.stored_fields if collection.type != "view" else ():
            found = list(_misfits(collection, field, columns[field.column].type)) if field.column in columns else []
            if found:
                records = "1 record" if len(found) == 1 else f"{len(found)} records"
                yield Problem(
                    f"Collection {collection.name!r}: {field.name!r} of {records} is no {field.type} value: "
                    f"{', '.join(found[:_EXAMPLES])}. Set it anew."
                )


def _misfits(collection: CollectionDef, field: Field, declared: str) -> Iterator[str]:
    """The ids of records whose value can't be read."""
    dialect = dialects.current()
    column, load = quote(field.column), field.kind.loader(field, dialect.name)
    stored_as = _STORED_AS.get(declared.partition("(")[0]) if dialect.name == "sqlite" else None
    is_moment = dialect.name == "sqlite" and declared in _MOMENTS
    if load is None and stored_as is None and not is_moment:
        return
    kind = f"{declared}({column})" if is_moment else f"typeof({column})" if stored_as else "''"
    filled = f"FROM {quote(collection.table)} WHERE {column} IS NOT NULL ORDER BY id"
    cursor = dialect.execute(f"SELECT id, {dialect.raw(column)}, {kind} {filled}")
    while rows := cursor.fetchmany(_PIECE):
        for record_id, value, name in rows:
            if (
                name is None
                or (stored_as and name not in stored_as)
                or (load is not None and not _can_load(load, value))
            ):
                yield record_id


def _can_load(load: Any, value: Any) -> bool:
    try:
        load(value)
    except (ValueError, TypeError, LookupError, ArithmeticError, InvalidOperation, DomainError):
        return False
    return True


def check_files() -> Iterator[Problem]:
    """Files against their rows, and rows against the records that have them."""
    report = sweeping.sweep(dry_run=True)
    for name in report.without_bytes:
        yield Problem(f"The file {name!r} is missing in the storage. Restore it, or take it from its record.")
    for path in report.without_row:
        yield Problem(f"The file {path!r} belongs to nobody. 'manage.py sweep_files' removes it.")
    for use in report.not_named:
        yield Problem(f"A file is kept for a record that does not name it: {use}. 'manage.py sweep_files' lets it go.")
    for value in report.not_kept:
        yield Problem(f"A record names a file that is not its own, or not there: {value}. Set it anew.")
    snapshot = registry.load()
    gone = set(FileUse.objects.values_list("collection_id", flat=True).distinct()) - snapshot.by_id.keys()
    for collection_id in sorted(gone):
        yield Problem(f"Files are kept for the collection with the id {collection_id!r}, which is not there.")


def check_log() -> Iterator[Problem]:
    """The log of events, and the jobs that wait."""
    state = EventLogState.objects.filter(pk=1).first()
    last = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    if connection.vendor == "sqlite":
        given = dialects.current().execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        highest = max(last, state.trimmed_through if state else 0)
        if highest and (given is None or given[0] < highest):
            sentence = f"The next event would have a number that was given before: {highest} was."
            yield Problem(sentence, partial(_count_from, highest))
    for job in Job.objects.filter(state__in=(Job.State.QUEUED, Job.State.RUNNING)):
        if not job_files.path(job.file).exists():
            yield Problem(f"The file of the import {job.pk} is missing. Send it again.")


def _count_from(number: int) -> None:
    execute = dialects.current().execute
    execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", [number])
